//! Waiting for conditions instead of sleeping.

use std::time::{Duration, Instant};

/// Timeout for a condition.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Calls `ask` repeatedly until it returns `Some`.
///
/// # Panics
/// After [`PATIENCE`], with the description `what`.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "timed out after {PATIENCE:?} waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
