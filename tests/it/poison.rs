//! Invalid messages with every subject family, and a flood of them. Valid ones are still processed, and memory and files
//! stay bounded.
//!
//! `FLOOD_MESSAGES` is the number of invalid messages in the flood (default 20,000; the benchmarks report one million).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::process::Process;
use crate::support::wait::until;

/// A subject of every recorded family.
const FAMILIES: [&str; 42] = [
    "city.event.x",
    "dao.event.created",
    "dao.event.treasury_updated",
    "microdao.event.member_added",
    "node.metrics.update",
    "agent.event.created",
    "agent.event.status",
    "usage.llm",
    "usage.llm.increment",
    "usage.agent",
    "usage.tool",
    "messaging.message.created",
    "agents.invoke",
    "agents.reply",
    "agents.error",
    "agents.telemetry",
    "agents.runs.created",
    "agents.runs.finished",
    "agents.activity",
    "agent.reply.sent",
    "agent.error",
    "agent.lesson.v1",
    "config.updated.agents",
    "policy.updated.a",
    "prompt.updated.a",
    "living_map.sync.agents",
    "living_map.alert.raised",
    "living_map.alert.cleared",
    "message.received.a",
    "message.sent.a",
    "attachment.created.pdf",
    "attachment.failed.pdf",
    "attachment.failed.dlq",
    "agent.run.requested",
    "agent.run.started.a",
    "agent.run.progress.t",
    "memory.store.a",
    "memory.graph.updated.a",
    "audit.action.x",
    "audit.error.x",
    "ops.health.agents",
    "ops.alert.critical",
];

/// Invalid bodies of different kinds; `n` makes each message unique.
fn bodies(n: u64) -> Vec<Vec<u8>> {
    let ids =
        ["agent_id", "dao_id", "microdao_id", "node_id", "channel_id", "run_id", "alert_id", "slug", "id", "name"];
    let all = |value: &str| {
        let mut text = String::from("{");
        for id in
            ids.iter().chain(&["status", "ts", "timestamp", "changes", "payload", "title", "severity", "ttl_seconds"])
        {
            let _ = write!(text, "\"{id}\":{value},");
        }
        let _ = write!(text, "\"n\":{n}}}");
        text.into_bytes()
    };
    vec![
        Vec::new(),
        format!("not json {n}").into_bytes(),
        [&[0xff, 0xfe, 0x00, 0x80], n.to_be_bytes().as_slice()].concat(),
        format!("[{n}]").into_bytes(),
        format!("{{\"n\":{n}").into_bytes(),
        all("null"),
        all("{}"),
        all("[[]]"),
        all("1e400"),
        all("-99999999999999999999999999999999"),
        all("\"\""),
        all("\"\\u0000\\ud800\""),
        all(&format!("\"{}\"", "x".repeat(10_000))),
        all(&format!("{}{n}{}", "[".repeat(500), "]".repeat(500))),
        format!("{}{n}{}", "{\"a\":".repeat(3_000), "}".repeat(3_000)).into_bytes(),
        format!("{{\"event_id\":{n},\"event_type\":7,\"payload\":\"no object\",\"timestamp\":{{}}}}").into_bytes(),
        format!("{{\"specversion\":\"1.0\",\"type\":{n},\"source\":[],\"data\":null}}").into_bytes(),
    ]
}

async fn get(server: &Process, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

async fn serve(nats: &NatsServer, folder: &Folder, dead_letters: &str) -> Process {
    let database = format!("sqlite://{}", folder.path().join("map.db").display());
    let journal = folder.path().join("journal").display().to_string();
    let unreachable = "http://127.0.0.1:9";
    let server = Process::serve(&[
        ("DATABASE_URL", database.as_str()),
        ("JOURNAL_URL", journal.as_str()),
        ("NATS_URL", nats.url().as_str()),
        ("AGENTS_SERVICE_URL", unreachable),
        ("MICRODAO_SERVICE_URL", unreachable),
        ("DAO_SERVICE_URL", unreachable),
        ("USAGE_ENGINE_URL", unreachable),
        ("CITY_SERVICE_URL", unreachable),
        ("SPACE_SERVICE_URL", unreachable),
        ("SYNC_INTERVAL_SECONDS", "3600"),
        ("DEAD_LETTER_UNREADABLE_PER_MINUTE", dead_letters),
        ("LOG_LEVEL", "warn"),
    ])
    .await;
    until("the map", || async {
        reqwest::get(server.url("/living-map/snapshot")).await.unwrap().status().is_success().then_some(())
    })
    .await;
    server
}

async fn good(server: &Process, from: u64, count: u64) {
    let events: Vec<Value> = (from..from + count)
        .map(|n| {
            json!({"event_type": "node.metrics.update", "event_id": format!("good-{n}"), "source": "good",
                "payload": {"node_id": "node:good", "cpu": 0.5, "n": n}})
        })
        .collect();
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&events).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    assert!(body["results"].as_array().unwrap().iter().all(|result| result["status"] == "accepted"), "{body}");
}

