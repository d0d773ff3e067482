//! Stored data of a server of the previous release: a SQLite file, a PostgreSQL database, a JetStream store.
//!
//! Both fixtures hold a saved snapshot with events behind it, lessons, a dead letter, an alert whose webhook message was
//! delivered and one whose message is pending. The server was killed, not stopped. `make previous-fixtures` rewrites them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::jetstream;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::recorded::{Recorded, get};
use crate::dead_letters::{POSTGRES, Rejection, SQLITE, execute};
use crate::faults::environment;
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres::{Postgres, binary};
use crate::support::process::Process;
use crate::support::receiver::{Answer, Receiver, secret};
use crate::support::wait::until;

/// Nothing that is stored ends by its age: the fixtures are as old as they are.
const KEEP: [(&str, &str); 6] = [
    ("HISTORY_RETENTION_DAYS", "36500"),
    ("JOURNAL_RETENTION_DAYS", "36500"),
    ("WEBHOOK_KEEP_HOURS", "8760"),
    ("DEAD_LETTER_ARCHIVE_DAYS", "36500"),
    ("DEAD_LETTER_LAST_RETRY_HOURS", "8760"),
    ("DEAD_LETTER_ALERT_THRESHOLD", "1000"),
];

/// Fast retries of dead letters.
const RETRIES: (&str, &str) = ("DEAD_LETTER_RETRY_SECONDS", "0.05,0.1,0.2");

/// The previous release's binary.
pub fn previous_binary() -> &'static str {
    let path = std::env::var("PREVIOUS_BIN").expect("PREVIOUS_BIN names the previous release's binary");
    Box::leak(path.into_boxed_str())
}

/// Path of a fixture in the repository.
fn archive(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/previous_release/{name}.tar.zst"))
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn pack(folder: &Path, name: &str) {
    let tar = run(Command::new("tar").arg("-C").arg(folder).args(["-c", "."]));
    fs::create_dir_all(archive(name).parent().expect("a folder")).unwrap();
    fs::write(archive(name), zstd::encode_all(&tar[..], 19).unwrap()).unwrap();
}

fn unpack(name: &str) -> (Folder, Recorded) {
    let folder = Folder::new("previous-release");
    let tar = folder.path().join("fixture.tar");
    fs::write(&tar, zstd::decode_all(fs::File::open(archive(name)).unwrap()).unwrap()).unwrap();
    run(Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&tar));
    let recorded = serde_json::from_slice(&fs::read(folder.path().join("recorded.json")).unwrap()).unwrap();
    (folder, recorded)
}

/// The alert rules of a server: one destination and nothing else.
fn write_rules(folder: &Path, receiver: &Receiver) {
    let key = folder.join("secret");
    fs::write(&key, secret()).unwrap();
    let rules =
        format!("[[webhook]]\nname = \"ops\"\nurl = \"{}\"\nsecret_file = \"{}\"\n", receiver.url, key.display());
    fs::write(folder.join("alerts.toml"), rules).unwrap();
}

/// A SQLite file with its lock file and journal.
pub struct Embedded {
    folder: Folder,
    database_url: String,
    rules: String,
    pub recorded: Recorded,
}

impl Embedded {
    pub fn unpack() -> Self {
        let (folder, recorded) = unpack("embedded");
        let database_url = format!("sqlite://{}", folder.path().join("living-map.db").display());
        let rules = folder.path().join("alerts.toml").display().to_string();
        Self { folder, database_url, rules, recorded }
    }

    /// Settings with which a server changes nothing by itself.
    pub fn quiet(&self) -> Vec<(&str, &str)> {
        quiet(&[("DATABASE_URL", &self.database_url)])
    }

    /// Settings with which everything runs.
    pub fn active(&self, receiver: &Receiver) -> Vec<(&str, &str)> {
        write_rules(self.folder.path(), receiver);
        active(&[("DATABASE_URL", &self.database_url), ("ALERT_RULES", &self.rules)])
    }
}

/// A PostgreSQL database and a JetStream store, restored on servers of their own.
pub struct Production {
    folder: Folder,
    nats: NatsServer,
    _postgres: Postgres,
    database_url: String,
    nats_url: String,
    rules: String,
    pub recorded: Recorded,
}

impl Production {
    pub async fn unpack() -> Self {
        let (folder, recorded) = unpack("production");
        let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
        nats.stop().await;
        nats.restore_store(&folder);
        nats.restart().await;
        let (database_url, nats_url) = (postgres.url(), nats.url());
        let dump = folder.path().join("dump.sql");
        run(Command::new(binary("psql")).args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &database_url, "-f"]).arg(dump));
        let rules = folder.path().join("alerts.toml").display().to_string();
        Self { folder, nats, _postgres: postgres, database_url, nats_url, rules, recorded }
    }

    /// See [`Embedded::quiet`].
    pub fn quiet(&self) -> Vec<(&str, &str)> {
        quiet(&[("DATABASE_URL", &self.database_url), ("NATS_URL", &self.nats_url)])
    }

    /// See [`Embedded::active`].
    pub fn active(&self, receiver: &Receiver) -> Vec<(&str, &str)> {
        write_rules(self.folder.path(), receiver);
        let own = [("DATABASE_URL", &*self.database_url), ("NATS_URL", &self.nats_url), ("ALERT_RULES", &self.rules)];
        active(&own)
    }

    /// The learner continues at the durable consumer's position: new experiences become a lesson, old ones do not again.
    pub async fn assert_experiences_go_on(&self, server: &Process) {
        publish_failures(&self.nats, "agent:later").await;
        let lessons = until("a lesson from new experiences", || async {
            let lessons = get(server, "/living-map/lessons?limit=100").await?["items"].take();
            let all = lessons.as_array()?;
            all.iter().any(|lesson| lesson["agent_id"] == "agent:later").then(|| all.clone())
        })
        .await;
        let before = self.recorded.lessons.as_array().expect("a list").len();
        assert_eq!(lessons.len(), before + 1, "{lessons:?}");
    }
}

