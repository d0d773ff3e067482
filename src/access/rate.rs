//! Rate limiter: the generic cell rate algorithm (GCRA) over a table of fixed size.
//!
//! A map of keys would grow and need cleanup. Instead, each key has two cells of a table, selected by two secret hashes, and
//! is rejected only if both cells are exhausted. Keys that share one cell do not affect each other as long as their other
//! cells differ; with 1,000 busy keys about one in 1,000 shares both cells with other keys.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Number of cells: 512 KiB.
const CELLS: usize = 1 << 16;

/// A rate limit with a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Operations per second. Must be positive.
    pub per_second: f64,
    /// Operations at once after a pause; at least 1.
    pub burst: u32,
}

/// Rate limiter over keys.
#[derive(Debug)]
pub struct Limiter {
    /// Theoretical arrival time of GCRA: nanoseconds since `start` at which the cell is fully replenished.
    cells: Box<[AtomicU64]>,
    hashes: [RandomState; 2],
    start: Instant,
    /// Nanoseconds per operation.
    cost: u64,
    /// Burst tolerance in nanoseconds.
    credit: u64,
}

impl Limiter {
    /// A limiter without any operation counted.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let cost = Duration::from_secs_f64(1.0 / rate.per_second.max(1e-6)).as_nanos();
        let cost = u64::try_from(cost).unwrap_or(u64::MAX >> 32).max(1);
        Self {
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hashes: [RandomState::new(), RandomState::new()],
            start: Instant::now(),
            cost,
            credit: cost.saturating_mul(rate.burst.max(1).into()),
        }
    }

    /// Counts `count` operations of `key`, if the limit permits all of them.
    ///
    /// # Errors
    /// The time to wait. A `count` above the burst is never permitted.
    pub fn take(&self, key: &impl Hash, count: u32) -> Result<(), Duration> {
        self.take_at(key, count, self.start.elapsed())
    }

    fn take_at(&self, key: &impl Hash, count: u32, now: Duration) -> Result<(), Duration> {
        let (now, price) = (nanoseconds(now), self.cost.saturating_mul(count.into()));
        let cells = self.cells_of(key);
        self.wait(cells, price, now)?;
        for cell in cells {
            // capped at the burst: keys that share the cell cannot push it beyond exhaustion
            let add = |full: u64| Some(full.max(now).saturating_add(price).min(now.saturating_add(self.credit)));
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
        Ok(())
    }

    /// The shorter one of both cells' waiting times.
    fn wait(&self, cells: [&AtomicU64; 2], price: u64, now: u64) -> Result<(), Duration> {
        let full = cells.map(|cell| cell.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0).max(now);
        match full.saturating_add(price).saturating_sub(now).saturating_sub(self.credit) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    fn cells_of(&self, key: &impl Hash) -> [&AtomicU64; 2] {
        self.hashes.each_ref().map(|hash| {
            #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash are random")]
            let index = hash.hash_one(key) as usize % CELLS;
            &self.cells[index]
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(1_000 + milliseconds)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limiter = Limiter::new(Rate { per_second: 10.0, burst: 3 });
        for _ in 0..3 {
            assert_eq!(limiter.take_at(&"a", 1, at(0)), Ok(()));
        }
        assert_eq!(limiter.take_at(&"a", 1, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_at(&"a", 1, at(60)), Err(Duration::from_millis(40)));
        assert_eq!(limiter.take_at(&"a", 1, at(100)), Ok(()));
        assert_eq!(limiter.take_at(&"a", 1, at(100)), Err(Duration::from_millis(100)), "a rejection is not counted");
        assert_eq!(limiter.take_at(&"b", 3, at(100)), Ok(()), "keys are independent");
        assert_eq!(limiter.take_at(&"a", 3, at(10_000)), Ok(()), "replenished");
        assert_eq!(limiter.take_at(&"c", 4, at(10_000)), Err(Duration::from_millis(100)), "more than the burst");
    }

    #[test]
    fn ten_thousand_keys_rarely_affect_each_other() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 2 });
        let rejected = (0..10_000).filter(|key| (0..2).any(|_| limiter.take_at(key, 1, at(0)).is_err()));
        // 20,000 entries in 65,536 cells: far less than one key in ten finds both its cells exhausted
        let rejected = rejected.count();
        assert!(rejected < 1_000, "{rejected} of 10,000 were rejected because of other keys");
    }
}
