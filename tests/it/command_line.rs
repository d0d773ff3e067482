//! The program as its shell sees it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::support::daemon::Folder;
use super::support::nats::NatsServer;
use super::support::process::run;
use super::support::wait::until;

/// A server on embedded defaults that listens, and what reads the rest of its log.
struct Served {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    /// The log until it listened.
    start: String,
    _folder: Folder,
}

impl Served {
    fn new() -> Self {
        let folder = Folder::new("command-line");
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.arg("serve").current_dir(folder.path()).env("PORT", "0").env("SYNC_INTERVAL_SECONDS", "3600");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut start = String::new();
        while !start.contains("listening on") {
            assert_ne!(log.read_line(&mut start).expect("the log is text"), 0, "it ended at its start:\n{start}");
        }
        Self { child, log: Some(log), start, _folder: folder }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log line that cannot be written was reported to where it could not be written: a panic in whoever logged, and in
/// the task that was to stop the server.
#[tokio::test]
async fn a_server_whose_log_nobody_reads_any_more_still_stops() {
    let mut served = Served::new();
    drop(served.log.take());
    let terminated = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", served.child.id())]).status();
    assert!(terminated.is_ok_and(|status| status.success()));
    let status = until("the server to stop", || {
        let ended = served.child.try_wait().expect("it can be asked");
        async move { ended }
    });
    assert!(status.await.success());
}

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let served = Served::new();
    assert!(!served.start.contains('\u{1b}'), "{:?}", served.start);
}

/// It said that NATS does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn streams_check_reports_credentials_that_nats_rejects() {
    let nats = NatsServer::start_with("authorization: { user: me, password: secret }").await;
    let check = async |url: String| run(&["streams", "check", "--nats-url", &url], &[]).await.1;
    let refused = check(nats.url()).await;
    assert!(refused.contains("authorization violation"), "{refused}");
    let let_in = check(nats.url().replace("//", "//me:secret@")).await;
    assert!(let_in.contains("living-map streams apply"), "{let_in}");
}

/// An invalid option was retried forever without a message.
#[test]
fn tail_reports_a_rejected_request_and_ends() {
    let served = Served::new();
    let address = served.start.split("listening on ").nth(1).expect("it listens").trim();
    for (option, value) in [("--cursor", "zzz"), ("--layers", "moon"), ("--types", "a..b")] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_living-map")).args(["tail", "--url", address, option, value]).output();
        let error = String::from_utf8_lossy(&output.expect("the program starts").stderr).into_owned();
        assert!(error.contains(&format!("rejected the request: {}", option.trim_start_matches('-'))), "{error}");
    }
}

/// An error repeated an address with its password, and did not state the expected value of a number.
#[test]
fn a_refused_setting_is_named_and_no_password_is_repeated() {
    for (variable, value, expected) in [
        ("AGENTS_SERVICE_URL", "https://me:secret@exa mple", "expected an address"),
        ("PORT", "abc", "'abc' for '--port <PORT>': expected a whole number"),
        ("PORT", "70000", "70000 is not in 0..=65535"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_living-map")).arg("serve").env(variable, value).output();
        let output = output.expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(variable) && error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
