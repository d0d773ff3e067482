//! Following the log: reads each entry in order, folds it and publishes its frame.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{FollowStatus, LiveConfig, LiveMap, saved};
use crate::history::Snapshots;
use crate::log::{Bounds, EventLog, LogError};
use crate::map::{STATE_VERSION, State};
use crate::model::{Cursor, Epoch, LogEntry};
use crate::stream::Hub;
use crate::telemetry::{self, TARGET};

/// Maximum number of entries folded under one lock, which readers wait for.
const BATCH: usize = 256;

/// Delay between two attempts to read an unavailable log.
const RETRY: Duration = Duration::from_millis(500);

/// Folds the log into `live` and publishes frames to `hub`, until `shutdown`. Survives outages and a recreated log.
pub async fn follow(
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    config: LiveConfig,
    shutdown: CancellationToken,
) {
    run(LogFollower { live, log, hub, config, snapshots: None }, shutdown).await;
}

/// Like [`follow`], beginning with the newest saved state that the log continues, if there is one.
pub async fn follow_from_saved(
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    snapshots: Arc<dyn Snapshots>,
    config: LiveConfig,
    shutdown: CancellationToken,
) {
    run(LogFollower { live, log, hub, config, snapshots: Some(snapshots) }, shutdown).await;
}

async fn run(follower: LogFollower, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follower.run() => {}
    }
}

struct LogFollower {
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    config: LiveConfig,
    snapshots: Option<Arc<dyn Snapshots>>,
}

