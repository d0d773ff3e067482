//! Counting over the last 24 hours: what events add, and what the usage service says outright.
//!
//! The usage service's figures are of the moment of its poll. Events counted before the poll are in them, events after
//! it are not. So each counter also keeps a `counted` that only grows; a poll is folded together with the `counted` of
//! the moment it began, and what is shown is the service's figure plus what was counted since. Where the service has
//! said nothing (or nothing for 24 hours) events are counted in hourly buckets of the log's time.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::layers::AgentUsage;

use super::fields;

/// The window of every figure that is named `…_24h`, in hours.
pub(super) const WINDOW_HOURS: i64 = 24;

const MICROS_PER_MILLI: f64 = 1_000.0;

/// Sums of what events said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) llm_calls: u64,
    pub(super) tokens: u64,
    pub(super) messages: u64,
    /// Sum of the response times, in microseconds, of [`Counts::timed`] calls.
    pub(super) latency_us: u64,
    pub(super) timed: u64,
}

impl Counts {
    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            llm_calls: f(self.llm_calls, other.llm_calls),
            tokens: f(self.tokens, other.tokens),
            messages: f(self.messages, other.messages),
            latency_us: f(self.latency_us, other.latency_us),
            timed: f(self.timed, other.timed),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    pub(super) fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Notes the response time of one call, in milliseconds.
    pub(super) fn time(&mut self, milliseconds: f64) {
        /// An hour: a longer answer is a mistake of its publisher.
        const LONGEST_MS: f64 = 3_600_000.0;
        if (0.0..=LONGEST_MS).contains(&milliseconds) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
            let micros = (milliseconds * MICROS_PER_MILLI).round() as u64;
            self.latency_us = self.latency_us.saturating_add(micros);
            self.timed = self.timed.saturating_add(1);
        }
    }
}

/// Figures that the usage service gave outright.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Base {
    usage: AgentUsage,
    /// What was counted when the poll began.
    counted: Counts,
    /// The poll's mark.
    mark: u64,
    /// When it was folded.
    hour: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    hour: i64,
    counts: Counts,
}

/// Counts of one agent or channel, or of everybody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter {
    counted: Counts,
    base: Option<Base>,
    /// Oldest first.
    buckets: Vec<Bucket>,
}

