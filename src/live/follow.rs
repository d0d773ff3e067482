//! Following the log: reads each entry in order, folds it and publishes its frame.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::beginning::{Beginning, BeginningError, BeginningHandles, Origin};
use super::{FollowStatus, LiveConfig, LiveMap};
use crate::log::{Bounds, EventLog, LogError};
use crate::map::State;
use crate::model::{Epoch, LogEntry};
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
    run(LogFollower { live, log, hub, config, beginning: None }, shutdown).await;
}

/// Like [`follow`], beginning with the newest saved state that the log continues, or with the log's base: a log that has lost
/// entries begins with the map of these entries.
///
/// Metric: `living_map_base_awaited`, 1 while the base does not exist yet.
pub async fn follow_from_saved(
    live: LiveMap,
    hub: Arc<Hub>,
    beginning: BeginningHandles,
    config: LiveConfig,
    shutdown: CancellationToken,
) {
    let log = Arc::clone(&beginning.log);
    run(LogFollower { live, log, hub, config, beginning: Some(beginning) }, shutdown).await;
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
    beginning: Option<BeginningHandles>,
}

/// The beginning of the current map.
#[derive(Clone, Copy)]
struct Begun {
    epoch: Epoch,
    origin: Origin,
}

impl LogFollower {
    async fn run(&self) {
        let mut begun = None;
        loop {
            if let Err(error) = self.follow_until_error(&mut begun).await {
                self.handle_error(&error, &mut begun);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads the log from the map's position. Returns when the log must be opened again; if `begun` is `None`
    /// then, with a new map.
    async fn follow_until_error(&self, begun: &mut Option<Begun>) -> Result<(), LogError> {
        let bounds = self.log.bounds().await?;
        if begun.is_none_or(|begun| begun.epoch != bounds.epoch) {
            *begun = self.begin(&bounds).await?;
        }
        let Some(beginning) = *begun else { return Ok(()) };
        // an empty log has nothing to catch up with, whatever its last position
        let target = if bounds.first > bounds.last { 0 } else { bounds.last };
        // concurrently: a slow readiness check must not delay entries
        tokio::select! {
            result = self.read(bounds.epoch, target) => result,
            () = self.watch(target) => Ok(()),
            () = self.watch_base(beginning, &bounds) => {
                tracing::warn!(cursor = %self.live.cursor(), "the log has a new base; the map begins with it");
                *begun = None;
                Ok(())
            }
        }
    }

    /// Begins with a log: from a saved state or its base, otherwise with an empty map. `None` while the base does not exist.
    async fn begin(&self, bounds: &Bounds) -> Result<Option<Begun>, LogError> {
        let Some(beginning) = &self.beginning else {
            self.replace(State::new(bounds.epoch));
            return Ok(Some(Begun { epoch: bounds.epoch, origin: Origin::Saved }));
        };
        let reason = match beginning.find(&self.live, self.config.map_options()).await {
            Ok(Beginning::Map(state, origin)) => {
                let epoch = state.cursor().epoch;
                self.replace(*state);
                return Ok(Some(Begun { epoch, origin }));
            }
            Ok(Beginning::Awaited(reason)) => reason,
            Err(BeginningError::Log(error)) => return Err(error),
            Err(error) => {
                metrics::counter!("living_map_base_failures_total").increment(1);
                error.to_string()
            }
        };
        let status = FollowStatus::AwaitingBase(reason);
        if self.live.follow_status() != status
            && let FollowStatus::AwaitingBase(reason) = &status
        {
            self.live.inner.journal.record("read", "map", "", reason);
        }
        self.await_base(status);
        Ok(None)
    }

    /// Marks the map as incomplete until the base of the log exists.
    fn await_base(&self, status: FollowStatus) {
        self.live.inner.complete.store(false, Ordering::Release);
        self.set_status(status);
    }

    /// Returns when the log has another base than the one with which the map began. Does not return without saved snapshots.
    async fn watch_base(&self, begun: Begun, bounds: &Bounds) {
        let Some(beginning) = &self.beginning else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(self.config.log_check_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut begun = begun;
        loop {
            ticks.tick().await;
            match beginning.is_replaced(begun.epoch, begun.origin).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    metrics::counter!("living_map_base_failures_total").increment(1);
                    tracing::debug!(%error, "cannot check the log's base");
                    continue;
                }
            }
            // the map began as the empty one while no replica led
            if begun.origin == Origin::Undecided && beginning.store_empty(bounds).await.unwrap_or(false) {
                begun.origin = Origin::Base(0);
            }
            if let Err(error) = beginning.keep_reachable(&self.live).await {
                metrics::counter!("living_map_base_failures_total").increment(1);
                tracing::debug!(%error, "cannot save the map before the log drops its entries");
            }
        }
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
        let awaited = matches!(status, FollowStatus::AwaitingBase(_));
        metrics::gauge!("living_map_base_awaited").set(f64::from(u8::from(awaited)));
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
                FollowStatus::AwaitingBase(reason) => {
                    tracing::warn!(reason, "the map with which the log begins does not exist yet");
                }
                FollowStatus::Current => tracing::info!(cursor = %self.live.cursor(), entities, "map is current"),
                FollowStatus::CatchingUp => tracing::info!(cursor = %self.live.cursor(), "map is catching up"),
            }
            *current = status;
            true
        });
    }

    fn handle_error(&self, error: &LogError, begun: &mut Option<Begun>) {
        match error {
            LogError::EpochChanged(epoch) => {
                self.live.inner.journal.record("read", "log", "", error);
                tracing::error!(%epoch, "log recreated with a new epoch; finding its first map");
            }
            LogError::Truncated { oldest } => {
                self.live.inner.journal.record("read", "log", "", error);
                // the deleted entries are lost for all readers
                tracing::error!(oldest, cursor = %self.live.cursor(), "log truncated after the map's position; finding its first map");
            }
            error => return self.set_status(FollowStatus::Stale(error.to_string())),
        }
        *begun = None;
        self.await_base(FollowStatus::AwaitingBase(error.to_string()));
    }

    fn replace(&self, with: State) {
        let mut state = self.live.inner.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = with.with_options(self.config.map_options());
        self.live.inner.complete.store(false, Ordering::Release);
        self.hub.reset(state.cursor());
        self.live.inner.position.send_replace(state.cursor());
        self.live.inner.replacements.send_modify(|number| *number += 1);
        drop(state);
        self.set_status(FollowStatus::CatchingUp);
    }
}
