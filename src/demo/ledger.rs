//! What agents used, hour by hour, as the usage service keeps it.

use std::collections::VecDeque;
use std::ops::AddAssign;

use chrono::{DateTime, Utc};

/// The longest period that the usage service is asked for, in hours.
const MAX_HOURS: i64 = 24;

/// Sums over some time. As in the real service, calls of models are counted twice over: as they happen, and as an
/// invocation reports them when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub llm_calls: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub llm_latency_ms: u64,
    pub tool_calls: u64,
    pub tool_calls_ok: u64,
    pub tool_latency_ms: u64,
    pub invocations: u64,
    pub invocations_ok: u64,
    pub invocation_llm_calls: u64,
    pub invocation_tool_calls: u64,
    pub messages: u64,
    pub message_chars: u64,
}

impl Counts {
    pub const fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.llm_calls += other.llm_calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.llm_latency_ms += other.llm_latency_ms;
        self.tool_calls += other.tool_calls;
        self.tool_calls_ok += other.tool_calls_ok;
        self.tool_latency_ms += other.tool_latency_ms;
        self.invocations += other.invocations;
        self.invocations_ok += other.invocations_ok;
        self.invocation_llm_calls += other.invocation_llm_calls;
        self.invocation_tool_calls += other.invocation_tool_calls;
        self.messages += other.messages;
        self.message_chars += other.message_chars;
    }
}

/// Counts of the last 24 hours, to the hour.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(VecDeque<(i64, Counts)>);

impl Ledger {
    /// Adds to the hour of `at`, which is not before the hour added to last.
    pub fn add(&mut self, at: DateTime<Utc>, counts: Counts) {
        let hour = hour_of(at);
        match self.0.back_mut() {
            Some((last, sum)) if *last >= hour => *sum += counts,
            _ => self.0.push_back((hour, counts)),
        }
        while self.0.front().is_some_and(|(first, _)| *first <= hour - MAX_HOURS) {
            self.0.pop_front();
        }
    }

    /// The sum of the last hours before `now`.
    pub fn sum(&self, now: DateTime<Utc>, hours: i64) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self.0.iter().filter(|(hour, _)| *hour > hour_of(now) - hours) {
            sum += *counts;
        }
        sum
    }
}

fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3_600)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_is_older_than_a_day_is_forgotten() {
        let mut ledger = Ledger::default();
        let one = Counts { llm_calls: 1, ..Counts::default() };
        let start = DateTime::UNIX_EPOCH;
        for hour in 0..48 {
            ledger.add(start + TimeDelta::hours(hour), one);
            ledger.add(start + TimeDelta::hours(hour) + TimeDelta::minutes(59), one);
        }
        let now = start + TimeDelta::hours(47);
        assert_eq!(ledger.sum(now, 24).llm_calls, 48);
        assert_eq!(ledger.sum(now, 1).llm_calls, 2);
        assert_eq!(ledger.0.len(), 24);
    }
}
