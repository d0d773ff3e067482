//! Cost of folding one event, on a small map and on a large one: it must not grow with the map.
//!
//! `cargo bench --bench fold`

use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use living_map::map::State;
use living_map::model::envelope::{self, Message};
use living_map::model::{Answer, Cursor, EntityType, Epoch, Facts, LogEntry, Service};
use serde_json::{Map, Value, json};

/// The server's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SMALL: usize = 1_000;
const LARGE: usize = 100_000;
/// Events of one timed round, and the number of rounds. The fastest round counts: other load on the machine only adds time.
const EVENTS: usize = 20_000;
const ROUNDS: usize = 15;

/// Pseudo-random numbers, the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Network {
    state: State,
    entities: usize,
    seq: u64,
    numbers: Numbers,
    now: DateTime<Utc>,
}

impl Network {
    /// A map of `entities`: nine agents to one node, a microDAO for every hundred.
    fn new(entities: usize) -> Self {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default();
        let mut network = Self { state: State::new(Epoch(1)), entities, seq: 0, numbers: Numbers(7), now };
        for n in 0..entities / 100 {
            network.fold("microdao.event.created", &json!({"microdao_id": format!("microdao:{n}"), "name": "M"}));
        }
        for n in 0..entities {
            let microdao = format!("microdao:{}", n % (entities / 100));
            if n.is_multiple_of(10) {
                network.fold("node.metrics.update", &json!({"node_id": n, "cpu": 0.5, "microdao_id": microdao}));
            } else {
                let agent = json!({"agent_id": format!("agent:{n}"), "name": format!("Agent {n}"), "kind": "assistant",
                    "model": "gpt-4.1-mini", "description": "One of many agents", "microdao_id": microdao});
                network.fold("agent.event.created", &agent);
            }
        }
        // fills the window of duplicate detection, and gives every entity some activity
        for _ in 0..150_000 + entities {
            let (subject, body) = network.event();
            network.fold(subject, &body);
        }
        network
    }

    fn event(&mut self) -> (&'static str, Value) {
        let number = self.numbers.next();
        let n = usize::try_from(number >> 8).unwrap_or_default() % self.entities;
        let agent = format!("agent:{}", if n.is_multiple_of(10) { n + 1 } else { n });
        match number % 8 {
            0..3 => (
                "usage.llm",
                json!({"agent_id": agent, "model": "gpt-4.1-mini", "total_tokens": 500, "latency_ms": number % 900}),
            ),
            3 => ("agents.reply", json!({"agent_id": agent, "tokens_used": 500})),
            4 => ("agent.event.error", json!({"agent_id": agent})),
            5 => ("agent.event.status", json!({"agent_id": agent, "status": "online"})),
            _ => (
                "node.metrics.update",
                json!({"node_id": n / 10 * 10, "cpu": 0.25, "gpu": 0.5, "ram": 0.75, "disk": 0.1, "net_in": number % 1000}),
            ),
        }
    }

    /// An answer of the agents service about all agents.
    fn answer(&self) -> Answer {
        let agents = (0..self.entities).filter(|n| !n.is_multiple_of(10)).map(|n| {
            let mut fields = Map::new();
            fields.insert("name".to_owned(), json!(format!("Agent number {n}")));
            fields.insert("model".to_owned(), json!("gpt-4.1-mini"));
            fields.insert("is_active".to_owned(), json!(true));
            Facts {
                kind: EntityType::Agent,
                id: format!("agent:{n}"),
                aliases: vec![format!("afd7ae6d-0000-4000-8000-{n:012}")],
                fields,
                partial: false,
            }
        });
        let complete = vec![EntityType::Agent];
        Answer { service: Service::Agents, entities: agents.collect(), complete, layers: Vec::new() }
    }

    fn entry(&mut self, subject: &str, body: &Value) -> LogEntry {
        self.seq += 1;
        let cursor = Cursor { epoch: Epoch(1), seq: self.seq };
        let body = body.to_string();
        envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at: self.now })
    }

    fn fold(&mut self, subject: &str, body: &Value) {
        let entry = self.entry(subject, body);
        black_box(self.state.apply(&entry));
    }

    /// Time for [`EVENTS`] events.
    fn round(&mut self) -> Duration {
        let entries: Vec<LogEntry> = (0..EVENTS)
            .map(|_| {
                let (subject, body) = self.event();
                self.entry(subject, &body)
            })
            .collect();
        let start = Instant::now();
        for entry in &entries {
            black_box(self.state.apply(entry));
        }
        start.elapsed()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in nanoseconds, to print")]
fn per_event(rounds: &[Duration]) -> f64 {
    rounds.iter().min().map_or(f64::NAN, |fastest| fastest.as_nanos() as f64 / EVENTS as f64)
}

fn main() {
    let mut small = Network::new(SMALL);
    let mut large = Network::new(LARGE);
    // alternating, so that other load on the machine affects both
    let (of_small, of_large): (Vec<Duration>, Vec<Duration>) =
        (0..ROUNDS).map(|_| (small.round(), large.round())).unzip();
    let (of_small, of_large) = (per_event(&of_small), per_event(&of_large));
    println!("fold one event, {SMALL} entities:   {of_small:>8.0} ns");
    println!("fold one event, {LARGE} entities: {of_large:>8.0} ns");
    println!("ratio: {:.2}", of_large / of_small);
    let start = Instant::now();
    let bytes: usize = large.state.encode().layers.iter().map(bytes::Bytes::len).sum();
    let first = start.elapsed();
    let start = Instant::now();
    black_box(large.state.encode());
    println!(
        "encode {LARGE} entities ({bytes} bytes): {first:.1?} at first, {:.1?} when nothing changed",
        start.elapsed()
    );
    let start = Instant::now();
    let mark = large.state.mark();
    println!("mark: {:.1?}", start.elapsed());
    let answer = large.answer();
    for content in ["all of it new", "nothing new"] {
        let start = Instant::now();
        let payloads = large.state.diff(&mark, &answer, 256 * 1024);
        println!(
            "diff of {} agents, {content}: {:.1?}, {} parts",
            answer.entities.len(),
            start.elapsed(),
            payloads.len()
        );
        let start = Instant::now();
        for payload in &payloads {
            large.fold("living_map.sync.agents", payload);
        }
        println!("fold of it: {:.1?}", start.elapsed());
    }
}
