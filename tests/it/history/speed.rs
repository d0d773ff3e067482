//! Insert rate of `PostgreSQL`, compared with its own `COPY` into the same table with the same indexes.
//!
//! `cargo test --release --test it speed -- --ignored --nocapture`

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use living_map::history::{History, HistoryConfig};
use living_map::model::LogEntry;
use serde_json::json;
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{Executor, PgPool};

use super::{entry, open};
use crate::support::postgres::Postgres;

const EVENTS: u32 = 100_000;
const BATCH: usize = 2_000;
const ROUNDS: usize = 3;

fn events(first: u64) -> Vec<LogEntry> {
    let like_real = |seq: u64| {
        let mut entry = entry(seq);
        let agent = format!("agent:{}", seq * 7_919 % 1_000);
        entry.event.event_type = ["usage.llm", "agent.event.status", "node.metrics.update"][(seq % 3) as usize].into();
        entry.event.payload = json!({"agent_id": agent, "model": "gpt-4.1-mini", "provider": "openai", "latency_ms": seq % 5_000,
            "prompt_tokens": 1_234, "completion_tokens": 56, "total_tokens": 1_290, "success": true, "error": null});
        entry.event.entity_id = Some(agent);
        entry
    };
    (first..first + u64::from(EVENTS)).map(like_real).collect()
}

async fn write(history: &Arc<dyn History>, entries: &[LogEntry]) -> Duration {
    let started = Instant::now();
    // like the history writer, which prepares the next batch while one is written
    let (even, odd): (Vec<_>, Vec<_>) = entries.chunks(BATCH).enumerate().partition(|(index, _)| index % 2 == 0);
    let write_all = async |batches: Vec<(usize, &[LogEntry])>| {
        for (_, batch) in batches {
            assert_eq!(history.write(batch).await.unwrap().inserted, batch.len() as u64);
        }
    };
    tokio::join!(write_all(even), write_all(odd));
    started.elapsed()
}

async fn copy(pool: &PgPool, entries: &[LogEntry]) -> Duration {
    let mut text = String::new();
    for LogEntry { cursor, logged_at, event, .. } in entries {
        let (id, at, kind, payload, epoch) =
            (event.id, event.timestamp, &event.event_type, &event.payload, cursor.epoch.0.cast_signed());
        let (source, entity) = (event.source_service.as_ref().unwrap(), event.entity_id.as_ref().unwrap());
        writeln!(
            text,
            "{id}\t{at}\t{kind}\t{payload}\t{source}\t{entity}\tagent\t{epoch}\t{}\t{logged_at}",
            cursor.seq
        )
        .unwrap();
    }
    let started = Instant::now();
    let columns = "id, timestamp, event_type, payload, source_service, entity_id, entity_type, epoch, seq, logged_at";
    let mut copy = pool.copy_in_raw(&format!("COPY living_map_history ({columns}) FROM STDIN")).await.unwrap();
    for chunk in text.as_bytes().chunks(1 << 16) {
        copy.send(chunk).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), entries.len() as u64);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a quiet machine and a release build"]
async fn speed_against_copy() {
    let server = Postgres::start().await;
    let url = server.url();
    let history = open(&url, &HistoryConfig::default()).await;
    let pool = PgPool::connect(&url).await.unwrap();
    for round in 0..ROUNDS {
        let empty = async || {
            pool.execute("TRUNCATE living_map_history").await.unwrap();
            pool.execute("CHECKPOINT").await.unwrap();
        };
        let entries = events(1);
        empty().await;
        let copied = copy(&pool, &entries).await;
        empty().await;
        let written = write(&history, &entries).await;
        let rate = |elapsed: Duration| f64::from(EVENTS) / elapsed.as_secs_f64();
        println!(
            "round {round}: COPY {:.0} rows/s, write {:.0} rows/s, ratio {:.2}",
            rate(copied),
            rate(written),
            rate(written) / rate(copied)
        );
    }
}
