//! Tests of every log implementation. [`log_suite!`] makes a test of each function here for one implementation.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::StreamExt;
use living_map::log::{Appended, EventLog, LogError};
use living_map::model::{Cursor, Epoch, Event, LogEntry, NewEvent, envelope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::wait::PATIENCE;

/// A private, empty log.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the log, as another process (or the same one after a restart) would.
    async fn open(&self) -> Arc<dyn EventLog>;
}

/// Makes the suite's tests: `log_suite!(start)` with `async fn start() -> impl Fixture`.
macro_rules! log_suite {
    ($start:path) => {
        $crate::log_suite::log_suite!(
            $start:
            entries_are_in_order_and_without_gaps,
            a_duplicate_event_reports_the_first_position,
            a_reader_starts_anywhere_and_follows_new_entries,
            concurrent_appends_have_one_order_for_all_readers,
            an_entry_is_readable_when_its_append_returns,
            events_are_read_exactly_as_appended,
            bounds_are_the_first_and_last_position,
            a_reopened_log_is_the_same_log,
            a_position_of_another_log_is_rejected,
        );
    };
    ($start:path: $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::log_suite::$name(&$start().await).await;
            }
        )+
    };
}
pub(crate) use log_suite;

/// An event with a number that identifies it.
pub fn event(number: usize) -> NewEvent {
    of(
        json!({"event_type": "agent.event.created", "event_id": Uuid::new_v4(), "payload": {"agent_id": "agent:a", "number": number}}),
    )
}

/// The event in a network envelope.
pub fn of(body: Value) -> NewEvent {
    envelope::publish(body, Utc::now()).expect("the envelope is valid")
}

/// Appends, expecting every event to be accepted.
pub async fn append(log: &dyn EventLog, events: Vec<NewEvent>) -> Vec<Appended> {
    let results = log.append(events).await;
    results.into_iter().map(|result| result.expect("the event is accepted")).collect()
}

/// The epoch of the log.
pub async fn epoch(log: &dyn EventLog) -> Epoch {
    log.bounds().await.expect("the log answers").epoch
}

/// The next `count` entries after `after`.
pub async fn read(log: &dyn EventLog, after: u64, count: usize) -> Vec<LogEntry> {
    let entries = log.read(epoch(log).await, after).await.expect("the log can be read");
    tokio::time::timeout(PATIENCE, entries.take(count).map(|entry| entry.expect("an entry")).collect())
        .await
        .unwrap_or_else(|_| panic!("{count} entries after {after} did not arrive"))
}

/// The error of a read: at once, or as its first item.
pub async fn read_error(log: &dyn EventLog, epoch: Epoch, after: u64) -> LogError {
    match log.read(epoch, after).await {
        Err(error) => error,
        Ok(mut entries) => {
            let first = tokio::time::timeout(PATIENCE, entries.next()).await.expect("no item in time");
            first.expect("the stream ended").expect_err("the read did not fail")
        }
    }
}

fn number(entry: &LogEntry) -> u64 {
    entry.event.payload["number"].as_u64().expect("a number")
}

/// Asserts that positions rise one by one from `first`, and times never go back.
pub fn assert_gapless(entries: &[LogEntry], first: u64) {
    let positions: Vec<u64> = entries.iter().map(|entry| entry.cursor.seq).collect();
    let expected: Vec<u64> = (first..).take(entries.len()).collect();
    assert_eq!(positions, expected);
    assert!(entries.is_sorted_by_key(|entry| entry.logged_at), "the log's time went back");
}

pub async fn entries_are_in_order_and_without_gaps(fixture: &impl Fixture) {
    let log = fixture.open().await;
    let events: Vec<NewEvent> = (0..300).map(event).collect();
    let appended = append(&*log, events.clone()).await;
    let entries = read(&*log, 0, 300).await;
    assert_gapless(&entries, 1);
    for ((entry, event), appended) in entries.iter().zip(&events).zip(&appended) {
        assert_eq!(entry.event, event.event);
        assert_eq!(*appended, Appended { id: event.event.id, cursor: Some(entry.cursor), duplicate: false });
    }
}

