//! A separate database for lessons, and its outage.

use async_nats::jetstream::consumer::{Consumer, pull};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection, Row};

use super::live::{DURABLE, burst, get, metric, publish, wait_for_rows};
use crate::support::nats::NatsServer;
use crate::support::postgres::{Postgres, database};
use crate::support::process::Process;
use crate::support::wait::until;

async fn count(url: &str, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.fetch_one(sql).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_in_a_separate_database_survive_its_outage() {
    let (nats, record, mut lessons) = (NatsServer::start().await, database().await, Postgres::start().await);
    let (nats_url, lessons_url) = (nats.url(), lessons.url());
    let environment = [
        ("DATABASE_URL", &*record),
        ("LEARNER_DATABASE_URL", &*lessons_url),
        ("NATS_URL", &*nats_url),
        ("EXPERIENCE_ACK_WAIT_SECONDS", "2"),
    ];
    let mut server = Process::start(&["serve"], &environment).await;
    let client = nats.client().await;
    let jetstream = async_nats::jetstream::new(client.clone());
    until("the stream of experiences", || async { jetstream.get_stream("EXPERIENCE").await.ok() }).await;
    let consumer = async || -> Option<Consumer<pull::Config>> {
        jetstream.get_consumer_from_stream(DURABLE, "EXPERIENCE").await.ok()
    };
    let learner = async || get(&server, "/living-map/ready").await["checks"]["learner"].clone();

    // lessons are only in their own database; their events are in the history
    publish(&client, &burst("agent:one")).await;
    wait_for_rows(&lessons_url, 1).await;
    assert_eq!(count(&record, "SELECT count(*) FROM agent_lessons").await, 0);
    until("the lesson in the history", || async {
        let history = get(&server, "/living-map/history?event_type=agent.lesson.v1").await;
        (history["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    assert_eq!(get(&server, "/living-map/lessons").await["items"].as_array().unwrap().len(), 1);
    until("three acknowledgements", || async {
        (consumer().await?.cached_info().ack_floor.stream_sequence == 3).then_some(())
    })
    .await;

    // outage: the experience that completes a lesson is not acknowledged, and readiness, metrics and journal show the cause
    lessons.stop().await;
    publish(&client, &burst("agent:two")).await;
    until("the learner to report an error", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        let check = &ready["checks"]["learner"];
        (check["status"] == "down" && check["error"].is_string()).then_some(())
    })
    .await;
    until("two more attempts", || async {
        (metric(&server, "lessons_write_failures_total").await >= 3.0).then_some(())
    })
    .await;
    let journal = get(&server, "/living-map/errors?target=lessons").await;
    assert!(journal["items"].as_array().unwrap().iter().any(|entry| entry["op"] == "write"), "{journal}");
    let mut held = consumer().await.unwrap();
    let info = held.info().await.unwrap();
    assert!(info.ack_floor.stream_sequence < 6 && info.num_ack_pending >= 1, "{info:?}");
    assert!(metric(&server, "js_messages_acked_total").await < 6.0);
    let answer = reqwest::get(server.url("/living-map/lessons")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert!(
        reqwest::get(server.url("/living-map/history")).await.unwrap().status().is_success(),
        "the history is available"
    );

    // kill -9 during an outage: nothing is lost
    lessons.restart().await;
    wait_for_rows(&lessons_url, 2).await;
    until("the learner to recover", || async { (learner().await["status"] == "ok").then_some(()) }).await;
    until("every acknowledgement", || async {
        let mut consumer = consumer().await?;
        let info = consumer.info().await.ok()?;
        (info.ack_floor.stream_sequence == 6 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    lessons.stop().await;
    publish(&client, &burst("agent:three")).await;
    until("the outage to be noticed", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        (ready["checks"]["learner"]["status"] == "down").then_some(())
    })
    .await;
    server.kill();
    lessons.restart().await;
    server.restart().await;
    wait_for_rows(&lessons_url, 3).await;
    assert_eq!(count(&lessons_url, "SELECT count(*) FROM agent_lessons").await, 3);
}
