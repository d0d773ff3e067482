//! What is not strict JSON, on every way in: the live map and the past agree, repairs are noted, and nothing is lost.

use living_map::model::json::{self, Normal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

/// An object that `serde_json` replaces by the text in it.
const RESERVED: &str = r#"{"$serde_json::private::RawValue":"[1,{\"agent_id\":\"agent:a9\"}]"}"#;

/// Values that are hostile to a parser, a database or a client.
const VALUES: [&str; 24] = [
    "NaN",
    "-Infinity",
    "1e400",
    "-1e400",
    "0.12345678901234567891",
    "18446744073709551617",
    "1e-400",
    "-0.0",
    "\"\\ud800\"",
    "\"a\\u0000b\"",
    "\"a\u{1}\nb\"",
    "{\"a\":1,\"a\":2}",
    "{\"$serde_json::private::Number\":\"1\"}",
    RESERVED,
    "[[[[{}]]]]",
    "\"online\"",
    "\"offline\"",
    "null",
    "{}",
    "7",
    "\"\u{2028}\"",
    "tru",
    "'x'",
    "{\"a\"",
];

/// An event with random hostile values: subject and body.
fn event(random: &mut StdRng) -> (&'static str, Vec<u8>) {
    let subjects = ["agent.event.created", "agent.event.status", "microdao.event.created", "node.metrics.update"];
    let subject = *subjects.choose(random).unwrap();
    let mut value = || match random.random_range(0..30) {
        0 => "[".repeat(200) + &"]".repeat(200),
        1 => "[".repeat(120) + &"]".repeat(120),
        _ => (*VALUES.choose(random).unwrap()).to_owned(),
    };
    let (name, status, more, time) = (value(), value(), value(), value());
    let id = random.random_range(0..3);
    let payload = format!(
        r#"{{"agent_id":"agent:a{id}","node_id":"node:n{id}","microdao_id":"microdao:m{id}","name":{name},"status":{status},"cpu":{more},"$serde_json::private::RawValue":"\"x\""}}"#
    );
    let payload = if random.random_bool(0.2) { RESERVED.to_owned() } else { payload };
    let time = if random.random_bool(0.3) { time } else { "\"2026-01-19 12:00:00,5 +05\"".to_owned() };
    let mut body = format!(r#"{{"event_type":"{subject}","timestamp":{time},"source":"hostile","payload":{payload}}}"#)
        .into_bytes();
    match random.random_range(0..8) {
        0 => body.splice(..0, *b"\xef\xbb\xbf").for_each(drop),
        1 => body.extend(b"\0\0"),
        2 => body.splice(20..20, *b"\xff").for_each(drop),
        _ => {}
    }
    (subject, body)
}

struct Server {
    process: Process,
    nats: Option<NatsServer>,
}

impl Server {
    async fn start(url: &str, nats: Option<NatsServer>, more: &[(&str, &str)]) -> Self {
        let address = nats.as_ref().map(NatsServer::url);
        let mut settings = vec![("DATABASE_URL", url), ("SYNC_INTERVAL_SECONDS", "3600"), ("LOG_LEVEL", "warn")];
        let upstreams = [
            "AGENTS_SERVICE_URL",
            "MICRODAO_SERVICE_URL",
            "DAO_SERVICE_URL",
            "USAGE_ENGINE_URL",
            "CITY_SERVICE_URL",
            "SPACE_SERVICE_URL",
        ];
        settings.extend(upstreams.map(|name| (name, "http://127.0.0.1:9")));
        settings.extend(address.as_deref().map(|address| ("NATS_URL", address)));
        settings.extend(more);
        let server = Self { process: Process::serve(&settings).await, nats };
        // until then there may be no stream for messages of NATS
        server.map_after(None).await;
        server
    }

    async fn get(&self, path: &str) -> Value {
        let answer = reqwest::get(self.process.url(path)).await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        parse(&text)
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = reqwest::Client::new().post(self.process.url("/living-map/events"));
        let answer = request.header(CONTENT_TYPE, "application/json").body(body).send().await.unwrap();
        (answer.status().as_u16(), parse(&answer.text().await.unwrap()))
    }

    /// The map after position `seq`, or any: its cursor and layers.
    async fn map_after(&self, seq: Option<u64>) -> (String, Value) {
        until("the map to follow", || async {
            let answer = reqwest::get(self.process.url("/living-map/snapshot")).await.unwrap();
            if !answer.status().is_success() {
                return None;
            }
            let map = parse(&answer.text().await.unwrap());
            let cursor = map["meta"]["cursor"].as_str().unwrap().to_owned();
            seq.is_none_or(|seq| seq_of(&cursor) > seq).then(|| (cursor, map["layers"].clone()))
        })
        .await
    }

    /// The items of the history with a source, once there are `count`.
    async fn history(&self, filter: &str, count: usize) -> Vec<Value> {
        until("the history", || async {
            let page = self.get(&format!("/living-map/history?limit=1000{filter}")).await;
            let items = page["items"].as_array().unwrap().clone();
            (items.len() >= count).then_some(items)
        })
        .await
    }
}

/// JSON as sent: the implementation of `serde_json` changes reserved keys.
fn parse(text: &str) -> Value {
    let Normal { value, notes } = json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(notes.is_empty(), "the server sends strict JSON: {notes}");
    value
}

fn seq_of(cursor: &str) -> u64 {
    cursor.split_once('.').unwrap().1.parse().unwrap()
}

/// After each event, the live map is remembered; then all are compared with the past at these positions, also after a restart,
/// which loads a saved map.
async fn live_equals_past(mut server: Server, seed: u64) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let nats = match &server.nats {
        Some(nats) => Some(nats.client().await),
        None => None,
    };
    let mut maps = Vec::new();
    let mut seq = seq_of(&server.map_after(None).await.0);
    if let Some(nats) = &nats {
        // data of the city service is kept as it was sent
        let quest = format!(r#"{{"id":"q","label":"Q","more":{RESERVED}}}"#);
        let city = format!(
            r#"{{"event_type":"living_map.sync.city","event_id":"c1","timestamp":"2026-01-19T12:00:00Z","payload":{{"mark":0,"layers":{{"city":{{"quests":[{RESERVED},{quest}]}}}}}}}}"#
        );
        nats.publish("living_map.sync.city", city.into()).await.unwrap();
        nats.flush().await.unwrap();
        let map = server.map_after(Some(seq)).await;
        assert!(map.1.to_string().contains("RawValue"), "{}", map.1);
        seq = seq_of(&map.0);
        maps.push(map);
    }
    for _ in 0..40 {
        let (subject, body) = event(&mut random);
        if let Some(nats) = nats.as_ref().filter(|_| random.random_bool(0.7)) {
            nats.publish(subject, body.into()).await.unwrap();
            nats.flush().await.unwrap();
        } else if server.post(body).await.0 != 200 {
            continue;
        }
        let map = server.map_after(Some(seq)).await;
        seq = seq_of(&map.0);
        maps.push(map);
    }
    assert!(maps.len() > 5, "{} events were accepted", maps.len());
    let compare = async |server: &Server| {
        for (cursor, layers) in &maps {
            let past = server.get(&format!("/living-map/snapshot?at={cursor}")).await;
            assert_eq!(past["layers"], *layers, "at {cursor}, seed {seed}");
        }
    };
    compare(&server).await;
    server.process.stop().await;
    server.process.restart().await;
    let (cursor, layers) = server.map_after(Some(seq - 1)).await;
    assert_eq!((&cursor, &layers), (&maps.last().unwrap().0, &maps.last().unwrap().1), "after a restart, seed {seed}");
    compare(&server).await;
}

const NO_DEAD_LETTERS: [(&str, &str); 1] = [("DEAD_LETTER_UNREADABLE_PER_MINUTE", "0")];

fn sqlite(folder: &Folder) -> String {
    format!("sqlite://{}", folder.path().join("map.db").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_json_is_the_same_live_and_past_on_jetstream_and_sqlite() {
    let folder = Folder::new("hostile");
    let server = Server::start(&sqlite(&folder), Some(NatsServer::start().await), &NO_DEAD_LETTERS).await;
    live_equals_past(server, rand::random()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_json_is_the_same_live_and_past_on_jetstream_and_postgres() {
    let server = Server::start(&database().await, Some(NatsServer::start().await), &NO_DEAD_LETTERS).await;
    live_equals_past(server, rand::random()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_json_is_the_same_live_and_past_on_the_table_log_in_sqlite() {
    let folder = Folder::new("hostile");
    live_equals_past(Server::start(&sqlite(&folder), None, &[]).await, rand::random()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_json_is_the_same_live_and_past_on_the_table_log_in_postgres() {
    live_equals_past(Server::start(&database().await, None, &[]).await, rand::random()).await;
}

/// One event with `NaN` made the whole request fail.
#[tokio::test(flavor = "multi_thread")]
async fn each_element_of_a_batch_is_accepted_or_rejected_by_itself() {
    let folder = Folder::new("elements");
    let server = Server::start(&sqlite(&folder), None, &[]).await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    let event = |payload: &str| format!(r#"{{"event_type":"city.event.x","source":"s","payload":{payload}}}"#);
    let batch = format!(
        "\u{feff}[{},{},{{\"event_type\" 1}},{},{}]\0",
        event("{\"cpu\":NaN,\"n\":1e400}"),
        event(RESERVED),
        event(&deep),
        event("1"),
    );
    let (status, answer) = server.post(batch).await;
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<&str> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!((status, statuses), (200, vec!["accepted", "accepted", "rejected", "rejected", "accepted"]), "{answer}");
    assert_eq!(results[2]["field"], "event");
    assert!(results[2]["error"].as_str().unwrap().contains("at byte"), "{answer}");
    assert!(results[3]["error"].as_str().unwrap().contains("nested too deeply"), "{answer}");
    let kinds: Vec<&Value> = results[0]["notes"].as_array().unwrap().iter().map(|note| &note["kind"]).collect();
    assert_eq!(kinds, ["not_finite", "number", "byte_order_mark", "trailing_nul"]);
    let mut items = server.history("&source_service=s", 3).await;
    items.sort_by_key(|item| std::cmp::Reverse(seq_of(item["cursor"].as_str().unwrap())));
    assert_eq!(items[2]["payload"]["cpu"], Value::Null);
    assert_eq!(items[2]["notes"], results[0]["notes"]);
    assert_eq!(items[1]["payload"], parse(RESERVED), "a reserved key is an ordinary key");
    let (status, plain) = server.post(event("2")).await;
    assert_eq!((status, plain["results"][0].get("notes")), (200, None), "{plain}");

    for (body, offset) in
        [("[{\"event_type\":\"a.b\"},{\"x\":\"y]", 27), ("[{\"a\":[1},2]", 8), ("[1,]", 3), ("{\"a\"", 4)]
    {
        let (status, problem) = server.post(body).await;
        assert_eq!((status, &problem["field"]), (400, &json!("body")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("at byte {offset}")), "{problem}");
    }
    let forged = r#"{"event_type":"city.event.x","living_map_notes":[{"kind":"nul"}]}"#;
    assert_eq!(server.post(forged).await.1["field"], "living_map_notes");
    let metrics = reqwest::get(server.process.url("/metrics")).await.unwrap().text().await.unwrap();
    let line = r#"living_map_notes_total{kind="not_finite"} 1"#;
    assert!(metrics.lines().any(|found| found == line), "{line}");
    let errors = server.get("/living-map/errors?target=http").await;
    assert!(errors["items"][0]["error"].as_str().unwrap().starts_with("not_finite at /payload/cpu: NaN"), "{errors}");
}

/// Such messages had the payload `null`, and nothing said so.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_nats_are_repaired_and_noted() {
    let folder = Folder::new("noted");
    let server = Server::start(&sqlite(&folder), Some(NatsServer::start().await), &[]).await;
    let nats = server.nats.as_ref().unwrap().client().await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    let bodies: [(&[u8], Value, &str); 8] = [
        (b"{\"source\":\"s\",\"cpu\":NaN}", json!({"source": "s", "cpu": null}), "not_finite"),
        (b"\xef\xbb\xbf{\"source\":\"s\"}", json!({"source": "s"}), "byte_order_mark"),
        (b"{\"source\":\"s\",\"a\":\"x\ty\"}", json!({"source": "s", "a": "x\ty"}), "control_character"),
        (b"{\"source\":\"s\"}\0", json!({"source": "s"}), "trailing_nul"),
        (b"{\"source\":\"s\",\"a\":1e400}", json!({"source": "s", "a": f64::MAX}), "number"),
        (b"{\"source\":\"s\",\"ts\":\"soon\"}", json!({"source": "s", "ts": "soon"}), "timestamp"),
        (deep.as_bytes(), json!(null), "too_deep"),
        (b"plain text", json!(null), "not_json"),
    ];
    for (body, ..) in &bodies {
        nats.publish("city.event.odd", body.to_vec().into()).await.unwrap();
        nats.flush().await.unwrap();
    }
    let mut items = server.history("&event_type=city.event.odd", bodies.len()).await;
    items.sort_by_key(|item| seq_of(item["cursor"].as_str().unwrap()));
    for (item, (_, payload, kind)) in items.iter().zip(&bodies) {
        assert_eq!((&item["payload"], item["notes"][0]["kind"].as_str()), (payload, Some(*kind)), "{item}");
    }
    let letters = until("the dead letters", || async {
        let letters = server.get("/living-map/dead-letters?status=dead").await["items"].as_array().unwrap().clone();
        (letters.len() == 2).then_some(letters)
    })
    .await;
    assert!(letters.iter().all(|letter| letter["processor"] == "reader"), "{letters:?}");
    let published = server.history("&event_type=city.event.odd.dlq", 2).await;
    assert_eq!(published[0]["payload"], json!(null));
    let metrics = reqwest::get(server.process.url("/metrics")).await.unwrap().text().await.unwrap();
    for (.., kind) in &bodies {
        let line = format!(r#"living_map_notes_total{{kind="{kind}"}} 1"#);
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    let errors = server.get("/living-map/errors?target=log").await["items"].to_string();
    assert!(errors.contains("not_finite at /cpu: NaN") && errors.contains("not_json: not JSON"), "{errors}");
    // a replay by the same build reads no more
    let id = letters[0]["id"].as_str().unwrap();
    let replay = reqwest::Client::new().post(server.process.url(&format!("/living-map/dead-letters/{id}/replay")));
    let replayed = parse(&replay.send().await.unwrap().text().await.unwrap());
    assert_eq!(replayed["status"], "dead", "{replayed}");
}