pub async fn a_duplicate_event_reports_the_first_position(fixture: &impl Fixture) {
    let log = fixture.open().await;
    let (first, second) = (event(1), event(2));
    let appended = append(&*log, vec![first.clone(), second.clone(), first.clone()]).await;
    assert_eq!(appended.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(appended[2].cursor, appended[0].cursor);
    let again = append(&*fixture.open().await, vec![second.clone(), event(3)]).await;
    assert!(again[0].duplicate && !again[1].duplicate);
    assert_eq!(again[0].cursor, appended[1].cursor);
    // one key identifies one event, whatever its other fields
    let keyed = |n: u8| of(json!({"event_type": "city.event.x", "idempotency_key": "k", "payload": {"number": n}}));
    let keyed = append(&*log, vec![keyed(4), keyed(5)]).await;
    assert_eq!(keyed.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true]);
    let entries = read(&*log, 0, 4).await;
    assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(log.bounds().await.unwrap().last, 4);
}

pub async fn a_reader_starts_anywhere_and_follows_new_entries(fixture: &impl Fixture) {
    let log = fixture.open().await;
    append(&*log, (1..=10).map(event).collect()).await;
    for after in [0, 4, 9] {
        let entries = read(&*log, after, usize::try_from(10 - after).unwrap()).await;
        assert_gapless(&entries, after + 1);
    }
    let mut readers = Vec::new();
    for after in [0, 5, 10] {
        readers.push((after, log.read(epoch(&*log).await, after).await.unwrap()));
    }
    let writer = fixture.open().await;
    for n in 11..=15 {
        append(&*writer, vec![event(n)]).await;
    }
    for (after, reader) in readers {
        let count = usize::try_from(15 - after).unwrap();
        let entries: Vec<LogEntry> =
            tokio::time::timeout(PATIENCE, reader.take(count).map(Result::unwrap).collect()).await.unwrap();
        assert_gapless(&entries, after + 1);
        assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), (after + 1..=15).collect::<Vec<_>>());
    }
}

pub async fn concurrent_appends_have_one_order_for_all_readers(fixture: &impl Fixture) {
    const APPENDERS: usize = 8;
    const BATCHES: usize = 25;
    const BATCH: usize = 10;
    let log = fixture.open().await;
    let readers = [read(&*log, 0, APPENDERS * BATCHES * BATCH), read(&*log, 0, APPENDERS * BATCHES * BATCH)];
    let appending = async {
        let appenders = (0..APPENDERS).map(|appender| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    let numbers = (0..BATCH).map(|n| appender * 1_000_000 + batch * BATCH + n);
                    append(&*log, numbers.map(event).collect()).await;
                }
            })
        });
        for appender in appenders.collect::<Vec<_>>() {
            appender.await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(futures::future::join_all(readers), appending);
    assert_gapless(&read[0], 1);
    assert_eq!(read[0], read[1]);
    let mut by_appender: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in &read[0] {
        by_appender.entry(number(entry) / 1_000_000).or_default().push(number(entry) % 1_000_000);
    }
    assert_eq!(by_appender.len(), APPENDERS);
    for (appender, numbers) in by_appender {
        let expected: Vec<u64> = (0..(BATCHES * BATCH) as u64).collect();
        assert_eq!(numbers, expected, "events of appender {appender} in their order, each once");
    }
}

pub async fn an_entry_is_readable_when_its_append_returns(fixture: &impl Fixture) {
    let log = fixture.open().await;
    let other = fixture.open().await;
    for n in 0..20 {
        let cursor = append(&*log, vec![event(n)]).await[0].cursor.unwrap();
        assert!(other.bounds().await.unwrap().last >= cursor.seq);
        let entries = read(&*other, cursor.seq - 1, 1).await;
        assert_eq!(entries[0].cursor, cursor);
    }
}

