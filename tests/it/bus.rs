//! The network's streams and the log that sources their messages, with streams and consumers of others.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use futures::StreamExt;
use living_map::bus::{NatsConfig, NotSourcedReason, StreamDeclaration, connect, network};
use living_map::history::{self, HistoryConfig};
use living_map::journal::Journal;
use living_map::log::{EventLog, HistoryWriter, JetStreamConfig, JetStreamLog, LogError, WriterConfig};
use living_map::map::State;
use living_map::model::LogEntry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::log_suite::{append, assert_gapless, epoch, event, of, read};
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::process::run;
use crate::support::wait::{PATIENCE, until};

/// One subject of each stream that the log sources.
const SOURCED: [&str; 6] = [
    "message.received.agent:sofia",
    "attachment.created.pdf",
    "agent.run.started.agent:sofia",
    "memory.store.agent:sofia",
    "audit.action.gateway",
    "ops.health.gateway",
];

async fn open(server: &NatsServer, manage: bool, network: Vec<StreamDeclaration>) -> JetStreamLog {
    let config = NatsConfig { url: server.url(), reconnect_max: Duration::from_millis(200), ..NatsConfig::default() };
    let config_of_log =
        JetStreamConfig { manage, network, retry_max: Duration::from_millis(200), ..JetStreamConfig::default() };
    JetStreamLog::new(config_of_log, connect(&config).await.unwrap())
}

async fn open_network(server: &NatsServer) -> JetStreamLog {
    open(server, true, StreamDeclaration::network(1)).await
}

async fn jetstream_of(server: &NatsServer) -> jetstream::Context {
    jetstream::new(server.client().await)
}

async fn create(jetstream: &jetstream::Context, name: &str, subjects: &[&str]) -> stream::Stream {
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let config = stream::Config { name: name.to_owned(), subjects, ..Default::default() };
    jetstream.create_stream(config).await.unwrap()
}

/// The subjects of the next messages of a durable consumer of another service.
async fn consume(stream: &stream::Stream, filter: &str, count: usize) -> Vec<String> {
    let config = consumer::pull::Config {
        durable_name: Some("theirs".to_owned()),
        filter_subject: filter.to_owned(),
        ..Default::default()
    };
    let consumer = stream.get_or_create_consumer("theirs", config).await.unwrap();
    let messages = consumer.messages().await.unwrap().take(count);
    let subjects = messages.then(|message| async {
        let message = message.unwrap();
        message.ack().await.unwrap();
        message.subject.to_string()
    });
    tokio::time::timeout(PATIENCE, subjects.collect()).await.expect("the consumer did not receive its messages")
}

async fn publish(jetstream: &jetstream::Context, subject: &str, body: &Value) -> String {
    let ack = jetstream.publish(subject.to_owned(), body.to_string().into()).await.unwrap();
    ack.await.unwrap().stream
}

fn types(entries: &[LogEntry]) -> Vec<&str> {
    let mut types: Vec<&str> = entries.iter().map(|entry| entry.event.event_type.as_str()).collect();
    types.sort_unstable();
    types
}

