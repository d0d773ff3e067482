//! Saving the map, and going on from a saved one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::LiveMap;
use super::snapshot;
use crate::history::snapshots::{NewSnapshot, SavedState, Snapshots, Thinning};
use crate::map::{EncodedLayers, STATE_VERSION, State};
use crate::model::{Cursor, Epoch};

/// How often it is looked whether a snapshot is due.
const CHECK: Duration = Duration::from_secs(1);

/// At least this long from one snapshot to the next.
const BREATH: Duration = Duration::from_secs(10);

/// As in the wire's snapshots: about as much time as it saves.
const LEVEL: i32 = 3;

/// When the map is saved.
#[derive(Debug, Clone, Copy)]
pub struct SavingConfig {
    /// Longest time from one snapshot to the next, while there are events.
    pub interval: Duration,
    /// Most events from one snapshot to the next.
    pub events: u64,
    /// What is kept.
    pub thinning: Thinning,
}

impl Default for SavingConfig {
    fn default() -> Self {
        Self { interval: Duration::from_mins(5), events: 10_000, thinning: Thinning::default() }
    }
}

/// Why the map was not saved.
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error("{0}")]
    Database(#[from] crate::history::HistoryError),
    #[error("the state cannot be written: {0}")]
    State(#[from] rmp_serde::encode::Error),
    #[error("the state cannot be compressed: {0}")]
    Compressed(#[from] std::io::Error),
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Saves the map when it is due, and a last time at `shutdown`, which must come after the fold was stopped. Failures are
/// logged and tried again after the interval.
///
/// Metrics: `living_map_snapshots_saved_total`, `living_map_snapshot_save_failures_total`,
/// `living_map_snapshot_save_seconds`.
pub async fn save(live: LiveMap, snapshots: Arc<dyn Snapshots>, config: SavingConfig, shutdown: CancellationToken) {
    let mut last = Cursor { epoch: Epoch(0), seq: 0 };
    let mut tried = Instant::now();
    while shutdown.run_until_cancelled(tokio::time::sleep(CHECK)).await.is_some() {
        let cursor = live.cursor();
        let since = if cursor.epoch == last.epoch { cursor.seq.saturating_sub(last.seq) } else { cursor.seq };
        let waited = tried.elapsed();
        // many events, or a failure, are no reason to do nothing but save
        let due = waited >= config.interval || (since >= config.events && waited >= BREATH);
        if since > 0 && due {
            tried = Instant::now();
            if try_to_save(&live, &*snapshots, &config).await {
                last = cursor;
            }
        }
    }
    try_to_save(&live, &*snapshots, &config).await;
}

async fn try_to_save(live: &LiveMap, snapshots: &dyn Snapshots, config: &SavingConfig) -> bool {
    if live.cursor().seq == 0 {
        return true;
    }
    let started = Instant::now();
    match save_now(live, snapshots).await {
        Ok(false) => {}
        Ok(true) => {
            metrics::counter!("living_map_snapshots_saved_total").increment(1);
            metrics::histogram!("living_map_snapshot_save_seconds").record(started.elapsed());
        }
        Err(error) => {
            metrics::counter!("living_map_snapshot_save_failures_total").increment(1);
            tracing::warn!(%error, "the map could not be saved; will try again");
            return false;
        }
    }
    if let Err(error) = config.thinning.apply(snapshots, Utc::now()).await {
        tracing::warn!(%error, "old snapshots could not be deleted; will try again");
    }
    true
}

/// Saves the map as it is; false if this position was saved before.
async fn save_now(live: &LiveMap, snapshots: &dyn Snapshots) -> Result<bool, SaveError> {
    let live = live.clone();
    let encoded = tokio::task::spawn_blocking(move || {
        // one look: both forms are of the same position
        let (state, layers) = live.with(|state| (state.to_saved(), state.encode()));
        Ok::<_, SaveError>((zstd::bulk::compress(&state?, LEVEL)?, layers))
    });
    let (state, layers): (Vec<u8>, EncodedLayers) = encoded.await??;
    let snapshot = NewSnapshot {
        id: Uuid::now_v7(),
        cursor: layers.cursor,
        logged_at: layers.generated_at,
        saved_at: Utc::now(),
        version: snapshot::VERSION.to_owned(),
        data: snapshot::of_the_past(&layers),
        state: state.into(),
        state_version: STATE_VERSION,
    };
    Ok(snapshots.save(&snapshot).await?)
}

/// The state that was saved; none when it cannot be read, which is logged: it is as if it were not there.
pub(super) async fn read(saved: SavedState) -> Option<State> {
    let cursor = saved.cursor;
    let read = tokio::task::spawn_blocking(move || {
        let bytes = zstd::decode_all(&*saved.bytes)?;
        State::from_saved(&bytes).map_err(std::io::Error::other)
    });
    let problem = match read.await.map_err(std::io::Error::other).flatten() {
        // the log may have got another identity since, with what was saved of it
        Ok(state) if state.cursor().seq == cursor.seq => return Some(state.of_log(cursor.epoch)),
        Ok(state) => format!("it is of {}", state.cursor()),
        Err(error) => error.to_string(),
    };
    tracing::warn!(%cursor, problem, "a saved map cannot be read; folding the log instead");
    None
}
