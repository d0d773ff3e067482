//! Deleting events that are too old, in small batches, so that writers hardly notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{History, HistoryError};
use crate::journal::Journal;

/// How long events are kept, and how gently they go.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// Events older than this are deleted.
    pub max_age: Duration,
    /// Events deleted at a time, at least 1.
    pub batch: u32,
    /// Pause between two batches.
    pub pause: Duration,
    /// From the end of one round to the beginning of the next.
    pub interval: Duration,
}

impl Default for RetentionConfig {
    /// 30 days, as the service we replace.
    fn default() -> Self {
        Self {
            max_age: Duration::from_hours(30 * 24),
            batch: 5_000,
            pause: Duration::from_millis(100),
            interval: Duration::from_hours(1),
        }
    }
}

/// Deletes old events at once and then once in each interval, until `shutdown`. A failed round is logged, noted in
/// `journal` and tried again at the next.
///
/// Metrics: `living_map_history_expired_total` (events deleted), `living_map_history_expire_failures_total`.
pub async fn run(history: Arc<dyn History>, config: RetentionConfig, journal: Journal, shutdown: CancellationToken) {
    let rounds = async {
        loop {
            let started = Instant::now();
            match round(&*history, &config).await {
                Ok(0) => {}
                Ok(deleted) => {
                    let elapsed_ms = started.elapsed().as_millis();
                    tracing::info!(deleted, elapsed_ms, "deleted events that were too old");
                }
                Err(error) => {
                    metrics::counter!("living_map_history_expire_failures_total").increment(1);
                    journal.record("delete", "database", "living_map_history", &error);
                    tracing::warn!(%error, "cannot delete old events; will try again");
                }
            }
            tokio::time::sleep(config.interval).await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

async fn round(history: &dyn History, config: &RetentionConfig) -> Result<u64, HistoryError> {
    let age = TimeDelta::from_std(config.max_age).ok();
    let Some(before) = age.and_then(|age| Utc::now().checked_sub_signed(age)) else {
        // longer than time can count: for ever
        return Ok(0);
    };
    let batch = config.batch.max(1);
    let mut total = 0;
    loop {
        let deleted = history.delete_before(before, batch).await?;
        metrics::counter!("living_map_history_expired_total").increment(deleted);
        total += deleted;
        if deleted < u64::from(batch) {
            return Ok(total);
        }
        tokio::time::sleep(config.pause).await;
    }
}
