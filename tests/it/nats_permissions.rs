//! Permissions on NATS: the least ones, as documented, suffice; a missing one is named at once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::future::join_all;
use living_map::model::subject::{MAP_SUBJECTS, NETWORK_SUBJECTS};
use reqwest::Client;
use serde_json::{Value, json};

use super::support::daemon::{Daemon, Folder, free_port};
use super::support::nats::NatsServer;
use super::support::postgres;
use super::support::process::{Process, run};
use super::support::wait::until;

const PASSWORD: &str = "hunter2";

/// The documented configuration, with passwords, and with an administrator as the user of clients without credentials.
fn documented() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md")).unwrap();
    let block =
        page.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of configuration");
    let block = block.replace("$LIVING_MAP_PASSWORD", PASSWORD).replace("$LEARNER_PASSWORD", PASSWORD);
    let users = "users = [";
    assert!(block.contains(users));
    let users_and_admin = format!("{users}\n{{ user: admin, password: {PASSWORD} }}");
    format!("{}\nno_auth_user: admin\n", block.replacen(users, &users_and_admin, 1))
}

/// The configuration without the lines after a comment, up to the next comment or the end of the list.
fn without_section(configuration: &str, comment: &str) -> String {
    let (before, rest) = configuration.split_once(comment).expect("the comment");
    let end = ["#", "]"].iter().filter_map(|end| rest.find(end)).min().expect("the end of the list");
    format!("{before}{}", &rest[end..])
}

fn settings<'a>(url: &'a str, database: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("NATS_URL", url),
        ("NATS_USER", "living-map"),
        ("NATS_PASSWORD", PASSWORD),
        ("NATS_INBOX_PREFIX", "_INBOX_living_map"),
        ("DATABASE_URL", database),
    ]
}

async fn get(server: &Process, path: &str) -> Option<Value> {
    reqwest::get(server.url(path)).await.ok()?.json().await.ok()
}

/// Waits until log, history writer and learner work.
async fn works(server: &Process, learns: bool) {
    let checks = until("a server that works", || async {
        let checks = get(server, "/living-map/ready").await?["checks"].take();
        let works = checks["log"]["status"] == "ok"
            && (checks["writer"]["status"] == "ok" && checks["writer"]["lag"] == 0)
            && checks["map"]["following"] == "current"
            && (!learns || (checks["learner"]["status"] == "ok" && checks["learner"]["lag"] == 0));
        works.then_some(checks)
    })
    .await;
    let warning = checks["log"]["warning"].as_str().unwrap_or_default();
    assert!(!warning.contains("permission"), "{warning}");
}

/// Asserts that NATS has denied nothing to a process.
async fn nothing_was_denied(metrics: String) {
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("living_map_nats_denied_total 0"), "{metrics}");
}

/// Publishes an event of every recorded subject over HTTP.
async fn publish_all(server: &Process, round: &str) -> usize {
    // experiences are not in the log, and the server's own subjects are reserved for it
    let not_over_http = ["experience", "living_map."];
    let recorded = MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS);
    let recorded = recorded.filter(|subject| !not_over_http.iter().any(|part| subject.contains(part)));
    let events: Vec<Value> = recorded
        .map(|subject| {
            let event_type = subject.replace(['>', '*'], "x");
            json!({"event_type": event_type, "payload": {"round": round}})
        })
        .collect();
    let answer = Client::new().post(server.url("/living-map/events")).json(&events).send().await.unwrap();
    let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().expect("a list");
    assert!(results.iter().all(|result| result["status"] == "accepted"), "{answer}");
    events.len()
}

async fn wait_for_history(server: &Process, round: &str, count: usize) {
    until(&format!("{count} events of {round} in the history"), || async {
        let history = get(server, "/living-map/history?limit=1000").await?;
        let items = history["items"].as_array()?;
        (items.iter().filter(|item| item["payload"]["round"] == round).count() == count).then_some(())
    })
    .await;
}

