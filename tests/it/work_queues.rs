//! Streams whose messages are removed when they are consumed: the log must not source from them.

use async_nats::jetstream::{self, consumer, stream};
use futures::StreamExt;
use living_map::bus::{NETWORK_PRESET, NatsConfig, NotSourcedReason, StreamDeclaration, connect};
use living_map::log::{EventLog, JetStreamConfig, JetStreamLog};
use living_map::model::subject::{MAP_SUBJECTS, Pattern};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::faults::environment;
use crate::log_suite::read;
use crate::support::nats::NatsServer;
use crate::support::process::{Process, run};
use crate::support::wait::{PATIENCE, until};

/// Creates a stream with this retention.
pub async fn create(
    jetstream: &jetstream::Context,
    name: &str,
    subjects: &[&str],
    retention: stream::RetentionPolicy,
) -> stream::Stream {
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let config = stream::Config { name: name.to_owned(), subjects, retention, ..Default::default() };
    jetstream.create_stream(config).await.unwrap()
}

pub async fn messages(jetstream: &jetstream::Context, name: &str) -> u64 {
    jetstream.get_stream(name).await.unwrap().get_info().await.unwrap().state.messages
}

async fn publish(jetstream: &jetstream::Context, subject: &str, count: usize) {
    for n in 0..count {
        let body = format!("{{\"n\":{n}}}");
        jetstream.publish(subject.to_owned(), body.into()).await.unwrap().await.unwrap();
    }
}

/// The worker creates its consumer, and gets and acknowledges `count` jobs. nats-server keeps the consumer of a removed source
/// for some seconds, in which a work queue allows no other.
async fn work(queue: &stream::Stream, count: usize) {
    let config = consumer::pull::Config { durable_name: Some("worker".to_owned()), ..Default::default() };
    let consumer =
        until("the worker to create its consumer", || async { queue.create_consumer(config.clone()).await.ok() }).await;
    let jobs = consumer.messages().await.unwrap().take(count).then(|job| async {
        job.unwrap().double_ack().await.unwrap();
    });
    let done = tokio::time::timeout(PATIENCE, jobs.count()).await.expect("the worker did not get its jobs");
    assert_eq!(done, count);
}

async fn open(server: &NatsServer, extra: &[&str]) -> JetStreamLog {
    let extra: Vec<Pattern> = extra.iter().map(|pattern| pattern.parse().unwrap()).collect();
    let config = JetStreamConfig {
        stream: StreamDeclaration::living_map(&extra, 1),
        network: StreamDeclaration::network(1),
        ..JetStreamConfig::default()
    };
    JetStreamLog::new(config, connect(&NatsConfig { url: server.url(), ..NatsConfig::default() }).await.unwrap())
}

/// The checks of a server's readiness report.
pub async fn checks(server: &Process) -> Option<Value> {
    let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
    Some(ready["checks"].clone()).filter(|checks| checks["log"]["status"] == "ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_was_emptied_by_the_log() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    let queue = create(&jetstream, "STREAM_RAG", &["rag.>"], stream::RetentionPolicy::WorkQueue).await;
    publish(&jetstream, "rag.document.parsed", 100).await;
    let url = server.url();
    let process = Process::serve(&environment(&[("NATS_URL", &url), ("EXTRA_SUBJECTS", "rag.document.>")])).await;
    let checks = until("the log to be available", || checks(&process)).await;
    let unsourced = &checks["log"]["unsourced"][0];
    assert_eq!((&unsourced["stream"], &unsourced["reason"]), (&"STREAM_RAG".into(), &"work_queue".into()), "{checks}");
    assert_eq!(unsourced["subjects"][0], "rag.document.>");
    assert_eq!(unsourced["remedy"], "BRIDGE_SUBJECTS=rag.document.>");
    let line = process.output();
    let line = line.lines().find(|line| line.contains("BRIDGE_SUBJECTS")).expect("the log says so").to_owned();
    assert!(line.contains("STREAM_RAG") && line.contains("work_queue") && line.contains("rag.document.>"), "{line}");
    assert_eq!(messages(&jetstream, "STREAM_RAG").await, 100);
    work(&queue, 100).await;
    assert_eq!(messages(&jetstream, "STREAM_RAG").await, 0, "the worker has acknowledged them");
}

/// Also a source of subjects that are no longer wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_a_work_queue_from_an_earlier_release_stayed() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    let queue = create(&jetstream, "STREAM_RAG", &["rag.>"], stream::RetentionPolicy::WorkQueue).await;
    let source = stream::Source { name: "STREAM_RAG".to_owned(), ..Default::default() };
    let earlier = stream::Config {
        name: "LIVING_MAP".to_owned(),
        subjects: vec!["city.event.>".to_owned()],
        sources: Some(vec![source]),
        ..Default::default()
    };
    jetstream.create_stream(earlier).await.unwrap();
    let (good, said) = run(&["streams", "check", "--nats-url", &server.url()], &[]).await;
    assert!(!good && said.contains("LIVING_MAP: takes messages away from STREAM_RAG"), "{said}");

    let url = server.url();
    let settings = [("NATS_URL", url.as_str()), ("NATS_MANAGE_STREAMS", "false")];
    let process = Process::serve(&environment(&settings)).await;
    let report = until("the log to be available", || checks(&process)).await;
    assert!(report["log"]["warning"].as_str().unwrap().contains("STREAM_RAG"), "{report}");
    drop(process);

    let log = open(&server, &[]).await;
    log.bounds().await.unwrap();
    let sources = jetstream.get_stream("LIVING_MAP").await.unwrap().cached_info().config.sources.clone();
    let names: Vec<String> = sources.into_iter().flatten().map(|source| source.name).collect();
    assert!(!names.contains(&"STREAM_RAG".to_owned()) && names.contains(&"MESSAGES".to_owned()), "{names:?}");
    publish(&jetstream, "rag.document.parsed", 100).await;
    work(&queue, 100).await;
}

