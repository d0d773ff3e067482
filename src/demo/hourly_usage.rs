//! Usage counts by hour, as the usage service keeps them.

use std::collections::VecDeque;
use std::ops::AddAssign;

use chrono::{DateTime, Utc};

/// Hours that are kept: the longest period that clients request.
const MAX_HOURS: i64 = 24;

/// Usage in a period. As in the real service, model calls are counted in two ways: when they happen, and as reported at
/// the end of an invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UsageCounts {
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

impl UsageCounts {
    pub const fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

impl AddAssign for UsageCounts {
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

/// Usage of the last 24 hours, with a resolution of one hour.
#[derive(Debug, Clone, Default)]
pub(super) struct HourlyUsage(VecDeque<(i64, UsageCounts)>);

impl HourlyUsage {
    /// Adds to the hour of `at`, which must not be before the hour of the last call.
    pub fn add(&mut self, at: DateTime<Utc>, counts: UsageCounts) {
        let hour = hour_of(at);
        match self.0.back_mut() {
            Some((last, sum)) if *last >= hour => *sum += counts,
            _ => self.0.push_back((hour, counts)),
        }
        while self.0.front().is_some_and(|(first, _)| *first <= hour - MAX_HOURS) {
            self.0.pop_front();
        }
    }

    /// Sum of the last `hours` before `now`.
    pub fn sum(&self, now: DateTime<Utc>, hours: i64) -> UsageCounts {
        let mut sum = UsageCounts::default();
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
    fn usage_older_than_a_day_is_dropped() {
        let mut usage = HourlyUsage::default();
        let one = UsageCounts { llm_calls: 1, ..UsageCounts::default() };
        let start = DateTime::UNIX_EPOCH;
        for hour in 0..48 {
            usage.add(start + TimeDelta::hours(hour), one);
            usage.add(start + TimeDelta::hours(hour) + TimeDelta::minutes(59), one);
        }
        let now = start + TimeDelta::hours(47);
        assert_eq!(usage.sum(now, 24).llm_calls, 48);
        assert_eq!(usage.sum(now, 1).llm_calls, 2);
        assert_eq!(usage.0.len(), 24);
    }
}
