//! The `living-map` binary as users run it.

use std::process::Command;

use super::daemon::{Daemon, Folder, free_port};
use super::wait::until;

/// A `living-map` process with a temporary folder. Killed when dropped.
pub struct Process {
    // before the folder: the process must be gone when its folder is removed
    daemon: Daemon,
    folder: Folder,
    program: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    port: u16,
}

impl Process {
    /// Starts `living-map serve` on a free port and waits until it is healthy. Only `environment` and `PORT` are set.
    pub async fn serve(environment: &[(&str, &str)]) -> Self {
        Self::start(&["serve"], environment).await
    }

    /// Starts `living-map serve` with a limit on file sizes, to simulate a full disk: writes beyond it fail.
    /// [`Self::lift_file_limit`] lifts the limit.
    pub async fn serve_with_file_limit(kilobytes: u64, environment: &[(&str, &str)]) -> Self {
        let limit = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" serve", kilobytes * 2);
        Self::run("/bin/sh", &["-c", &limit, env!("CARGO_BIN_EXE_living-map")], environment).await
    }

    /// Starts `living-map serve` with a limit on open files, as `ulimit` sets it (`-S` for the soft limit only).
    pub async fn serve_with_open_files(limit: &str, environment: &[(&str, &str)]) -> Self {
        let limit = format!("ulimit {limit}; exec \"$0\" serve");
        Self::run("/bin/sh", &["-c", &limit, env!("CARGO_BIN_EXE_living-map")], environment).await
    }

    /// See [`Self::serve_with_file_limit`].
    pub fn lift_file_limit(&self) {
        let pid = self.daemon.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit is needed (util-linux)");
    }

    /// Starts `living-map` with the given arguments and waits until it is healthy.
    pub async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(env!("CARGO_BIN_EXE_living-map"), arguments, environment).await
    }

    /// Starts another program with the same command line, such as another release's binary.
    pub async fn start_program(program: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(program, arguments, environment).await
    }

    async fn run(program: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let environment =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
        let (folder, port) = (Folder::new("server"), free_port());
        let daemon = spawn(&folder, program, &arguments, &environment, port);
        let mut process = Self { daemon, folder, program, arguments, environment, port };
        while !process.healthy().await {
            // another process has taken the port: retry with another one
            assert!(process.output().contains("Address already in use"), "living-map ended");
            process.port = free_port();
            process.spawn();
        }
        process
    }

    /// `http://127.0.0.1:<port>` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `ws://127.0.0.1:<port>` followed by `path`.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Its standard output and standard error so far.
    pub fn output(&self) -> String {
        self.daemon.output()
    }

    /// Stops the process gracefully, as a supervisor does.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.daemon.stop("TERM").await
    }

    /// Sends `SIGKILL`.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Restarts the process (after `SIGKILL` if it runs) with the same settings, folder and port.
    pub async fn restart(&mut self) {
        self.daemon.kill();
        self.spawn();
        assert!(self.healthy().await, "living-map ended");
    }

    fn spawn(&mut self) {
        self.daemon = spawn(&self.folder, self.program, &self.arguments, &self.environment, self.port);
    }

    /// Waits until the server is healthy. Returns false if the process ended.
    async fn healthy(&mut self) -> bool {
        let url = self.url("/living-map/health");
        let daemon = std::sync::Mutex::new(&mut self.daemon);
        until("living-map to be healthy", || async {
            if daemon.lock().expect("no other user").ended().is_some() {
                return Some(false);
            }
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(true)
        })
        .await
    }
}

/// Runs `living-map` to its end in a temporary folder. Only `environment` is set. Returns whether it succeeded, and what it wrote to
/// its standard output and standard error.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let folder = Folder::new("command");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_living-map"));
    command.args(arguments).current_dir(folder.path()).env_clear().envs(environment.iter().copied());
    let output = command.kill_on_drop(true).output().await.expect("the program starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn spawn(folder: &Folder, program: &str, arguments: &[String], environment: &[(String, String)], port: u16) -> Daemon {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).env_clear();
    command.env("PORT", port.to_string()).envs(environment.iter().map(|(key, value)| (key, value)));
    Daemon::spawn("living-map", command, folder.path())
}
