//! Jumps of the system clock, simulated with `libfaketime`.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use super::after_a_restart::wait_until_complete;
use super::client::{Transport, stream};
use crate::support::daemon::Folder;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists()).expect("libfaketime is needed: scripts/setup-tests.sh installs it")
}

/// Sets the server's clock to `days` from now.
async fn set_clock(server: &Process, clock: &Folder, days: i64) {
    std::fs::write(clock.path().join("clock"), format!("{days:+}d")).unwrap();
    until(&format!("the server to be {days} days off"), || async {
        let health: Value = reqwest::get(server.url("/living-map/health")).await.ok()?.json().await.ok()?;
        let time: DateTime<Utc> = health["time"].as_str()?.parse().ok()?;
        ((time - Utc::now() - TimeDelta::days(days)).abs() < TimeDelta::hours(1)).then_some(())
    })
    .await;
}

async fn publish(server: &Process, number: u64) {
    let payload = json!({"agent_id": "agent:sofia", "status": "online", "n": number});
    let event = json!({"event_type": "agent.event.status", "payload": payload});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// Skips the first snapshot and pings; the next event must have `number`.
async fn arrives(stream: &mut BoxStream<'static, String>, number: u64) -> String {
    loop {
        let frame = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event should have arrived");
        let frame: Value = serde_json::from_str(&frame.expect("the stream should continue")).unwrap();
        if frame["kind"] == "event" && frame["event_type"] == "agent.event.status" {
            assert_eq!(frame["payload"]["n"], number);
            return frame["cursor"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn clock_jumps_affect_neither_the_stream_nor_time_travel() {
    let clock = Folder::new("clock");
    std::fs::write(clock.path().join("clock"), "+0d").unwrap();
    let (library, file) = (library(), clock.path().join("clock"));
    let server = Process::serve(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("SYNC_INTERVAL_SECONDS", "3600"),
    ])
    .await;
    wait_until_complete(&server).await;
    let mut streams = [stream(&server, Transport::WebSocket, None).await, stream(&server, Transport::Sse, None).await];
    let mut cursors = Vec::new();
    for (number, days) in [0, -1, 20, -400, 0].into_iter().enumerate() {
        let number = number as u64;
        set_clock(&server, &clock, days).await;
        publish(&server, number).await;
        let cursor = arrives(&mut streams[0], number).await;
        assert_eq!(arrives(&mut streams[1], number).await, cursor);
        cursors.push(cursor);
    }
    // a client that resumes after the first cursor gets the others in log order
    let mut resumed = stream(&server, Transport::WebSocket, Some(&cursors[0])).await;
    for (number, cursor) in cursors.iter().enumerate().skip(1) {
        assert_eq!(&arrives(&mut resumed, number as u64).await, cursor);
    }
    for cursor in &cursors {
        let answer = reqwest::get(server.url(&format!("/living-map/snapshot?at={cursor}"))).await.unwrap();
        assert_eq!(answer.status(), 200, "the map at {cursor}");
        assert_eq!(answer.json::<Value>().await.unwrap()["meta"]["cursor"], *cursor);
    }
}