pub async fn events_are_read_exactly_as_appended(fixture: &impl Fixture) {
    let log = fixture.open().await;
    let payloads = [
        json!(null),
        json!(7),
        json!("text"),
        json!([1, [2, {"a": []}]]),
        json!({}),
        json!({"big": u64::MAX, "small": i64::MIN, "float": 0.1, "tiny": 5e-324, "huge": 1.797_693_134_862_315_7e308}),
        json!({"decimal": "12920.50000000", "zero": 0.0, "minus": -0.5, "exact": 9_007_199_254_740_993_u64}),
        json!({"ключ": "Привіт", "emoji": "👩‍🚀", "controls": "\u{1}\t\r\n\u{7f}\u{2028}", "quotes": "\"\\/'`$$"}),
        json!({"payload": {"payload": {}}, "event_type": "x", "specversion": "1.0", "type": "t", "source": "s"}),
        json!({"long": "x".repeat(100_000)}),
    ];
    let mut events: Vec<NewEvent> = payloads
        .into_iter()
        .map(|payload| of(json!({"event_type": "usage.llm", "event_id": Uuid::new_v4(), "payload": payload})))
        .collect();
    events.push(of(json!({
        "event_type": "agent.event.status", "idempotency_key": "gateway:msg-123:received:2026011912",
        "timestamp": "2026-01-19T12:00:00.123456+02:00", "source": "gateway", "trace_id": "t", "agent_id": "agent:sofia",
        "user_id": "u", "extra": {"kept": [true, null]}, "payload": {"status": "online"},
    })));
    let with_raw =
        of(json!({"event_type": "city.event.x", "event_id": Uuid::new_v4(), "payload": {"text": "a\u{0}b"}}));
    let raw = Bytes::from_static(b"{\"text\": \"a\\u0000b\"}");
    events.push(NewEvent { event: with_raw.event, raw: Some(raw.clone()) });
    append(&*log, events.clone()).await;
    let entries = read(&*log, 0, events.len()).await;
    let expected: Vec<&Event> = events.iter().map(|new| &new.event).collect();
    assert_eq!(entries.iter().map(|entry| &entry.event).collect::<Vec<_>>(), expected);
    // a log may store the original bytes or none
    assert!(entries.last().unwrap().raw.as_ref().is_none_or(|kept| *kept == raw));
    assert_eq!(entries, read(&*fixture.open().await, 0, events.len()).await, "every reader gets the same entries");
}

pub async fn bounds_are_the_first_and_last_position(fixture: &impl Fixture) {
    let log = fixture.open().await;
    let empty = log.bounds().await.unwrap();
    assert_eq!((empty.first, empty.last, empty.first_at), (1, 0, None));
    append(&*log, (0..3).map(event).collect()).await;
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.epoch, bounds.first, bounds.last), (empty.epoch, 1, 3));
    let age = Utc::now() - bounds.first_at.expect("a time");
    assert!(age.num_seconds().abs() < 60, "stored {age} ago");
    assert!(log.ready().await.is_ok());
}

pub async fn a_reopened_log_is_the_same_log(fixture: &impl Fixture) {
    let (before, entries) = {
        let log = fixture.open().await;
        append(&*log, (0..5).map(event).collect()).await;
        (log.bounds().await.unwrap(), read(&*log, 0, 5).await)
    };
    let log = fixture.open().await;
    assert_eq!(log.bounds().await.unwrap(), before);
    assert_eq!(read(&*log, 0, 5).await, entries);
    let next = append(&*log, vec![event(5)]).await;
    assert_eq!(next[0].cursor, Some(Cursor { epoch: before.epoch, seq: 6 }));
}

pub async fn a_position_of_another_log_is_rejected(fixture: &impl Fixture) {
    let log = fixture.open().await;
    append(&*log, vec![event(1)]).await;
    let own = epoch(&*log).await;
    match read_error(&*log, Epoch(own.0 ^ 1), 0).await {
        LogError::EpochChanged(found) => assert_eq!(found, own),
        other => panic!("{other}"),
    }
}

/// A rejected event has an error, and the other events of its batch are accepted.
pub async fn a_rejected_event_does_not_stop_the_others(log: &dyn EventLog, rejected: NewEvent) -> LogError {
    let mut results = log.append(vec![event(1), rejected, event(2)]).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(read(log, 0, 2).await.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    results.swap_remove(1).expect_err("the event was accepted")
}
