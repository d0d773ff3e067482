//! Random faults of the server, the log, the history and the clients: each client still gets the whole log.
//!
//! `REPLAY_SEED` repeats the choices of a run, apart from timing.

use std::time::{Duration, Instant};

use living_map::history::{self, Database, HistoryConfig};
use living_map::map::READABLE_VERSIONS;
use living_map::model::Cursor;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::client::address_of;
use super::expected::{ExpectedFrames, event};
use super::random_client::{Logs, RandomClient};
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const CLIENTS: u64 = 6;

/// The ring and the cache are small, so that nearly every frame is replayed.
const SETTINGS: [(&str, &str); 10] = [
    ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ("MICRODAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("DAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("USAGE_ENGINE_URL", "http://127.0.0.1:9"),
    ("CITY_SERVICE_URL", "http://127.0.0.1:9"),
    ("SPACE_SERVICE_URL", "http://127.0.0.1:9"),
    ("SYNC_INTERVAL_SECONDS", "3600"),
    ("STREAM_RING_EVENTS", "16"),
    ("STREAM_REPLAY_BYTES", "65536"),
    ("SNAPSHOT_SAVE_EVENTS", "50"),
];

fn seeded() -> StdRng {
    let seed = std::env::var("REPLAY_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("REPLAY_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Publishes over HTTP, in batches of random size, until each is accepted; some events are sent twice.
async fn publish(url: String, count: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let client = reqwest::Client::new();
    let mut number = 0;
    while number < count {
        let upto = (number + random.random_range(1..30)).min(count);
        let again = number.saturating_sub(random.random_range(0..3));
        let events: Vec<Value> = (again..upto).map(event).collect();
        loop {
            let sent = client.post(&url).json(&events).timeout(Duration::from_secs(5)).send().await;
            let Ok(answer) = sent else {
                retry_delay().await;
                continue;
            };
            let results: Value = answer.json().await.unwrap_or_default();
            let all = results["results"].as_array().is_some_and(|results| {
                results.iter().all(|one| matches!(one["status"].as_str(), Some("accepted" | "duplicate")))
            });
            if all {
                break;
            }
            retry_delay().await;
        }
        number = upto;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..12))).await;
    }
}

async fn retry_delay() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn random_clients(server: &Process, random: &mut StdRng) -> Vec<RandomClient> {
    (0..CLIENTS).map(|_| RandomClient::start(address_of(server), random.random())).collect()
}

