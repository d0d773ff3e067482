//! The map survives the loss of its log: the stream is wiped, restored from an older backup, or purged.

use std::collections::BTreeSet;
use std::time::Duration;

use living_map::model::Service;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::Connection;

use super::adapters::upstream::Upstream;
use super::faults::{environment, numbers_in_history};
use super::replicas::{layers, ready, snapshot};
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::wait::until;

/// A status of one of seven agents.
fn status(number: u64) -> Value {
    let payload = json!({"agent_id": format!("agent:{}", number % 7), "status": "online", "n": number});
    json!({"event_type": "agent.event.status", "event_id": format!("n{number}"), "payload": payload})
}

/// A model call, which counters count.
fn call(number: u64) -> Value {
    let payload = json!({"agent_id": format!("agent:{}", number % 7), "model": "m", "total_tokens": 10});
    json!({"event_type": "usage.llm", "event_id": format!("c{number}"), "payload": payload})
}

/// Publishes events; the cursor of each.
async fn publish(server: &Process, events: &[Value]) -> Vec<Option<String>> {
    let answer = until("events to be accepted", || async {
        let request = reqwest::Client::new().post(server.url("/living-map/events")).json(events);
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        let results = answer["results"].as_array()?;
        results.iter().all(|result| result["status"] != "rejected").then(|| results.clone())
    })
    .await;
    answer.iter().map(|result| result["cursor"].as_str().map(str::to_owned)).collect()
}

/// The events of one round: statuses and calls with these numbers.
fn events(numbers: std::ops::Range<u64>) -> Vec<Value> {
    numbers.flat_map(|number| [status(number), call(number)]).collect()
}

fn calls(snapshot: &Value) -> u64 {
    snapshot["layers"]["agents"]["total_llm_calls_24h"].as_u64().expect("a number of calls")
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('.').expect("a cursor").0
}

/// The snapshot of a server whose map is complete and has counted this many calls.
async fn until_counted(server: &Process, count: u64) -> (Value, String) {
    until("the map to have every event", || async {
        ready(server).await?;
        snapshot(server, "").await.filter(|(snapshot, _)| snapshot["layers"].is_object() && calls(snapshot) == count)
    })
    .await
}

/// Waits until a server is ready with another log than the one of `cursor`.
async fn until_replaced(server: &Process, cursor: &str) {
    until("the map to be carried over", || async {
        let cursor_now = ready(server).await?["checks"]["map"]["cursor"].as_str()?.to_owned();
        (epoch(&cursor_now) != epoch(cursor)).then_some(())
    })
    .await;
}

