//! How often somebody may do something: the generic cell rate algorithm over a table of fixed size.
//!
//! A table of keys would grow with them and had to be swept. Here each key has two cells of a table, found by hashes that
//! nobody outside knows, and is refused only when both say so. Two keys that share a cell are harmless as long as one of
//! them has its other cell to itself; with a thousand busy keys about one in a thousand meets another one in both.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Cells of a table: half a mebibyte.
const CELLS: usize = 1 << 16;

/// A rate: so many in a time, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// A second. Must be positive.
    pub per_second: f64,
    /// At once; at least 1.
    pub burst: u32,
}

/// Who does it how often.
#[derive(Debug)]
pub struct Limiter {
    /// Nanoseconds since `start` at which a key would be rested again.
    cells: Box<[AtomicU64]>,
    hashes: [RandomState; 2],
    start: Instant,
    /// Nanoseconds that one costs.
    cost: u64,
    /// Nanoseconds that may be owed.
    credit: u64,
}

impl Limiter {
    /// Nobody has done anything yet.
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

    /// Whether `key` may do `count` more, which are noted then.
    ///
    /// # Errors
    /// How long to wait. More than fit at once are never allowed.
    pub fn take(&self, key: &impl Hash, count: u32) -> Result<(), Duration> {
        self.take_at(key, count, self.start.elapsed())
    }

    /// Whether `key` may do one more, without noting it.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, key: &impl Hash) -> Result<(), Duration> {
        let now = nanoseconds(self.start.elapsed());
        self.wait(self.cells_of(key), self.cost, now)
    }

    fn take_at(&self, key: &impl Hash, count: u32, now: Duration) -> Result<(), Duration> {
        let (now, price) = (nanoseconds(now), self.cost.saturating_mul(count.into()));
        let cells = self.cells_of(key);
        self.wait(cells, price, now)?;
        for cell in cells {
            // never beyond what may be owed: a neighbour's excess must not cost more than a full cell
            let add = |rested: u64| Some(rested.max(now).saturating_add(price).min(now.saturating_add(self.credit)));
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
        Ok(())
    }

    /// The shorter wait of the two cells.
    fn wait(&self, cells: [&AtomicU64; 2], price: u64, now: u64) -> Result<(), Duration> {
        let rested = cells.map(|cell| cell.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0).max(now);
        match rested.saturating_add(price).saturating_sub(now).saturating_sub(self.credit) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    fn cells_of(&self, key: &impl Hash) -> [&AtomicU64; 2] {
        self.hashes.each_ref().map(|hash| {
            #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
            let place = hash.hash_one(key) as usize % CELLS;
            &self.cells[place]
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
        assert_eq!(limiter.take_at(&"a", 1, at(100)), Err(Duration::from_millis(100)), "a refusal costs nothing");
        assert_eq!(limiter.take_at(&"b", 3, at(100)), Ok(()), "others are others");
        assert_eq!(limiter.take_at(&"a", 3, at(10_000)), Ok(()), "rested");
        assert_eq!(limiter.take_at(&"c", 4, at(10_000)), Err(Duration::from_millis(100)), "never so many at once");
    }

    #[test]
    fn ten_thousand_keys_do_not_get_in_each_others_way() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 2 });
        let refused = (0..10_000).filter(|key| (0..2).any(|_| limiter.take_at(key, 1, at(0)).is_err()));
        // two full cells of 65,536 that hold 20,000 entries: less than one in ten, by far
        let refused = refused.count();
        assert!(refused < 1_000, "{refused} of 10,000 were refused for what others did");
    }
}
