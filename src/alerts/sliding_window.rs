//! Number of events in a sliding time window.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Buckets of a window: a count is exact to a sixtieth of the window, and memory is bounded.
const BUCKETS: i64 = 60;

/// Counts events in a sliding window.
#[derive(Debug, Clone)]
pub struct SlidingWindow {
    bucket_millis: i64,
    /// Number of each non-empty bucket, counted from 1970, and its events.
    buckets: VecDeque<(i64, u64)>,
}

impl SlidingWindow {
    pub fn new(length: TimeDelta) -> Self {
        Self { bucket_millis: (length.num_milliseconds() / BUCKETS).max(1), buckets: VecDeque::new() }
    }

    pub fn add(&mut self, at: DateTime<Utc>) {
        let bucket = at.timestamp_millis().div_euclid(self.bucket_millis);
        match self.buckets.back_mut() {
            // the log's time does not run backwards
            Some((last, count)) if *last >= bucket => *count += 1,
            _ => self.buckets.push_back((bucket, 1)),
        }
        self.expire(at);
    }

    pub fn count(&mut self, now: DateTime<Utc>) -> u64 {
        self.expire(now);
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    fn expire(&mut self, now: DateTime<Utc>) {
        let oldest = now.timestamp_millis().div_euclid(self.bucket_millis) - BUCKETS;
        while self.buckets.front().is_some_and(|(bucket, _)| *bucket <= oldest) {
            self.buckets.pop_front();
        }
    }
}
