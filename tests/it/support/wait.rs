//! Waiting for conditions instead of for time.

use std::time::{Duration, Instant};

/// How long a condition may take before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `Some`.
///
/// # Panics
/// After [`PATIENCE`], naming what was waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
