//! The running and paused folds of replay, and the batches that they produced.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::batch_builder::{BATCH_EVENTS, BatchBuilder};
use super::batch_cache::BatchCache;
use super::{AHEAD_EVENTS, ReplayConfig, ReplayError};
use crate::model::{Cursor, Epoch};
use crate::stream::FrameBatch;

/// A paused fold is resumed for a position at most this far ahead; for a longer distance there may be a saved state.
const MAX_RESUME_DISTANCE: u64 = 16 * BATCH_EVENTS;

/// Time for which a missing entry is assumed to stay missing. Afterwards it may have been recorded.
const MISSING_TTL: Duration = Duration::from_mins(1);

/// A running fold.
#[derive(Debug)]
pub struct Fold {
    /// The requested position.
    pub position: Cursor,
    /// The position at which the fold stops at the latest.
    pub goal: u64,
    /// The start position, once it is known.
    from: OnceLock<u64>,
    failed: OnceLock<ReplayError>,
    /// The requested batch. Waiting clients get it even if the cache has evicted it.
    found: OnceLock<Arc<FrameBatch>>,
}

impl Fold {
    /// Sets the start position.
    pub fn set_start(&self, from: u64) {
        // called once for each fold
        let _ = self.from.set(from);
    }

    /// Sets the error that ended the fold.
    pub fn set_error(&self, error: ReplayError) {
        let _ = self.failed.set(error);
    }

    /// Offers finished batches, of which the requested one is kept.
    pub fn offer(&self, batches: &[Arc<FrameBatch>]) {
        if let Some(batch) = batches.iter().find(|batch| batch.continues_from(self.position)) {
            let _ = self.found.set(Arc::clone(batch));
        }
    }

    /// The requested batch, if it continues from `position`.
    pub fn found(&self, position: Cursor) -> Option<Arc<FrameBatch>> {
        self.found.get().filter(|batch| batch.continues_from(position)).cloned()
    }

    /// The error, if the fold failed and covers `position`.
    pub fn error(&self, position: Cursor) -> Option<ReplayError> {
        self.failed.get().filter(|_| position == self.position || self.covers(position.seq)).cloned()
    }

    fn covers(&self, seq: u64) -> bool {
        self.from.get().is_some_and(|from| (*from..self.goal).contains(&seq))
    }
}

/// Result of [`Folds::lookup`].
pub enum Lookup {
    /// The batch is cached.
    Found(Arc<FrameBatch>),
    /// An entry at or after the position is missing.
    Gone,
    /// Wait for the given fold, which covers the position, or for any change.
    Wait(Option<Arc<Fold>>),
    /// No fold covers the position: the caller needs a slot to start one.
    NeedsSlot,
    /// The caller must run the fold, continuing the paused one if there is one.
    Start(Arc<Fold>, Option<BatchBuilder>),
}

/// The folds of one log and their batches.
pub struct Folds {
    concurrency: usize,
    epoch: Epoch,
    batches: BatchCache,
    running: Vec<Arc<Fold>>,
    /// Paused folds, and when they were paused.
    paused: Vec<(Instant, BatchBuilder)>,
    /// The newest position known to be missing, and when it was found to be.
    missing: Option<(u64, Instant)>,
    /// A task removes unused entries.
    cleanup_running: bool,
}

impl Folds {
    pub fn new(config: &ReplayConfig) -> Self {
        Self {
            concurrency: config.concurrency.max(1),
            epoch: Epoch(0),
            batches: BatchCache::new(config.max_bytes),
            running: Vec::new(),
            paused: Vec::new(),
            missing: None,
            cleanup_running: false,
        }
    }