fn quiet<'a>(own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    environment(&[&KEEP[..], &[("LEARNER_ENABLED", "false")], own].concat())
}

fn active<'a>(own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    environment(&[&KEEP[..], &[RETRIES, ("WEBHOOK_RETRY_SECONDS", "1,2")], own].concat())
}

/// Three failures of one class: a lesson.
async fn publish_failures(nats: &NatsServer, agent: &str) {
    let jetstream = jetstream::new(nats.client().await);
    for number in 0..3 {
        let experience = json!({
            "event_id": format!("{agent}-{number}"), "agent_id": agent, "task": "answer", "outcome": "error",
            "latency_ms": 700, "error_class": "rate_limited", "model": "m1", "version": 1,
            "timestamp": chrono::Utc::now() - chrono::TimeDelta::seconds(60 - number),
        });
        let subject = format!("agent.experience.v1.{agent}");
        jetstream.publish(subject, experience.to_string().into()).await.unwrap().await.unwrap();
    }
}

async fn publish(server: &Process, events: &[Value]) -> Value {
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&events).send().await.unwrap();
    answer.json().await.unwrap()
}

async fn raise(server: &Process, alert: &str) {
    let payload = json!({"alert_id": alert, "title": format!("{alert} full"), "service": "node-exporter"});
    publish(server, &[json!({"event_type": "ops.alert.critical", "payload": payload})]).await;
}

async fn wait_until_current(server: &Process) {
    until("the server to lead and to be current", || async {
        let ready = get(server, "/living-map/ready").await?;
        (ready["checks"]["lease"]["role"] == "leading" && ready["checks"]["map"]["following"] == "current")
            .then_some(())
    })
    .await;
}