impl LogFollower {
    async fn run(&self) {
        loop {
            if let Err(error) = self.follow_until_error().await {
                self.handle_error(&error);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads the log from the map's position. Returns when the log must be opened again.
    async fn follow_until_error(&self) -> Result<(), LogError> {
        let bounds = self.log.bounds().await?;
        if self.live.cursor().epoch != bounds.epoch {
            self.begin(&bounds).await;
        }
        // an empty log has nothing to catch up with, whatever its last position
        let target = if bounds.first > bounds.last { 0 } else { bounds.last };
        // concurrently: a slow readiness check must not delay entries
        tokio::select! {
            result = self.read(bounds.epoch, target) => result,
            () = self.watch(target) => Ok(()),
        }
    }

    /// Starts with a log: from a saved state if there is one, otherwise with an empty map.
    async fn begin(&self, bounds: &Bounds) {
        let state = match self.saved(bounds).await {
            Some(state) => {
                tracing::info!(cursor = %state.cursor(), "starting from the saved snapshot");
                state
            }
            None => State::new(bounds.epoch),
        };
        self.replace(state);
    }

    /// The newest saved state that this log continues.
    async fn saved(&self, bounds: &Bounds) -> Option<State> {
        let snapshots = self.snapshots.as_ref()?;
        let state = match snapshots.state_at(bounds.epoch, STATE_VERSION, bounds.last, None).await {
            Ok(saved) => saved::decode(saved?).await?,
            Err(error) => {
                tracing::warn!(%error, "cannot load the saved snapshot; folding the log instead");
                return None;
            }
        };
        let cursor = state.cursor();
        if cursor.seq.saturating_add(1) < bounds.first {
            tracing::warn!(%cursor, oldest = bounds.first, "log does not reach back to the saved snapshot; folding its remaining entries");
            return None;
        }
        Some(state)
    }

    async fn read(&self, epoch: Epoch, target: u64) -> Result<(), LogError> {
        let mut entries = self.log.read(epoch, self.live.cursor().seq).await?.ready_chunks(BATCH).boxed();
        while let Some(chunk) = entries.next().await {
            self.fold(chunk)?;
            if self.live.follow_status() == FollowStatus::CatchingUp && self.live.cursor().seq >= target {
                self.set_status(FollowStatus::Current);
            }
        }
        Err(LogError::Unavailable("the log's reader ended".into()))
    }

    fn report_rejected_entities(&self, before: u64, now: u64) {
        if now > before {
            metrics::counter!("living_map_entities_turned_away_total").increment(now - before);
        }
        if before == 0 && now > 0 {
            tracing::warn!(
                max_entities = self.config.max_entities,
                "map is full: events about further new entities are recorded without effect (MAX_ENTITIES)",
            );
        }
    }

    /// Updates [`FollowStatus`] while no entry arrives. Does not return.
    async fn watch(&self, target: u64) {
        let mut ticks = tokio::time::interval(self.config.log_check_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check(target).await;
        }
    }

    fn fold(&self, chunk: Vec<Result<LogEntry, LogError>>) -> Result<(), LogError> {
        let _span = self.span_of(&chunk).entered();
        let started = Instant::now();
        let (mut folded, mut duplicates) = (0_u32, 0_u64);
        let mut failure = None;
        {
            let mut state = self.live.inner.state.write().unwrap_or_else(PoisonError::into_inner);
            let turned_away = state.turned_away();
            for item in chunk {
                match item {
                    Ok(entry) => {
                        let outcome = state.apply(&entry);
                        self.hub.publish(&entry, &outcome);
                        if outcome.duplicate {
                            duplicates += 1;
                        } else {
                            self.live.signal(&entry.event);
                        }
                        folded += 1;
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            self.live.inner.position.send_replace(state.cursor());
            self.report_rejected_entities(turned_away, state.turned_away());
        }
        if folded > 0 {
            metrics::counter!("living_map_fold_entries_total").increment(folded.into());
            metrics::counter!("living_map_fold_duplicates_total").increment(duplicates);
            metrics::histogram!("living_map_fold_entry_seconds").record(started.elapsed() / folded);
        }
        failure.map_or(Ok(()), Err)
    }

    /// A span in the traces that published the entries. Entries folded while catching up are not part of a trace.
    fn span_of(&self, chunk: &[Result<LogEntry, LogError>]) -> Span {
        if !telemetry::is_on() || self.live.follow_status() != FollowStatus::Current {
            return Span::none();
        }
        let published = telemetry::publishers(chunk.iter().flatten().map(|entry| &entry.event));
        if published.is_empty() {
            return Span::none();
        }
        let span = tracing::info_span!(target: TARGET, "fold", otel.kind = "consumer", entries = chunk.len());
        telemetry::set_parents(&span, &published);
        span
    }

    /// `target` is the end of the log when it was opened.
    async fn check(&self, target: u64) {
        let status = match self.log.ready().await {
            Err(error) => FollowStatus::Stale(error.to_string()),
            Ok(()) if self.live.cursor().seq < target => FollowStatus::CatchingUp,
            Ok(()) => FollowStatus::Current,
        };
        self.set_status(status);
    }

    fn set_status(&self, status: FollowStatus) {
        if status == FollowStatus::Current && !self.live.inner.complete.swap(true, Ordering::AcqRel) {
            // data polled in an earlier run is a valid fallback if the upstream fails now
            self.live.inner.upstream_health.record_restored(&self.live.with(State::services));
        }
        let entities = self.live.with(State::len);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("living_map_entities").set(entities as f64);
        self.live.inner.status.send_if_modified(|current| {
            if *current == status {
                return false;
            }
            match &status {
                FollowStatus::Stale(reason) => {
                    self.live.inner.journal.record("read", "log", "", reason);
                    tracing::warn!(reason, "log unavailable; serving the last map");
                }
                FollowStatus::Current => tracing::info!(cursor = %self.live.cursor(), entities, "map is current"),
                FollowStatus::CatchingUp => tracing::info!(cursor = %self.live.cursor(), "map is catching up"),
            }
            *current = status;
            true
        });
    }

    fn handle_error(&self, error: &LogError) {
        match error {
            LogError::EpochChanged(epoch) => {
                self.live.inner.journal.record("read", "log", "", error);
                tracing::error!(%epoch, "log recreated with a new epoch; rebuilding the map");
                self.reset(Cursor { epoch: *epoch, seq: 0 });
            }
            LogError::Truncated { oldest } => {
                self.live.inner.journal.record("read", "log", "", error);
                // the same map as on a newly started server: the deleted entries are lost for all readers
                tracing::error!(oldest, cursor = %self.live.cursor(), "log truncated after the map's position; rebuilding the map from its remaining entries");
                self.reset(Cursor { seq: 0, ..self.live.cursor() });
            }
            error => self.set_status(FollowStatus::Stale(error.to_string())),
        }
    }

    fn reset(&self, at: Cursor) {
        self.replace(State::new(at.epoch));
    }

    fn replace(&self, with: State) {
        let mut state = self.live.inner.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = with.with_max_entities(self.config.max_entities);
        self.live.inner.complete.store(false, Ordering::Release);
        self.hub.reset(state.cursor());
        self.live.inner.position.send_replace(state.cursor());
    }
}
