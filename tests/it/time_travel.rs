//! Time travel: a past map equals the one that clients had at that position.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use living_map::access::shares::Client;
use living_map::history::snapshots::Snapshots;
use living_map::history::{self, Database, HistoryConfig, Purge};
use living_map::journal::Journal;
use living_map::live::{self, LiveConfig, LiveMap, SavingConfig, TimeTravel, TimeTravelConfig, TimeTravelError};
use living_map::log::table::{TableLog, TableLogConfig};
use living_map::log::{Appended, Bounds, EventLog, LogError};
use living_map::map::State;
use living_map::model::{Cursor, Epoch, LogEntry, NewEvent, envelope};
use living_map::stream::{Hub, HubConfig};
use living_map::upstream_health::UpstreamHealth;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::daemon::Folder;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

/// A log that has dropped its beginning, as JetStream does; the history still has it.
struct TruncatedLog {
    log: Arc<dyn EventLog>,
    first: u64,
}

#[async_trait]
impl EventLog for TruncatedLog {
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        self.log.append(events).await
    }
    async fn bounds(&self) -> Result<Bounds, LogError> {
        Ok(Bounds { first: self.first, ..self.log.bounds().await? })
    }
    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        assert!(after + 1 >= self.first, "position {after} was dropped: only the history has the next entry");
        self.log.read(epoch, after).await
    }
    async fn ready(&self) -> Result<(), LogError> {
        self.log.ready().await
    }
    fn kind(&self) -> &'static str {
        "truncated"
    }
}

/// Random events of a few entities, some of them repeated, some invalid.
fn events(count: usize, random: &mut StdRng) -> Vec<NewEvent> {
    (0..count)
        .map(|_| {
            let agent = format!("agent:a{}", random.random_range(0..5));
            let microdao = format!("microdao:m{}", random.random_range(0..3));
            let status = ["online", "offline", "busy", "error", "?"].choose(random).unwrap();
            let (subject, payload) = match random.random_range(0..6) {
                0 => ("agent.event.created", json!({"agent_id": agent, "name": agent, "microdao_id": microdao})),
                1 => ("agent.event.deleted", json!({"agent_id": agent})),
                2 => ("microdao.event.created", json!({"microdao_id": microdao, "name": microdao})),
                3 => (
                    "node.metrics.update",
                    json!({"node_id": "node:1", "metrics": {"cpu": random.random_range(0..99)}}),
                ),
                _ => ("agent.event.status", json!({"agent_id": agent, "status": status})),
            };
            envelope::publish(json!({"event_type": subject, "payload": payload}), Utc::now()).unwrap()
        })
        .collect()
}

fn encoded_layers(state: &State) -> Vec<String> {
    let encoded = state.encode();
    let layers = encoded.layers.iter().map(|layer| String::from_utf8(layer.to_vec()).unwrap());
    layers.chain([encoded.cursor.to_string(), encoded.generated_at.to_string()]).collect()
}

struct Fixture {
    database: Database,
    log: Arc<dyn EventLog>,
    live: LiveMap,
    /// The encoded map at each position, from 0 on.
    expected: Vec<Vec<String>>,
    entries: Vec<LogEntry>,
}

/// A log of 120 random events, with snapshots saved at some positions.
async fn filled_log(url: &str, saved_at: &[usize], seed: u64) -> Fixture {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let database = history::open(url, &HistoryConfig::default()).await.unwrap();
    let log: Arc<dyn EventLog> =
        Arc::new(TableLog::open(TableLogConfig::default(), Arc::clone(&database.history), None).await.unwrap());
    let live = LiveMap::new(LiveConfig::default(), UpstreamHealth::default(), Journal::default());
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(0)));
    tokio::spawn(live::follow(live.clone(), Arc::clone(&log), hub, LiveConfig::default(), CancellationToken::new()));
    live.caught_up().await;
    let mut total = 0;
    for stop in saved_at.iter().copied().chain([120]) {
        for event in events(stop - total, &mut random) {
            log.append(vec![event]).await.remove(0).unwrap();
        }
        total = stop;
        let epoch = log.bounds().await.unwrap().epoch;
        live.folded(Cursor { epoch, seq: total as u64 }).await;
        if stop < 120 {
            save(&live, &database.snapshots).await;
        }
    }
    let epoch = log.bounds().await.unwrap().epoch;
    let entries: Vec<LogEntry> = log.read(epoch, 0).await.unwrap().take(total).map(Result::unwrap).collect().await;
    let mut state = State::new(epoch);
    let mut expected = vec![encoded_layers(&state)];
    for entry in &entries {
        state.apply(entry);
        expected.push(encoded_layers(&state));
    }
    assert_eq!(live.with(encoded_layers), *expected.last().unwrap());
    Fixture { database, log, live, expected, entries }
}