fn sorted(subjects: &[&'static str]) -> Vec<&'static str> {
    let mut subjects = subjects.to_vec();
    subjects.sort_unstable();
    subjects
}

#[tokio::test(flavor = "multi_thread")]
async fn network_streams_are_sourced_and_keep_their_consumers() {
    let server = NatsServer::start().await;
    let log = open_network(&server).await;
    log.bounds().await.unwrap();
    let jetstream = jetstream_of(&server).await;
    for subject in SOURCED {
        assert_ne!(publish(&jetstream, subject, &json!({"n": 1})).await, "LIVING_MAP", "{subject}");
    }
    assert_eq!(publish(&jetstream, "agent.experience.v1.agent:sofia", &json!({})).await, "EXPERIENCE");
    publish(&jetstream, "city.event.last", &json!({})).await;
    let entries = read(&log, 0, SOURCED.len() + 1).await;
    assert_gapless(&entries, 1);
    let mut expected = SOURCED.to_vec();
    expected.push("city.event.last");
    assert_eq!(types(&entries), sorted(&expected));
    let memory = jetstream.get_stream("MEMORY").await.unwrap();
    assert_eq!(consume(&memory, "memory.store.>", 1).await, ["memory.store.agent:sofia"]);
    assert_eq!(log.bounds().await.unwrap().last, entries.len() as u64, "and no other entries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_of_an_undeclared_stream_is_sourced_from_it() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    let chat = create(&jetstream, "CHAT", &["message.>", "chat.>"]).await;
    create(&jetstream, "METERING", &["usage.>", "billing.>"]).await;
    let log = open_network(&server).await;
    let before = epoch(&log).await;
    assert!(jetstream.get_stream("MESSAGES").await.is_err(), "it has no subjects left");
    for subject in ["chat.x", "billing.x"] {
        publish(&jetstream, subject, &json!({})).await;
    }
    assert_eq!(publish(&jetstream, "message.received.agent:sofia", &json!({"n": 1})).await, "CHAT");
    assert_eq!(publish(&jetstream, "usage.llm", &json!({"agent_id": "sofia"})).await, "METERING");
    // appended through the log too, which recognises the id although another stream stores the event
    let sent = of(json!({"event_type": "message.sent.agent:sofia", "event_id": "one", "payload": {}}));
    let first = append(&log, vec![sent.clone()]).await.remove(0);
    let again = append(&log, vec![sent]).await.remove(0);
    assert_eq!((first.cursor, first.duplicate, again.duplicate), (None, false, true));
    let entries = read(&log, 0, 3).await;
    assert_eq!(types(&entries), ["message.received.agent:sofia", "message.sent.agent:sofia", "usage.llm"]);
    assert!(entries.iter().any(|entry| entry.event.id == first.id));
    let theirs = consume(&chat, "message.>", 2).await;
    assert_eq!(theirs, ["message.received.agent:sofia", "message.sent.agent:sofia"]);
    // a second replica finds the streams as declared and changes nothing
    let second = open_network(&server).await;
    assert_eq!((epoch(&second).await, second.bounds().await.unwrap().last), (before, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_keeps_its_epoch_when_sources_are_added() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    let alone = open(&server, true, Vec::new()).await;
    append(&alone, vec![event(1)]).await;
    create(&jetstream, "MESSAGES", &["message.>"]).await;
    publish(&jetstream, "message.received.agent:old", &json!({})).await;
    let before = epoch(&alone).await;
    let log = open_network(&server).await;
    assert_eq!(epoch(&log).await, before);
    let entries = read(&log, 0, 2).await;
    assert_gapless(&entries, 1);
    assert_eq!(entries[1].event.event_type, "message.received.agent:old", "existing messages are sourced too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_an_id_gets_the_same_id_in_a_recreated_log() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    let log = open_network(&server).await;
    log.bounds().await.unwrap();
    for n in [1, 2] {
        publish(&jetstream, "memory.store.agent:sofia", &json!({"n": n})).await;
    }
    let before: Vec<_> = read(&log, 0, 2).await.into_iter().map(|entry| entry.event).collect();
    assert_ne!(before[0].id, before[1].id);
    jetstream.delete_stream("LIVING_MAP").await.unwrap();
    let again =
        until("the log to be created again", || async { log.bounds().await.ok().filter(|bounds| bounds.last >= 2) });
    assert_eq!(again.await.last, 2);
    let after: Vec<_> = read(&log, 0, 2).await.into_iter().map(|entry| entry.event.id).collect();
    assert_eq!(after, before.iter().map(|event| event.id).collect::<Vec<_>>());
}

/// The publisher's message id differs from the one that the log sets; only the idempotency key identifies the event.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_to_its_stream_and_through_the_log_is_one_event() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    let log = open_network(&server).await;
    log.bounds().await.unwrap();
    let key = "gateway:msg-123:received:2026011912";
    let body = json!({"event_type": "message.received.agent:sofia", "idempotency_key": key,
        "payload": {"channel_id": "c1", "agent_id": "sofia"}});
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "theirs");
    let ack = jetstream.publish_with_headers("message.received.agent:sofia", headers, body.to_string().into()).await;
    ack.unwrap().await.unwrap();
    append(&log, vec![of(body)]).await;
    let entries = read(&log, 0, 2).await;
    assert_eq!(entries[0].event.id, entries[1].event.id);

    let mut state = State::new(epoch(&log).await);
    assert!(!state.apply(&entries[0]).duplicate);
    assert!(state.apply(&entries[1]).duplicate, "the map applies it once");

    let folder = Folder::new("bus");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let history = history::open(&url, &HistoryConfig::default()).await.unwrap().history;
    let writer = HistoryWriter::new(WriterConfig::default(), &log, Arc::clone(&history), Journal::default(), None);
    let (status, stop) = (writer.status(), CancellationToken::new());
    let writing = tokio::spawn(writer.run(stop.clone()));
    until("both messages to be written", || async {
        let status = status.borrow();
        (status.lag == Some(0) && status.last_success.is_some()).then_some(())
    })
    .await;
    let page = history.query(&history::HistoryQuery::default()).await.unwrap();
    assert_eq!(page.rows.len(), 1, "the history stores it once");
    stop.cancel();
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_permission_no_stream_is_created_and_it_is_reported() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    let log = open(&server, false, StreamDeclaration::network(1)).await;
    let Err(LogError::Unavailable(problem)) = log.bounds().await else { panic!("the log is available") };
    assert!(problem.contains("LIVING_MAP is missing") && problem.contains("streams apply"), "{problem}");
    assert_eq!(jetstream.stream_names().count().await, 0);
    create(&jetstream, "LIVING_MAP", &["agent.event.>"]).await;
    until("the log to be available", || async { log.bounds().await.ok() }).await;
    append(&log, vec![event(1)]).await;
    let rejected = log.append(vec![of(json!({"event_type": "message.sent.x", "payload": {}}))]).await.remove(0);
    assert!(matches!(rejected, Err(LogError::NotRecorded(_))), "{rejected:?}");
    assert_eq!(jetstream.stream_names().count().await, 1);
}

/// Otherwise each would source from the other in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_sources_the_log_is_not_sourced() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    create(&jetstream, "LIVING_MAP", &["city.event.>"]).await;
    let source = stream::Source { name: "LIVING_MAP".to_owned(), ..Default::default() };
    let archive = stream::Config {
        name: "ARCHIVE".to_owned(),
        subjects: vec!["usage.>".to_owned()],
        sources: Some(vec![source]),
        ..Default::default()
    };
    jetstream.create_stream(archive).await.unwrap();
    let connection = connect(&NatsConfig { url: server.url(), ..NatsConfig::default() }).await.unwrap();
    let reports =
        network::reconcile(&connection, &StreamDeclaration::living_map(&[], 1), &StreamDeclaration::network(1), true)
            .await;
    let log = reports.last().unwrap();
    assert!(
        log.conflicts()
            .iter()
            .all(|conflict| { conflict.reason == Some(NotSourcedReason::Circular) && conflict.stream == "ARCHIVE" })
            && !log.conflicts().is_empty()
    );
    let sources = log.status.as_ref().unwrap().info.as_ref().unwrap().sources();
    assert_eq!(sources.len(), 5, "{sources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_check_and_apply_process_all_streams() {
    let server = NatsServer::start().await;
    let jetstream = jetstream_of(&server).await;
    create(&jetstream, "CHAT", &["message.>"]).await;
    let mut narrow = create(&jetstream, "AUDIT", &["audit.>"]).await;
    assert_eq!(narrow.info().await.unwrap().config.max_age, Duration::ZERO);
    let url = server.url();
    let run = async |command| run(&["streams", command, "--nats-url", &url], &[]).await;
    let (good, said) = run("check").await;
    assert!(!good);
    for line in [
        "MESSAGES: message.> belongs to stream CHAT; LIVING_MAP takes it from there",
        "ATTACHMENTS: missing; `living-map streams apply` creates it",
        "AUDIT: does not record [\"ops.>\"]; `living-map streams apply` adds them",
        "LIVING_MAP: missing; `living-map streams apply` creates it",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(jetstream.stream_names().count().await, 2, "check changes nothing");
    let (_, said) = run("apply").await;
    for stream in ["ATTACHMENTS", "AGENT_RUNS", "MEMORY", "EXPERIENCE", "LIVING_MAP"] {
        assert!(said.contains(&format!("{stream}: as declared")), "{stream}\n{said}");
    }
    assert!(said.contains("AUDIT: max_age is 0"), "{said}");
    let mut config = narrow.info().await.unwrap().config.clone();
    assert_eq!(
        (config.subjects.as_slice(), config.max_age),
        (&["audit.>".to_owned(), "ops.>".to_owned()][..], Duration::ZERO)
    );
    config.max_age = Duration::from_hours(90 * 24);
    jetstream.update_stream(&config).await.unwrap();
    let (good, said) = run("check").await;
    assert!(good, "a sourced subject is no difference\n{said}");
}

/// A server that stops answering or closes connections while streams are created.
#[tokio::test(flavor = "multi_thread")]
async fn streams_apply_survives_a_server_that_becomes_unavailable() {
    let mut server = NatsServer::start().await;
    let run = |url: String| tokio::spawn(async move { run(&["streams", "apply", "--nats-url", &url], &[]).await });
    // suspended: it accepts connections, and never answers
    server.daemon().signal("STOP");
    let applying = run(server.url());
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let (good, said) = tokio::time::timeout(PATIENCE, applying).await.expect("it did not end").unwrap();
    assert!(!good && said.contains("NATS"), "{said}");
    server.restart().await;
    let (good, said) = run(server.url()).await.unwrap();
    assert!(good, "{said}");

    // killed at any moment: created streams stay, and the next run creates the others
    let jetstream = jetstream_of(&server).await;
    for pause in [0, 5, 15, 40, 100] {
        for name in ["LIVING_MAP", "MESSAGES", "MEMORY", "AUDIT"] {
            let _ = jetstream.delete_stream(name).await;
        }
        let applying = run(server.url());
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.restart().await;
        tokio::time::timeout(PATIENCE * 2, applying).await.expect("it did not end").unwrap();
        let (good, said) = run(server.url()).await.unwrap();
        assert!(good, "after {pause} ms: {said}");
    }
}
