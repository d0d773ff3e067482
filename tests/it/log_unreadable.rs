//! Messages that the client library cannot read: any publisher can send them, and they must not stop the log.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use living_map::bus::{NatsConfig, connect};
use living_map::log::{EventLog, JetStreamConfig, JetStreamLog, LogError};
use living_map::model::LogEntry;
use serde_json::{Value, json};

use crate::log_suite::{append, epoch, event, read};
use crate::support::nats::NatsServer;
use crate::support::wait::{PATIENCE, until};

/// Subjects and headers that make the client disconnect, or that it drops.
pub const UNREADABLE: [(&[u8], Option<&[u8]>); 8] = [
    (b"city.event.\xff", None),
    (b"city.event.\xff\xfe", Some(b"NATS/1.0\r\na: b\r\n\r\n")),
    (b"city.event.x", Some(b"NATS/1.0\r\na: \xff\r\n\r\n")),
    (b"city.event.x", Some(b"NATS/1.0\r\nno colon\r\n\r\n")),
    (b"city.event.x", Some(b"NATS/1.0\r\nodd name: b\r\n\r\n")),
    (b"city.event.\xe2\x80\x83x", Some(b"NATS/1.0\r\na: b\r\n\r\n")),
    // the client panics
    (b"city.event.x", Some(b"NATS/1.0\r\na: b\rc\r\n\r\n")),
    (b"city.event.x", Some(b"NATS/1.0 100 Idle Heartbeat\r\n\r\n")),
];

/// A log with its own connection, as in another process.
pub async fn open(server: &NatsServer) -> JetStreamLog {
    let config = NatsConfig { url: server.url(), reconnect_max: Duration::from_millis(200), ..NatsConfig::default() };
    let log = JetStreamConfig { retry_max: Duration::from_millis(200), ..JetStreamConfig::default() };
    JetStreamLog::new(log, connect(&config).await.unwrap())
}

/// Publishes the `nth` unreadable message.
pub async fn publish(server: &NatsServer, nth: usize) {
    let (subject, headers) = UNREADABLE[nth];
    let payload = json!({"unreadable": nth});
    server.publish_raw(subject, headers, payload.to_string().as_bytes()).await;
}

async fn stream_of(server: &NatsServer) -> stream::Stream {
    jetstream::new(server.client().await).get_stream("LIVING_MAP").await.unwrap()
}

fn number(entry: &LogEntry) -> Option<u64> {
    entry.event.payload["unreadable"].as_u64()
}