/// Saves the current map, as the saving task does at shutdown.
async fn save(live: &LiveMap, snapshots: &Arc<dyn Snapshots>) {
    let stopped = CancellationToken::new();
    stopped.cancel();
    live::save(live.clone(), Arc::clone(snapshots), SavingConfig::default(), stopped).await;
}

fn time_travel(fixture: &Fixture, log: &Arc<dyn EventLog>) -> TimeTravel {
    let (history, snapshots) = (Arc::clone(&fixture.database.history), Arc::clone(&fixture.database.snapshots));
    TimeTravel::new(TimeTravelConfig::default(), fixture.live.clone(), Arc::clone(log), history, snapshots)
}

async fn every_position_equals_the_map_of_that_time(url: &str) {
    let seed = rand::random();
    let fixture = filled_log(url, &[30, 31, 77], seed).await;
    let epoch = fixture.live.cursor().epoch;
    for first in [1, 50, 121] {
        let log: Arc<dyn EventLog> = Arc::new(TruncatedLog { log: Arc::clone(&fixture.log), first });
        let time_travel = time_travel(&fixture, &log);
        for (seq, expected) in fixture.expected.iter().enumerate() {
            let state =
                time_travel.request(Client::default()).state_at(Cursor { epoch, seq: seq as u64 }).await.unwrap();
            assert_eq!(encoded_layers(&state), *expected, "at {seq}, the log from {first} on");
        }
        for entry in &fixture.entries {
            let last = fixture.entries.iter().rev().find(|other| other.logged_at <= entry.logged_at).unwrap();
            let state = time_travel.request(Client::default()).state_at_time(entry.logged_at).await.unwrap();
            assert_eq!(
                (state.cursor(), encoded_layers(&state)),
                (last.cursor, fixture.expected[usize::try_from(last.cursor.seq).unwrap()].clone())
            );
        }
        let (begin, end) = (fixture.entries[0].logged_at, fixture.entries[119].logged_at);
        assert_eq!(
            time_travel.request(Client::default()).state_at_time(end + TimeDelta::hours(1)).await.unwrap().cursor().seq,
            120
        );
        let before =
            time_travel.request(Client::default()).state_at_time(begin - TimeDelta::hours(1)).await.unwrap_err();
        assert!(matches!(before, TimeTravelError::Gone { oldest } if oldest.cursor.seq == 0), "{before}");
    }
    let time_travel = time_travel(&fixture, &fixture.log);
    let ahead = time_travel.request(Client::default()).state_at(Cursor { epoch, seq: 121 }).await.unwrap_err();
    assert!(matches!(ahead, TimeTravelError::Ahead { newest } if newest.seq == 120), "{ahead}");
    let other = time_travel.request(Client::default()).state_at(Cursor { epoch: Epoch(1), seq: 3 }).await.unwrap_err();
    assert!(matches!(other, TimeTravelError::OtherEpoch { .. }), "{other}");
    fixture.database.history.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_position_equals_the_map_of_that_time_on_sqlite() {
    let folder = Folder::new("time-travel");
    every_position_equals_the_map_of_that_time(&format!("sqlite://{}", folder.path().join("map.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_position_equals_the_map_of_that_time_on_postgres() {
    every_position_equals_the_map_of_that_time(&database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_retention_time_travel_begins_at_a_saved_snapshot() {
    let folder = Folder::new("time-travel");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let fixture = filled_log(&url, &[30, 60], rand::random()).await;
    // retention deletes the first forty
    let before = fixture.entries[40].logged_at;
    let deleted = fixture.database.history.delete_before(before, 10_000).await.unwrap();
    assert!((30..=40).contains(&deleted), "{deleted}");
    let time_travel = time_travel(&fixture, &fixture.log);
    let epoch = fixture.live.cursor().epoch;
    assert_eq!(time_travel.oldest().await.unwrap().cursor.seq, if deleted == 30 { 30 } else { 60 });
    let oldest = time_travel.oldest().await.unwrap().cursor;
    for seq in 0..=120 {
        let result = time_travel.request(Client::default()).state_at(Cursor { epoch, seq }).await;
        match result {
            Ok(state) => assert_eq!(encoded_layers(&state), fixture.expected[usize::try_from(seq).unwrap()], "{seq}"),
            Err(error) => {
                assert!(seq < oldest.seq, "{seq}: {error}");
                assert!(
                    matches!(error, TimeTravelError::Gone { oldest: reported } if reported.cursor == oldest),
                    "{error}"
                );
            }
        }
    }
    fixture.database.history.close().await;
}

/// After retention of one class of events, no map silently lacks them.
async fn maps_over_deleted_classes_are_exact_or_gone(url: &str) {
    let fixture = filled_log(url, &[30, 60], rand::random()).await;
    let (epoch, history) = (fixture.live.cursor().epoch, &fixture.database.history);
    let expired = |subject: &str| subject.starts_with("agent.event.");
    let purge = Purge { epoch, after: 0, before: Utc::now() + TimeDelta::hours(1), limit: 40, expired: &expired };
    let deleted = history.purge(&purge).await.unwrap().deleted;
    assert!((1..40).contains(&deleted), "{deleted}: some are deleted and some are kept");
    let held = history.log_range(epoch).await.unwrap().unwrap();
    assert!(held.first <= 41, "{held:?}");
    let expected = if held.first <= 31 { 30 } else { 60 };
    for first in [held.first, 100] {
        let log: Arc<dyn EventLog> = Arc::new(TruncatedLog { log: Arc::clone(&fixture.log), first });
        let time_travel = time_travel(&fixture, &log);
        assert_eq!(time_travel.oldest().await.unwrap().cursor.seq, expected);
        for (seq, map) in (0_u64..).zip(&fixture.expected) {
            match time_travel.request(Client::default()).state_at(Cursor { epoch, seq }).await {
                Ok(state) => assert_eq!(encoded_layers(&state), *map, "{seq}"),
                Err(error) => {
                    assert!(seq < expected, "{seq}: {error}");
                    assert!(
                        matches!(error, TimeTravelError::Gone { oldest } if oldest.cursor.seq == expected),
                        "{error}"
                    );
                }
            }
        }
    }
    history.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_over_deleted_classes_are_exact_or_gone_on_sqlite() {
    let folder = Folder::new("time-travel");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    maps_over_deleted_classes_are_exact_or_gone(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_over_deleted_classes_are_exact_or_gone_on_postgres() {
    maps_over_deleted_classes_are_exact_or_gone(&database().await).await;
}

/// Upstreams at an unused address, so that only the events of the test change the map.
const NO_UPSTREAMS: [(&str, &str); 7] = [
    ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ("MICRODAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("DAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("USAGE_ENGINE_URL", "http://127.0.0.1:9"),
    ("CITY_SERVICE_URL", "http://127.0.0.1:9"),
    ("SPACE_SERVICE_URL", "http://127.0.0.1:9"),
    ("SYNC_INTERVAL_SECONDS", "3600"),
];

async fn get(server: &Process, path: &str) -> (u16, Value) {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The current map and its cursor.
async fn now(server: &Process) -> (Value, String) {
    until("the map to be complete", || async {
        let (status, snapshot) = get(server, "/living-map/snapshot?fresh=true").await;
        let cursor = snapshot["meta"]["cursor"].as_str()?.to_owned();
        (status == 200).then_some((snapshot["layers"].clone(), cursor))
    })
    .await
}

async fn publish(server: &Process, agent: &str, status: &str) {
    let event = json!({"event_type": "agent.event.status", "payload": {"agent_id": agent, "status": status}});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

#[tokio::test]
async fn a_restart_uses_the_saved_snapshot_and_keeps_the_past() {
    let mut server = Process::serve(&NO_UPSTREAMS).await;
    publish(&server, "agent:sofia", "online").await;
    publish(&server, "agent:mira", "online").await;
    let (first, first_cursor) = now(&server).await;
    publish(&server, "agent:sofia", "error").await;
    publish(&server, "agent:new", "online").await;
    let (second, second_cursor) = now(&server).await;

    assert!(server.stop().await.success());
    server.restart().await;
    assert_eq!(now(&server).await, (second.clone(), second_cursor.clone()));
    assert!(server.output().contains("starting from the saved snapshot"), "{}", server.output());

    let (_, then) = get(&server, &format!("/living-map/snapshot?at={first_cursor}")).await;
    assert_eq!((&then["layers"], &then["meta"]["cursor"]), (&first, &json!(first_cursor)));
    let (status, diff) = get(&server, &format!("/living-map/diff?from={first_cursor}&to={second_cursor}")).await;
    assert_eq!(status, 200, "{diff}");
    assert_eq!((&diff["from"], &diff["to"]), (&json!(first_cursor), &json!(second_cursor)));
    assert_eq!((diff["added"][0]["id"].as_str(), &diff["removed"]), (Some("agent:new"), &json!([])));
    let changed = &diff["changed"][0];
    assert_eq!((changed["id"].as_str(), diff["changed"].as_array().unwrap().len()), (Some("agent:sofia"), 1));
    let status = json!({"field": "status", "before": "online", "after": "error"});
    assert!(changed["fields"].as_array().unwrap().contains(&status), "{changed}");

    let (_, list) = get(&server, "/living-map/snapshots").await;
    assert_eq!(list["items"][0]["cursor"], json!(second_cursor), "{list}");
    let begin = format!("{}.0", second_cursor.split('.').next().unwrap());
    assert_eq!(list["oldest_cursor"], json!(begin), "{list}");
    assert!(list["oldest_time"].is_string(), "{list}");

    let (status, counts) = get(&server, "/living-map/history/aggregate?bucket=1h&group_by=entity_id&limit=1").await;
    assert_eq!(status, 200, "{counts}");
    let sofia = &counts["series"][0];
    assert_eq!((&counts["total"], &sofia["key"], &sofia["total"]), (&json!(4), &json!("agent:sofia"), &json!(2)));
    assert_eq!((&counts["other"]["groups"], &counts["other"]["total"]), (&json!(2), &json!(2)));
    let id = list["items"][0]["id"].as_str().unwrap();
    let (_, saved) = get(&server, &format!("/living-map/snapshots/{id}")).await;
    assert_eq!(saved["layers"], second);

    for (path, status) in [
        ("/living-map/snapshot?at=1.1", 410),
        ("/living-map/snapshot?at=2020-01-01T00:00:00Z", 410),
        ("/living-map/snapshot?at=9000-01-01T00:00:00Z", 400),
        ("/living-map/snapshot?at=soon", 400),
        ("/living-map/diff", 400),
        ("/living-map/snapshots/x", 400),
        ("/living-map/history/aggregate?bucket=1s", 400),
        ("/living-map/snapshots/00000000-0000-0000-0000-000000000000", 404),
    ] {
        let (answered, problem) = get(&server, path).await;
        assert_eq!(answered, status, "{path}: {problem}");
        if status == 410 {
            assert!(problem["oldest_cursor"].is_string() && problem["oldest_time"].is_string(), "{problem}");
        }
    }
}
