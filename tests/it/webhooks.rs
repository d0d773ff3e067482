//! Alerts sent to webhooks, by real servers to a real receiver: each once, over restarts, kills and changes of leader.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::faults::environment;
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::receiver::{Answer, Receiver, secret};
use crate::support::wait::until;

/// A rule file with one webhook, and the file of its key.
struct Files(Folder);

impl Files {
    fn new(receiver: &Receiver, more: &str) -> Self {
        let files = Self(Folder::new("webhooks"));
        fs::write(files.0.path().join("secret"), secret()).unwrap();
        files.write(receiver, more);
        files
    }

    fn write(&self, receiver: &Receiver, more: &str) {
        fs::write(self.path(), self.table("ops", receiver, more)).unwrap();
    }

    fn table(&self, name: &str, receiver: &Receiver, more: &str) -> String {
        let (url, key) = (&receiver.url, self.0.path().join("secret"));
        let key = key.display();
        format!("[[webhook]]\nname = \"{name}\"\nurl = \"{url}?path=hunter2\"\nsecret_file = \"{key}\"\n{more}")
    }

    fn path(&self) -> String {
        self.0.path().join("alerts.toml").display().to_string()
    }
}

fn settings<'a>(file: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("ALERT_RULES", file),
        ("ALERT_RULES_RELOAD_SECONDS", "0.1"),
        ("WEBHOOK_TIMEOUT_SECONDS", "2"),
        ("WEBHOOK_RETRY_SECONDS", "0.1,0.2"),
        ("LOG_LEVEL", "living_map=debug,info"),
    ];
    environment(&[&own[..], more].concat())
}

async fn get(server: &Process, path: &str) -> Option<Value> {
    let answer = reqwest::get(server.url(path)).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn post(server: &Process, path: &str, body: &Value) -> Value {
    let answer = reqwest::Client::new().post(server.url(path)).json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap_or_default()
}

async fn raise(server: &Process, id: &str, severity: &str) {
    let payload = json!({"alert_id": id, "title": "disk full", "service": "node-exporter"});
    let event = json!({"event_type": format!("ops.alert.{severity}"), "payload": payload});
    post(server, "/living-map/events", &event).await;
}

async fn clear(server: &Process, id: &str) {
    let event = json!({"event_type": "ops.alert.critical", "payload": {"alert_id": id, "status": "resolved"}});
    post(server, "/living-map/events", &event).await;
}

async fn wait_until_leading(server: &Process) {
    until("the server to lead", || async {
        let ready = get(server, "/living-map/ready").await?;
        (ready["checks"]["lease"]["role"] == "leading" && ready["checks"]["map"]["following"] == "current")
            .then_some(())
    })
    .await;
}

async fn check(server: &Process) -> Option<Value> {
    get(server, "/living-map/ready").await.map(|ready| ready["checks"]["webhooks"][0].clone())
}

async fn all_sent(server: &Process) {
    until("an empty queue", || async { check(server).await.filter(|check| check["waiting"] == 0) }).await;
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect()
}

/// Once when raised and once when cleared; a silence holds back what is raised.
#[tokio::test(flavor = "multi_thread")]
async fn each_alert_is_sent_once_and_silences_hold_back() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "severity = \"warning\"");
    let path = files.path();
    let mut server = Process::serve(&settings(&path, &[])).await;
    wait_until_leading(&server).await;
    raise(&server, "disk", "warning").await;
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].body["type"], "living_map.alert.raised");
    let data = &got[0].body["data"];
    assert_eq!(
        (&data["id"], &data["severity"], &data["title"]),
        (&json!("disk"), &json!("warning"), &json!("disk full"))
    );
    assert!(data["cursor"].is_string() && got[0].body["timestamp"].is_string(), "{}", got[0].body);

    // reported again, by the network and after a kill, it is the same alert
    raise(&server, "disk", "warning").await;
    raise(&server, "nothing", "info").await;
    server.restart().await;
    wait_until_leading(&server).await;
    raise(&server, "disk", "critical").await;
    clear(&server, "disk").await;
    receiver.wait_for(2).await;
    clear(&server, "disk").await;

    // a silence holds back raised alerts; those still active when it ends are sent then
    let silence = post(&server, "/living-map/alerts/silences", &json!({"alert": "loud", "minutes": 5})).await;
    post(&server, "/living-map/alerts/silences", &json!({"alert": "short", "minutes": 5})).await;
    for id in ["loud", "short"] {
        raise(&server, id, "critical").await;
    }
    clear(&server, "short").await;
    raise(&server, "other", "critical").await;
    receiver.wait_for(3).await;
    let path = format!("/living-map/alerts/silences/{}", silence["id"].as_str().unwrap());
    reqwest::Client::new().delete(server.url(&path)).send().await.unwrap();
    receiver.wait_for(4).await;
    // the end of an alert that was sent is sent too, silenced or not
    post(&server, "/living-map/alerts/silences", &json!({"alert": "loud", "minutes": 5})).await;
    clear(&server, "loud").await;
    receiver.wait_for(5).await;
    all_sent(&server).await;
    let expected =
        [("disk", "raised"), ("disk", "cleared"), ("other", "raised"), ("loud", "raised"), ("loud", "cleared")];
    assert_eq!(receiver.taken(), pairs(&expected));

    // a new destination receives the active alerts
    let added = Receiver::start().await;
    let both = files.table("ops", &receiver, "severity = \"warning\"\n") + &files.table("added", &added, "");
    fs::write(files.path(), both).unwrap();
    let mut received = added.wait_for(2).await.iter().map(super::support::receiver::Got::what).collect::<Vec<_>>();
    received.sort();
    assert_eq!(received, pairs(&[("nothing", "raised"), ("other", "raised")]));
    clear(&server, "other").await;
    receiver.wait_for(6).await;
    added.wait_for(3).await;
    assert_eq!((receiver.got().len(), added.got().len()), (6, 3));

    // neither key nor URL is logged or shown
    let ready = reqwest::get(server.url("/living-map/ready")).await.unwrap().text().await.unwrap();
    for text in [server.output(), ready] {
        assert!(!text.contains("hunter2") && !text.contains(&secret()[6..]), "{text}");
    }
}

