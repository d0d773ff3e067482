//! Number of experiences of one agent in a sliding window.

/// Counts the experiences of one agent in the current window and the previous one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ActivityRate {
    window: i64,
    current: u32,
    previous: u32,
}

impl ActivityRate {
    /// Counts one experience at `at`. A late one counts for the current window.
    pub fn add(&mut self, at: i64, window_ms: i64) {
        let window = at.div_euclid(window_ms.max(1));
        if window > self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        self.current = self.current.saturating_add(1);
    }

    /// Estimated number in the window that ends at `at`, the time of the newest experience: those of the current
    /// window, and of the previous one the share that the sliding window still covers.
    #[must_use]
    pub fn in_window(&self, at: i64, window_ms: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
        let elapsed = at.rem_euclid(window_ms.max(1)) as f64 / window_ms.max(1) as f64;
        f64::from(self.current) + f64::from(self.previous) * (1.0 - elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_sliding_window() {
        let mut rate = ActivityRate::default();
        for n in 0..30 {
            rate.add(n * 10, 100);
        }
        assert!((rate.in_window(290, 100) - 11.0).abs() < 1e-9, "{rate:?}");
        rate.add(1_000, 100);
        assert!((rate.in_window(1_000, 100) - 1.0).abs() < 1e-9, "{rate:?}");
    }
}
