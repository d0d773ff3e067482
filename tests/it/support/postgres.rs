//! A private `PostgreSQL`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::sync::OnceCell;

use super::daemon::{Daemon, Folder, free_port, program};
use super::tls::Certificate;
use super::wait::{PATIENCE, until};

/// Files of a server that accepts TLS, in its folder.
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

/// A `PostgreSQL` server with a temporary folder, and with `fsync` on as in production. Its programs are in `PG_BIN`,
/// in Debian's folder for them, or in `PATH`. Since it rejects root, it then runs as the user `postgres`. Stopped when
/// dropped.
pub struct Postgres {
    // before the folder: the process must be gone when its folder is removed
    daemon: Daemon,
    folder: Folder,
    port: u16,
}

impl Postgres {
    /// Starts a server that is ready for connections. For tests that stop or kill it; others are faster with
    /// [`database`].
    pub async fn start() -> Self {
        Self::start_in(new_folder()).await
    }

    /// Starts a server that also accepts TLS, with this certificate.
    pub async fn start_with_tls(certificate: &Certificate) -> Self {
        let folder = new_folder();
        for (from, to) in [(&certificate.certificate, CERTIFICATE), (&certificate.key, KEY)] {
            let to = folder.path().join(to);
            // keeps the permissions, which the server checks
            fs::copy(from, &to).expect("the certificate can be copied");
            give_to_server(&to);
        }
        Self::start_in(folder).await
    }

    async fn start_in(folder: Folder) -> Self {
        initialise(&folder);
        let port = free_port();
        let mut server = Self { daemon: spawn(&folder, port), folder, port };
        let deadline = Instant::now() + PATIENCE;
        while !server.ready().await {
            // another process may have taken the port: retry with another one
            assert!(Instant::now() < deadline, "postgres does not start:\n{}", server.daemon.output());
            server.port = free_port();
            server.daemon = spawn(&server.folder, server.port);
        }
        server
    }

    /// The URL of the default database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Creates a database. Returns its URL.
    pub async fn create_database(&self, name: &str) -> String {
        let mut connection = PgConnection::connect(&self.url()).await.expect("the server accepts connections");
        let statement = AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
        connection.execute(statement).await.unwrap_or_else(|error| panic!("cannot create database {name}: {error}"));
        let _ = connection.close().await;
        self.url_of(name)
    }

    /// Stops the server gracefully and closes its connections.
    pub async fn stop(&mut self) {
        self.daemon.stop("INT").await;
    }

    /// Sends `SIGKILL`: the next start recovers from the WAL.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Restarts the server (after `SIGKILL` if it runs) with the same port and data.
    pub async fn restart(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.daemon.kill();
            self.daemon = spawn(&self.folder, self.port);
            if self.ready().await {
                return;
            }
            // after SIGKILL, orphaned child processes briefly hold the shared memory
            assert!(Instant::now() < deadline, "postgres does not start again:\n{}", self.daemon.output());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Waits until the server answers. Returns false if the process ended.
    async fn ready(&mut self) -> bool {
        let url = self.url();
        let daemon = Mutex::new(&mut self.daemon);
        until("postgres to answer", || async {
            if daemon.lock().expect("no other user").ended().is_some() {
                return Some(false);
            }
            let mut connection = PgConnection::connect(&url).await.ok()?;
            connection.execute("SELECT 1").await.ok()?;
            Some(true)
        })
        .await
    }
}

/// The URL of a new, empty database on a server shared by all tests of this process.
pub async fn database() -> String {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server = SHARED.get_or_init(Postgres::start).await;
    server.create_database(&format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))).await
}

fn new_folder() -> Folder {
    let folder = Folder::new("postgres");
    give_to_server(folder.path());
    folder
}

/// Makes the user of the server the owner of a file or folder.
fn give_to_server(path: &Path) {
    if let Some((user, group)) = server_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may change the owner");
    }
}

fn initialise(folder: &Folder) {
    let mut command = Command::new(binary("initdb"));
    command.arg("--pgdata").arg(folder.path().join("data"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    let output = as_server_user(command, folder.path()).output().expect("initdb can be started");
    assert!(output.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn spawn(folder: &Folder, port: u16) -> Daemon {
    let mut command = Command::new(binary("postgres"));
    command.arg("-D").arg(folder.path().join("data")).arg("-k").arg(folder.path());
    command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB"]);
    command.args(["-c", "fsync=on", "-c", "log_min_messages=warning", "-c", "max_connections=200"]);
    if folder.path().join(KEY).exists() {
        let setting = |name: &str, file: &str| format!("{name}={}", folder.path().join(file).display());
        command.args([
            "-c",
            "ssl=on",
            "-c",
            &setting("ssl_cert_file", CERTIFICATE),
            "-c",
            &setting("ssl_key_file", KEY),
        ]);
    }
    Daemon::spawn("postgres", as_server_user(command, folder.path()), folder.path())
}

/// Makes the command run as a user that the server accepts, in a folder which that user can enter.
pub fn as_server_user(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The ids of the user `postgres` if the test runs as root; otherwise `None`.
fn server_user() -> Option<(u32, u32)> {
    let current_user = fs::metadata("/proc/self").ok()?.uid();
    if current_user != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the users can be read");
    let ids = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == "postgres").then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(ids.expect("postgres does not run as root, and there is no user 'postgres' to run it as"))
}

/// The path of a `PostgreSQL` program.
pub fn binary(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    program(name, "PG_BIN", &folders)
}
