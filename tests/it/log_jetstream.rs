//! The log in `JetStream`: the shared suite, and tests of the stream and its server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use futures::StreamExt;
use living_map::bus::{Connection, NatsConfig, StreamDeclaration, connect, streams};
use living_map::journal::Journal;
use living_map::live::{self, LiveConfig, LiveMap};
use living_map::log::{EventLog, ExperienceConfig, ExperienceStream, JetStreamConfig, JetStreamLog, LogError};
use living_map::model::{EntityType, Epoch, LogEntry, NewEvent};
use living_map::stream::{Hub, HubConfig};
use living_map::upstream_health::UpstreamHealth;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::log_suite::{
    Fixture, a_rejected_event_does_not_stop_the_others, append, assert_gapless, epoch, event, log_suite, of, read,
    read_error,
};
use crate::support::nats::NatsServer;
use crate::support::wait::{PATIENCE, until};

log_suite!(start);

struct Private(NatsServer);

async fn start() -> Private {
    Private(NatsServer::start().await)
}

#[async_trait]
impl Fixture for Private {
    async fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(open(&self.0).await)
    }
}

async fn connection(server: &NatsServer) -> Connection {
    let config = NatsConfig { url: server.url(), reconnect_max: Duration::from_millis(200), ..NatsConfig::default() };
    connect(&config).await.unwrap()
}

async fn open(server: &NatsServer) -> JetStreamLog {
    let config = JetStreamConfig { retry_max: Duration::from_millis(200), ..JetStreamConfig::default() };
    JetStreamLog::new(config, connection(server).await)
}

async fn stream_of(server: &NatsServer) -> stream::Stream {
    jetstream::new(server.client().await).get_stream("LIVING_MAP").await.unwrap()
}

type Entries = futures::stream::BoxStream<'static, Result<LogEntry, LogError>>;

async fn next(entries: &mut Entries) -> Result<LogEntry, LogError> {
    let next = tokio::time::timeout(PATIENCE, entries.next()).await.expect("no item in time");
    next.expect("the stream ended")
}

#[tokio::test]
async fn unrecorded_and_too_large_events_are_rejected() {
    let server = NatsServer::start_with("max_payload: 16384").await;
    let log = open(&server).await;
    let outside = of(json!({"event_type": "elsewhere.x", "payload": {}}));
    let error = a_rejected_event_does_not_stop_the_others(&log, outside).await;
    assert!(matches!(error, LogError::NotRecorded(subject) if subject == "elsewhere.x"));

    let large = |bytes: usize| of(json!({"event_type": "city.event.x", "payload": "x".repeat(bytes)}));
    let mut results = log.append(vec![large(16_384), large(15_000)]).await;
    assert!(results[1].is_ok());
    match results.swap_remove(0) {
        Err(LogError::TooLarge { size, limit }) => assert!(size > 16_384 && limit == 16_384),
        other => panic!("{other:?}"),
    }
    assert!(log.append(vec![large(16_000), event(1)]).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_event_of_an_unsourced_stream_is_not_recorded() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    let unknown = of(json!({"event_type": "elsewhere.x", "payload": {}}));
    assert!(log.append(vec![unknown]).await[0].is_err(), "and the subjects of the stream are cached");
    // an operator moves one of the log's subjects to another stream
    let jetstream = jetstream::new(server.client().await);
    let mut config = stream_of(&server).await.cached_info().config.clone();
    config.subjects.retain(|subject| !subject.starts_with("usage."));
    jetstream.update_stream(&config).await.unwrap();
    let other = stream::Config { name: "OTHER".into(), subjects: vec!["usage.>".into()], ..Default::default() };
    jetstream.create_stream(other).await.unwrap();
    let usage = of(json!({"event_type": "usage.llm", "payload": {}}));
    let error = a_rejected_event_does_not_stop_the_others(&log, usage).await;
    assert!(matches!(error, LogError::NotRecorded(_)), "{error}");
}

#[tokio::test]
async fn messages_of_plain_publishers_are_read_unchanged() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    let epoch = epoch(&log).await;
    let publisher = server.client().await;
    let captured = include_str!("../fixtures/nats_microdao_events.jsonl");
    let lines: Vec<Value> = captured.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let subject = line["subject"].as_str().unwrap().to_owned();
        publisher.publish(subject, line["payload"].to_string().into()).await.unwrap();
    }
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in
        [("ce-specversion", "1.0"), ("ce-id", "e1"), ("ce-source", "gateway"), ("ce-type", "status"), ("x", "y")]
    {
        headers.insert(name, value);
    }
    let body = json!({"agent_id": "agent:sofia"}).to_string();
    publisher.publish_with_headers("agent.event.status", headers, body.into()).await.unwrap();
    publisher.publish("city.event.odd", "no JSON \u{0}".into()).await.unwrap();
    publisher.publish("city.event.odd", "".into()).await.unwrap();
    publisher.flush().await.unwrap();

    let entries = read(&log, 0, lines.len() + 3).await;
    assert_gapless(&entries, 1);
    for (entry, line) in entries.iter().zip(&lines) {
        assert_eq!(entry.event.event_type, line["subject"].as_str().unwrap());
        assert_eq!(entry.event.payload, line["payload"]);
        assert_eq!(entry.event.entity_type, Some(EntityType::Microdao));
    }
    assert_eq!(entries[0].event.timestamp.to_rfc3339(), "2026-11-21T00:06:59.126416+00:00");
    let [.., cloud, odd, empty] = entries.as_slice() else { panic!() };
    assert_eq!(cloud.event.source_service.as_deref(), Some("gateway"));
    assert_eq!(cloud.event.entity_id.as_deref(), Some("agent:sofia"));
    assert_eq!((&odd.event.payload, odd.raw.as_deref()), (&Value::Null, Some(&b"no JSON \0"[..])));
    assert_eq!((&empty.event.payload, &empty.raw), (&Value::Null, &None));
    assert_ne!(odd.event.id, empty.event.id);
    let ids: Vec<_> = entries.iter().map(|entry| entry.event.id).collect();
    let again = log.read(epoch, 0).await.unwrap().take(ids.len()).map(|entry| entry.unwrap().event.id);
    assert_eq!(again.collect::<Vec<_>>().await, ids, "ids derived from positions are the same for every reader");
}