/// Reads until `wanted` copies and the event `last` have arrived.
async fn read_until(log: &JetStreamLog, after: u64, wanted: usize, last: &Value) -> Vec<LogEntry> {
    // another reader may make the client disconnect
    let own = until("the log to answer", || async { log.bounds().await.ok() }).await.epoch;
    let mut entries = until("the log to be read", || async { log.read(own, after).await.ok() }).await;
    let (mut read, mut seen) = (Vec::new(), false);
    while !seen || read.iter().filter_map(number).count() < wanted {
        let next = tokio::time::timeout(PATIENCE, entries.next()).await.expect("reading stopped");
        let entry = next.expect("the stream ended").unwrap();
        seen |= entry.event.payload == *last;
        read.push(entry);
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_pass_unreadable_messages_and_each_is_copied_once() {
    let server = NatsServer::start().await;
    let logs = [open(&server).await, open(&server).await];
    append(&logs[0], (0..3).map(event).collect()).await;
    for nth in 0..UNREADABLE.len() {
        publish(&server, nth).await;
        let plain = server.client().await;
        plain.publish("city.event.x", json!({"after": nth}).to_string().into()).await.unwrap();
        plain.flush().await.unwrap();
    }
    let wanted = UNREADABLE.len();
    let last = json!({"after": wanted - 1});
    // two processes concurrently, one of them with two readers
    let (one, two, three) = tokio::join!(
        read_until(&logs[0], 0, wanted, &last),
        read_until(&logs[1], 0, wanted, &last),
        read_until(&logs[1], 2, wanted, &last),
    );
    assert_eq!(one, two);
    assert_eq!(one[2..], three);
    let mut copies: Vec<u64> = one.iter().filter_map(number).collect();
    copies.sort_unstable();
    assert_eq!(copies, (0..wanted as u64).collect::<Vec<_>>(), "each copied once");
    assert_eq!(one.iter().filter(|entry| entry.event.payload["after"].is_u64()).count(), wanted);
    let subjects = |nth| one.iter().find(|entry| number(entry) == Some(nth)).unwrap().event.event_type.clone();
    assert_eq!(["city.event._", "city.event.__", "city.event.x"], [subjects(0), subjects(1), subjects(2)]);

    // no unreadable message is left
    assert_eq!(stream_of(&server).await.cached_info().state.messages, one.len() as u64);
    assert_eq!(read(&open(&server).await, 0, one.len()).await, one);
    logs[0].ready().await.unwrap();
    append(&logs[0], vec![event(4)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_describes_the_original_message() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    server.publish_raw(b"city.event.\xff", Some(b"NATS/1.0\r\na: \xff\r\n\r\n"), b"{}").await;
    let entries = read(&log, 0, 2).await;
    assert_eq!((entries[1].cursor.seq, entries[1].event.event_type.as_str()), (3, "city.event._"));
    let copy = stream_of(&server).await.get_raw_message(3).await.unwrap();
    let header = |name: &str| copy.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("Nats-Msg-Id").as_deref(), Some("unreadable:LIVING_MAP:2"));
    assert_eq!(header("Living-Map-Unreadable-Headers").as_deref(), Some(r"NATS/1.0\r\na: \xff\r\n\r\n"));
    assert!(header("Living-Map-Unreadable-Subject").unwrap().starts_with("city.event."));
    assert_eq!(&copy.payload[..], b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_largest_message_is_truncated() {
    let server = NatsServer::start_with("max_payload: 4096").await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    server.publish_raw(b"city.event.\xff", None, &[b'x'; 4096]).await;
    let entries = read(&log, 0, 2).await;
    let raw = entries[1].raw.as_ref().unwrap();
    assert!(raw.len() > 3900 && raw.iter().all(|byte| *byte == b'x'), "{} bytes", raw.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn unready_while_an_unreadable_message_cannot_be_deleted() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    let operator = jetstream::new(server.client().await);
    let mut config = stream_of(&server).await.cached_info().config.clone();
    operator.delete_stream("LIVING_MAP").await.unwrap();
    config.deny_delete = true;
    // nats-server 2.9 may still be deleting the stream of the same name
    until("the stream to be created again", || async { operator.create_stream(config.clone()).await.ok() }).await;
    until("the log to be available", || async { log.append(vec![event(0)]).await.remove(0).ok() }).await;
    publish(&server, 0).await;
    let last = append(&log, vec![event(1)]).await[0].cursor.unwrap().seq;
    let mut entries = log.read(epoch(&log).await, 0).await.unwrap();
    assert!(matches!(entries.next().await, Some(Ok(_))));
    let problem = until("the reason", || async {
        // while the client disconnects repeatedly, that is the reason
        log.ready().await.err().map(|error| error.to_string()).filter(|problem| problem.contains("deny_delete"))
    });
    // the reader runs only while its stream is polled
    let problem = tokio::select! {
        problem = problem => problem,
        next = entries.next() => panic!("{next:?}"),
    };
    assert!(problem.contains("message at 2"), "{problem}");
    assert!(matches!(log.ready().await, Err(LogError::Unavailable(_))));
    assert_eq!(stream_of(&server).await.cached_info().state.messages, last, "no copy was made");
    stream_of(&server).await.purge().sequence(3).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_unreadable_messages_are_moved_together() {
    let server = NatsServer::start().await;
    let log: Arc<dyn EventLog> = Arc::new(open(&server).await);
    append(&*log, vec![event(0)]).await;
    for _ in 0..100 {
        server.publish_raw(b"city.event.\xff", None, b"{}").await;
    }
    let entries = read(&*log, 0, 101).await;
    let positions: Vec<u64> = entries.iter().map(|entry| entry.cursor.seq).collect();
    assert_eq!(positions, std::iter::once(1).chain(102..=201).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_panicked_is_replaced_and_reading_continues() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    // alone, so that no other message makes the reader check ahead before the client receives it
    server.publish_raw(b"city.event.x", Some(b"NATS/1.0\r\na: b\rc\r\n\r\n"), b"{}").await;
    let positions: Vec<u64> = read(&log, 0, 2).await.iter().map(|entry| entry.cursor.seq).collect();
    assert_eq!(positions, [1, 3]);
    log.ready().await.unwrap();
    append(&log, vec![event(1)]).await;
}
