//! Percentiles and Markdown.

/// Durations in microseconds.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one latency.
    pub fn add(&mut self, micros: u64) {
        self.0.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// Adds the latencies of another thread.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Number of latencies.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Percentiles in milliseconds, by fraction, for example 0.99.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    pub fn percentiles<const N: usize>(&mut self, fractions: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        fractions.map(|fraction| {
            let at = (last as f64 * fraction).ceil() as usize;
            f64::from(self.0.get(at).copied().unwrap_or(0)) / 1000.0
        })
    }
}

/// Prints a table of one row.
pub fn row(cells: &[(&str, String)]) {
    let line = |cells: Vec<&str>| println!("| {} |", cells.join(" | "));
    line(cells.iter().map(|(name, _)| *name).collect());
    line(cells.iter().map(|_| "---").collect());
    line(cells.iter().map(|(_, value)| value.as_str()).collect());
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_048_576.0)
}

/// A quotient of counts.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub fn per(total: f64, number: u64) -> f64 {
    total / (number.max(1) as f64)
}
