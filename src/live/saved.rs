//! Saving snapshots of the map, and loading them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use clap::Args;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::LiveMap;
use super::snapshot;
use crate::config::defaults;
use crate::config::value::minutes;
use crate::history::snapshots::{NewSnapshot, SavedState, SnapshotRetention, Snapshots};
use crate::map::{EncodedLayers, STATE_VERSION, State};
use crate::model::{Cursor, Epoch};

/// Interval of the checks for a due snapshot.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two snapshots.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// The zstd level, the same as for snapshots in HTTP responses.
const LEVEL: i32 = 3;

/// When the map is saved.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Saved snapshots and time travel")]
pub struct SavingConfig {
    /// Minutes between two saved snapshots while there are events; one more is saved at shutdown.
    #[arg(id = "SNAPSHOT_SAVE_MINUTES", env, long = "snapshot-save-minutes", default_value = "5",
        value_parser = minutes(1..=1_440))]
    pub interval: Duration,
    /// Events after which the map is saved sooner, at most every ten seconds.
    #[arg(id = "SNAPSHOT_SAVE_EVENTS", env, long = "snapshot-save-events", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=u32::MAX.into()))]
    pub events: u64,
    /// Snapshots that are kept.
    #[command(flatten)]
    pub retention: SnapshotRetention,
}

impl Default for SavingConfig {
    fn default() -> Self {
        defaults()
    }
}

/// The reason why a snapshot was not saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error("{0}")]
    Database(#[from] crate::history::HistoryError),
    #[error("cannot encode the state: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("cannot decode the state: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("cannot compress the state: {0}")]
    Compress(#[from] std::io::Error),
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Saves a snapshot when one is due, and a last one at `shutdown`, which must be cancelled after the fold has stopped.
/// Failures are logged, and retried after the interval.
///
/// Metrics: `living_map_snapshots_saved_total`, `living_map_snapshot_save_failures_total`,
/// `living_map_snapshot_save_seconds`.
pub async fn save(live: LiveMap, snapshots: Arc<dyn Snapshots>, config: SavingConfig, shutdown: CancellationToken) {
    let mut last = Cursor { epoch: Epoch(0), seq: 0 };
    let mut tried = Instant::now();
    while shutdown.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
        let cursor = live.cursor();
        let since = if cursor.epoch == last.epoch { cursor.seq.saturating_sub(last.seq) } else { cursor.seq };
        let waited = tried.elapsed();
        // under many events, or after a failure, the minimum interval applies
        let due = waited >= config.interval || (since >= config.events && waited >= MIN_INTERVAL);
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
            tracing::warn!(%error, "cannot save a snapshot; will retry");
            return false;
        }
    }
    if let Err(error) = config.retention.apply(snapshots, Utc::now()).await {
        tracing::warn!(%error, "cannot delete old snapshots; will retry");
    }
    true
}

/// Saves the current map. Returns false if this position was saved before.
pub(super) async fn save_now(live: &LiveMap, snapshots: &dyn Snapshots) -> Result<bool, SaveError> {
    let live = live.clone();
    let encoded = tokio::task::spawn_blocking(move || {
        // under one lock, so that both forms have the same position
        let (state, layers) = live.with(|state| (state.to_saved(), state.encode()));
        Ok::<_, SaveError>((zstd::bulk::compress(&state?, LEVEL)?, layers))
    });
    let (state, layers): (Vec<u8>, EncodedLayers) = encoded.await??;
    Ok(snapshots.save(&snapshot_of(state, &layers)).await?)
}

/// Encodes a map that is not the current one.
pub(super) async fn encode(state: State) -> Result<(State, NewSnapshot), SaveError> {
    let encoded = tokio::task::spawn_blocking(move || {
        let snapshot = snapshot_of(zstd::bulk::compress(&state.to_saved()?, LEVEL)?, &state.encode());
        Ok::<_, SaveError>((state, snapshot))
    });
    encoded.await?
}

/// A copy of the current map.
pub(super) async fn copy(live: &LiveMap) -> Result<State, SaveError> {
    let live = live.clone();
    let copying = tokio::task::spawn_blocking(move || Ok(State::from_saved(&live.with(State::to_saved)?)?));
    copying.await?
}

fn snapshot_of(state: Vec<u8>, layers: &EncodedLayers) -> NewSnapshot {
    NewSnapshot {
        id: Uuid::now_v7(),
        cursor: layers.cursor,
        logged_at: layers.generated_at,
        saved_at: Utc::now(),
        version: snapshot::VERSION.to_owned(),
        data: snapshot::json_without_health(layers),
        state: state.into(),
        state_version: STATE_VERSION,
    }
}

/// Decodes a saved state. An undecodable one is logged and ignored.
pub(super) async fn decode(saved: SavedState) -> Option<State> {
    decode_holding(saved, ()).await
}

/// Like [`decode`], holding `slot` until the work ends, also after the caller is cancelled.
pub(super) async fn decode_holding(saved: SavedState, slot: impl Send + 'static) -> Option<State> {
    let cursor = saved.cursor;
    let decoded = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let bytes = zstd::decode_all(&*saved.bytes)?;
        State::from_saved(&bytes).map_err(std::io::Error::other)
    });
    let problem = match decoded.await.map_err(std::io::Error::other).flatten() {
        // the epoch of the log, and of its saved snapshots, may have been changed since
        Ok(state) if state.cursor().seq == cursor.seq => return Some(state.of_log(cursor.epoch)),
        Ok(state) => format!("its position is {}", state.cursor()),
        Err(error) => error.to_string(),
    };
    tracing::warn!(%cursor, problem, "cannot decode a saved snapshot; folding the log instead");
    None
}
