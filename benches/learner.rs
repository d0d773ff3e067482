//! Experiences folded per second on one core, and the growth of memory.
//!
//! `cargo bench --bench learner`

#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::hint::black_box;
use std::time::Instant;

use chrono::{DateTime, TimeDelta};
use living_map::learner::{Fold, FoldResult, RuleConfig, experience};
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, Epoch, Experience, LogEntry};
use serde_json::json;

/// The server's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-01-05.
const BEGIN: i64 = 1_767_571_200_000;
const ROUNDS: usize = 5;

/// Experiences of so many agents, a thousand per second; 4 % are not successful.
fn messages(count: usize, agents: usize) -> Vec<(String, Vec<u8>, i64)> {
    (0..count)
        .map(|n| {
            let (agent, at) = (n * 7_919 % agents, BEGIN + i64::try_from(n).unwrap_or_default());
            let outcome = match n * 31 % 100 {
                0 | 1 => "error",
                2 => "silent",
                3 => "timeout",
                _ => "ok",
            };
            let body = json!({
                "event_id": format!("e{n}"), "agent_id": format!("agent:{agent}"), "task": "answer", "outcome": outcome,
                "latency_ms": 400 + n * 13 % 900, "error_class": (outcome == "error").then_some("rate_limited"),
                "model": format!("m{}", agent % 4), "tool": format!("t{}", n % 5), "version": 1,
                "timestamp": DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339(),
            });
            (format!("agent.experience.v1.agent:{agent}"), body.to_string().into_bytes(), at)
        })
        .collect()
}

fn entry((subject, body, at): &(String, Vec<u8>, i64)) -> LogEntry {
    envelope::read(&Message {
        subject,
        headers: &[],
        body,
        cursor: Cursor { epoch: Epoch(1), seq: 1 },
        logged_at: DateTime::from_timestamp_millis(*at).unwrap_or_default(),
    })
}

/// Resident memory in bytes, on Linux.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4_096.0
}

fn fastest(count: usize, mut run: impl FnMut() -> usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        black_box(run());
        best = best.min(started.elapsed().as_secs_f64());
    }
    count as f64 / best
}

fn main() {
    const COUNT: usize = 500_000;
    // first: memory freed by the rounds would hide growth
    memory();
    println!("minimum 50,000 experiences/s on one core, target 500,000; fastest of {ROUNDS} rounds of {COUNT}");
    for agents in [1_000, 100_000] {
        let messages = messages(COUNT, agents);
        let read: Vec<(Experience, i64)> = messages
            .iter()
            .filter_map(|message| Some((experience::read(&entry(message).event).ok()?, message.2)))
            .collect();
        let folded = fastest(COUNT, || {
            let mut fold = Fold::new(RuleConfig::default());
            read.iter().filter(|(read, at)| matches!(fold.fold(read, *at), FoldResult::Counted(_))).count()
        });
        let whole = fastest(COUNT, || {
            let mut fold = Fold::new(RuleConfig::default());
            messages
                .iter()
                .filter_map(|message| Some(fold.fold(&experience::read(&entry(message).event).ok()?, message.2)))
                .count()
        });
        println!("{agents} agents: folded {folded:.0}/s; read from JSON and folded {whole:.0}/s");
    }
}

/// A thousand agents, then ten times as many experiences: memory must not grow.
fn memory() {
    let mut fold = Fold::new(RuleConfig { max_ids: 10_000, ..RuleConfig::default() });
    let template: Vec<Experience> =
        messages(10_000, 1_000).iter().filter_map(|message| experience::read(&entry(message).event).ok()).collect();
    let mut sizes = Vec::new();
    for round in 0..100_i64 {
        for (n, one) in template.iter().enumerate() {
            let mut one = one.clone();
            one.event_id = format!("r{round}-{n}");
            one.timestamp += TimeDelta::seconds(round * 60);
            black_box(fold.fold(&one, one.timestamp.timestamp_millis()));
        }
        if round == 9 || round == 99 {
            sizes.push(resident() / f64::from(1 << 20));
        }
    }
    println!("{} agents, resident memory after 100,000 and 1,000,000 experiences: {sizes:.1?} MiB", fold.agents());
}