impl Counter {
    pub(super) fn add(&mut self, hour: i64, counts: Counts) {
        self.counted = self.counted.plus(counts);
        match self.buckets.last_mut() {
            Some(last) if last.hour >= hour => last.counts = last.counts.plus(counts),
            _ => {
                self.expire(hour);
                self.buckets.push(Bucket { hour, counts });
            }
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn expire(&mut self, hour: i64) {
        self.buckets.retain(|bucket| bucket.hour + WINDOW_HOURS > hour);
        self.base.take_if(|base| base.hour + WINDOW_HOURS <= hour);
    }

    /// The hour at which something is to be forgotten.
    pub(super) fn due(&self) -> Option<i64> {
        let base = self.base.as_ref().map(|base| base.hour);
        let bucket = self.buckets.first().map(|bucket| bucket.hour);
        base.into_iter().chain(bucket).min().map(|hour| hour + WINDOW_HOURS)
    }

    /// Everything ever counted.
    pub(super) const fn counted(&self) -> Counts {
        self.counted
    }

    /// The mark of the service's figures that are in force.
    pub(super) fn base_mark(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.mark)
    }

    /// The figures to show.
    pub(super) fn shown(&self) -> AgentUsage {
        self.shown_at(self.counted)
    }

    /// The figures shown when `counted` was what it is said to have been.
    pub(super) fn shown_at(&self, counted: Counts) -> AgentUsage {
        if let Some(base) = &self.base {
            return sum(&base.usage, counted.minus(base.counted));
        }
        let window = self.buckets.iter().fold(Counts::default(), |sum, bucket| sum.plus(bucket.counts));
        sum(&AgentUsage::default(), window.minus(self.counted.minus(counted)))
    }

    /// Takes the service's figures of a poll that began when `counted` was reached.
    pub(super) fn rebase(&mut self, usage: AgentUsage, counted: Counts, mark: u64, hour: i64) {
        self.base = Some(Base { usage, counted: counted.min(self.counted), mark, hour });
    }

    pub(super) fn drop_base(&mut self) {
        self.base = None;
    }

    /// Joins the counts of what turned out to be the same entity.
    pub(super) fn absorb(&mut self, mut other: Self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.append(&mut other.buckets);
        buckets.sort_by_key(|bucket| bucket.hour);
        for bucket in buckets {
            match self.buckets.last_mut() {
                Some(last) if last.hour == bucket.hour => last.counts = last.counts.plus(bucket.counts),
                _ => self.buckets.push(bucket),
            }
        }
        // what the other had counted counts as known to whichever figures stay in force, so that nothing counts twice
        let (own, others) = (self.counted, other.counted);
        self.counted = own.plus(others);
        self.base = match (self.base.take(), other.base) {
            (Some(base), Some(newer)) if newer.mark > base.mark => Some((newer, own)),
            (Some(base), _) => Some((base, others)),
            (None, Some(newer)) => Some((newer, own)),
            (None, None) => None,
        }
        .map(|(base, more)| Base { counted: base.counted.plus(more), ..base });
    }
}

fn sum(usage: &AgentUsage, since: Counts) -> AgentUsage {
    AgentUsage {
        llm_calls_24h: usage.llm_calls_24h.saturating_add(since.llm_calls),
        tokens_24h: usage.tokens_24h.saturating_add(since.tokens),
        messages_24h: usage.messages_24h.saturating_add(since.messages),
        avg_response_time_ms: average(usage, since),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average needs no more than 53 bits")]
fn average(usage: &AgentUsage, since: Counts) -> Option<f64> {
    if since.timed == 0 {
        return usage.avg_response_time_ms;
    }
    let new = since.latency_us as f64 / MICROS_PER_MILLI;
    let (old, calls) = match usage.avg_response_time_ms {
        Some(average) => (average * usage.llm_calls_24h as f64, usage.llm_calls_24h as f64),
        None => (0.0, 0.0),
    };
    let average = (old + new) / (calls + since.timed as f64);
    average.is_finite().then_some((average * MICROS_PER_MILLI).round() / MICROS_PER_MILLI)
}

/// Reads an answer's `usage` object; none when a figure in it is of a wrong type.
pub(super) fn read(value: &Value) -> Option<AgentUsage> {
    let object = value.as_object()?;
    let figure = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Some(0),
        Some(value) => fields::count(value),
    };
    let avg_response_time_ms = match object.get("avg_response_time_ms") {
        None | Some(Value::Null) => None,
        Some(value) => Some(fields::number(value).filter(|average| *average >= 0.0)?),
    };
    Some(AgentUsage {
        llm_calls_24h: figure("llm_calls_24h")?,
        tokens_24h: figure("tokens_24h")?,
        messages_24h: figure("messages_24h")?,
        avg_response_time_ms,
    })
}

/// [`read`] the other way.
pub(super) fn write(usage: &AgentUsage) -> Value {
    json!({
        "llm_calls_24h": usage.llm_calls_24h,
        "tokens_24h": usage.tokens_24h,
        "messages_24h": usage.messages_24h,
        "avg_response_time_ms": usage.avg_response_time_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(llm_calls: u64) -> Counts {
        Counts { llm_calls, ..Counts::default() }
    }

    #[test]
    fn what_was_counted_after_the_mark_is_added_to_the_services_figure() {
        let mut counter = Counter::default();
        counter.add(0, calls(2));
        let at_mark = counter.counted();
        counter.add(0, calls(3));
        counter.rebase(AgentUsage { llm_calls_24h: 44, ..AgentUsage::default() }, at_mark, 1, 0);
        assert_eq!(counter.shown().llm_calls_24h, 47);
        counter.add(1, calls(1));
        assert_eq!(counter.shown().llm_calls_24h, 48);
        assert_eq!(counter.shown_at(at_mark).llm_calls_24h, 44);
    }

    #[test]
    fn a_figure_older_than_its_window_says_nothing_any_more() {
        let mut counter = Counter::default();
        counter.rebase(AgentUsage { llm_calls_24h: 44, ..AgentUsage::default() }, Counts::default(), 1, 0);
        counter.add(10, calls(1));
        assert_eq!(counter.due(), Some(24));
        counter.expire(24);
        assert_eq!(counter.shown().llm_calls_24h, 1);
        assert_eq!(counter.due(), Some(34));
        counter.expire(34);
        assert_eq!((counter.shown().llm_calls_24h, counter.due()), (0, None));
    }

    #[test]
    fn the_average_weighs_the_services_calls_and_ours() {
        let mut counter = Counter::default();
        let usage = AgentUsage { llm_calls_24h: 3, avg_response_time_ms: Some(100.0), ..AgentUsage::default() };
        counter.rebase(usage, Counts::default(), 1, 0);
        let mut call = calls(1);
        call.time(500.0);
        counter.add(0, call);
        assert_eq!(counter.shown().avg_response_time_ms, Some(200.0));
    }
}