async fn until_recorded(server: &Process, numbers: std::ops::Range<u64>) {
    let wanted: BTreeSet<u64> = numbers.collect();
    let recorded = until("history to have every event", || async {
        let numbers = numbers_in_history(server).await?;
        (numbers.iter().copied().collect::<BTreeSet<_>>().is_superset(&wanted)).then_some(numbers)
    })
    .await;
    assert_eq!(recorded.len(), wanted.len(), "history has each event once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_nats_store_keeps_the_map() {
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let servers = [Process::serve(&settings).await, Process::serve(&settings).await];
    let cursors = publish(&servers[0], &events(0..30)).await;
    let last = cursors.last().unwrap().clone().unwrap();
    let (_, before) = until_counted(&servers[0], 30).await;
    until_counted(&servers[1], 30).await;
    until_recorded(&servers[0], 0..30).await;

    nats.kill();
    nats.wipe_store();
    nats.restart().await;
    for server in &servers {
        until_replaced(server, &last).await;
        assert_eq!(layers(&until_counted(server, 30).await.1), layers(&before), "nothing is lost");
    }
    // events that are sent again change nothing, new ones are counted
    publish(&servers[1], &events(20..30)).await;
    let cursors = publish(&servers[0], &events(30..40)).await;
    let third = Process::serve(&settings).await;
    let mut maps = Vec::new();
    for server in servers.iter().chain([&third]) {
        maps.push(until_counted(server, 40).await.1);
    }
    assert!(maps.iter().all(|map| layers(map) == layers(&maps[0])), "replicas differ");
    until_recorded(&third, 0..40).await;

    // time travel on both sides
    let (then, at_last) = snapshot(&third, &format!("?at={last}")).await.unwrap();
    assert_eq!((then["meta"]["cursor"].as_str(), layers(&at_last)), (Some(&*last), layers(&before)));
    let begin = format!("{}.0", epoch(cursors[0].as_ref().unwrap()));
    assert_eq!(layers(&snapshot(&third, &format!("?at={begin}")).await.unwrap().1), layers(&before));
    let generated_at = then["meta"]["generated_at"].as_str().unwrap();
    assert_eq!(layers(&snapshot(&third, &format!("?at={generated_at}")).await.unwrap().1), layers(&before));
    let saved = reqwest::get(third.url("/living-map/snapshots")).await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(saved["oldest_cursor"], json!(format!("{}.0", epoch(&last))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_wiped_while_the_server_is_down_keeps_it() {
    let mut nats = NatsServer::start().await;
    let folder = Folder::new("carry-over");
    let (database, url) = (format!("sqlite://{}", folder.path().join("map.db").display()), nats.url());
    for planned in [true, false] {
        let settings = environment(&[("DATABASE_URL", &database), ("NATS_URL", &url)]);
        let mut server = Process::serve(&settings).await;
        let count = if planned { 20 } else { 40 };
        let cursors = publish(&server, &events(count - 20..count)).await;
        let (_, before) = until_counted(&server, count).await;
        until_recorded(&server, 0..count).await;
        if planned {
            server.stop().await;
        } else {
            // without a saved snapshot of the log's end
            server.kill();
        }
        nats.kill();
        nats.wipe_store();
        nats.restart().await;
        server.restart().await;
        until_replaced(&server, cursors[0].as_ref().unwrap()).await;
        assert_eq!(layers(&until_counted(&server, count).await.1), layers(&before));
    }
}

async fn a_restored_store_keeps_the_map(running: bool) {
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let mut server = Process::serve(&settings).await;
    publish(&server, &events(0..20)).await;
    until_recorded(&server, 0..20).await;
    nats.stop().await;
    let backup = nats.save_store();
    nats.restart().await;
    let cursors = publish(&server, &events(20..30)).await;
    let last = cursors.last().unwrap().clone().unwrap();
    let (_, before) = until_counted(&server, 30).await;
    until_recorded(&server, 0..30).await;
    if !running {
        server.kill();
    }
    nats.kill();
    nats.restore_store(&backup);
    nats.restart().await;
    if !running {
        server.restart().await;
    }
    until_replaced(&server, &last).await;
    assert_eq!(layers(&until_counted(&server, 30).await.1), layers(&before));
    let cursors = publish(&server, &events(30..40)).await;
    // the entries of the backup are in the map already
    assert!(cursors[0].as_ref().unwrap().ends_with(".41"), "{cursors:?}");
    let third = Process::serve(&settings).await;
    let maps = [until_counted(&server, 40).await.1, until_counted(&third, 40).await.1];
    assert_eq!(layers(&maps[0]), layers(&maps[1]));
    assert_eq!(layers(&snapshot(&third, &format!("?at={last}")).await.unwrap().1), layers(&before));
    until_recorded(&server, 0..40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_under_a_server_keeps_the_map() {
    a_restored_store_keeps_the_map(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_while_the_server_is_down_keeps_it() {
    a_restored_store_keeps_the_map(false).await;
}

/// The backup has every entry that is known of its log, which has continued in another one since.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_backup_of_an_earlier_log_does_not_bring_back_its_map() {
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let server = Process::serve(&settings).await;
    publish(&server, &events(0..20)).await;
    until_recorded(&server, 0..20).await;
    nats.stop().await;
    let older = nats.save_store();
    nats.restart().await;
    let cursors = publish(&server, &events(20..30)).await;
    let first = cursors.last().unwrap().clone().unwrap();
    until_recorded(&server, 0..30).await;
    until_counted(&server, 30).await;
    nats.stop().await;
    let complete = nats.save_store();
    nats.restore_store(&older);
    nats.restart().await;
    until_replaced(&server, &first).await;
    let cursors = publish(&server, &events(30..40)).await;
    let second = cursors.last().unwrap().clone().unwrap();
    until_recorded(&server, 0..40).await;
    let (_, before) = until_counted(&server, 40).await;

    nats.kill();
    nats.restore_store(&complete);
    nats.restart().await;
    until_replaced(&server, &second).await;
    assert_eq!(layers(&until_counted(&server, 40).await.1), layers(&before));
    publish(&server, &events(40..50)).await;
    let another = Process::serve(&settings).await;
    let maps = [until_counted(&server, 50).await.1, until_counted(&another, 50).await.1];
    assert_eq!(layers(&maps[0]), layers(&maps[1]));
    until_recorded(&server, 0..50).await;
}

/// The log is the table itself, so what it has lost before it was read is lost for good; the rest is carried over.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_log_that_lost_unread_rows_keeps_the_saved_map() {
    let folder = Folder::new("carry-over");
    let database = format!("sqlite://{}", folder.path().join("map.db").display());
    let mut server = Process::serve(&environment(&[("DATABASE_URL", &database)])).await;
    publish(&server, &events(0..10)).await;
    let (_, before) = until_counted(&server, 10).await;
    // saves the map
    server.stop().await;
    server.restart().await;
    let cursors = publish(&server, &events(10..20)).await;
    until_counted(&server, 20).await;
    // without another saved map
    server.kill();
    let lost: i64 = cursors[4].as_ref().unwrap().split_once('.').unwrap().1.parse().unwrap();
    let mut connection = sqlx::SqliteConnection::connect(&database).await.unwrap();
    sqlx::query("DELETE FROM living_map_history WHERE seq <= $1").bind(lost).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    server.restart().await;
    // of ten calls the first five events had two
    let (then, after) = until_counted(&server, 18).await;
    assert_eq!(epoch(then["meta"]["cursor"].as_str().unwrap()), epoch(cursors[0].as_ref().unwrap()), "the same log");
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("living_map_bases_total{kind=\"truncated\"} 1"), "{metrics}");
    let begin = format!("{}.{lost}", epoch(cursors[0].as_ref().unwrap()));
    let (_, at_begin) = snapshot(&server, &format!("?at={begin}")).await.unwrap();
    assert_eq!(calls(&then), 18);
    assert_eq!(layers(&at_begin), layers(&before), "the map with which the log begins is the saved one");
    // a second start begins with the same base
    server.kill();
    server.restart().await;
    assert_eq!(layers(&until_counted(&server, 18).await.1), layers(&after));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_stream_keeps_the_map_and_its_epoch() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let mut server = Process::serve(&settings).await;
    let cursors = publish(&server, &events(0..20)).await;
    let (_, before) = until_counted(&server, 20).await;
    until_recorded(&server, 0..20).await;
    // no saved snapshot
    server.kill();
    let stream = async_nats::jetstream::new(nats.client().await).get_stream("LIVING_MAP").await.unwrap();
    stream.purge().await.unwrap();
    server.restart().await;
    assert_eq!(layers(&until_counted(&server, 20).await.1), layers(&before));
    let more = publish(&server, &events(20..25)).await;
    assert_eq!(epoch(more[0].as_ref().unwrap()), epoch(cursors[0].as_ref().unwrap()));
    let third = Process::serve(&settings).await;
    let maps = [until_counted(&server, 25).await.1, until_counted(&third, 25).await.1];
    assert_eq!(layers(&maps[0]), layers(&maps[1]));
    let at = cursors.last().unwrap().as_ref().unwrap();
    assert_eq!(layers(&snapshot(&third, &format!("?at={at}")).await.unwrap().1), layers(&before));
}

/// The wiped log is carried over by servers that are killed at any moment, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_of_a_carry_over_is_survived() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let mut servers = [Process::serve(&settings).await, Process::serve(&settings).await];
    let mut count = 0;
    for _ in 0..3 {
        let cursors = publish(&servers[0], &events(count..count + 10)).await;
        count += 10;
        let (_, before) = until_counted(&servers[0], count).await;
        until_counted(&servers[1], count).await;
        until_recorded(&servers[0], 0..count).await;
        nats.kill();
        nats.wipe_store();
        nats.restart().await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
            servers[random.random_range(0..2)].restart().await;
        }
        for server in &servers {
            until_replaced(server, cursors[0].as_ref().unwrap()).await;
            assert_eq!(layers(&until_counted(server, count).await.1), layers(&before));
        }
    }
}

/// Events that nothing has read are lost with the stream. The map of all others stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_purged_before_it_is_read_keeps_the_map() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let mut server = Process::serve(&settings).await;
    publish(&server, &events(0..20)).await;
    let (_, before) = until_counted(&server, 20).await;
    assert!(server.stop().await.success());
    let jetstream = async_nats::jetstream::new(nats.client().await);
    for number in 20..30 {
        let sent = jetstream.publish("usage.llm", call(number)["payload"].to_string().into()).await;
        sent.unwrap().await.expect("the stream has it");
    }
    jetstream.get_stream("LIVING_MAP").await.unwrap().purge().await.unwrap();
    server.restart().await;
    assert_eq!(layers(&until_counted(&server, 20).await.1), layers(&before));
    let more = publish(&server, &events(30..31)).await;
    assert!(more[0].as_ref().unwrap().ends_with(".51"), "the row lies directly before the first position: {more:?}");
    let second = Process::serve(&settings).await;
    let maps = [until_counted(&server, 21).await.1, until_counted(&second, 21).await.1];
    assert_eq!(layers(&maps[0]), layers(&maps[1]));
}

/// Only the log is deleted; the streams that it copies from still have what it has taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_log_copies_only_what_it_has_not_taken() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let server = Process::serve(&settings).await;
    until("the server to be ready", || ready(&server)).await;
    let jetstream = async_nats::jetstream::new(nats.client().await);
    let store = async |number: u64| {
        // without an id, the event is identified by its position in the stream MEMORY
        let sent = jetstream.publish("memory.store.agent:sofia", json!({"n": number}).to_string().into()).await;
        sent.unwrap().await.expect("the stream has it");
    };
    let recorded = async |count: usize| {
        until("history to have every event", || async {
            let url = server.url("/living-map/history?event_type=memory.store.agent:sofia&limit=100");
            let page: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
            (page["items"].as_array()?.len() == count).then_some(())
        })
        .await;
    };
    for number in 0..20 {
        store(number).await;
    }
    recorded(20).await;
    let before = ready(&server).await.unwrap()["checks"]["map"]["cursor"].as_str().unwrap().to_owned();
    jetstream.delete_stream("LIVING_MAP").await.unwrap();
    until_replaced(&server, &before).await;
    store(20).await;
    recorded(21).await;
    let state = jetstream.get_stream("LIVING_MAP").await.unwrap().get_info().await.unwrap().state;
    assert_eq!((state.messages, state.last_sequence), (1, 1), "only the new message is copied");
}

/// The other services do not answer, and delay nothing.
#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_polled_at_once_after_a_carry_over() {
    let mut nats = NatsServer::start().await;
    let upstream = Upstream::recorded(Service::City).await;
    let silent = Upstream::serve(|_, _| std::future::pending()).await;
    let folder = Folder::new("carry-over");
    let (database, url) = (format!("sqlite://{}", folder.path().join("map.db").display()), nats.url());
    let own = [("DATABASE_URL", &*database), ("NATS_URL", &url), ("CITY_SERVICE_URL", &upstream.url)];
    let mut settings = environment(&own);
    settings.push(("DAO_SERVICE_URL", &silent.url));
    let server = Process::serve(&settings).await;
    let cursors = publish(&server, &events(0..5)).await;
    until("the city to be polled", || async { (!upstream.requests().is_empty()).then_some(()) }).await;
    let (before, _) = until_counted(&server, 5).await;
    let polled = upstream.requests().len();
    nats.kill();
    nats.wipe_store();
    nats.restart().await;
    until_replaced(&server, cursors[0].as_ref().unwrap()).await;
    // the interval of polls is an hour
    until("the city to be polled again", || async { (upstream.requests().len() > polled).then_some(()) }).await;
    let agents = |map: &Value| map["layers"]["agents"]["items"].clone();
    assert_eq!(agents(&until_counted(&server, 5).await.0), agents(&before));
}
