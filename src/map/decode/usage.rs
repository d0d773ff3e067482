//! `usage.llm`, `usage.agent`, `usage.tool`, in the forms of their publishers.

use crate::map::fields;
use crate::map::usage::Counts;
use crate::model::EntityType;

use super::agent::activity;
use super::assertion::{Assertion, Decoded, Operation};
use super::reader::EventReader;

/// A model call, `usage.llm`. Ignored without an actor, a model and any measurement.
pub(super) fn llm(reader: EventReader<'_>) -> Decoded<'_> {
    let sum = |a: &str, b: &str| match (reader.count(a), reader.count(b)) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    let tokens = reader
        .count("total_tokens")
        .or_else(|| sum("tokens_input", "tokens_output"))
        .or_else(|| sum("prompt_tokens", "completion_tokens"));
    let latency = reader.number("latency_ms");
    let has_actor = ["agent_id", "actor_id", "model"].iter().any(|name| reader.id(name).is_some());
    if !has_actor && tokens.is_none() && latency.is_none() {
        return Decoded::Nothing;
    }
    let mut counts = Counts { llm_calls: 1, tokens: tokens.unwrap_or(0), ..Counts::default() };
    if let Some(latency) = latency {
        counts.add_latency(latency);
    }
    count(reader, counts)
}

/// `usage.llm.increment{metric, value}`: a number of calls or of tokens.
pub(super) fn increment(reader: EventReader<'_>) -> Decoded<'_> {
    /// A larger increment is a publisher's mistake and is ignored.
    const MAX: u64 = 1_000_000_000_000;
    let Some(value) = reader.get("value").and_then(fields::count).filter(|value| *value <= MAX) else {
        return Decoded::Nothing;
    };
    let of_tokens = reader.text("metric").is_some_and(|metric| metric.contains("token"));
    let counts = if of_tokens {
        Counts { tokens: value, ..Counts::default() }
    } else {
        Counts { llm_calls: value, ..Counts::default() }
    };
    count(reader, counts)
}

fn count(reader: EventReader<'_>, counts: Counts) -> Decoded<'_> {
    let operations = reader.hint(EntityType::Agent, "model").into_iter().chain([Operation::Count(counts)]);
    let agent = work(reader).map(|agent| agent.with(operations));
    Decoded::ModelUsage { counts, agent }
}

/// `usage.agent` and `usage.tool`: activity. The model calls within arrive as `usage.llm` too and are counted there.
pub(super) fn work(reader: EventReader<'_>) -> Option<Assertion<'_>> {
    // a failed call is not a failure of the agent, which has separate events
    activity(reader, reader.is_true("success").then_some(true))
}
