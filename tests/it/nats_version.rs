//! Behaviour that depends on the version of nats-server.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::faults::environment;
use crate::support::nats::{self, NatsServer};
use crate::support::process::Process;
use crate::support::wait::until;

fn run(arguments: &[&str]) -> Output {
    Command::new(nats::binary()).args(arguments).output().expect("nats-server can be started")
}

/// True if the installed nats-server is older than 2.10.
fn is_before_2_10() -> bool {
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    let (_, version) = version.split_once(": v").unwrap_or_else(|| panic!("{version}"));
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) < (2, 10)
}

#[test]
fn nats_conf_did_not_start_on_2_9() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut files = vec!["nats-2.9.conf", "nats-cluster-2.9.conf"];
    if !is_before_2_10() {
        files.extend(["nats.conf", "nats-cluster.conf"]);
    }
    for file in files {
        let output = run(&["-t", "-c", deploy.join(file).to_str().unwrap()]);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_hid_what_nats_2_9_cannot_promise() {
    let nats = NatsServer::start().await;
    let url = nats.url();
    let server = Process::serve(&environment(&[("NATS_URL", &url)])).await;
    let ready = until("the log to be available", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        (ready["checks"]["log"]["status"] == "ok").then_some(ready)
    })
    .await;
    let log = &ready["checks"]["log"];
    match log["warning"].as_str() {
        Some(warning) => assert!(is_before_2_10() && warning.contains("power failure"), "{ready}"),
        None => assert!(!is_before_2_10() && log["warning"].is_null(), "{ready}"),
    }
}
