//! Regression: after a start from a saved snapshot, the ring was without the events that clients had missed, so that
//! they got a snapshot, or 410, after every planned restart.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use super::client::{Opened, Transport, address_of, open, stream};
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const EVENTS: usize = 400;

async fn publish(server: &Process, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> = numbers
        .map(|number| {
            let payload = json!({"agent_id": format!("agent:{}", number % 7), "status": "online", "n": number});
            json!({"event_type": "agent.event.status", "event_id": format!("n{number}"), "payload": payload})
        })
        .collect();
    let url = server.url("/living-map/events");
    until("events to be accepted", || async {
        let answer = reqwest::Client::new().post(&url).json(&events).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

/// The next `count` event frames, with nothing but pings between them.
async fn events(stream: &mut BoxStream<'static, String>, count: usize) -> Vec<String> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event should have arrived");
        let frame = next.expect("the stream should continue");
        match serde_json::from_str::<Value>(&frame).expect("JSON")["kind"].as_str() {
            Some("event") => frames.push(frame),
            Some("ping") => {}
            kind => panic!("{kind:?} instead of an event"),
        }
    }
    frames
}

fn cursor_of(frame: &str) -> String {
    serde_json::from_str::<Value>(frame).expect("JSON")["cursor"].as_str().expect("a cursor").to_owned()
}

/// Waits until a server serves the stream.
pub async fn wait_until_complete(server: &Process) {
    until("the map to be complete", || async {
        let ready = reqwest::get(server.url("/living-map/snapshot")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
}

async fn an_older_cursor_than_the_saved_snapshot_is_resumed(mut server: Process) {
    wait_until_complete(&server).await;
    let mut live = stream(&server, Transport::WebSocket, None).await;
    live.next().await.expect("the snapshot");
    publish(&server, 0..EVENTS).await;
    let before = events(&mut live, EVENTS).await;
    assert!(server.stop().await.success());
    server.restart().await;
    wait_until_complete(&server).await;
    assert!(server.output().contains("starting from the saved snapshot"), "{}", server.output());
    for transport in [Transport::WebSocket, Transport::Sse] {
        for missed in [1, 30, EVENTS - 1] {
            let mut back = stream(&server, transport, Some(&cursor_of(&before[EVENTS - 1 - missed]))).await;
            // the same bytes as at first, `changes` and all
            assert_eq!(events(&mut back, missed).await, before[EVENTS - missed..], "{transport:?}, {missed} missed");
        }
    }
    // across the restart: events before it, and new ones
    let mut back = stream(&server, Transport::Sse, Some(&cursor_of(&before[EVENTS - 3]))).await;
    publish(&server, EVENTS..EVENTS + 2).await;
    let across = events(&mut back, 4).await;
    assert_eq!(across[..2], before[EVENTS - 2..]);
    let numbers: Vec<Value> = across
        .iter()
        .map(|frame| serde_json::from_str::<Value>(frame).expect("JSON")["payload"]["n"].clone())
        .collect();
    assert_eq!(numbers, (EVENTS - 2..EVENTS + 2).map(|number| json!(number)).collect::<Vec<_>>());
    let metrics = reqwest::get(server.url("/metrics")).await.expect("it answers").text().await.expect("text");
    let number = |series: &str| metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<u64>().ok());
    let counted =
        ["living_map_replay_requests_total{result=\"made\"}", "ws_replay_events_total", "sse_replay_events_total"];
    for series in counted {
        assert!(number(series).is_some_and(|number| number > 0), "{series} in {metrics}");
    }
    for series in ["ws_cursor_resync_total", "sse_cursor_410_total", "living_map_stream_lagged_total"] {
        assert_eq!(number(series), Some(0), "{series} in {metrics}");
    }
}

const NO_UPSTREAMS: [(&str, &str); 1] = [("SYNC_INTERVAL_SECONDS", "3600")];

#[tokio::test]
async fn a_cursor_before_the_saved_snapshot_resumes_on_table_log() {
    an_older_cursor_than_the_saved_snapshot_is_resumed(Process::serve(&NO_UPSTREAMS).await).await;
}

#[tokio::test]
async fn a_cursor_before_the_saved_snapshot_resumes_on_jetstream() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let environment = [NO_UPSTREAMS[0], ("NATS_URL", &*nats_url), ("DATABASE_URL", &*database_url)];
    an_older_cursor_than_the_saved_snapshot_is_resumed(Process::serve(&environment).await).await;
}

#[tokio::test]
async fn without_a_database_sse_gets_503_and_a_socket_a_snapshot() {
    let (nats, mut postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let environment =
        [NO_UPSTREAMS[0], ("NATS_URL", &*nats_url), ("DATABASE_URL", &*database_url), ("STREAM_RING_EVENTS", "16")];
    let server = Process::serve(&environment).await;
    let address = address_of(&server);
    wait_until_complete(&server).await;
    let mut live = stream(&server, Transport::WebSocket, None).await;
    live.next().await.expect("the snapshot");
    // fewer at a time than the ring holds, so that the live client needs no replay
    let mut before = Vec::new();
    for start in (0..EVENTS).step_by(10) {
        publish(&server, start..start + 10).await;
        before.append(&mut events(&mut live, 10).await);
    }
    let cursor = cursor_of(&before[0]);
    postgres.kill();
    let Opened::Refused(status, document) = open(&address, Transport::Sse, Some(&cursor)).await else {
        panic!("replay works without a database");
    };
    assert_eq!(status, 503, "{document}");
    let mut back = stream(&server, Transport::WebSocket, Some(&cursor)).await;
    let first = tokio::time::timeout(PATIENCE * 2, back.next()).await.expect("a frame").expect("a frame");
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON")["kind"], "snapshot");
    postgres.restart().await;
    let mut back = until("replay to be available again", || async {
        match open(&address, Transport::Sse, Some(&cursor)).await {
            Opened::Stream(stream) => Some(stream),
            Opened::Refused(status, document) => {
                assert_eq!(status, 503, "{document}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    })
    .await;
    assert_eq!(events(&mut back, EVENTS - 1).await, before[1..]);
}
