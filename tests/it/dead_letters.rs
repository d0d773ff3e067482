//! Dead letters, on both logs: retried, published, replayed, discarded, archived.

mod archive;
mod service;

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

/// Short retries, an alert at the first dead letter, and unreachable upstreams.
const SETTINGS: [(&str, &str); 9] = [
    ("DEAD_LETTER_RETRY_SECONDS", "0.05,0.1,0.2"),
    ("DEAD_LETTER_ALERT_THRESHOLD", "0"),
    ("SYNC_INTERVAL_SECONDS", "3600"),
    ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ("MICRODAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("DAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("USAGE_ENGINE_URL", "http://127.0.0.1:9"),
    ("CITY_SERVICE_URL", "http://127.0.0.1:9"),
    ("SPACE_SERVICE_URL", "http://127.0.0.1:9"),
];

/// SQL that makes a database reject rows, and SQL that undoes it.
pub struct Rejection {
    pub reject: &'static str,
    pub accept: &'static str,
}

pub const SQLITE: Rejection = Rejection {
    reject:
        "CREATE TRIGGER no_poison BEFORE INSERT ON living_map_history
        WHEN NEW.payload LIKE '%poison%' AND NEW.event_type NOT LIKE '%.dlq' BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
    accept: "DROP TRIGGER no_poison",
};

pub const POSTGRES: Rejection = Rejection {
    reject: "ALTER TABLE living_map_history ADD CONSTRAINT no_poison
        CHECK (payload::text NOT LIKE '%poison%' OR event_type LIKE '%.dlq') NOT VALID",
    accept: "ALTER TABLE living_map_history DROP CONSTRAINT no_poison",
};

pub async fn execute(url: &str, sql: &'static str) {
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn get(server: &Process, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

async fn post(server: &Process, path: &str) -> (u16, Value) {
    let answer = reqwest::Client::new().post(server.url(path)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn event(id: &str, agent: &str, payload: &Value) -> Value {
    let mut payload = payload.clone();
    payload["agent_id"] = json!(agent);
    payload["status"] = json!("online");
    json!({"event_type": "agent.event.status", "event_id": id, "source": "test", "payload": payload})
}

async fn publish(server: &Process, events: &[Value]) -> Vec<Value> {
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(events).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["results"].as_array().unwrap().clone()
}

/// The dead letters with a status, once there are `count`.
async fn dead_letters(server: &Process, status: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} dead letters with status {status}"), || async {
        let page = get(server, &format!("/living-map/dead-letters?subject=agent.event.*&status={status}")).await;
        let items = page["items"].as_array().unwrap();
        (items.len() == count).then(|| items.clone())
    })
    .await
}

async fn history(server: &Process, event_type: &str) -> Vec<Value> {
    let page = get(server, &format!("/living-map/history?event_type={event_type}")).await;
    page["items"].as_array().unwrap().clone()
}

async fn wait_for_alert(server: &Process, expected: bool) {
    until(&format!("the alert to be active: {expected}"), || async {
        let alerts = get(server, "/living-map/alerts").await;
        let active = alerts["items"].as_array().unwrap().iter().any(|alert| alert["id"] == "dead_letters");
        (active == expected).then_some(())
    })
    .await;
}

/// From the first rejection to the replay, with a `kill -9` in between.
async fn a_rejected_row_becomes_a_dead_letter_and_is_replayed(
    server: &mut Process,
    database: &str,
    rejection: &Rejection,
) {
    until("the map", || async {
        reqwest::get(server.url("/living-map/snapshot")).await.unwrap().status().is_success().then_some(())
    })
    .await;
    execute(database, rejection.reject).await;
    let poison = json!({"poison": true});
    publish(
        server,
        &[event("a", "agent:a", &json!({})), event("p", "agent:p", &poison), event("b", "agent:b", &json!({}))],
    )
    .await;
    until("the other events to be in the history", || async {
        (history(server, "agent.event.status").await.len() == 2).then_some(())
    })
    .await;
    server.kill();
    server.restart().await;
    let dead = dead_letters(server, "dead", 1).await.remove(0);
    assert_eq!((&dead["attempts"], &dead["subject"]), (&json!(4), &json!("agent.event.status")), "{dead}");
    assert!(dead["error"].as_str().unwrap().contains("poison"), "{dead}");
    let id = dead["id"].as_str().unwrap().to_owned();
    let letter = format!("/living-map/dead-letters/{id}");
    let detail = get(server, &letter).await;
    assert_eq!((&detail["payload"]["poison"], &detail["source_service"]), (&json!(true), &json!("test")), "{detail}");
    let dlq_event =
        until("the dead letter event", || async { history(server, "agent.event.status.dlq").await.pop() }).await;
    assert_eq!(dlq_event["payload"]["poison"], true);
    wait_for_alert(server, true).await;

    let (status, again) = post(server, &format!("{letter}/replay")).await;
    assert_eq!((status, &again["status"], &again["attempts"]), (200, &json!("dead"), &json!(5)), "{again}");
    let (_, dry) = post(server, "/living-map/dead-letters/replay?subject=agent.%3E&dry_run=true").await;
    assert_eq!((&dry["matched"], &dry["replayed"], &dry["dry_run"]), (&json!(1), &json!(0), &json!(true)), "{dry}");
    execute(database, rejection.accept).await;
    let (_, bulk) = post(server, "/living-map/dead-letters/replay?subject=agent.%3E").await;
    assert_eq!((&bulk["replayed"], &bulk["items"][0]["status"]), (&json!(1), &json!("replayed")), "{bulk}");
    until("the event to be in the history", || async {
        (history(server, "agent.event.status").await.len() == 3).then_some(())
    })
    .await;
    let (status, same) = post(server, &format!("{letter}/replay")).await;
    assert_eq!((status, &same), (200, &bulk["items"][0]), "a second replay changes nothing");
    assert_eq!(post(server, &format!("{letter}/discard")).await.0, 409);
    get(server, "/living-map/entities/agent:p").await;
    wait_for_alert(server, false).await;
    assert_eq!(history(server, "agent.event.status").await.len(), 3);
    assert_eq!(history(server, "*.*.*.dlq").await.len(), 1, "a dead letter event has no dead letter");

    // later events are not held up, and a discarded dead letter stays discarded
    execute(database, rejection.reject).await;
    publish(server, &[event("q", "agent:q", &poison), event("c", "agent:c", &json!({}))]).await;
    let id = dead_letters(server, "dead", 1).await[0]["id"].as_str().unwrap().to_owned();
    let discard = format!("/living-map/dead-letters/{id}/discard");
    // 409 while its publication is recorded at the same moment
    let discarded = until("the discard to be accepted", || async {
        let (status, body) = post(server, &discard).await;
        (status != 409).then_some(body)
    })
    .await;
    assert_eq!(discarded["status"], "discarded");
    assert_eq!(post(server, &discard).await.1["status"], "discarded");
    assert_eq!(post(server, &format!("/living-map/dead-letters/{id}/replay")).await.0, 409);
    assert_eq!(post(server, "/living-map/dead-letters/00000000-0000-0000-0000-000000000000/replay").await.0, 404);
    assert_eq!(post(server, "/living-map/dead-letters/nonsense/replay").await.0, 400);
    assert_eq!(post(server, "/living-map/dead-letters/replay?status=replayed").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_table_log_and_sqlite() {
    let folder = Folder::new("dead-letters");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let journal = folder.path().join("journal").display().to_string();
    let more = [("DATABASE_URL", url.as_str()), ("JOURNAL_URL", journal.as_str())];
    let mut server = Process::serve(&[&SETTINGS[..], &more].concat()).await;
    a_rejected_row_becomes_a_dead_letter_and_is_replayed(&mut server, &url, &SQLITE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_jetstream_and_postgres() {
    let nats = NatsServer::start().await;
    let (url, nats_url) = (postgres::database().await, nats.url());
    let more = [("DATABASE_URL", url.as_str()), ("NATS_URL", nats_url.as_str())];
    let mut server = Process::serve(&[&SETTINGS[..], &more].concat()).await;
    a_rejected_row_becomes_a_dead_letter_and_is_replayed(&mut server, &url, &POSTGRES).await;

    let jetstream = async_nats::jetstream::new(nats.client().await);
    let stream = jetstream.get_stream("LIVING_MAP").await.unwrap();
    let message = stream.get_last_raw_message_by_subject("agent.event.status.dlq").await.unwrap();
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    assert_eq!(
        (header("Living-Map-Attempts").as_str(), header("Living-Map-Origin-Stream").as_str()),
        ("4", "LIVING_MAP"),
        "{:?}",
        message.headers
    );
    assert!(header("Living-Map-Error").contains("no_poison"), "{:?}", message.headers);
    let (_, seq) =
        header("Living-Map-Origin-Cursor").split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(seq, header("Living-Map-Origin-Sequence"));
    let durable: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("living-map-history").await.unwrap();
    until("all messages to be acknowledged", || async {
        let mut durable = durable.clone();
        (durable.info().await.unwrap().num_ack_pending == 0).then_some(())
    })
    .await;
}

/// A database that rejects the `.dlq` event too: the dead letter stays in its table, and there is no endless loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_dead_letter_event_has_no_dead_letter() {
    let folder = Folder::new("dead-letters");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let more = [("DATABASE_URL", url.as_str())];
    let server = Process::serve(&[&SETTINGS[..], &more].concat()).await;
    let reject = "CREATE TRIGGER no_poison BEFORE INSERT ON living_map_history
        WHEN NEW.payload LIKE '%poison%' BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
    execute(&url, reject).await;
    let result = publish(&server, &[event("p", "agent:p", &json!({"poison": 1}))]).await.remove(0);
    assert_eq!(result["status"], "rejected", "{result}");
    dead_letters(&server, "dead", 1).await;
    until("the dead letter event to be dropped", || async {
        let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
        metrics.contains("living_map_dead_letters_dropped_total{processor=\"log\"} 1").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let all = get(&server, "/living-map/dead-letters").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("living_map_dead_letters_dropped_total{processor=\"log\"} 1"), "published once");
}