/// Publishes an experience as another service does.
async fn publish_experience(nats: &NatsServer) {
    let client = nats.client().await;
    let body = json!({"agent_id": "agent:one", "task_type": "answer", "outcome": {"success": true}});
    client.publish("agent.experience.v1.one", body.to_string().into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_suffice() {
    let (nats, database) = (NatsServer::start_with(&documented()).await, postgres::database().await);
    let url = nats.url();
    let environment = settings(&url, &database);
    let mut server = Process::serve(&environment).await;
    works(&server, true).await;
    let count = publish_all(&server, "first").await;
    wait_for_history(&server, "first", count).await;
    publish_experience(&nats).await;
    // a message that the client library cannot read is moved to the end of the log
    nats.publish_raw(b"city.event.x", Some(b"NATS/1.0\r\nno colon\r\n\r\n"), b"{\"round\": \"unreadable\"}").await;
    wait_for_history(&server, "unreadable", 1).await;
    works(&server, true).await;

    // the log is lost and created again
    jetstream::new(nats.client().await).delete_stream("LIVING_MAP").await.unwrap();
    until("the log to be created again", || async {
        jetstream::new(nats.client().await).get_stream("LIVING_MAP").await.ok().map(drop)
    })
    .await;
    works(&server, true).await;
    let count = publish_all(&server, "second").await;
    wait_for_history(&server, "second", count).await;
    nothing_was_denied(server.url("/metrics")).await;
    server.stop().await;
    for arguments in [&["log", "new-epoch"][..], &["streams", "apply"], &["streams", "check"]] {
        let (good, said) = run(arguments, &environment).await;
        assert!(good && !said.contains("permission"), "{arguments:?}: {said}");
    }
    server.restart().await;
    works(&server, true).await;
    nothing_was_denied(server.url("/metrics")).await;
}

/// An administrator creates the streams, and the learner is a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_suffice_without_stream_management() {
    let configuration = without_section(&documented(), "# creating and extending streams");
    assert!(!configuration.contains("STREAM.CREATE"), "{configuration}");
    let configuration = without_section(&configuration, "# the learner; not with");
    let (nats, database) = (NatsServer::start_with(&configuration).await, postgres::database().await);
    let url = nats.url();
    let (good, said) = run(&["streams", "apply"], &[("NATS_URL", &url)]).await;
    assert!(good, "{said}");
    let unmanaged = [("NATS_MANAGE_STREAMS", "false"), ("LEARNER_ENABLED", "false")];
    let server = Process::serve(&[&settings(&url, &database)[..], &unmanaged].concat()).await;
    works(&server, false).await;
    let count = publish_all(&server, "first").await;
    wait_for_history(&server, "first", count).await;

    let (folder, port) = (Folder::new("learner"), free_port());
    let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
    command.arg("learn").env_clear().envs(settings(&url, &database)).envs(unmanaged).current_dir(folder.path());
    command.env("LEARNER_PORT", port.to_string()).env("NATS_USER", "living-map-learner");
    command.env("NATS_INBOX_PREFIX", "_INBOX_living_map_learner");
    let learner = Daemon::spawn("learner", command, folder.path());
    publish_experience(&nats).await;
    until("the learner to learn", || async {
        let health = reqwest::get(format!("http://127.0.0.1:{port}/health")).await.ok()?.json::<Value>().await.ok()?;
        let learner = &health["learner"];
        (learner["status"] == "ok" && learner["lag"] == 0).then_some(())
    })
    .await;
    nothing_was_denied(server.url("/metrics")).await;
    nothing_was_denied(format!("http://127.0.0.1:{port}/metrics")).await;
    drop(learner);
}

/// Waits until a text of the readiness response names the missing permission.
async fn ready_names(server: &Process, check: &str, field: &str, permission: &str) {
    until(&format!("{check}.{field} to name {permission}"), || async {
        let ready = get(server, "/living-map/ready").await?;
        ready["checks"][check][field].as_str()?.contains(permission).then_some(())
    })
    .await;
    until("the permission in the log", async || server.output().contains(permission).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_by_readiness_and_log() {
    let cases = [
        ("\"$JS.API.STREAM.INFO.*\", ", "log", "error", "publish to \"$JS.API.STREAM.INFO."),
        (
            "\"$JS.API.CONSUMER.MSG.NEXT.LIVING_MAP.*\"",
            "log",
            "error",
            "publish to \"$JS.API.CONSUMER.MSG.NEXT.LIVING_MAP.",
        ),
        ("\"_INBOX_living_map.>\"", "log", "error", "subscribe to \"_INBOX_living_map.>\""),
        (
            "\"$JS.ACK.LIVING_MAP.living-map-history.>\"",
            "writer",
            "error",
            "publish to \"$JS.ACK.LIVING_MAP.living-map-history.>\"",
        ),
        (
            "\"$JS.API.CONSUMER.CREATE.LIVING_MAP.living-map-history\"",
            "writer",
            "error",
            "publish to \"$JS.API.CONSUMER.CREATE.LIVING_MAP.living-map-history\"",
        ),
        ("\"$JS.ACK.EXPERIENCE.experience-learner-v1.>\"", "learner", "error", "publish to \"$JS.ACK.EXPERIENCE."),
    ];
    let documented = documented();
    join_all(cases.map(|(removed, check, field, permission)| {
        // an empty list would permit everything
        let instead = if removed.ends_with(", ") { "\"elsewhere.>\", " } else { "\"elsewhere.>\"" };
        let configuration = documented.replacen(removed, instead, 1);
        assert_ne!(configuration, documented, "{removed}");
        async move {
            let nats = NatsServer::start_with(&configuration).await;
            let (good, said) = run(&["streams", "apply"], &[("NATS_URL", &nats.url())]).await;
            assert!(good, "{said}");
            let client = nats.client().await;
            client.publish("city.event.x", "{}".into()).await.unwrap();
            publish_experience(&nats).await;
            let server = Process::serve(&settings(&nats.url(), "sqlite://map.db")).await;
            ready_names(&server, check, field, permission).await;
        }
    }))
    .await;
}

/// `streams apply` was suggested, which lacks the same permission.
#[tokio::test(flavor = "multi_thread")]
async fn streams_check_without_an_inbox_names_the_setting() {
    let nats = NatsServer::start_with(&documented()).await;
    let url = nats.url();
    let mut environment = settings(&url, "sqlite://map.db");
    environment.retain(|(name, _)| *name != "NATS_INBOX_PREFIX");
    let (good, said) = run(&["streams", "check"], &environment).await;
    assert!(!good && said.contains("subscribe to \"_INBOX.>\"; NATS_INBOX_PREFIX"), "{said}");
    assert!(said.contains("7 stream(s) cannot be compared") && !said.contains("streams apply"), "{said}");
}

/// They used to end after 35 seconds, with "JetStream does not answer".
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_ends_requests_at_once() {
    let configuration = documented().replace("\"$JS.API.STREAM.CREATE.*\", ", "").replace("\"city.event.>\", ", "");
    let nats = NatsServer::start_with(&configuration).await;
    let url = nats.url();
    let environment = settings(&url, "sqlite://map.db");
    let (good, said) = run(&["streams", "apply"], &[("NATS_URL", &url)]).await;
    assert!(good, "{said}");
    let jetstream = jetstream::new(nats.client().await);
    jetstream.delete_stream("MEMORY").await.unwrap();
    let begun = Instant::now();
    let (good, said) = run(&["streams", "apply"], &environment).await;
    assert!(said.contains("1 stream(s) cannot be applied"), "it was counted as a difference: {said}");
    let expected = "MEMORY: the NATS account lacks a permission: publish to \"$JS.API.STREAM.CREATE.MEMORY\"";
    assert!(!good && said.contains(expected), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let server = Process::serve(&environment).await;
    works_except_warning(&server).await;
    let begun = Instant::now();
    let event = json!({"event_type": "city.event.x", "payload": {}});
    let answer = Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 503, "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("lacks a permission: publish to \"city.event.x\""), "a sender learned no subject: {text}");
    assert_eq!(problem["field"], "event_type", "{text}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    ready_names(&server, "log", "warning", "publish to \"city.event.x\"").await;
}

/// Waits until the log can be used.
async fn works_except_warning(server: &Process) {
    until("a log that works", || async {
        let ready = get(server, "/living-map/ready").await?;
        (ready["checks"]["log"]["status"] == "ok").then_some(())
    })
    .await;
}