/// Leaves a delivered and a pending webhook message and a dead letter.
async fn leave_messages(server: &Process, receiver: &Receiver, database_url: &str, rejection: &Rejection) {
    wait_until_current(server).await;
    raise(server, "disk").await;
    let delivered = ("disk".to_owned(), "raised".to_owned());
    until("the first message to be delivered", || async { receiver.taken().contains(&delivered).then_some(()) }).await;
    receiver.answer_all(Some(Answer::status(500)));
    raise(server, "memory").await;
    until("an attempt at the second message", || async {
        receiver.got().iter().any(|message| message.what().0 == "memory").then_some(())
    })
    .await;
    execute(database_url, rejection.reject).await;
    let payload = json!({"agent_id": "agent:poisoned", "status": "online", "note": "poison"});
    publish(server, &[json!({"event_type": "agent.event.status", "payload": payload})]).await;
    until("a dead letter", || async {
        let page = get(server, "/living-map/dead-letters?status=dead&subject=agent.event.status").await?;
        page["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    })
    .await;
    execute(database_url, rejection.accept).await;
}

async fn cursor(server: &Process) -> Option<String> {
    Some(get(server, "/living-map/snapshot").await?["meta"]["cursor"].as_str()?.to_owned())
}

/// Events behind the saved snapshot; then what the server answers, once all of them are in history.
async fn record(server: &Process, past_cursor: &str) -> Recorded {
    wait_until_current(server).await;
    let event = |number: u32| {
        let payload = json!({"agent_id": format!("agent:late-{}", number % 5), "status": "online", "number": number});
        json!({"event_type": "agent.event.status", "event_id": format!("late-{number}"), "payload": payload})
    };
    let answer = publish(server, &(0..20).map(event).collect::<Vec<_>>()).await;
    let end = answer["results"][19]["cursor"].as_str().expect("accepted").to_owned();
    until("the last event on the map and in history", || async {
        let page = get(server, "/living-map/history?limit=40&event_type=agent.event.status").await?;
        let recorded = page["items"].as_array()?.iter().filter(|item| item["payload"]["number"].is_u64()).count();
        (cursor(server).await? == end && recorded == 20).then_some(())
    })
    .await;
    Recorded::of(server, past_cursor).await.expect("it answers")
}

/// Writes the fixture of an embedded server; answers its events, oldest first.
pub async fn write_embedded() -> Vec<Value> {
    let (previous, folder, receiver) = (previous_binary(), Folder::new("embedded"), Receiver::start().await);
    let file = folder.path().join("living-map.db");
    let journal = folder.path().join("living-map-journal").display().to_string();
    let database_url = format!("sqlite://{}", file.display());
    let arguments = ["demo", "--agents", "24", "--nodes", "5", "--microdaos", "4", "--events-per-second", "60"];
    let file = file.display().to_string();
    let arguments = [&arguments[..], &["--keep", &file]].concat();
    let mut demo = Process::start_program(previous, &arguments, &[("JOURNAL_URL", &journal)]).await;
    let events = until("a thousand events and three lessons", || async {
        let lessons = get(&demo, "/living-map/lessons?limit=100").await?["items"].as_array()?.len();
        let items = get(&demo, "/living-map/history?limit=1000").await?["items"].take();
        (items.as_array()?.len() == 1000 && lessons >= 3).then(|| items.as_array().expect("a list").clone())
    })
    .await;
    assert!(demo.stop().await.success());

    let rules = folder.path().join("alerts.toml").display().to_string();
    write_rules(folder.path(), &receiver);
    let own = [("DATABASE_URL", &*database_url), ("ALERT_RULES", &rules), ("WEBHOOK_RETRY_SECONDS", "30,60")];
    let settings = environment(&[&KEEP[..], &[RETRIES], &own].concat());
    let mut server = Process::start_program(previous, &["serve"], &settings).await;
    leave_messages(&server, &receiver, &database_url, &SQLITE).await;
    let past_cursor = until("a map", || cursor(&server)).await;
    assert!(server.stop().await.success());

    let settings = quiet(&[("DATABASE_URL", &database_url)]);
    let mut server = Process::start_program(previous, &["serve"], &settings).await;
    let recorded = record(&server, &past_cursor).await;
    server.kill();
    fs::write(folder.path().join("recorded.json"), serde_json::to_vec(&recorded).unwrap()).unwrap();
    for name in ["alerts.toml", "secret"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    pack(folder.path(), "embedded");
    events.into_iter().rev().collect()
}

/// Writes the fixture of a server on JetStream and PostgreSQL, which gets `events`.
pub async fn write_production(events: &[Value]) {
    let (previous, folder, receiver) = (previous_binary(), Folder::new("production"), Receiver::start().await);
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (database_url, nats_url) = (postgres.url(), nats.url());
    write_rules(folder.path(), &receiver);
    let rules = folder.path().join("alerts.toml").display().to_string();
    let own = [
        ("DATABASE_URL", &*database_url),
        ("NATS_URL", &nats_url),
        ("ALERT_RULES", &rules),
        ("WEBHOOK_RETRY_SECONDS", "30,60"),
    ];
    let settings = environment(&[&KEEP[..], &[RETRIES], &own].concat());
    let mut server = Process::start_program(previous, &["serve"], &settings).await;
    wait_until_current(&server).await;
    let envelope = |item: &Value| {
        json!({
            "event_type": item["event_type"], "event_id": item["id"], "timestamp": item["timestamp"],
            "source": item["source_service"], "payload": item["payload"],
        })
    };
    // the network's own subjects are taken, the server's own are not
    for events in events.chunks(500) {
        publish(&server, &events.iter().map(envelope).collect::<Vec<_>>()).await;
    }
    publish_failures(&nats, "agent:earlier").await;
    until("a lesson", || async {
        let lessons = get(&server, "/living-map/lessons").await?["items"].take();
        lessons.as_array().is_some_and(|lessons| !lessons.is_empty()).then_some(())
    })
    .await;
    leave_messages(&server, &receiver, &database_url, &POSTGRES).await;
    let past_cursor = until("a map", || cursor(&server)).await;
    assert!(server.stop().await.success());

    let settings = quiet(&[("DATABASE_URL", &database_url), ("NATS_URL", &nats_url)]);
    let mut server = Process::start_program(previous, &["serve"], &settings).await;
    let recorded = record(&server, &past_cursor).await;
    server.kill();
    keep_streams(&nats).await;
    nats.stop().await;
    let store = nats.save_store();
    run(Command::new("cp").arg("-a").arg(store.path().join("store")).arg(folder.path()));
    let dump = run(Command::new(binary("pg_dump")).args(["--inserts", "--no-owner", &database_url]));
    let dump = String::from_utf8(dump).unwrap();
    // psql's own commands differ between its patch releases
    let dump: Vec<&str> = dump.lines().filter(|line| !line.starts_with('\\')).collect();
    fs::write(folder.path().join("dump.sql"), dump.join("\n")).unwrap();
    fs::write(folder.path().join("recorded.json"), serde_json::to_vec(&recorded).unwrap()).unwrap();
    for name in ["alerts.toml", "secret"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    pack(folder.path(), "production");
}

/// Streams keep their messages for days: in the fixture they keep them for good.
async fn keep_streams(nats: &NatsServer) {
    let jetstream = jetstream::new(nats.client().await);
    let streams: Vec<_> = jetstream.streams().try_collect().await.unwrap();
    for stream in streams {
        let config = jetstream::stream::Config { max_age: std::time::Duration::ZERO, ..stream.config };
        jetstream.update_stream(config).await.unwrap();
    }
}