/// A dead letter can be replayed or discarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_message_is_retried_and_then_a_dead_letter() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let path = files.path();
    let server = Process::serve(&settings(&path, &[("WEBHOOK_MAX_WAITING", "2")])).await;
    wait_until_leading(&server).await;

    // Retry-After is respected; a redirect is not followed
    let elsewhere = Receiver::start().await;
    let redirect = Answer { location: Some(elsewhere.url.clone()), ..Answer::status(302) };
    receiver.answer([Answer { retry_after: Some(1), ..Answer::status(503) }, redirect]);
    raise(&server, "first", "critical").await;
    let got = receiver.wait_for(3).await;
    assert!(got.iter().all(|message| message.id == got[0].id), "the same message has the same id");
    assert!(got[1].at - got[0].at >= Duration::from_secs(1) - Duration::from_millis(50), "Retry-After");
    assert!(got[2].at - got[1].at >= Duration::from_millis(150), "WEBHOOK_RETRY_SECONDS");
    assert_eq!((receiver.taken(), elsewhere.got().len()), (pairs(&[("first", "raised")]), 0));

    // all attempts fail
    receiver.answer_all(Some(Answer::status(500)));
    raise(&server, "second", "critical").await;
    receiver.wait_for(4).await;
    let letter = until("a dead letter", || async {
        let page = get(&server, "/living-map/dead-letters?status=dead").await?;
        page["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!((&letter["processor"], &letter["attempts"]), (&json!("webhook"), &json!(3)), "{letter}");
    assert!(letter["error"].as_str().unwrap().contains("500"), "{letter}");
    until("the published dead letter", || async {
        let page = get(&server, "/living-map/history?event_type=living_map.webhook.dlq").await?;
        (page["items"][0]["payload"]["destination"] == "ops").then_some(())
    })
    .await;
    let journal = get(&server, "/living-map/errors?target=webhook:ops").await.unwrap();
    assert!(journal["items"].as_array().unwrap().len() >= 5, "{journal}");
    receiver.answer_all(None);
    let id = letter["id"].as_str().unwrap();
    // 409 while the dead letter service records that it is published
    let replayed = until("the replay", || async {
        let url = server.url(&format!("/living-map/dead-letters/{id}/replay"));
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        if answer.status().is_success() { answer.json::<Value>().await.ok() } else { None }
    })
    .await;
    assert_eq!(replayed["status"], "replayed", "{replayed}");
    let got = receiver.got();
    assert_eq!(got.last().unwrap().id, got[3].id, "with the same id");
    assert_eq!(receiver.taken().last(), pairs(&[("second", "raised")]).last());

    // after 410 there is no retry; a dead letter can be discarded
    receiver.answer([Answer::status(410)]);
    let before = receiver.got().len();
    clear(&server, "second").await;
    let gone = until("a dead letter at once", || async {
        let page = get(&server, "/living-map/dead-letters?status=dead").await?;
        page["items"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!((gone["attempts"].clone(), receiver.got().len()), (json!(1), before + 1));
    let id = gone["id"].as_str().unwrap();
    until("it to be discarded", || async {
        let url = server.url(&format!("/living-map/dead-letters/{id}/discard"));
        reqwest::Client::new().post(url).send().await.unwrap().status().is_success().then_some(())
    })
    .await;

    // the queue is bounded; messages beyond are counted
    receiver.answer_all(Some(Answer { retry_after: Some(3_600), ..Answer::status(503) }));
    for number in 0..5 {
        raise(&server, &format!("flood-{number}"), "critical").await;
    }
    let down = until("the full queue in the readiness check", || async {
        check(&server).await.filter(|check| check["waiting"] == 2 && check["status"] == "down")
    })
    .await;
    assert!(down["error"].as_str().unwrap().contains("503"), "{down}");
    until("the refusals to be counted", || async {
        let metrics = reqwest::get(server.url("/metrics")).await.ok()?.text().await.ok()?;
        metrics.contains(r#"living_map_webhook_messages_total{destination="ops",outcome="refused"} 3"#).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_message_and_repeat_only_those_in_flight() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let path = files.path();
    let mut server = Process::serve(&settings(
        &path,
        &[("WEBHOOK_TIMEOUT_SECONDS", "0.5"), ("WEBHOOK_RETRY_SECONDS", "0.1,0.1,0.1")],
    ))
    .await;
    wait_until_leading(&server).await;
    // the response never comes: the server cannot know whether the message was accepted
    receiver.answer([Answer { delay: Duration::from_mins(1), ..Answer::status(204) }]);
    raise(&server, "hanging", "critical").await;
    receiver.wait_for(1).await;
    server.restart().await;
    let got = receiver.wait_for(2).await;
    assert_eq!(got[0].id, got[1].id, "the receiver can deduplicate");
    let mut kills = 1;
    for number in 0..40 {
        raise(&server, &format!("alert-{number}"), "critical").await;
        if random.random_bool(0.5) {
            clear(&server, &format!("alert-{number}")).await;
        }
        if random.random_bool(0.1) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..50))).await;
            server.restart().await;
            kills += 1;
        }
    }
    let active = get(&server, "/living-map/alerts").await.unwrap()["items"].as_array().unwrap().len();
    let expected = 41 + (41 - active);
    let mut names = BTreeMap::new();
    until("every message", || async {
        (receiver.got().iter().map(|got| &got.id).collect::<std::collections::BTreeSet<_>>().len() == expected)
            .then_some(())
    })
    .await;
    all_sent(&server).await;
    let got = receiver.got();
    for message in &got {
        let known = names.entry(message.what()).or_insert_with(|| message.id.clone());
        assert_eq!(*known, message.id, "one id for {:?}", message.what());
    }
    // at most 4 requests are in flight at a kill
    assert!(got.len() <= expected + 4 * kills, "{} messages, {expected} expected, {kills} kills", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_send_each_alert_once_over_leader_changes() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let nats = NatsServer::start().await;
    let (url, nats_url, path) = (postgres::database().await, nats.url(), files.path());
    let more = [("DATABASE_URL", url.as_str()), ("NATS_URL", nats_url.as_str()), ("LEASE_SECONDS", "2")];
    let mut first = Process::serve(&settings(&path, &more)).await;
    wait_until_leading(&first).await;
    let mut second = Process::serve(&settings(&path, &more)).await;
    raise(&second, "disk", "critical").await;
    receiver.wait_for(1).await;

    // a request is in flight when its server is stopped
    receiver.answer([Answer { delay: Duration::from_millis(1_500), ..Answer::status(204) }]);
    raise(&second, "slow", "critical").await;
    receiver.wait_for(2).await;
    assert!(first.stop().await.success());
    wait_until_leading(&second).await;
    clear(&second, "slow").await;
    receiver.wait_for(3).await;

    // a leader is suspended, and resumes believing that it still leads
    let first = Process::serve(&settings(&path, &more)).await;
    until("the first to have its map", || async { get(&first, "/living-map/snapshot").await }).await;
    let signal = |signal: &str, id: u32| {
        let status = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(status.unwrap().success());
    };
    signal("STOP", second.id());
    wait_until_leading(&first).await;
    for number in 0..10 {
        raise(&first, &format!("alert-{number}"), "critical").await;
    }
    signal("CONT", second.id());
    for number in 0..10 {
        clear(&first, &format!("alert-{number}")).await;
    }
    receiver.wait_for(23).await;
    second.kill();
    clear(&first, "disk").await;
    receiver.wait_for(24).await;
    all_sent(&first).await;
    let mut expected = pairs(&[("disk", "raised"), ("disk", "cleared"), ("slow", "raised"), ("slow", "cleared")]);
    for number in 0..10 {
        expected.extend(["raised", "cleared"].map(|state| (format!("alert-{number}"), state.to_owned())));
    }
    let mut all = receiver.taken();
    let order = all.clone();
    all.sort();
    expected.sort();
    assert_eq!(all, expected, "each once");
    for number in 0..10 {
        let position = |state: &str| order.iter().position(|(id, is)| *id == format!("alert-{number}") && is == state);
        assert!(position("raised") < position("cleared"), "in order");
    }
}

/// An empty state, as older releases stored one that could not be encoded.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_notification_state_is_reported() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "severity = \"warning\"");
    let path = files.path();
    let url = format!("sqlite://{}", files.0.path().join("living-map.db").display());
    let mut server = Process::serve(&settings(&path, &[("DATABASE_URL", &url)])).await;
    wait_until_leading(&server).await;
    raise(&server, "disk", "warning").await;
    receiver.wait_for(1).await;
    all_sent(&server).await;
    server.stop().await;
    let pool = sqlx::sqlite::SqlitePool::connect(&url).await.unwrap();
    let cleared = sqlx::query("UPDATE webhook_position SET state = ''").execute(&pool).await.unwrap();
    assert_eq!(cleared.rows_affected(), 1);
    pool.close().await;
    server.restart().await;
    let reported = until("the unreadable state in the journal", || async {
        let errors = get(&server, "/living-map/errors?target=webhooks").await?;
        errors["items"].as_array()?.iter().find(|item| item["key"] == "checkpoint").cloned()
    })
    .await;
    assert!(reported["error"].as_str().unwrap().contains("notification state"), "{reported}");
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"living_map_webhook_failures_total{step="restore"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_checked_and_tested_on_the_command_line() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let run = async |arguments: Vec<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.args(arguments).env_clear();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let check = || run(vec!["alerts".into(), "check".into(), files.path()]);
    let test = |name: &str| run(vec!["alerts".into(), "test".into(), name.into(), files.path()]);
    assert_eq!(check().await, (true, "0 alert rules and 1 webhooks, all valid\n".to_owned(), String::new()));
    let (success, output, error) = test("ops").await;
    assert!(success && output.contains("accepted the message"), "{error}");
    assert_eq!(receiver.got()[0].body["type"], "living_map.webhook.test");
    receiver.answer([Answer::status(401)]);
    let (success, _, error) = test("ops").await;
    assert!(!success && error.contains("webhook ops did not accept the message: 401"), "{error}");
    assert!(!test("none").await.0);
    files.write(&receiver, "allow = 1");
    let (success, _, error) = check().await;
    assert!(!success && error.contains("webhook ops: unknown field `allow`") && !error.contains("hunter2"), "{error}");
    fs::remove_file(files.0.path().join("secret")).unwrap();
    files.write(&receiver, "");
    let (success, _, error) = check().await;
    assert!(!success && error.contains("webhook ops: secret_file"), "{error}");
}