async fn recorded(server: &Process, filter: &str, expected: u64) {
    let path = format!("/living-map/history?limit=1{filter}");
    let deadline = Instant::now() + Duration::from_mins(20);
    loop {
        let lag = get(server, "/living-map/ready").await["checks"]["history"]["lag"].as_u64();
        let total = get(server, &path).await;
        if total["total"].as_u64() == Some(expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{} of {expected} in the history, lag {lag:?}", total["total"]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_messages_of_every_family_are_recorded() {
    let (nats, folder) = (NatsServer::start().await, Folder::new("poison"));
    let server = serve(&nats, &folder, "0").await;
    let client = nats.client().await;
    let mut sent = 0;
    for subject in FAMILIES {
        for body in bodies(sent) {
            client.publish(subject, body.into()).await.unwrap();
            sent += 1;
        }
    }
    client.flush().await.unwrap();
    good(&server, 0, 1).await;
    get(&server, "/living-map/snapshot").await;
    // every message is in the history
    recorded(&server, "", sent + 1).await;
    until("the valid one to be on the map", || async {
        let answer = reqwest::get(server.url("/living-map/entities/node:good")).await.unwrap();
        answer.status().is_success().then_some(())
    })
    .await;
    let dead_letters = get(&server, "/living-map/dead-letters").await;
    assert_eq!(dead_letters["items"], json!([]), "the database accepts every message");
    let checks = get(&server, "/living-map/ready").await["checks"].clone();
    for check in ["log", "history", "writer", "map"] {
        assert!(checks[check]["error"].is_null(), "{checks}");
    }
}

/// Peak memory of a process, KiB.
fn peak_kilobytes(server: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_events_are_processed_in_a_flood_of_invalid_ones() {
    let flood: u64 = std::env::var("FLOOD_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let (nats, folder) = (NatsServer::start().await, Folder::new("flood"));
    let server = serve(&nats, &folder, "20").await;
    let client = nats.client().await;
    let flooding = tokio::spawn(async move {
        let mut sent = 0;
        while sent < flood {
            let bodies = bodies(sent);
            for (body, subject) in
                bodies.into_iter().zip(FAMILIES.iter().cycle().skip(usize::try_from(sent % 41).unwrap()))
            {
                // large bodies are in the test above; here the number counts
                if body.len() < 1_000 && sent < flood {
                    client.publish(*subject, body.into()).await.unwrap();
                    sent += 1;
                }
            }
            if sent % 1_000 < 20 {
                client.flush().await.unwrap();
            }
        }
        client.flush().await.unwrap();
    });
    let mut sent = 0;
    while !flooding.is_finished() || sent < 1_000 {
        good(&server, sent, 50).await;
        sent += 50;
    }
    flooding.await.unwrap();
    recorded(&server, "&source_service=good", sent).await;
    until("the last valid one to be on the map", || async {
        let entity = reqwest::get(server.url("/living-map/entities/node:good")).await.unwrap();
        entity.status().is_success().then_some(())
    })
    .await;
    let errors = get(&server, "/living-map/errors?limit=2000").await;
    assert!(errors["items"].as_array().unwrap().len() <= 2_000);
    let dead = get(&server, "/living-map/dead-letters?limit=1000").await["items"].as_array().unwrap().len();
    assert!((1..=200).contains(&dead), "{dead} dead letters");
    let journal = walk(&folder.path().join("journal"));
    let peak = peak_kilobytes(&server);
    println!("{flood} invalid messages, {sent} valid ones: peak {} MiB, journal {} KiB", peak / 1024, journal / 1024);
    assert!(peak < 900 * 1024, "{peak} KiB of memory");
    assert!(journal < 8 << 20, "{journal} bytes of journal");
}

/// Total size of all files in a folder, bytes.
fn walk(folder: &std::path::Path) -> u64 {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(
            |entry| {
                if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().map_or(0, |meta| meta.len()) }
            },
        )
        .sum()
}
