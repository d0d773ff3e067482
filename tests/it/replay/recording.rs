//! Recordings: a map and the frames after it give every later map.

use std::path::Path;

use chrono::{DateTime, TimeDelta};
use living_map::map::State;
use living_map::model::change::{self, Change};
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, Epoch, Layer};
use living_map::stream::Frame;
use serde_json::{Map, Value, json};

use super::after_a_restart::wait_until_complete;
use super::expected::event;
use crate::support::process::Process;

const EVENTS: u64 = 3_000;

/// Small enough that pages end by their size, and that the recording goes back beyond what streams replay.
const SETTINGS: [(&str, &str); 4] = [
    ("SYNC_INTERVAL_SECONDS", "3600"),
    ("MAX_PAGE_BYTES", "100000"),
    ("STREAM_REPLAY_EVENTS", "50"),
    ("STREAM_RING_EVENTS", "16"),
];

async fn get(server: &Process, path: &str) -> (u16, Value) {
    let answer = reqwest::get(server.url(path)).await.expect("it answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The snapshot after all events.
async fn publish_events(server: &Process) -> Value {
    let client = reqwest::Client::new();
    for start in (0..EVENTS).step_by(500) {
        let events: Vec<Value> = (start..start + 500).map(event).collect();
        let answer = client.post(server.url("/living-map/events")).json(&events).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    get(server, "/living-map/snapshot?fresh=true").await.1
}

/// All items of the pages of a query, and the number of pages.
async fn all(server: &Process, cursor: &str, query: &str) -> (Vec<Value>, usize) {
    let (mut items, mut pages, mut cursor) = (Vec::new(), 0, Some(cursor.to_owned()));
    while let Some(from) = cursor {
        let (status, page) = get(server, &format!("/living-map/frames?cursor={from}{query}")).await;
        assert_eq!(status, 200, "{page}");
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        assert_eq!(page["has_more"], json!(page["next_cursor"].is_string()), "{}", page["next_cursor"]);
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        pages += 1;
    }
    (items, pages)
}

fn seq_of(item: &Value) -> u64 {
    let cursor = item["frame"]["cursor"].as_str().expect("a cursor");
    cursor.split_once('.').expect("a cursor").1.parse().expect("a number")
}

fn fold(layers: &mut Value, items: &[Value]) {
    let layers = layers.as_object_mut().expect("layers");
    for change in items.iter().flat_map(|item| item["frame"]["changes"].as_array().expect("changes")) {
        change::apply(layers, &serde_json::from_value::<Change>(change.clone()).expect("a change"));
    }
}

#[tokio::test]
async fn recorded_frames_turn_a_past_map_into_every_later_one() {
    let server = Process::serve(&SETTINGS).await;
    wait_until_complete(&server).await;
    let newest = publish_events(&server).await;
    let end = newest["meta"]["cursor"].as_str().expect("a cursor");
    let epoch = end.split_once('.').expect("a cursor").0;
    let (start, middle) = (format!("{epoch}.0"), format!("{epoch}.{}", EVENTS / 2));
    let mut layers = get(&server, &format!("/living-map/snapshot?at={start}")).await.1["layers"].take();

    let (items, pages) = all(&server, &start, "&limit=700").await;
    let seqs: Vec<u64> = items.iter().map(seq_of).collect();
    assert_eq!(seqs, (1..=EVENTS).collect::<Vec<_>>());
    assert!(pages > usize::try_from(EVENTS / 700 + 1).expect("small"), "{pages} pages: none ended by its size");

    let (first, second) = items.split_at(usize::try_from(EVENTS / 2).expect("small"));
    fold(&mut layers, first);
    assert_eq!(layers, get(&server, &format!("/living-map/snapshot?at={middle}")).await.1["layers"]);
    fold(&mut layers, second);
    assert_eq!(layers, newest["layers"]);

    // up to a position, and up to a time, which is that of at least the middle event
    assert_eq!(all(&server, &start, &format!("&until={middle}")).await.0, first);
    let time = first.last().expect("an event")["logged_at"].as_str().expect("a time");
    let (until_time, _) = all(&server, &start, &format!("&until={time}")).await;
    assert!(until_time.len() >= first.len() && until_time.iter().all(|item| item["logged_at"].as_str() <= Some(time)));
    let next = items.get(until_time.len());
    assert!(next.is_none_or(|item| item["logged_at"].as_str() > Some(time)), "{next:?}");

    // of one entity, by id
    let (of_one, _) = all(&server, &start, "&entity_id=agent:a3&limit=100").await;
    let concerns = |item: &&Value| {
        let changed = item["frame"]["changes"].as_array().expect("changes").iter();
        item["frame"]["entity_id"] == "agent:a3" || changed.into_iter().any(|change| change["id"] == "agent:a3")
    };
    assert_eq!(of_one, items.iter().filter(concerns).cloned().collect::<Vec<_>>());
    assert_eq!(all(&server, end, "").await, (Vec::new(), 1));

    for (query, status, parameter) in [
        ("cursor=1.1".to_owned(), 410, "cursor"),
        (format!("cursor={epoch}.{}", EVENTS + 9), 400, "cursor"),
        (format!("cursor={start}&until=1.5"), 400, "until"),
        (format!("cursor={start}&limit=0"), 400, "limit"),
    ] {
        let (answered, problem) = get(&server, &format!("/living-map/frames?{query}")).await;
        assert_eq!((answered, &problem["parameter"]), (status, &json!(parameter)), "{query}: {problem}");
        assert!(status != 410 || problem["oldest_cursor"] == json!(start), "{problem}");
    }
}

/// Position of the first map of the vectors, and the distance between two maps.
const VECTOR_START: u64 = 40;
const VECTOR_MAPS: u64 = 10;
const VECTOR_EVENTS: u64 = 140;

/// The map's layers, as a client parses them.
fn layers_of(state: &State) -> Value {
    let encoded = state.encode();
    let layers = Layer::ALL.iter().zip(&encoded.layers);
    let parsed: Map<String, Value> =
        layers.map(|(layer, json)| (layer.as_str().to_owned(), serde_json::from_slice(json).expect("JSON"))).collect();
    Value::Object(parsed)
}

/// A recording with some of its maps, for the clients' tests.
fn vectors() -> String {
    let mut state = State::new(Epoch(1));
    let begin = DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
    let (mut items, mut maps) = (Vec::new(), Vec::new());
    for number in 0..VECTOR_EVENTS {
        let event = event(number);
        let body = event["payload"].to_string();
        // several events at one time, and times between two milliseconds
        let logged_at = begin + TimeDelta::microseconds(i64::try_from(number / 3 * 250_300).expect("small"));
        let subject = event["event_type"].as_str().expect("a subject");
        let cursor = Cursor { epoch: Epoch(1), seq: number + 1 };
        let entry = envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at });
        let outcome = state.apply(&entry);
        assert!(!outcome.duplicate);
        if cursor.seq > VECTOR_START {
            let frame = Frame::new(&entry, &outcome).expect("it can be encoded").json();
            let frame: Value = serde_json::from_slice(&frame).expect("JSON");
            items.push(json!({"logged_at": entry.logged_at, "frame": frame}).to_string());
        }
        if cursor.seq >= VECTOR_START && cursor.seq.is_multiple_of(VECTOR_MAPS) {
            maps.push(json!({"cursor": cursor, "logged_at": entry.logged_at, "layers": layers_of(&state)}).to_string());
        }
    }
    format!("{{\"maps\": [\n{}\n],\n\"items\": [\n{}\n]}}\n", maps.join(",\n"), items.join(",\n"))
}

/// `UPDATE_VECTORS=1 cargo nextest run the_recording_vectors` writes the file.
#[test]
fn the_recording_vectors_match_the_fold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/recording.json");
    let text = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&file, &text).expect("the file can be written");
    }
    assert!(std::fs::read_to_string(&file).expect("the file exists") == text, "UPDATE_VECTORS=1 writes it");
}