#[tokio::test]
async fn a_log_can_be_opened_before_its_server_starts() {
    let mut server = NatsServer::start().await;
    server.stop().await;
    let log = JetStreamLog::new(
        JetStreamConfig { append_timeout: Duration::from_millis(200), ..JetStreamConfig::default() },
        connection(&server).await,
    );
    assert!(matches!(log.ready().await, Err(LogError::Unavailable(_))));
    assert!(matches!(log.append(vec![event(1)]).await[..], [Err(LogError::Unavailable(_))]));
    server.restart().await;
    until("the log to be ready", || async { log.ready().await.ok() }).await;
    append(&log, vec![event(1)]).await;
}

/// Appends under load while `disturb` runs. Every acknowledged event is read once and in order, by a reader that was
/// open all the time and by one opened afterwards.
async fn nothing_is_lost(disturb: impl AsyncFn(&mut NatsServer, &JetStreamLog)) {
    let mut server = NatsServer::start().await;
    let log = open(&server).await;
    let mut entries = log.read(epoch(&log).await, 0).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let appending = tokio::spawn({
        let (log, stop) = (log.clone(), stop.clone());
        async move {
            let mut acknowledged = BTreeSet::new();
            let mut number = 0;
            while !stop.is_cancelled() {
                let events: Vec<NewEvent> = (0..20).map(|n| event(number + n)).collect();
                number += 20;
                let results = log.append(events.clone()).await;
                acknowledged.extend(results.into_iter().flatten().map(|appended| appended.id));
            }
            acknowledged
        }
    });
    let mut seen: Vec<LogEntry> = Vec::new();
    for _ in 0..2 {
        for _ in 0..500 {
            seen.push(next(&mut entries).await.unwrap());
        }
        disturb(&mut server, &log).await;
    }
    for _ in 0..500 {
        seen.push(next(&mut entries).await.unwrap());
    }
    stop.cancel();
    let mut acknowledged = appending.await.unwrap();
    let last = until("the server to answer", || async { log.bounds().await.ok() }).await.last;
    while seen.last().unwrap().cursor.seq < last {
        seen.push(next(&mut entries).await.unwrap());
    }
    assert_gapless(&seen, 1);
    for entry in &seen {
        acknowledged.remove(&entry.event.id);
    }
    assert!(acknowledged.is_empty(), "acknowledged and lost: {acknowledged:?}");
    assert_eq!(read(&log, 0, seen.len()).await, seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_restarted() {
    nothing_is_lost(async |server, _| {
        server.stop().await;
        server.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_killed() {
    nothing_is_lost(async |server, _| {
        server.kill();
        server.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_hangs() {
    nothing_is_lost(async |server, log| {
        server.daemon().signal("STOP");
        until("an append to fail", || async { log.append(vec![event(0)]).await.remove(0).err() }).await;
        server.daemon().signal("CONT");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_readers_consumers_are_deleted() {
    nothing_is_lost(async |server, _| {
        let stream = stream_of(server).await;
        let names: Vec<_> = stream.consumer_names().map(Result::unwrap).collect().await;
        assert!(!names.is_empty());
        for name in names {
            stream.delete_consumer(&name).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_recreated_stream_is_another_log() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, (0..3).map(event).collect()).await;
    let before = epoch(&log).await;
    let mut entries = log.read(before, 0).await.unwrap();
    for _ in 0..3 {
        next(&mut entries).await.unwrap();
    }
    jetstream::new(server.client().await).delete_stream("LIVING_MAP").await.unwrap();
    let Err(LogError::EpochChanged(after)) = next(&mut entries).await else { panic!("the epoch did not change") };
    assert_ne!(after, before);
    assert_eq!(epoch(&log).await, after);
    assert!(entries.next().await.is_none());
    assert!(matches!(read_error(&log, before, 3).await, LogError::EpochChanged(found) if found == after));
    append(&log, vec![event(3)]).await;
    assert_eq!(read(&log, 0, 1).await[0].cursor.seq, 1);
}

#[tokio::test]
async fn changes_by_an_operator_are_detected_without_reconnecting() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    let operator = jetstream::new(server.client().await);
    let mut config = stream_of(&server).await.cached_info().config.clone();
    operator.delete_stream("LIVING_MAP").await.unwrap();
    config.subjects.push("parser.document.>".into());
    // nats-server 2.9 may still be deleting the stream of the same name
    until("the stream to be created again", || async { operator.create_stream(config.clone()).await.ok() }).await;
    let after = until("the log to be available", || async { log.bounds().await.ok() }).await.epoch;
    let added = of(json!({"event_type": "parser.document.parsed", "payload": {}}));
    let appended = append(&log, vec![added]).await;
    assert_eq!(appended[0].cursor.map(|cursor| cursor.epoch), Some(after));
}

#[tokio::test]
async fn an_append_recreates_a_deleted_stream() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    jetstream::new(server.client().await).delete_stream("LIVING_MAP").await.unwrap();
    let missing = log.append(vec![event(1)]).await;
    assert!(matches!(missing[..], [Err(LogError::Unavailable(_))]), "{missing:?}");
    until("the stream to be created again", || async { log.append(vec![event(1)]).await.remove(0).ok() }).await;
}

#[tokio::test]
async fn entries_deleted_before_they_are_read_are_reported() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, (0..10).map(event).collect()).await;
    let own = epoch(&log).await;
    stream_of(&server).await.purge().sequence(6).await.unwrap();
    assert!(matches!(read_error(&log, own, 3).await, LogError::Truncated { oldest: 6 }));
    assert_gapless(&read(&log, 5, 5).await, 6);
    assert_gapless(&read(&log, 0, 5).await, 6);
    stream_of(&server).await.purge().await.unwrap();
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last, bounds.first_at), (11, 10, None));
    assert!(matches!(read_error(&log, own, 9).await, LogError::Truncated { oldest: 11 }));
    let mut entries = log.read(own, 10).await.unwrap();
    append(&log, vec![event(10)]).await;
    assert_eq!(next(&mut entries).await.unwrap().cursor.seq, 11);
}

#[tokio::test]
async fn the_map_of_a_purged_log_is_complete_and_continues() {
    let server = NatsServer::start().await;
    let log: Arc<dyn EventLog> = Arc::new(open(&server).await);
    append(&*log, (0..3).map(event).collect()).await;
    stream_of(&server).await.purge().await.unwrap();
    let (live, hub) = (
        LiveMap::new(LiveConfig::default(), UpstreamHealth::default(), Journal::default()),
        Hub::new(HubConfig::default(), Epoch(0)),
    );
    let stop = CancellationToken::new();
    tokio::spawn(live::follow(live.clone(), Arc::clone(&log), Arc::new(hub), LiveConfig::default(), stop.clone()));
    until("the map to be complete", || async { live.is_complete().then_some(()) }).await;
    let cursor = append(&*log, vec![event(3)]).await[0].cursor.unwrap();
    assert_eq!(cursor.seq, 4);
    tokio::time::timeout(PATIENCE, live.folded(cursor)).await.expect("the next event is folded");
    stop.cancel();
}

#[tokio::test]
async fn entries_deleted_from_the_middle_do_not_stop_a_reader() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, (1..=10).map(event).collect()).await;
    let stream = stream_of(&server).await;
    for position in [3, 4, 8] {
        stream.delete_message(position).await.unwrap();
    }
    let positions: Vec<u64> = read(&log, 0, 7).await.iter().map(|entry| entry.cursor.seq).collect();
    assert_eq!(positions, [1, 2, 5, 6, 7, 9, 10]);
}

#[tokio::test]
async fn a_server_that_lost_recent_entries_is_another_log() {
    let mut server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, (1..=5).map(event).collect()).await;
    server.stop().await;
    let saved = server.save_store();
    server.restart().await;
    let before = epoch(&log).await;
    let mut entries = log.read(before, 0).await.unwrap();
    append(&log, (6..=10).map(event).collect()).await;
    for _ in 0..10 {
        next(&mut entries).await.unwrap();
    }
    server.kill();
    server.restore_store(&saved);
    server.restart().await;
    let Err(LogError::EpochChanged(after)) = next(&mut entries).await else { panic!("entries were lost") };
    assert_ne!(after, before);
    assert_eq!(epoch(&open(&server).await).await, after, "every process sees the same new epoch");
    assert_gapless(&read(&log, 0, 5).await, 1);
    assert!(matches!(read_error(&log, before, 10).await, LogError::EpochChanged(found) if found == after));
}

#[tokio::test]
async fn an_existing_stream_is_extended_and_otherwise_unchanged() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    let existing = stream::Config {
        name: "LIVING_MAP".into(),
        subjects: vec!["city.event.>".into(), "other.>".into(), "usage.llm.increment".into()],
        max_age: Duration::from_hours(1),
        description: Some("of the operator".into()),
        ..Default::default()
    };
    jetstream.create_stream(existing).await.unwrap();
    let connection = connection(&server).await;
    let declared = StreamDeclaration::living_map(&["wallet.>".parse().unwrap(), "agents.reply".parse().unwrap()], 1);
    let info = streams::info(&connection, "LIVING_MAP").await.unwrap();
    assert!(info.is_none() || streams::compare(&declared, &info.unwrap()).iter().any(|one| one.setting == "subjects"));

    let status = streams::create_or_extend(&connection, &declared).await.unwrap();
    let info = status.info.unwrap();
    let subjects = info.subjects();
    for subject in ["city.event.>", "other.>", "usage.llm.>", "wallet.>", "agents.>", "living_map.>"] {
        assert!(subjects.iter().any(|has| has == subject), "{subject} in {subjects:?}");
    }
    assert!(!subjects.iter().any(|has| has == "usage.llm.increment" || has == "agents.reply"), "{subjects:?}");
    assert_eq!(info.description(), "of the operator");
    let settings: Vec<&str> = status.differences.iter().map(|one| one.setting.as_str()).collect();
    assert_eq!(settings, ["max_age"]);
    let again = streams::create_or_extend(&connection, &declared).await.unwrap();
    assert_eq!(again.info.unwrap().subjects(), subjects);
}

#[tokio::test]
async fn a_new_stream_is_exactly_as_declared() {
    let server = NatsServer::start().await;
    let connection = connection(&server).await;
    let declared = StreamDeclaration { max_bytes: Some(1 << 30), ..StreamDeclaration::living_map(&[], 1) };
    let (one, two) = tokio::join!(
        streams::create_or_extend(&connection, &declared),
        streams::create_or_extend(&connection, &declared)
    );
    for status in [one.unwrap(), two.unwrap()] {
        assert_eq!(status.differences, []);
        assert_eq!(status.conflicts, []);
    }
}

#[tokio::test]
async fn a_server_that_wants_a_token_gets_it_from_the_address() {
    let server = NatsServer::start_with("authorization { token: \"p@ss/word\" }").await;
    let url = server.url().replace("nats://", "nats://p%40ss%2Fword@");
    let connection = connect(&NatsConfig { url, ..NatsConfig::default() }).await.unwrap();
    assert!(connection.connected(PATIENCE).await);
}

/// Large messages, of which few fit into the bytes that a consumer requests: twice `max_payload`, which is 1 MiB.
const LARGE: usize = 900_000;

#[tokio::test]
async fn a_reader_that_waits_had_hundreds_of_large_messages_in_memory() {
    let server = NatsServer::start().await;
    let config = JetStreamConfig { read_batch_bytes: 65_536, read_buffer: 1, ..JetStreamConfig::default() };
    let log = JetStreamLog::new(config, connection(&server).await);
    for number in 0..60 {
        append(&log, vec![of(json!({"event_type": "city.event.x", "payload": {"n": number, "x": "x".repeat(LARGE)}}))])
            .await;
    }
    let mut entries = log.read(epoch(&log).await, 0).await.unwrap();
    let read = next(&mut entries).await.unwrap();
    let delivered = async || {
        let mut consumers = stream_of(&server).await.consumers();
        consumers.next().await.expect("the reader's consumer").unwrap().delivered.stream_sequence
    };
    // until the reader takes no more: it waits for its caller
    let (mut waiting, mut before) = (delivered().await, 0);
    while waiting != before {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (before, waiting) = (waiting, delivered().await);
    }
    assert!(waiting < 20, "{waiting} messages of {LARGE} bytes were delivered to a reader that has returned one");
    let mut last = read.cursor.seq;
    while last < 60 {
        let entry = next(&mut entries).await.unwrap();
        assert_eq!(entry.cursor.seq, last + 1, "every message, in order");
        last += 1;
    }
}

#[tokio::test]
async fn a_message_larger_than_the_bytes_requested_is_read() {
    let mut server = NatsServer::start_with("max_payload: 1048576").await;
    let log = open(&server).await;
    let events = [10, 300_000, 10].map(|bytes| of(json!({"event_type": "city.event.x", "payload": "x".repeat(bytes)})));
    append(&log, events.into()).await;
    let of_log = epoch(&log).await;
    // messages of this size are no longer accepted; the stream still has one
    server.restart_with("max_payload: 65536").await;
    let (expires, heartbeat) = (Duration::from_secs(2), Duration::from_millis(500));
    let config =
        JetStreamConfig { read_batch_bytes: 65_536, reader_expires: expires, heartbeat, ..JetStreamConfig::default() };
    let log = JetStreamLog::new(config, connection(&server).await);
    let mut entries = log.read(of_log, 0).await.unwrap();
    for seq in 1..=3 {
        assert_eq!(next(&mut entries).await.unwrap().cursor.seq, seq);
    }
}

#[tokio::test]
async fn a_fetch_of_experiences_is_bounded_in_bytes() {
    let mut server = NatsServer::start().await;
    let publisher = jetstream::new(server.client().await);
    let config = ExperienceConfig { batch_bytes: 65_536, ..ExperienceConfig::default() };
    let declared =
        stream::Config { name: config.stream.clone(), subjects: vec![config.subject.clone()], ..Default::default() };
    publisher.create_stream(declared).await.unwrap();
    let publish = async |bytes: usize| {
        let payload = json!({"agent_id": "agent:a", "text": "x".repeat(bytes)}).to_string();
        publisher.publish("agent.experience.v1.agent:a", payload.into()).await.unwrap().await.unwrap();
    };
    for _ in 0..10 {
        publish(LARGE).await;
    }
    let experiences = ExperienceStream::new(config.clone(), connection(&server).await);
    let consumer = experiences.open_consumer().await.unwrap();
    let mut received = 0;
    while received < 10 {
        let deliveries = consumer.fetch(&config).await.unwrap();
        assert!((1..=2).contains(&deliveries.len()), "{} experiences of {LARGE} bytes", deliveries.len());
        received += deliveries.len();
        for delivery in deliveries {
            delivery.ack().await.unwrap();
        }
    }
    publish(LARGE).await;
    server.restart_with("max_payload: 65536").await;
    let experiences = ExperienceStream::new(config.clone(), connection(&server).await);
    let consumer = experiences.open_consumer().await.unwrap();
    let large = until("the experience larger than the bytes requested", || async {
        consumer.fetch(&config).await.ok().filter(|deliveries| !deliveries.is_empty())
    });
    assert_eq!(large.await.len(), 1);
}
