//! Statistical tests of the rules.

/// Numbers of all cases and of failed cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases.
    pub cases: u64,
    /// Failed cases.
    pub failed: u64,
}

impl Counts {
    /// Failed cases divided by all cases; 0 without cases.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn share(self) -> f64 {
        if self.cases == 0 { 0.0 } else { self.failed as f64 / self.cases as f64 }
    }

    /// Wilson's confidence interval of the share, `z` standard errors wide on each side.
    ///
    /// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn wilson(self, z: f64) -> (f64, f64) {
        if self.cases == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.cases as f64, self.share());
        let middle = p + z * z / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + z * z / n;
        (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
    }
}

/// Newcombe's confidence interval of the difference `one - other` of two shares.
///
/// R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
#[must_use]
pub fn newcombe(one: Counts, other: Counts, z: f64) -> (f64, f64) {
    let (p, q) = (one.share(), other.share());
    let ((one_low, one_high), (other_low, other_high)) = (one.wilson(z), other.wilson(z));
    let low = (p - q) - (p - one_low).hypot(other_high - q);
    let high = (p - q) + (one_high - p).hypot(q - other_low);
    (low, high)
}

/// Mean and variance of a stream of values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunningStats {
    /// Number of values.
    pub count: u64,
    sum: f64,
    squares: f64,
}

impl RunningStats {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// Combines two streams.
    #[must_use]
    pub fn combined(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// The mean; 0 without values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn mean(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Squared standard error of the mean; infinite with fewer than two values.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn squared_error(self) -> f64 {
        if self.count < 2 {
            return f64::INFINITY;
        }
        let n = self.count as f64;
        ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0) / n
    }
}

/// Welch's t statistic: by how many standard errors the mean of `one` exceeds that of `other`.
///
/// B. L. Welch, "The generalization of 'Student's' problem when several different population variances are involved",
/// 1947.
#[must_use]
pub fn welch(one: RunningStats, other: RunningStats) -> f64 {
    let error = (one.squared_error() + other.squared_error()).sqrt();
    let difference = one.mean() - other.mean();
    if error > 0.0 {
        difference / error
    } else if difference == 0.0 {
        0.0
    } else {
        difference.signum() * f64::INFINITY
    }
}

/// Poisson tail: probability of `count` or more events when `mean` are expected; 1 when `count` does not exceed `mean`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn at_least(count: usize, mean: f64) -> f64 {
    if count as f64 <= mean {
        return 1.0;
    }
    // sums the falling terms from `count` upwards: 1 minus the lower terms would lose the precision of a small result.
    // The first term by its logarithm: e to the power of a large negative mean underflows
    let mut term = ((1..=count).map(|n| (mean / n as f64).ln()).sum::<f64>() - mean).exp();
    let (mut sum, mut n) = (0.0, count);
    while term > sum * 1e-12 {
        sum += term;
        n += 1;
        term *= mean / n as f64;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_match_the_literature() {
        // Newcombe 1998, table II, example (a): 56/70 against 48/80, 95 %
        let (low, high) = newcombe(Counts { cases: 70, failed: 56 }, Counts { cases: 80, failed: 48 }, 1.959_964);
        assert!((low - 0.0524).abs() < 5e-4 && (high - 0.3339).abs() < 5e-4, "{low} {high}");
        // example (e): 5/56 against 0/29
        let (low, high) = newcombe(Counts { cases: 56, failed: 5 }, Counts { cases: 29, failed: 0 }, 1.959_964);
        assert!((low + 0.0381).abs() < 5e-4 && (high - 0.1926).abs() < 5e-4, "{low} {high}");
    }

    #[test]
    fn the_poisson_tail_is_exact_far_out() {
        for (count, mean, expected) in
            [(0, 0.0, 1.0), (1, 0.0, 0.0), (2, 1.0, 0.264_241_1), (3, 0.012, 2.854_e-7), (2, 9.0, 1.0)]
        {
            assert!(
                (at_least(count, mean) - expected).abs() <= expected * 1e-3,
                "{count} {mean}: {}",
                at_least(count, mean)
            );
        }
        assert!(at_least(400, 300.0) < 1e-6 && at_least(2_000, 1_500.0) < 1e-9);
        // a large mean: half a standard deviation above it is likely
        assert!((0.28..0.34).contains(&at_least(1_520, 1_500.0)), "{}", at_least(1_520, 1_500.0));
    }

    #[test]
    fn too_few_values_show_no_difference() {
        assert_eq!(Counts::default().wilson(2.0), (0.0, 1.0));
        let (mut one, mut many) = (RunningStats::default(), RunningStats::default());
        one.add(100.0);
        (0..50).for_each(|n| many.add(f64::from(n % 3)));
        assert!(welch(one, many).abs() < 1e-9, "one value has no spread");
    }
}
