//! Alerts told to webhooks, by real servers to a real receiver: each once, whatever happens in between.

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

/// A file of one webhook, and its key beside it.
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

async fn leads(server: &Process) {
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

/// Nothing waits any more.
async fn all_sent(server: &Process) {
    until("nothing to wait", || async { check(server).await.filter(|check| check["waiting"] == 0) }).await;
}

fn told(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_when_raised_and_once_when_cleared_and_a_silence_holds_it_back() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "severity = \"warning\"");
    let path = files.path();
    let mut server = Process::serve(&settings(&path, &[])).await;
    leads(&server).await;
    raise(&server, "disk", "warning").await;
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].body["type"], "living_map.alert.raised");
    let data = &got[0].body["data"];
    assert_eq!(
        (&data["id"], &data["severity"], &data["title"]),
        (&json!("disk"), &json!("warning"), &json!("disk full"))
    );
    assert!(data["cursor"].is_string() && got[0].body["timestamp"].is_string(), "{}", got[0].body);

    // said again, by the network and after a kill, it is the same
    raise(&server, "disk", "warning").await;
    raise(&server, "nothing", "info").await;
    server.restart().await;
    leads(&server).await;
    raise(&server, "disk", "critical").await;
    clear(&server, "disk").await;
    receiver.wait_for(2).await;
    clear(&server, "disk").await;

    // a silence holds back what is raised; what is up still when it ends is told then
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
    // one that was told is told to be over, silenced or not
    post(&server, "/living-map/alerts/silences", &json!({"alert": "loud", "minutes": 5})).await;
    clear(&server, "loud").await;
    receiver.wait_for(5).await;
    all_sent(&server).await;
    let expected =
        [("disk", "raised"), ("disk", "cleared"), ("other", "raised"), ("loud", "raised"), ("loud", "cleared")];
    assert_eq!(receiver.taken(), told(&expected));

    // a destination that is added hears of what is up
    let added = Receiver::start().await;
    let both = files.table("ops", &receiver, "severity = \"warning\"\n") + &files.table("added", &added, "");
    fs::write(files.path(), both).unwrap();
    let mut up = added.wait_for(2).await.iter().map(super::support::receiver::Got::what).collect::<Vec<_>>();
    up.sort();
    assert_eq!(up, told(&[("nothing", "raised"), ("other", "raised")]));
    clear(&server, "other").await;
    receiver.wait_for(6).await;
    added.wait_for(3).await;
    assert_eq!((receiver.got().len(), added.got().len()), (6, 3));

    // neither key nor address is anywhere
    let ready = reqwest::get(server.url("/living-map/ready")).await.unwrap().text().await.unwrap();
    for text in [server.output(), ready] {
        assert!(!text.contains("hunter2") && !text.contains(&secret()[6..]), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_tried_again_and_then_a_dead_letter_that_can_be_sent_again() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let path = files.path();
    let server = Process::serve(&settings(&path, &[("WEBHOOK_MAX_WAITING", "2")])).await;
    leads(&server).await;

    // a receiver says how long to wait; the one elsewhere that it points to is not asked
    let elsewhere = Receiver::start().await;
    let redirect = Answer { location: Some(elsewhere.url.clone()), ..Answer::status(302) };
    receiver.answer([Answer { retry_after: Some(1), ..Answer::status(503) }, redirect]);
    raise(&server, "first", "critical").await;
    let got = receiver.wait_for(3).await;
    assert!(got.iter().all(|message| message.id == got[0].id), "the same message has the same name");
    assert!(got[1].at - got[0].at >= Duration::from_secs(1) - Duration::from_millis(50), "as it was asked to");
    assert!(got[2].at - got[1].at >= Duration::from_millis(150), "and as it is set");
    assert_eq!((receiver.taken(), elsewhere.got().len()), (told(&[("first", "raised")]), 0));

    // all attempts are used up
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
    until("the letter on the bus", || async {
        let page = get(&server, "/living-map/history?event_type=living_map.webhook.dlq").await?;
        (page["items"][0]["payload"]["destination"] == "ops").then_some(())
    })
    .await;
    let journal = get(&server, "/living-map/errors?target=webhook:ops").await.unwrap();
    assert!(journal["items"].as_array().unwrap().len() >= 5, "{journal}");
    receiver.answer_all(None);
    let id = letter["id"].as_str().unwrap();
    // 409 while its office notes that it is on the bus
    let replayed = until("the replay", || async {
        let url = server.url(&format!("/living-map/dead-letters/{id}/replay"));
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        if answer.status().is_success() { answer.json::<Value>().await.ok() } else { None }
    })
    .await;
    assert_eq!(replayed["status"], "replayed", "{replayed}");
    let got = receiver.got();
    assert_eq!(got.last().unwrap().id, got[3].id, "under the name that it had");
    assert_eq!(receiver.taken().last(), told(&[("second", "raised")]).last());

    // who wants nothing more is not asked again, and others can be given up
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

    // of a flood no more wait than there is room for, and it shows
    receiver.answer_all(Some(Answer { retry_after: Some(3_600), ..Answer::status(503) }));
    for number in 0..5 {
        raise(&server, &format!("flood-{number}"), "critical").await;
    }
    let down = until("what waits to be seen", || async {
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
async fn killed_at_any_moment_it_loses_nothing_and_repeats_only_what_was_under_way() {
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
    leads(&server).await;
    // the answer never comes: nobody knows whether it was taken
    receiver.answer([Answer { delay: Duration::from_mins(1), ..Answer::status(204) }]);
    raise(&server, "hanging", "critical").await;
    receiver.wait_for(1).await;
    server.restart().await;
    let got = receiver.wait_for(2).await;
    assert_eq!(got[0].id, got[1].id, "a receiver knows it again");
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
        assert_eq!(*known, message.id, "one name for {:?}", message.what());
    }
    // 4 requests can be under way at a kill
    assert!(got.len() <= expected + 4 * kills, "{} messages, {expected} expected, {kills} kills", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_tell_each_alert_once_over_changes_of_hands() {
    let receiver = Receiver::start().await;
    let files = Files::new(&receiver, "");
    let nats = NatsServer::start().await;
    let (url, nats_url, path) = (postgres::database().await, nats.url(), files.path());
    let more = [("DATABASE_URL", url.as_str()), ("NATS_URL", nats_url.as_str()), ("LEASE_SECONDS", "2")];
    let mut first = Process::serve(&settings(&path, &more)).await;
    leads(&first).await;
    let mut second = Process::serve(&settings(&path, &more)).await;
    raise(&second, "disk", "critical").await;
    receiver.wait_for(1).await;

    // a send is under way when its server is told to stop
    receiver.answer([Answer { delay: Duration::from_millis(1_500), ..Answer::status(204) }]);
    raise(&second, "slow", "critical").await;
    receiver.wait_for(2).await;
    assert!(first.stop().await.success());
    leads(&second).await;
    clear(&second, "slow").await;
    receiver.wait_for(3).await;

    // one that leads is stopped in its tracks, and comes back believing that it does
    let first = Process::serve(&settings(&path, &more)).await;
    until("the first to have its map", || async { get(&first, "/living-map/snapshot").await }).await;
    let signal = |signal: &str, id: u32| {
        let status = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(status.unwrap().success());
    };
    signal("STOP", second.id());
    leads(&first).await;
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
    let mut expected = told(&[("disk", "raised"), ("disk", "cleared"), ("slow", "raised"), ("slow", "cleared")]);
    for number in 0..10 {
        expected.extend(["raised", "cleared"].map(|state| (format!("alert-{number}"), state.to_owned())));
    }
    let mut all = receiver.taken();
    let order = all.clone();
    all.sort();
    expected.sort();
    assert_eq!(all, expected, "each once");
    for number in 0..10 {
        let place = |state: &str| order.iter().position(|(id, is)| *id == format!("alert-{number}") && is == state);
        assert!(place("raised") < place("cleared"), "in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_checked_and_tried_on_the_command_line() {
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
    assert_eq!(check().await, (true, "0 alert rules and 1 webhooks, all good\n".to_owned(), String::new()));
    let (good, said, error) = test("ops").await;
    assert!(good && said.contains("took the message"), "{error}");
    assert_eq!(receiver.got()[0].body["type"], "living_map.webhook.test");
    receiver.answer([Answer::status(401)]);
    let (good, _, error) = test("ops").await;
    assert!(!good && error.contains("webhook ops did not take the message: 401"), "{error}");
    assert!(!test("none").await.0);
    files.write(&receiver, "allow = 1");
    let (good, _, error) = check().await;
    assert!(!good && error.contains("webhook ops: unknown field `allow`") && !error.contains("hunter2"), "{error}");
    fs::remove_file(files.0.path().join("secret")).unwrap();
    files.write(&receiver, "");
    let (good, _, error) = check().await;
    assert!(!good && error.contains("webhook ops: secret_file"), "{error}");
}
