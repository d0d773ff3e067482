//! Standalone learners (`living-map learn`) beside a server that does not learn.

use std::process::Command;

use async_nats::jetstream::consumer::{Consumer, pull};
use futures::StreamExt;
use serde_json::Value;

use super::live::{DURABLE, burst, get, open_lessons, publish, wait_for_rows};
use crate::support::daemon::{Daemon, Folder, free_port};
use crate::support::nats::NatsServer;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

/// A `living-map learn` process.
struct Standalone {
    // declared before the folder, so that the process ends before its folder is removed
    daemon: Daemon,
    _folder: Folder,
    port: u16,
}

impl Standalone {
    fn start(environment: &[(&str, &str)]) -> Self {
        let (folder, port) = (Folder::new("learner"), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.arg("learn").env_clear().envs(environment.iter().copied()).env("LEARNER_PORT", port.to_string());
        command.current_dir(folder.path());
        Self { daemon: Daemon::spawn("learner", command, folder.path()), _folder: folder, port }
    }

    /// Waits until its health endpoint reports the status.
    async fn wait_for(&self, status: &str) -> Value {
        until(&format!("a learner that is {status}"), || async {
            let answer = reqwest::get(format!("http://127.0.0.1:{}/health", self.port)).await.ok()?;
            answer.json::<Value>().await.ok().filter(|health| health["learner"]["status"] == status)
        })
        .await
    }

    async fn metrics(&self) -> String {
        reqwest::get(format!("http://127.0.0.1:{}/metrics", self.port)).await.unwrap().text().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_scrape_of_a_learner_lacked_rejected_hosts() {
    let (nats, url) = (NatsServer::start().await, database().await);
    let learner = Standalone::start(&[("DATABASE_URL", &*url), ("NATS_URL", &nats.url())]);
    let address = format!("http://127.0.0.1:{}/metrics", learner.port);
    until("the learner to answer", || async { reqwest::get(&address).await.ok() }).await;
    let denied = |metrics: &str, count: u32| {
        let line = format!(r#"living_map_access_denied_total{{reason="host"}} {count}"#);
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    };
    denied(&learner.metrics().await, 0);
    let rebound = reqwest::Client::new().get(&address).header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 421);
    denied(&learner.metrics().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_learners_take_over_from_each_other() {
    let (nats, url) = (NatsServer::start().await, database().await);
    let nats_url = nats.url();
    let shared = [("DATABASE_URL", &*url), ("NATS_URL", &*nats_url)];
    let server = Process::start(&["serve"], &[&shared[..], &[("LEARNER_ENABLED", "false")]].concat()).await;
    until("a server that does not learn", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?.error_for_status().ok()?;
        let ready: Value = ready.json().await.ok()?;
        ready["checks"]["learner"].is_null().then_some(())
    })
    .await;
    let environment = [&shared[..], &[("LEASE_SECONDS", "2"), ("EXPERIENCE_ACK_WAIT_SECONDS", "1")]].concat();
    let mut first = Standalone::start(&environment);
    let client = nats.client().await;
    let jetstream = async_nats::jetstream::new(client.clone());
    until("the stream of experiences", || async { jetstream.get_stream("EXPERIENCE").await.ok() }).await;
    publish(&client, &burst("agent:one")).await;
    wait_for_rows(&url, 1).await;
    assert_eq!(first.wait_for("ok").await["service"], "living-map-learner");
    until("acknowledgements", || async {
        first.metrics().await.lines().any(|line| line == "js_messages_acked_total 3").then_some(())
    })
    .await;
    until("the lesson on the map", || async { (open_lessons(&server).await?["count"] == 1).then_some(()) }).await;

    // a second learner waits, and continues in the middle of a burst when the first is killed
    let mut second = Standalone::start(&environment);
    second.wait_for("waiting").await;
    publish(&client, &burst("agent:two")[..2]).await;
    until("two more experiences", || async {
        first.metrics().await.lines().any(|line| line == "js_messages_acked_total 5").then_some(())
    })
    .await;
    first.daemon.kill();
    publish(&client, &burst("agent:two")[2..]).await;
    wait_for_rows(&url, 2).await;
    second.wait_for("ok").await;

    // another client fetches experiences and does not acknowledge them
    assert!(second.daemon.stop("TERM").await.success());
    publish(&client, &burst("agent:three")).await;
    let consumer: Consumer<pull::Config> = jetstream.get_consumer_from_stream(DURABLE, "EXPERIENCE").await.unwrap();
    let mut withheld = consumer.fetch().max_messages(3).messages().await.unwrap();
    while let Some(Ok(_)) = withheld.next().await {}
    let mut third = Standalone::start(&environment);
    wait_for_rows(&url, 3).await;
    until("redeliveries", || async {
        let metrics = third.metrics().await;
        metrics.lines().any(|line| line == "js_messages_redelivered_total 3").then_some(())
    })
    .await;
    let lessons = get(&server, "/living-map/lessons").await["items"].as_array().unwrap().len();
    assert_eq!(lessons, 3, "the server shows the lessons of the learners");
    assert!(third.daemon.stop("TERM").await.success());
}