/// Waits until every client has reached the end, and checks the frames it received.
async fn all_received_the_log(clients: &[RandomClient], end: Cursor, logs: &Logs<'_>) {
    for (number, client) in clients.iter().enumerate() {
        let deadline = Instant::now() + Duration::from_mins(2);
        while client.at().is_none_or(|at| at.epoch != end.epoch || at.seq < end.seq) {
            assert!(client.is_running(), "client {number} panicked");
            assert!(Instant::now() < deadline, "client {number} is at {:?}, the log at {end}", client.at());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let received = client.received();
        received.assert_complete(logs);
        println!(
            "client {number}: {} connects, {} steps, {} resets",
            received.connects,
            received.steps.len(),
            received.resets().len()
        );
    }
}

/// The newest saved state at or before a position.
async fn saved_before(database: &Database, cursor: Cursor) -> Option<u64> {
    let saved = database.snapshots.state_at(cursor.epoch, READABLE_VERSIONS, cursor.seq, None).await.ok()??;
    Some(saved.cursor.seq)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_over_restarts_and_retention_on_table_log() {
    let mut random = seeded();
    let folder = Folder::new("replay");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let mut server = Process::serve(&[&SETTINGS[..], &[("DATABASE_URL", &*url)]].concat()).await;
    let database = history::open(&url, &HistoryConfig::default()).await.expect("the database can be opened");
    let mut expected = ExpectedFrames::of_table(database.clone()).await;
    let clients = random_clients(&server, &mut random);
    let publisher = tokio::spawn(publish(server.url("/living-map/events"), 1_500, random.random()));
    while !publisher.is_finished() {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        if random.random() {
            if random.random() {
                server.stop().await;
            } else {
                server.kill();
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            server.restart().await;
        } else {
            expected.advance().await;
            // only events before a saved snapshot that is at or before the position of every client
            let behind = clients.iter().filter_map(RandomClient::at).min_by_key(|at| at.seq);
            let Some(saved) = (match behind.filter(|at| at.seq > 0) {
                Some(behind) => saved_before(&database, behind).await,
                None => None,
            }) else {
                continue;
            };
            let held = database.history.log_range(expected.epoch()).await.expect("the database answers");
            let limit = held.map_or(0, |held| (saved + 1).saturating_sub(held.first));
            if limit > 0 {
                let limit = u32::try_from(limit).expect("a few");
                let deleted = database.history.delete_before(chrono::Utc::now(), limit).await;
                println!("retention deleted {deleted:?} events, up to {saved}");
            }
        }
    }
    publisher.await.expect("it publishes");
    expected.advance().await;
    all_received_the_log(&clients, expected.at(), &[(expected.epoch(), &expected.frames)]).await;
    let resets: usize = clients.iter().map(|client| client.received().resets().len()).sum();
    assert_eq!(resets, 0, "every requested event was available");
    database.history.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_over_restarts_and_expiry_on_jetstream() {
    let mut random = seeded();
    let (nats, mut postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let more = [("NATS_URL", &*nats_url), ("DATABASE_URL", &*database_url)];
    let mut server = Process::serve(&[&SETTINGS[..], &more].concat()).await;
    let mut expected = ExpectedFrames::of_jetstream(&nats_url).await;
    let clients = random_clients(&server, &mut random);
    let publisher = tokio::spawn(publish(server.url("/living-map/events"), 1_500, random.random()));
    let jetstream = async_nats::jetstream::new(nats.client().await);
    let mut outages: Vec<(Instant, Instant)> = Vec::new();
    while !publisher.is_finished() {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        match random.random_range(0..4) {
            0 => {
                server.stop().await;
                server.restart().await;
            }
            1 => {
                server.kill();
                tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
                server.restart().await;
            }
            2 if outages.len() < 2 => {
                let since = Instant::now();
                postgres.kill();
                tokio::time::sleep(Duration::from_millis(random.random_range(200..1_500))).await;
                postgres.restart().await;
                until("the server to reconnect to the database", || async {
                    let history = reqwest::get(server.url("/living-map/history?limit=1")).await.ok()?;
                    history.status().is_success().then_some(())
                })
                .await;
                outages.push((since, Instant::now()));
            }
            _ => expire(&mut expected, &jetstream, &database_url).await,
        }
    }
    publisher.await.expect("it publishes");
    expected.advance().await;
    all_received_the_log(&clients, expected.at(), &[(expected.epoch(), &expected.frames)]).await;
    // a replay requested during an outage may fail up to its timeout later
    let patience = Duration::from_secs(25);
    for (from, to, when) in clients.iter().flat_map(|client| client.received().resets()) {
        let excused = outages.iter().any(|(since, until)| *since <= when && when <= *until + patience);
        assert!(excused, "a client was reset from {from} to {to} without an outage");
    }
}

/// Purges the beginning of the stream, up to a saved snapshot, if the history has it.
async fn expire(expected: &mut ExpectedFrames, jetstream: &async_nats::jetstream::Context, database_url: &str) {
    expected.advance().await;
    let Ok(database) = history::open(database_url, &HistoryConfig::default()).await else { return };
    let at = expected.at();
    let saved = saved_before(&database, at).await.unwrap_or(0);
    // the end of the gapless part of the history
    let mut recorded = 0;
    while recorded < saved {
        let Ok(page) = database.history.read_log(at.epoch, recorded, 1_000).await else { break };
        let whole = page.iter().zip(recorded + 1..).take_while(|(entry, seq)| entry.cursor.seq == *seq).count() as u64;
        if whole == 0 {
            break;
        }
        recorded += whole;
    }
    let upto = saved.min(recorded);
    if upto > 0 {
        let stream = jetstream.get_stream("LIVING_MAP").await.expect("the stream is there");
        stream.purge().sequence(upto + 1).await.expect("its beginning can be purged");
        println!("the stream now begins at {}", upto + 1);
    }
    database.history.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_log_resets_every_client_exactly_once() {
    let mut random = seeded();
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let more = [("NATS_URL", &*nats_url), ("DATABASE_URL", &*database_url)];
    let server = Process::serve(&[&SETTINGS[..], &more].concat()).await;
    let mut before = ExpectedFrames::of_jetstream(&nats_url).await;
    let clients = random_clients(&server, &mut random);
    publish(server.url("/living-map/events"), 300, random.random()).await;
    before.advance().await;
    // a client that lags when the log is deleted would get a further reset
    all_received_the_log(&clients, before.at(), &[(before.epoch(), &before.frames)]).await;
    let jetstream = async_nats::jetstream::new(nats.client().await);
    jetstream.delete_stream("LIVING_MAP").await.expect("it can be deleted");
    until("the log to be recreated", || async { jetstream.get_stream("LIVING_MAP").await.ok().map(drop) }).await;
    let after = ExpectedFrames::of_jetstream(&nats_url).await;
    assert_ne!(after.epoch(), before.epoch());
    let (epoch_before, frames_before) = (before.epoch(), before.frames.clone());
    let mut after = after.carried_over(before);
    publish(server.url("/living-map/events"), 600, random.random()).await;
    after.advance().await;
    let logs = [(epoch_before, &frames_before), (after.epoch(), &after.frames)];
    all_received_the_log(&clients, after.at(), &logs).await;
    for client in &clients {
        let resets_between_logs =
            client.received().resets().iter().filter(|(from, to, _)| from.epoch != to.epoch).count();
        assert_eq!(
            (resets_between_logs, client.received().resets().len()),
            (1, 1),
            "one reset, at the change of the log"
        );
    }
}
