//! How many events there were in the last so many seconds.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Parts of a window that are counted by themselves: a count is exact to a sixtieth of the window, and takes bounded memory.
const PARTS: i64 = 60;

/// Counts events in a sliding window.
#[derive(Debug, Clone)]
pub struct Window {
    part_millis: i64,
    counts: VecDeque<(i64, u64)>,
}

impl Window {
    pub fn new(length: TimeDelta) -> Self {
        Self { part_millis: (length.num_milliseconds() / PARTS).max(1), counts: VecDeque::new() }
    }

    pub fn add(&mut self, at: DateTime<Utc>) {
        let part = at.timestamp_millis().div_euclid(self.part_millis);
        match self.counts.back_mut() {
            // the log's time does not run backwards
            Some((last, count)) if *last >= part => *count += 1,
            _ => self.counts.push_back((part, 1)),
        }
        self.forget(at);
    }

    pub fn count(&mut self, now: DateTime<Utc>) -> u64 {
        self.forget(now);
        self.counts.iter().map(|(_, count)| count).sum()
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        let oldest = now.timestamp_millis().div_euclid(self.part_millis) - PARTS;
        while self.counts.front().is_some_and(|(part, _)| *part <= oldest) {
            self.counts.pop_front();
        }
    }
}
