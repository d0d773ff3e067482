//! Exponential backoff with jitter.

use std::time::Duration;

use rand::Rng;

/// Delay before attempt number `attempt` (from 0): `min`, doubled for each attempt up to `max`, multiplied by a random factor
/// from 0.5 to 1 so that clients that failed together do not retry together.
#[must_use]
pub fn delay(attempt: u32, min: Duration, max: Duration) -> Duration {
    let doubled = min.saturating_mul(2_u32.saturating_pow(attempt.min(31)));
    doubled.min(max).mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_maximum() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        for (attempt, full) in [(0, 100), (1, 200), (5, 3200), (6, 5000), (1000, 5000), (u32::MAX, 5000)] {
            let delay = delay(attempt, min, max);
            let full = Duration::from_millis(full);
            assert!(delay <= full && delay >= full / 2, "attempt {attempt}: {delay:?}");
        }
    }
}
