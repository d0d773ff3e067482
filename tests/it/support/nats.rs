//! A private `nats-server`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::daemon::{Daemon, Folder, accepts, free_port, program};
use super::wait::{PATIENCE, until};

/// Folder of the streams in a server's folder.
const STREAMS: &str = "store/jetstream/$G/streams";

/// A `nats-server` with `JetStream` on a loopback port and with a temporary folder. The binary is `NATS_SERVER_BIN` or
/// in `PATH`. Stopped when dropped.
pub struct NatsServer {
    // before the folder: the process must be gone when its folder is removed
    daemon: Daemon,
    folder: Folder,
    port: u16,
    websocket: u16,
}

impl NatsServer {
    /// Starts a server that is ready for connections.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server with additional lines in its configuration (`max_payload: 4096`).
    pub async fn start_with(more: &str) -> Self {
        Self::start_configured(|folder, port, websocket| configuration(folder, port, websocket, more)).await
    }

    /// Starts a server without `JetStream` and without WebSocket, with `more` lines in its configuration.
    pub async fn start_core(more: &str) -> Self {
        Self::start_configured(|_, port, _| format!("listen: \"127.0.0.1:{port}\"\n{more}\n")).await
    }

    async fn start_configured(configuration: impl Fn(&Folder, u16, u16) -> String) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (folder, port, websocket) = (Folder::new("nats"), free_port(), free_port());
            fs::write(folder.path().join("nats.conf"), configuration(&folder, port, websocket))
                .expect("the configuration can be written");
            let mut server = Self { daemon: spawn(&folder), folder, port, websocket };
            if server.ready().await {
                return server;
            }
            // another process may have taken a port: retry with others
            assert!(Instant::now() < deadline, "nats-server does not start:\n{}", server.daemon.output());
        }
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port of clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `ws://127.0.0.1:<port>`: the server's WebSocket listener, without TLS.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.websocket)
    }

    /// The process, for measurements and signals.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A new client.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.expect("the server accepts connections")
    }

    /// Publishes raw bytes, also those that a client library would reject, with or without `headers` (a complete
    /// block). Returns after the server has received them.
    pub async fn publish_raw(&self, subject: &[u8], headers: Option<&[u8]>, payload: &[u8]) {
        let mut socket = BufReader::new(accepts(self.port).await.expect("the server accepts connections"));
        let mut sent = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
        sent.extend(if headers.is_some() { &b"HPUB "[..] } else { b"PUB " });
        sent.extend(subject);
        let headers = headers.unwrap_or_default();
        if !headers.is_empty() {
            sent.extend(format!(" {}", headers.len()).bytes());
        }
        sent.extend(format!(" {}\r\n", headers.len() + payload.len()).bytes());
        sent.extend([headers, payload, b"\r\nPING\r\n"].concat());
        socket.get_mut().write_all(&sent).await.expect("the server reads");
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            assert!(socket.read_line(&mut line).await.expect("the server answers") > 0, "the server hung up");
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }

    /// Stops the server gracefully; its store is kept.
    pub async fn stop(&mut self) {
        self.daemon.stop("TERM").await;
    }

    /// Sends `SIGKILL`; its store is kept.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Restarts the server (after `SIGKILL` if it runs) with other additional lines in its configuration.
    pub async fn restart_with(&mut self, more: &str) {
        let text = configuration(&self.folder, self.port, self.websocket, more);
        fs::write(self.folder.path().join("nats.conf"), text).expect("the configuration can be written");
        self.restart().await;
    }

    /// Restarts the server (after `SIGKILL` if it runs) with the same port and store.
    pub async fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = spawn(&self.folder);
        assert!(self.ready().await, "nats-server does not start again:\n{}", self.daemon.output());
    }

    /// Copies the store. The server must be stopped or paused.
    pub fn save_store(&self) -> Folder {
        let copy = Folder::new("nats-store");
        copy_folder(&self.folder.path().join("store"), &copy.path().join("store"));
        copy
    }

    /// Replaces the store by a copy, as if all later writes had been lost. The server must be stopped.
    pub fn restore_store(&self, copy: &Folder) {
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).expect("the store can be removed");
        copy_folder(&copy.path().join("store"), &store);
    }

    /// Removes the store: all streams are lost. The server must be stopped.
    pub fn wipe_store(&self) {
        fs::remove_dir_all(self.folder.path().join("store")).expect("the store can be removed");
    }

    /// Replaces the consumers in the store by those of a copy, as if only their writes had reached the disk. The server
    /// must be stopped.
    pub fn restore_consumers(&self, copy: &Folder) {
        for stream in fs::read_dir(copy.path().join(STREAMS)).expect("the copy has streams").flatten() {
            let to = self.folder.path().join(STREAMS).join(stream.file_name()).join("obs");
            let _ = fs::remove_dir_all(&to);
            copy_folder(&stream.path().join("obs"), &to);
        }
    }

    /// Waits for the server's `INFO` line. Returns false if the process ended.
    async fn ready(&mut self) -> bool {
        let port = self.port;
        let daemon = std::sync::Mutex::new(&mut self.daemon);
        until("nats-server to greet", || async {
            if daemon.lock().expect("no other user").ended().is_some() {
                return Some(false);
            }
            let mut lines = BufReader::new(accepts(port).await.ok()?).lines();
            let line = lines.next_line().await.ok()??;
            line.starts_with("INFO ").then_some(true)
        })
        .await
    }
}

fn spawn(folder: &Folder) -> Daemon {
    let mut command = Command::new(binary());
    command.arg("--config").arg(folder.path().join("nats.conf"));
    Daemon::spawn("nats-server", command, folder.path())
}

/// The program.
pub fn binary() -> PathBuf {
    program("nats-server", "NATS_SERVER_BIN", &[])
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {} to {}", from.display(), to.display());
}

fn configuration(folder: &Folder, port: u16, websocket: u16, more: &str) -> String {
    let mut text = format!(
        "listen: \"127.0.0.1:{port}\"\n\
         jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 4GB }}\n\
         websocket {{ listen: \"127.0.0.1:{websocket}\", no_tls: true }}\n",
        folder.path().join("store").display(),
    );
    let _ = writeln!(text, "{more}");
    text
}
