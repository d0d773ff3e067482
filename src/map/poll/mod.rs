//! Compares an upstream's answer with the map: writes the payloads of `living_map.sync.<service>` events.
//!
//! ```json
//! {"service": "usage", "mark": 41, "part": 1, "parts": 1,
//!  "gone": ["agent:zoe"],
//!  "entities": [{"type": "agent", "id": "agent:sofia", "aliases": ["agent:afd7…"], "slug": null,
//!                "fields": {"name": "Sofia", "model": null},
//!                "usage": {"llm_calls_24h": 44}, "counted": {"llm_calls": 2}}],
//!  "layers": {"agents": {"total_llm_calls_24h": 123, "counted": {"llm_calls": 2}}}}
//! ```
//!
//! `mark` is the position folded when the poll began; `fields` has the fields that changed, null for those that the
//! service does not report any more, and unchanged ones that overrule an older event's value; `counted` is the usage counted from events at the mark. `decode::poll` reads the
//! payloads.

mod diff;
mod normalized;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::model::{Answer, Service};

use super::names::Name;
use super::state::State;
use super::state::facts::Fact;
use super::usage::Counts;

/// Seconds of the log for which an event's measurement counts against answers that only repeat the service's last one:
/// several polls, and several reports of a node, which come every few seconds. A constant of the build, because all
/// replicas must decide alike.
const MEASUREMENT_SECONDS: i64 = 300;

/// Bytes of a payload around its lists.
const FRAME_BYTES: usize = 128;

/// The map's position and usage figures when a poll began, so that its answer does not undo events of the meantime.
#[derive(Debug, Clone, Default)]
pub struct PollMark {
    /// Position folded by then.
    pub seq: u64,
    /// The log's time by then, in seconds since 1970.
    second: i64,
    /// Usage counted by then, by canonical id.
    usage: HashMap<Arc<str>, Counts>,
    /// Usage counted by then for the whole network.
    network_usage: Counts,
}

impl PollMark {
    /// The mark of a poll that began at `now`. On a log without new entries time passes too, and the entry that a poll
    /// appends has the later time.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Self {
        Self { second: self.second.max(now.timestamp()), ..self }
    }

    /// The hour of the log, counted from the unix epoch.
    const fn hour(&self) -> i64 {
        self.second.div_euclid(3_600)
    }

    /// Returns `true` if an event's measurement still counts against an answer that repeats the service's last one.
    const fn holds(&self, fact: &Fact) -> bool {
        fact.field.is_measured() && self.second - fact.second < MEASUREMENT_SECONDS
    }

    /// The usage counted by then under any of these names.
    fn counted(&self, names: &[Name]) -> Counts {
        let counted = names.iter().filter_map(|name| self.usage.get(&name.text));
        counted.fold(Counts::default(), |sum, counts| sum.plus(*counts))
    }
}

impl State {
    /// The mark for a poll that begins now.
    #[must_use]
    pub fn mark(&self) -> PollMark {
        let counts = self.entities.iter().map(|(_, entity)| (&entity.id, entity.counter.counted()));
        let usage = counts.filter(|(_, counted)| !counted.is_zero()).map(|(id, counted)| (Arc::clone(id), counted));
        PollMark {
            seq: self.cursor.seq,
            second: self.logged_at.timestamp(),
            usage: usage.collect(),
            network_usage: self.network_usage.counted(),
        }
    }

    /// The changes that a poll's answer makes to the map: payloads of `living_map.sync.<service>` events, each at most
    /// about `max_bytes` of JSON; none when there is no change.
    #[must_use]
    pub fn diff(&self, mark: &PollMark, answer: &Answer, max_bytes: usize) -> Vec<Value> {
        if self.marks.get(&answer.service).is_some_and(|last| *last > mark.seq) {
            return Vec::new();
        }
        let diff::Difference { gone, entities, layers } = diff::of_answer(self, mark, answer);
        payloads(answer.service, mark.seq, gone, entities, layers, max_bytes)
    }
}

/// Splits a difference into payloads.
fn payloads(
    service: Service,
    mark: u64,
    gone: BTreeSet<String>,
    entities: Vec<Value>,
    layers: Map<String, Value>,
    max_bytes: usize,
) -> Vec<Value> {
    let mut parts: Vec<Map<String, Value>> = Vec::new();
    let mut size = usize::MAX;
    if !layers.is_empty() {
        size = FRAME_BYTES + Value::Object(layers.clone()).to_string().len();
        parts.push(Map::from_iter([("layers".to_owned(), Value::Object(layers))]));
    }
    let pieces = gone
        .into_iter()
        .map(|id| ("gone", Value::String(id)))
        .chain(entities.into_iter().map(|entity| ("entities", entity)));
    for (list, piece) in pieces {
        let bytes = piece.to_string().len() + 1;
        if size.saturating_add(bytes) > max_bytes {
            parts.push(Map::new());
            size = FRAME_BYTES;
        }
        size += bytes;
        if let Some(part) = parts.last_mut()
            && let Value::Array(items) = part.entry(list).or_insert_with(|| Value::Array(Vec::new()))
        {
            items.push(piece);
        }
    }
    let total = parts.len();
    let numbered = parts.into_iter().enumerate().map(|(at, mut part)| {
        part.insert("service".to_owned(), json!(service));
        part.insert("mark".to_owned(), json!(mark));
        part.insert("part".to_owned(), json!(at + 1));
        part.insert("parts".to_owned(), json!(total));
        Value::Object(part)
    });
    numbered.collect()
}
