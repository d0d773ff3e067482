//! Alert rules, on both logs: each alert is raised once and cleared once, over kills and changes of leader.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::faults::environment;
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::receiver::{Answer, Receiver, secret};
use crate::support::wait::until;

const RULES: &str = r#"
[[rule]]
name = "errors"
kind = "rate"
events = "agent.error"
group_by = "entity_id"
window_seconds = 4
above = 2
title = "{group} fails"
"#;

async fn get(server: &Process, path: &str) -> Option<Value> {
    let answer = reqwest::get(server.url(path)).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn errors(server: &Process, count: usize) {
    let event = json!({"event_type": "agent.error", "payload": {"agent_id": "agent:sofia"}});
    let events = vec![event; count];
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&events).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// Waits until the alert is active, or until it is not.
async fn wait_for_alert(server: &Process, active: bool) {
    until(&format!("the alert to be active: {active}"), || async {
        let alerts = get(server, "/living-map/alerts").await?;
        let there = alerts["items"].as_array()?.iter().any(|alert| alert["id"] == "errors:agent:sofia");
        (there == active).then_some(())
    })
    .await;
}

/// Number of raised and of cleared events so far.
async fn transitions(server: &Process) -> Option<(usize, usize)> {
    let page = get(server, "/living-map/history?event_type=living_map.alert.*&limit=1000").await?;
    let items = page["items"].as_array()?;
    let count =
        |state: &str| items.iter().filter(|item| item["event_type"] == format!("living_map.alert.{state}")).count();
    Some((count("raised"), count("cleared")))
}

async fn wait_for_transitions(server: &Process, expected: (usize, usize)) {
    until(&format!("{expected:?} in history"), || async { (transitions(server).await? == expected).then_some(()) })
        .await;
}

/// Waits until the server leads and evaluates the rules.
async fn wait_until_leading(server: &Process) {
    until("the server to lead", || async {
        let ready = get(server, "/living-map/ready").await?;
        (ready["checks"]["lease"]["role"] == "leading" && ready["checks"]["alerts"]["status"] == "ok").then_some(())
    })
    .await;
}

async fn raise_and_clear_once_over_a_kill(server: &mut Process) {
    wait_until_leading(server).await;
    until("the alert to be raised", || async {
        errors(server, 1).await;
        let alerts = get(server, "/living-map/alerts").await?;
        (alerts["items"][0]["id"] == "errors:agent:sofia").then_some(())
    })
    .await;
    errors(server, 20).await;
    server.restart().await;
    wait_until_leading(server).await;
    errors(server, 20).await;
    wait_for_alert(server, true).await;
    wait_for_transitions(server, (1, 0)).await;
    wait_for_alert(server, false).await;
    wait_for_transitions(server, (1, 1)).await;
}

/// On the table log; a changed rule file is reloaded, an invalid one is not.
#[tokio::test(flavor = "multi_thread")]
async fn rules_on_the_table_log_and_reload_of_their_file() {
    let folder = Folder::new("alerts");
    let file = folder.path().join("alerts.toml");
    fs::write(&file, RULES).unwrap();
    let path = file.display().to_string();
    let settings =
        [("ALERT_RULES", path.as_str()), ("ALERT_RULES_RELOAD_SECONDS", "0.1"), ("ALERT_INTERVAL_SECONDS", "0.1")];
    let mut server = Process::serve(&environment(&settings)).await;
    raise_and_clear_once_over_a_kill(&mut server).await;

    let check =
        async |server: &Process| get(server, "/living-map/ready").await.map(|ready| ready["checks"]["alerts"].clone());
    fs::write(&file, RULES.replace("rate", "rata")).unwrap();
    let broken = until("the broken file to be seen", || async {
        check(&server).await.filter(|check| check["status"] == "down")
    })
    .await;
    assert!(broken["error"].as_str().unwrap().contains("rule errors: kind: 'rata'"), "{broken}");
    assert_eq!(broken["rules"], 1, "the previous rules stay in force");
    let journal = get(&server, "/living-map/errors?target=alert+rules").await.unwrap();
    assert_eq!(journal["items"].as_array().unwrap().len(), 1, "{journal}");
    errors(&server, 5).await;
    wait_for_alert(&server, true).await;

    // removing a rule clears its alert
    fs::write(&file, RULES.replace("\"errors\"", "\"others\"")).unwrap();
    until("the good file to be in force", || async { check(&server).await.filter(|check| check["status"] == "ok") })
        .await;
    wait_for_alert(&server, false).await;
    wait_for_transitions(&server, (2, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_on_jetstream_and_postgres_over_a_leader_change() {
    let nats = NatsServer::start().await;
    let (url, nats_url, folder) = (postgres::database().await, nats.url(), Folder::new("alerts"));
    let file = folder.path().join("alerts.toml");
    fs::write(&file, RULES.replace("window_seconds = 4", "window_seconds = 8")).unwrap();
    let path = file.display().to_string();
    let settings = [
        ("ALERT_RULES", path.as_str()),
        ("ALERT_INTERVAL_SECONDS", "0.1"),
        ("LEASE_SECONDS", "2"),
        ("DATABASE_URL", url.as_str()),
        ("NATS_URL", nats_url.as_str()),
    ];
    let mut first = Process::serve(&environment(&settings)).await;
    wait_until_leading(&first).await;
    let second = Process::serve(&environment(&settings)).await;
    until("the alert to be raised", || async {
        errors(&first, 1).await;
        let alerts = get(&second, "/living-map/alerts").await?;
        (alerts["items"][0]["id"] == "errors:agent:sofia").then_some(())
    })
    .await;
    first.kill();
    errors(&second, 20).await;
    wait_until_leading(&second).await;
    errors(&second, 20).await;
    wait_for_transitions(&second, (1, 0)).await;
    wait_for_alert(&second, false).await;
    wait_for_transitions(&second, (1, 1)).await;
    let jetstream = async_nats::jetstream::new(nats.client().await);
    let stream = jetstream.get_stream("LIVING_MAP").await.unwrap();
    let message = stream.get_last_raw_message_by_subject("living_map.alert.raised").await.unwrap();
    let raised: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(raised["payload"]["rule"], "errors", "a NATS subscriber receives it: {raised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_raises_and_clears_alerts() {
    let server = Process::start(&["demo", "--events-per-second", "60"], &[]).await;
    until("alerts to be raised and cleared", || async {
        transitions(&server).await.filter(|(raised, cleared)| *raised > 0 && *cleared > 0)
    })
    .await;
}

/// A rule over dead letters replaces the built-in alert.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_letters_are_one_alert_with_or_without_a_rule() {
    const RULE: &str = "[[rule]]\nname = \"dead-letters\"\nover = \"dead_letters\"\nkind = \"threshold\"\nabove = 0\ntitle = \"dead\"\n";
    let (folder, receiver) = (Folder::new("alerts"), Receiver::start().await);
    receiver.answer_all(Some(Answer::status(410)));
    let (file, key) = (folder.path().join("alerts.toml"), folder.path().join("key"));
    fs::write(&key, secret()).unwrap();
    let (url, key) = (&receiver.url, key.display());
    let webhook =
        format!("[[webhook]]\nname = \"gone\"\nurl = \"{url}\"\nsecret_file = \"{key}\"\nseverity = \"critical\"\n");
    fs::write(&file, format!("{RULE}{webhook}")).unwrap();
    let path = file.display().to_string();
    let settings = [
        ("ALERT_RULES", path.as_str()),
        ("ALERT_RULES_RELOAD_SECONDS", "0.1"),
        ("ALERT_INTERVAL_SECONDS", "0.1"),
        ("DEAD_LETTER_ALERT_THRESHOLD", "0"),
    ];
    let server = Process::serve(&environment(&settings)).await;
    wait_until_leading(&server).await;
    let event = json!({"event_type": "ops.alert.critical", "payload": {"alert_id": "disk", "title": "disk full"}});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    assert!(answer.status().is_success());
    let ids = async || {
        let alerts = get(&server, "/living-map/alerts").await?;
        let ids = alerts["items"].as_array()?.iter().map(|alert| alert["id"].as_str().unwrap().to_owned());
        Some(ids.filter(|id| id != "disk").collect::<Vec<_>>())
    };
    until("the rule's alert", async || ids().await.filter(|ids| ids == &["dead-letters:dead"])).await;
    // the dead letter service has counted them, too
    until("the dead letter metric", || async {
        let metrics = reqwest::get(server.url("/metrics")).await.ok()?.text().await.ok()?;
        metrics.contains("living_map_dead_letters 1").then_some(())
    })
    .await;
    assert_eq!(ids().await.unwrap(), ["dead-letters:dead"]);
    fs::write(&file, &webhook).unwrap();
    until("the built-in alert", async || ids().await.filter(|ids| ids == &["dead_letters"])).await;
    fs::write(&file, format!("{RULE}{webhook}")).unwrap();
    until("the rule's alert again", async || ids().await.filter(|ids| ids == &["dead-letters:dead"])).await;
}

#[test]
fn a_rule_file_is_checked_on_the_command_line() {
    let folder = Folder::new("alerts");
    let file = folder.path().join("alerts.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_living-map")).args(["alerts", "check"]).arg(&file).env_clear().output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(RULES), (true, "1 alert rules, all valid\n".to_owned(), String::new()));
    let (success, _, error) = check(&RULES.replace("above = 2", "").replace("agent.error", ">.x"));
    assert!(
        !success && error.contains("rule errors: above, below") && error.contains("rule errors: events:"),
        "{error}"
    );
}
