//! `usage.llm`, `usage.agent`, `usage.tool`, in the shapes of their publishers.

use super::About;
use super::agent::{alive, outcome};
use crate::map::fields;
use crate::map::fold::Fold;
use crate::map::usage::Counts;

/// A call of a language model, `usage.llm`. It counts for everybody, and for its agent where it names one.
pub(super) fn llm(fold: &mut Fold<'_>, about: About<'_>) {
    let sum = |a: &str, b: &str| match (about.count(a), about.count(b)) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    let tokens = about
        .count("total_tokens")
        .or_else(|| sum("tokens_input", "tokens_output"))
        .or_else(|| sum("prompt_tokens", "completion_tokens"));
    let latency = about.number("latency_ms");
    let by_somebody = ["agent_id", "actor_id", "model"].iter().any(|name| about.id(name).is_some());
    if !by_somebody && tokens.is_none() && latency.is_none() {
        return;
    }
    let mut counts = Counts { llm_calls: 1, tokens: tokens.unwrap_or(0), ..Counts::default() };
    if let Some(latency) = latency {
        counts.time(latency);
    }
    count(fold, about, counts);
}

/// `usage.llm.increment{metric, value}`: a number of calls or of tokens.
pub(super) fn increment(fold: &mut Fold<'_>, about: About<'_>) {
    /// More in one increment is a mistake of its publisher.
    const MOST: u64 = 1_000_000_000_000;
    let Some(value) = about.get("value").and_then(fields::count).filter(|value| *value <= MOST) else { return };
    let of_tokens = about.text("metric").is_some_and(|metric| metric.contains("token"));
    let counts = if of_tokens {
        Counts { tokens: value, ..Counts::default() }
    } else {
        Counts { llm_calls: value, ..Counts::default() }
    };
    count(fold, about, counts);
}

fn count(fold: &mut Fold<'_>, about: About<'_>, counts: Counts) {
    let hour = fold.hour;
    fold.state.counted.add(hour, counts);
    if let Some(key) = work_of(fold, about) {
        fold.hint(key, "model", about.get("model"));
        fold.count(key, counts);
    }
}

/// `usage.agent` and `usage.tool`: a sign of life. Their calls of models come as `usage.llm` too and count there.
pub(super) fn work(fold: &mut Fold<'_>, about: About<'_>) {
    work_of(fold, about);
}

fn work_of(fold: &mut Fold<'_>, about: About<'_>) -> Option<crate::map::entity::Key> {
    let key = alive(fold, about, None)?;
    // a call may fail without the agent failing; that has events of its own
    if about.is_true("success") {
        outcome(fold, key, true);
    }
    Some(key)
}
