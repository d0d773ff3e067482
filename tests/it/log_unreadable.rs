//! Messages that the client library cannot read: they come from any publisher, and must not stop the log.

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

/// What breaks the client's connection, or is lost in it: subject and headers.
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

/// A log with a connection of its own, as another process has it.
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

/// Reads until `wanted` copies and the event `last` have come.
async fn read_until(log: &JetStreamLog, after: u64, wanted: usize, last: &Value) -> Vec<LogEntry> {
    // another reader may make the client drop the connection just now
    let own = until("the log to answer", || async { log.bounds().await.ok() }).await.epoch;
    let mut entries = until("the log to be read", || async { log.read(own, after).await.ok() }).await;
    let (mut read, mut seen) = (Vec::new(), false);
    while !seen || read.iter().filter_map(number).count() < wanted {
        let next = tokio::time::timeout(PATIENCE, entries.next()).await.expect("reading goes on");
        let entry = next.expect("the stream does not end").unwrap();
        seen |= entry.event.payload == *last;
        read.push(entry);
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_on_behind_messages_that_the_client_cannot_read_and_each_is_kept_once() {
    let server = NatsServer::start().await;
    let logs = [open(&server).await, open(&server).await];
    append(&logs[0], (0..3).map(event).collect()).await;
    for nth in 0..UNREADABLE.len() {
        publish(&server, nth).await;
        let plain = server.client().await;
        plain.publish("city.event.x", json!({"behind": nth}).to_string().into()).await.unwrap();
        plain.flush().await.unwrap();
    }
    let wanted = UNREADABLE.len();
    let last = json!({"behind": wanted - 1});
    // two processes at once, and one of them with two readers
    let (one, two, three) = tokio::join!(
        read_until(&logs[0], 0, wanted, &last),
        read_until(&logs[1], 0, wanted, &last),
        read_until(&logs[1], 2, wanted, &last),
    );
    assert_eq!(one, two);
    assert_eq!(one[2..], three);
    let mut copies: Vec<u64> = one.iter().filter_map(number).collect();
    copies.sort_unstable();
    assert_eq!(copies, (0..wanted as u64).collect::<Vec<_>>(), "each once");
    assert_eq!(one.iter().filter(|entry| entry.event.payload["behind"].is_u64()).count(), wanted);
    let subjects = |nth| one.iter().find(|entry| number(entry) == Some(nth)).unwrap().event.event_type.clone();
    assert_eq!(["city.event._", "city.event.__", "city.event.x"], [subjects(0), subjects(1), subjects(2)]);

    // nothing is in anybody's way any more
    assert_eq!(stream_of(&server).await.cached_info().state.messages, one.len() as u64);
    assert_eq!(read(&open(&server).await, 0, one.len()).await, one);
    logs[0].ready().await.unwrap();
    append(&logs[0], vec![event(4)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_what_the_message_was() {
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
async fn a_copy_of_the_largest_message_is_cut_to_what_the_server_takes() {
    let server = NatsServer::start_with("max_payload: 4096").await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    server.publish_raw(b"city.event.\xff", None, &[b'x'; 4096]).await;
    let entries = read(&log, 0, 2).await;
    let raw = entries[1].raw.as_ref().unwrap();
    assert!(raw.len() > 3900 && raw.iter().all(|byte| *byte == b'x'), "{} bytes", raw.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lets_nothing_be_deleted_is_said_not_to_be_ready_until_the_message_is_gone() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    let operator = jetstream::new(server.client().await);
    let mut config = stream_of(&server).await.cached_info().config.clone();
    operator.delete_stream("LIVING_MAP").await.unwrap();
    config.deny_delete = true;
    // nats-server 2.9 may still be deleting its namesake
    until("the stream to be there again", || async { operator.create_stream(config.clone()).await.ok() }).await;
    until("the log to be there", || async { log.append(vec![event(0)]).await.remove(0).ok() }).await;
    publish(&server, 0).await;
    let last = append(&log, vec![event(1)]).await[0].cursor.unwrap().seq;
    let mut entries = log.read(epoch(&log).await, 0).await.unwrap();
    assert!(matches!(entries.next().await, Some(Ok(_))));
    let problem = until("the reason", || async {
        // while the connection is dropped again and again, that is the reason
        log.ready().await.err().map(|error| error.to_string()).filter(|problem| problem.contains("deny_delete"))
    });
    // the reader works only while somebody listens
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
async fn many_at_once_are_moved_in_one_go() {
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
async fn a_client_that_broke_at_a_message_is_replaced_and_reading_goes_on() {
    let server = NatsServer::start().await;
    let log = open(&server).await;
    append(&log, vec![event(0)]).await;
    // on its own: nothing else makes the reader look ahead before the client has it
    server.publish_raw(b"city.event.x", Some(b"NATS/1.0\r\na: b\rc\r\n\r\n"), b"{}").await;
    let positions: Vec<u64> = read(&log, 0, 2).await.iter().map(|entry| entry.cursor.seq).collect();
    assert_eq!(positions, [1, 3]);
    log.ready().await.unwrap();
    append(&log, vec![event(1)]).await;
}
