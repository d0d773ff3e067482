//! A child process with a temporary folder. Its output is recorded and printed if the test panics. Process and folder
//! are removed with their values, and also if the test process is killed.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Timeout for a process to stop before the test fails.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A folder that is removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Creates an empty folder in the system's temporary folder, with `name` in its name.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("living-map-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running child. Killed when dropped.
pub struct Daemon {
    name: &'static str,
    child: Child,
    watchdog: Child,
    log: PathBuf,
    ended: bool,
}

impl Daemon {
    /// Starts `command` and appends its output to `<folder>/<name>.log`. If this test process dies, the child is killed
    /// and `folder` removed.
    pub fn spawn(name: &'static str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("the log file can be opened");
        let errors = output.try_clone().expect("the log file can be shared");
        // a separate process group, so that an interrupt at the terminal reaches the test process first
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let watchdog = watchdog(child.id(), folder);
        Self { name, child, watchdog, log, ended: false }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("the child can be asked");
        self.ended |= status.is_some();
        status
    }

    /// Sends a signal (`TERM`, `INT`, `STOP`, `CONT`…).
    pub fn signal(&self, signal: &str) {
        let status = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {}", self.id())]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {signal} to {}", self.name);
    }

    /// Sends `signal` and waits until the process has ended.
    pub async fn stop(&mut self, signal: &str) -> ExitStatus {
        if let Some(status) = self.ended() {
            return status;
        }
        self.signal(signal);
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not stop within {STOP_TIMEOUT:?} of SIG{signal}", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends `SIGKILL`.
    pub fn kill(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.ended = true;
        }
    }

    /// The output of all its starts in this folder.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // first the watchdog: it could otherwise kill a later process with the same id
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} wrote:\n{}", self.name, self.output());
        }
    }
}

/// Starts a shell that waits for the end of its input, which is when this process ends for any reason, and then kills
/// the child. This also ends servers in statics, which are never dropped.
fn watchdog(child: u32, folder: &Path) -> Child {
    Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -KILL "$1" 2>/dev/null; sleep 1; rm -rf "$2""#, "watchdog", &child.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell can be started")
}

/// A free loopback port, below the range of ephemeral ports, so that a restarted server finds its port free.
pub fn free_port() -> u16 {
    const FROM: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // concurrent tests have adjacent process ids and must not try the same ports at the same time
    const APART: u32 = 97;
    let start = std::process::id().wrapping_mul(APART) % u32::from(COUNT);
    let start = u16::try_from(start).expect("it is below the count");
    for _ in 0..COUNT {
        let port = FROM + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on the loopback interface");
}

/// The path of program `name`: from the environment variable `variable` (a file, or a folder that contains it),
/// otherwise in `folders`, otherwise in `PATH`.
pub fn program(name: &str, variable: &str, folders: &[PathBuf]) -> PathBuf {
    if let Some(value) = std::env::var_os(variable) {
        let path = PathBuf::from(value);
        let path = if path.is_dir() { path.join(name) } else { path };
        assert!(path.is_file(), "{variable} is not the path of {name}: {}", path.display());
        return path;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).collect::<Vec<_>>();
    // servers are often installed in folders that are only in root's PATH
    let system = ["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from);
    folders
        .iter()
        .chain(&in_path)
        .chain(&system)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is needed: install it, or name it in {variable}"))
}

/// Connects to a loopback port.
pub async fn accepts(port: u16) -> io::Result<tokio::net::TcpStream> {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await
}