    /// Looks up the batch after `position` in the log whose newest position is `newest`. A fold is started only if the caller
    /// has a slot for it.
    pub fn lookup(&mut self, position: Cursor, newest: Cursor, now: Instant, has_slot: bool) -> Lookup {
        self.switch_to(position.epoch);
        if position.seq < self.missing(position.epoch, now) {
            return Lookup::Gone;
        }
        if let Some(batch) = self.batches.get(position, now) {
            return Lookup::Found(batch);
        }
        if let Some(fold) = self.running.iter().find(|fold| fold.covers(position.seq)) {
            return Lookup::Wait(Some(Arc::clone(fold)));
        }
        // a fold whose start is not known yet may cover the position
        let may_cover = |fold: &Arc<Fold>| fold.from.get().is_none() && position.seq < fold.goal;
        if self.running.iter().any(may_cover) {
            return Lookup::Wait(None);
        }
        if !has_slot {
            return Lookup::NeedsSlot;
        }
        let goal = position.seq / BATCH_EVENTS * BATCH_EVENTS + BATCH_EVENTS + AHEAD_EVENTS;
        let goal = goal.min(newest.seq);
        let (from, failed, found) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let fold = Fold { position, goal, from, failed, found };
        let paused = self.take_paused_before(position.seq);
        if let Some(builder) = &paused {
            fold.set_start(builder.at().seq);
        }
        let fold = Arc::new(fold);
        self.running.push(Arc::clone(&fold));
        // each running or paused fold may hold a whole map
        while self.running.len() + self.paused.len() > self.concurrency {
            let oldest = self.paused.iter().enumerate().min_by_key(|(_, (since, _))| *since).map(|(index, _)| index);
            let Some(oldest) = oldest else { break };
            self.paused.swap_remove(oldest);
        }
        Lookup::Start(fold, paused)
    }

    /// Removes and returns the nearest fold that was paused before `seq`.
    fn take_paused_before(&mut self, seq: u64) -> Option<BatchBuilder> {
        let near = seq.saturating_sub(MAX_RESUME_DISTANCE)..=seq;
        let usable = self.paused.iter().enumerate().filter(|(_, (_, builder))| near.contains(&builder.at().seq));
        let index = usable.max_by_key(|(_, (_, builder))| builder.at().seq).map(|(index, _)| index)?;
        Some(self.paused.swap_remove(index).1)
    }

    /// Caches finished batches. Returns the bytes in the cache.
    pub fn cache(&mut self, epoch: Epoch, batches: Vec<Arc<FrameBatch>>, now: Instant) -> usize {
        if epoch == self.epoch {
            for batch in batches {
                self.batches.insert(batch, now);
            }
        }
        self.batches.bytes()
    }

    /// Ends a running fold and pauses its state, if there is one. Returns true if the caller must start the cleanup.
    pub fn end(&mut self, fold: &Arc<Fold>, builder: Option<BatchBuilder>, now: Instant) -> bool {
        self.running.retain(|other| !Arc::ptr_eq(other, fold));
        let builder = builder.filter(|builder| builder.at().epoch == self.epoch);
        self.paused.extend(builder.map(|builder| (now, builder)));
        !std::mem::replace(&mut self.cleanup_running, true)
    }

    /// The newest position known to be missing; 0 if none is.
    pub fn missing(&self, epoch: Epoch, now: Instant) -> u64 {
        let valid = |(_, at): &(u64, Instant)| epoch == self.epoch && now.duration_since(*at) < MISSING_TTL;
        self.missing.filter(valid).map_or(0, |(seq, _)| seq)
    }

    /// Records that the entry at this position is missing.
    pub fn set_missing(&mut self, at: Cursor, now: Instant) {
        if at.epoch == self.epoch {
            self.missing = Some((at.seq.max(self.missing(at.epoch, now)), now));
        }
    }

    /// Removes batches and paused folds that were not used since. Returns the remaining bytes, and true if nothing
    /// remains and the cleanup can end.
    pub fn remove_unused_since(&mut self, since: Instant) -> (usize, bool) {
        self.batches.remove_unused_since(since);
        self.paused.retain(|(paused_at, _)| *paused_at >= since);
        let bytes = self.batches.bytes();
        self.cleanup_running = !(bytes == 0 && self.paused.is_empty() && self.running.is_empty());
        (bytes, !self.cleanup_running)
    }

    fn switch_to(&mut self, epoch: Epoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
            self.paused.clear();
            self.running.clear();
            self.missing = None;
        }
    }
}
