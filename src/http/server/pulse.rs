//! Responsiveness of a runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interval at which the runtime shows that it runs its tasks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Delay after which a runtime counts as busy.
const BUSY_AFTER: Duration = Duration::from_millis(500);

/// Shows whether a runtime runs its tasks in time.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    last: AtomicU64,
}

impl Pulse {
    /// A runtime that has just run a task.
    pub fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Shows that the runtime which polls this future runs its tasks.
    pub async fn beat(&self) {
        loop {
            self.last.store(self.elapsed_ms(), Ordering::Relaxed);
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Returns true if the runtime has not run a task that was due.
    pub fn is_busy(&self) -> bool {
        let silent = self.elapsed_ms().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(silent) > BUSY_AFTER
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
