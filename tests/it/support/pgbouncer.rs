//! A private `PgBouncer`.

use std::fs;
use std::process::Command;
use std::time::Instant;

use living_map::history::Pooler;
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;
use url::Url;

use super::daemon::{Daemon, Folder, accepts, free_port, program};
use super::postgres::as_server_user;
use super::wait::PATIENCE;

/// Connections to the server for each database.
pub const POOL_SIZE: usize = 4;

/// A `PgBouncer` in front of a `PostgreSQL` server. Like the server it rejects root. Stopped when dropped.
pub struct PgBouncer {
    // before the folder: the process must be gone when its folder is removed
    daemon: Daemon,
    folder: Folder,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler in front of the server of `url`. `more` is appended to its settings.
    pub async fn start(url: &str, mode: Pooler, more: &str) -> Self {
        let folder = Folder::new("pgbouncer");
        let server = Url::parse(url).expect("a URL").port().expect("a port");
        let mut port = free_port();
        let mut daemon = spawn(&folder, server, port, mode, more);
        let deadline = Instant::now() + PATIENCE;
        while accepts(port).await.is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not start:\n{}", daemon.output());
            if daemon.ended().is_some() {
                // another process may have taken the port: retry with another one
                port = free_port();
                daemon = spawn(&folder, server, port, mode, more);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Self { daemon, folder, port }
    }

    /// The URL of the same database through the pooler.
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a URL with a host");
        url.into()
    }

    /// A connection through the pooler that sends no parameters which it rejects.
    pub async fn connect(&self, url: &str) -> PgConnection {
        let options: sqlx::postgres::PgConnectOptions = self.url(url).parse().expect("a URL");
        PgConnection::connect_with(&options.extra_float_digits(None)).await.expect("the pooler accepts connections")
    }

    /// Kills and restarts the pooler: its clients' connections are lost.
    pub async fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = run(&self.folder);
        super::wait::until("pgbouncer to start again", || async { accepts(self.port).await.ok() }).await;
    }
}

/// The URL of a new, empty database behind a pooler in transaction mode, which all tests of this process share.
pub async fn database() -> String {
    static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
    let url = super::postgres::database().await;
    SHARED.get_or_init(|| PgBouncer::start(&url, Pooler::Transaction, "")).await.url(&url)
}

fn spawn(folder: &Folder, server: u16, port: u16, mode: Pooler, more: &str) -> Daemon {
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
        [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
        pool_mode = {mode}\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = 400\n{more}\n"
    );
    fs::write(folder.path().join("pgbouncer.ini"), settings).expect("the settings can be written");
    run(folder)
}

fn run(folder: &Folder) -> Daemon {
    let mut command = Command::new(program("pgbouncer", "PGBOUNCER_BIN", &[]));
    command.arg(folder.path().join("pgbouncer.ini"));
    Daemon::spawn("pgbouncer", as_server_user(command, folder.path()), folder.path())
}
