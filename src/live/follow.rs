//! Follows the log and folds it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{Following, LiveConfig, LiveMap, saved};
use crate::history::Snapshots;
use crate::log::{Bounds, EventLog, LogError};
use crate::map::{STATE_VERSION, State};
use crate::model::{Cursor, Epoch, LogEntry};
use crate::stream::Hub;
use crate::telemetry::{self, TARGET};

/// Entries folded under one lock: readers wait at most for so many.
const BATCH: usize = 256;

/// Waits between two attempts to read a log that is away.
const RETRY: Duration = Duration::from_millis(500);

/// Folds the log into `live` and feeds `hub`, until `shutdown`. Runs over outages and over a log that was recreated.
pub async fn follow(
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    config: LiveConfig,
    shutdown: CancellationToken,
) {
    run(Follower { live, log, hub, config, snapshots: None }, shutdown).await;
}

/// The same, from the newest saved state that the log goes on from, if there is one.
pub async fn follow_from_saved(
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    snapshots: Arc<dyn Snapshots>,
    config: LiveConfig,
    shutdown: CancellationToken,
) {
    run(Follower { live, log, hub, config, snapshots: Some(snapshots) }, shutdown).await;
}

async fn run(follower: Follower, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follower.run() => {}
    }
}

struct Follower {
    live: LiveMap,
    log: Arc<dyn EventLog>,
    hub: Arc<Hub>,
    config: LiveConfig,
    snapshots: Option<Arc<dyn Snapshots>>,
}

impl Follower {
    async fn run(&self) {
        loop {
            if let Err(error) = self.until_broken().await {
                self.broken(&error);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads the log from where the map is. Returns when the log has to be opened anew.
    async fn until_broken(&self) -> Result<(), LogError> {
        let bounds = self.log.bounds().await?;
        if self.live.cursor().epoch != bounds.epoch {
            self.begin(&bounds).await;
        }
        // what a log has dropped nobody waits for, however far its positions have come
        let target = if bounds.first > bounds.last { 0 } else { bounds.last };
        // side by side: a log that takes its time to say that it is there must not hold up what it delivers
        tokio::select! {
            broken = self.read(bounds.epoch, target) => broken,
            () = self.watch(target) => Ok(()),
        }
    }

    /// Begins with a log: from a saved state where there is one, else from nothing.
    async fn begin(&self, bounds: &Bounds) {
        let state = match self.saved(bounds).await {
            Some(state) => {
                tracing::info!(cursor = %state.cursor(), "the map begins from its saved state");
                state
            }
            None => State::new(bounds.epoch),
        };
        self.replace(state);
    }

    /// The newest saved state of this log that it goes on from.
    async fn saved(&self, bounds: &Bounds) -> Option<State> {
        let snapshots = self.snapshots.as_ref()?;
        let state = match snapshots.state_at(bounds.epoch, STATE_VERSION, bounds.last, None).await {
            Ok(saved) => saved::read(saved?).await?,
            Err(error) => {
                tracing::warn!(%error, "the saved map cannot be had; folding the log instead");
                return None;
            }
        };
        let cursor = state.cursor();
        if cursor.seq.saturating_add(1) < bounds.first {
            tracing::warn!(%cursor, oldest = bounds.first, "the log does not go on from the saved map; folding what it holds");
            return None;
        }
        Some(state)
    }

    async fn read(&self, epoch: Epoch, target: u64) -> Result<(), LogError> {
        let mut entries = self.log.read(epoch, self.live.cursor().seq).await?.ready_chunks(BATCH).boxed();
        while let Some(chunk) = entries.next().await {
            self.fold(chunk)?;
            if self.live.following() == Following::CatchingUp && self.live.cursor().seq >= target {
                self.say(Following::Current);
            }
        }
        Err(LogError::Unavailable("the log's reader ended".into()))
    }

    fn count_turned_away(&self, before: u64, now: u64) {
        if now > before {
            metrics::counter!("living_map_entities_turned_away_total").increment(now - before);
        }
        if before == 0 && now > 0 {
            tracing::warn!(
                max_entities = self.config.max_entities,
                "the map is full: events about further new entities are recorded and change nothing (MAX_ENTITIES)",
            );
        }
    }

    /// Keeps [`Following`] true while nothing arrives. Does not end.
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
            self.count_turned_away(turned_away, state.turned_away());
        }
        if folded > 0 {
            metrics::counter!("living_map_fold_entries_total").increment(folded.into());
            metrics::counter!("living_map_fold_duplicates_total").increment(duplicates);
            metrics::histogram!("living_map_fold_entry_seconds").record(started.elapsed() / folded);
        }
        failure.map_or(Ok(()), Err)
    }

    /// A span in the traces in which the entries were published. What is folded again after a start is no part of them.
    fn span_of(&self, chunk: &[Result<LogEntry, LogError>]) -> Span {
        if !telemetry::is_on() || self.live.following() != Following::Current {
            return Span::none();
        }
        let published = telemetry::published(chunk.iter().flatten().map(|entry| &entry.event));
        if published.is_empty() {
            return Span::none();
        }
        let span = tracing::info_span!(target: TARGET, "fold", otel.kind = "consumer", entries = chunk.len());
        telemetry::processes(&span, &published);
        span
    }

    /// `target` is where the log ended when it was opened.
    async fn check(&self, target: u64) {
        let following = match self.log.ready().await {
            Err(error) => Following::Stale(error.to_string()),
            Ok(()) if self.live.cursor().seq < target => Following::CatchingUp,
            Ok(()) => Following::Current,
        };
        self.say(following);
    }

    fn say(&self, following: Following) {
        if following == Following::Current && !self.live.inner.complete.swap(true, Ordering::AcqRel) {
            // what an earlier run polled is still good data, should the source fail now
            self.live.inner.upstream_health.record_restored(&self.live.with(State::services));
        }
        let entities = self.live.with(State::len);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("living_map_entities").set(entities as f64);
        self.live.inner.following.send_if_modified(|current| {
            if *current == following {
                return false;
            }
            match &following {
                Following::Stale(reason) => {
                    self.live.inner.journal.record("read", "log", "", reason);
                    tracing::warn!(reason, "the log is away; the map is served as it was");
                }
                Following::Current => tracing::info!(cursor = %self.live.cursor(), entities, "the map is current"),
                Following::CatchingUp => tracing::info!(cursor = %self.live.cursor(), "the map is catching up"),
            }
            *current = following;
            true
        });
    }

    fn broken(&self, error: &LogError) {
        match error {
            LogError::EpochChanged(epoch) => {
                self.live.inner.journal.record("read", "log", "", error);
                tracing::error!(%epoch, "the log was recreated; the map begins anew with it");
                self.start_over(Cursor { epoch: *epoch, seq: 0 });
            }
            LogError::Truncated { oldest } => {
                self.live.inner.journal.record("read", "log", "", error);
                // what a server that starts now would have: entries between are lost for every reader alike
                tracing::error!(oldest, cursor = %self.live.cursor(), "the log was cut off behind the map; folding what it still holds");
                self.start_over(Cursor { seq: 0, ..self.live.cursor() });
            }
            error => self.say(Following::Stale(error.to_string())),
        }
    }

    fn start_over(&self, at: Cursor) {
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