/// The log sources by name, so a work queue that takes the name of a deleted stream would be emptied.
#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_with_the_name_of_a_deleted_stream_was_emptied() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    let (log, stop) = (open(&server, &[]).await, CancellationToken::new());
    let watching = tokio::spawn(log.clone().watch_streams(stop.clone()));
    publish(&jetstream, "message.received.sofia", 0).await;
    log.bounds().await.unwrap();
    publish(&jetstream, "message.received.sofia", 1).await;
    read(&log, 0, 1).await;
    jetstream.delete_stream("MESSAGES").await.unwrap();
    let queue = create(&jetstream, "MESSAGES", &["message.>"], stream::RetentionPolicy::WorkQueue).await;
    publish(&jetstream, "message.received.sofia", 100).await;
    until("the log to notice", || async {
        let unsourced = log.unsourced();
        let found = unsourced.iter().find(|one| one.stream == "MESSAGES")?;
        (found.reason == NotSourcedReason::WorkQueue).then_some(())
    })
    .await;
    work(&queue, 100).await;
    assert_eq!(log.bounds().await.unwrap().last, 1, "the log has taken none of them");
    // and sources again when it keeps its messages
    jetstream.delete_stream("MESSAGES").await.unwrap();
    create(&jetstream, "MESSAGES", &["message.>"], stream::RetentionPolicy::Limits).await;
    until("the log to source it again", || async { log.unsourced().is_empty().then_some(()) }).await;
    publish(&jetstream, "message.received.sofia", 3).await;
    until("a message in the log", || async { (log.bounds().await.ok()?.last > 1).then_some(()) }).await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_retention_by_interest_is_not_sourced() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    create(&jetstream, "CHAT", &["message.>"], stream::RetentionPolicy::Interest).await;
    create(&jetstream, "MEMORY", &["memory.>"], stream::RetentionPolicy::Interest).await;
    let log = open(&server, &[]).await;
    log.bounds().await.unwrap();
    let mut found: Vec<(String, &str)> =
        log.unsourced().into_iter().map(|one| (one.stream, one.reason.as_str())).collect();
    found.sort();
    assert_eq!(found, [("CHAT".to_owned(), "interest"), ("MEMORY".to_owned(), "interest")]);
    let config = jetstream.get_stream("LIVING_MAP").await.unwrap().cached_info().config.clone();
    let names: Vec<String> = config.sources.into_iter().flatten().map(|source| source.name).collect();
    assert_eq!(names, ["ATTACHMENTS", "AGENT_RUNS", "AUDIT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_check_names_work_queues_and_claimed_subjects() {
    let server = NatsServer::start().await;
    let jetstream = jetstream::new(server.client().await);
    create(&jetstream, "STREAM_RAG", &["rag.>", "parser.>"], stream::RetentionPolicy::WorkQueue).await;
    let url = server.url();
    let run = async |command, more: &[&str]| {
        let arguments = ["streams", command, "--nats-url", &url, "--extra-subjects", "network,foo.>"];
        run(&[&arguments[..], more].concat(), &[]).await
    };
    assert!(run("apply", &[]).await.0);
    let (good, said) = run("check", &[]).await;
    assert!(good, "a work queue is no difference\n{said}");
    assert!(
        said.contains(
            "STREAM_RAG: retention is work_queue: LIVING_MAP would take its messages away, so \
             parser.document.parsed,rag.document.> is not recorded; \
             BRIDGE_SUBJECTS=parser.document.parsed,rag.document.> records it, at most once"
        ),
        "{said}"
    );
    for subject in NETWORK_PRESET.iter().chain(&["foo.>"]) {
        let claimed = !subject.starts_with("rag.") && !subject.starts_with("parser.");
        let line = format!("LIVING_MAP: has {subject}, which is not of the map");
        assert_eq!(said.contains(&line), claimed, "{subject}\n{said}");
    }
    let (_, said) = run("check", &["--bridge-subjects", "rag.>,parser.>"]).await;
    assert!(said.contains("BRIDGE_SUBJECTS records parser.document.parsed,rag.document.>, at most once"), "{said}");
    assert_eq!(messages(&jetstream, "STREAM_RAG").await, 0);
}

/// An existing log gets the subjects of a newer release, also those that another stream has.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_subject_of_the_map_is_added_or_sourced() {
    for (name, subjects) in [("OTHER", &["other.>"][..]), ("METERING", &["usage.agent_run.>"][..])] {
        let server = NatsServer::start().await;
        let jetstream = jetstream::new(server.client().await);
        let old: Vec<&str> =
            MAP_SUBJECTS.iter().copied().filter(|subject| !subject.starts_with("usage.agent_run")).collect();
        create(&jetstream, "LIVING_MAP", &old, stream::RetentionPolicy::Limits).await;
        create(&jetstream, name, subjects, stream::RetentionPolicy::Limits).await;
        let log = open(&server, &[]).await;
        log.bounds().await.unwrap();
        publish(&jetstream, "usage.agent_run.increment", 1).await;
        let entries = read(&log, 0, 1).await;
        assert_eq!(entries[0].event.event_type, "usage.agent_run.increment", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_on_an_empty_nats_warned_of_missing_streams() {
    let server = NatsServer::start().await;
    let url = server.url();
    let process = Process::serve(&environment(&[("NATS_URL", &url)])).await;
    until("the learner to be ready", || async {
        let checks = checks(&process).await?;
        (checks["learner"]["status"] == "ok").then_some(())
    })
    .await;
    let output = process.output();
    let warnings: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .filter(|line| !line.contains("limit of open files"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
