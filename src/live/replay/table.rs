//! Who folds what, and what is kept of it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::segments::{Cutter, STRETCH_EVENTS, Segments};
use super::{AHEAD_EVENTS, ReplayConfig, ReplayError};
use crate::model::{Cursor, Epoch};
use crate::stream::FrameBatch;

/// A fold that stopped this far before a position is gone on from; over a longer way there may be a saved state.
const NEAR_EVENTS: u64 = 16 * STRETCH_EVENTS;

/// How long it is believed that a position is not held: a row that was late may have come.
const HOLE_BELIEVED: Duration = Duration::from_mins(1);

/// A fold under way.
#[derive(Debug)]
pub struct Walk {
    /// What was asked for.
    pub position: Cursor,
    /// Where it stops at the latest.
    pub goal: u64,
    /// Where it began, once that is known.
    from: OnceLock<u64>,
    failed: OnceLock<ReplayError>,
    /// The stretch that was asked for: whoever waits gets it, however soon what is kept has no place for it.
    found: OnceLock<Arc<FrameBatch>>,
}

impl Walk {
    /// It begins behind this position.
    pub fn begin(&self, from: u64) {
        // once for each walk
        let _ = self.from.set(from);
    }

    /// It ends without having come to its position.
    pub fn fail(&self, error: ReplayError) {
        let _ = self.failed.set(error);
    }

    /// It has made these.
    pub fn made(&self, made: &[Arc<FrameBatch>]) {
        if let Some(batch) = made.iter().find(|batch| batch.continues_from(self.position)) {
            let _ = self.found.set(Arc::clone(batch));
        }
    }

    /// What it found, if that goes on from `position`.
    pub fn found(&self, position: Cursor) -> Option<Arc<FrameBatch>> {
        self.found.get().filter(|batch| batch.continues_from(position)).cloned()
    }

    /// Why it failed, if it has, and `position` was on its way.
    pub fn failed(&self, position: Cursor) -> Option<ReplayError> {
        self.failed.get().filter(|_| position == self.position || self.passes(position.seq)).cloned()
    }

    fn passes(&self, seq: u64) -> bool {
        self.from.get().is_some_and(|from| (*from..self.goal).contains(&seq))
    }
}

/// What there is for a position.
pub enum Look {
    /// This.
    Found(Arc<FrameBatch>),
    /// A position behind it is not held.
    Gone,
    /// Nothing yet: a fold is on its way there, or there is no place for one more.
    Wait(Option<Arc<Walk>>),
    /// Nothing: the caller is to fold, going on from where another stopped, if there is one.
    Walk(Arc<Walk>, Option<Cutter>),
}

/// Of one log.
pub struct Table {
    concurrency: usize,
    epoch: Epoch,
    segments: Segments,
    walks: Vec<Arc<Walk>>,
    /// Folds that stopped, and when.
    idle: Vec<(Instant, Cutter)>,
    /// A position that is not held.
    hole: Option<(u64, Instant)>,
    tidying: bool,
}

impl Table {
    pub fn new(config: &ReplayConfig) -> Self {
        Self {
            concurrency: config.concurrency.max(1),
            epoch: Epoch(0),
            segments: Segments::new(config.max_bytes),
            walks: Vec::new(),
            idle: Vec::new(),
            hole: None,
            tidying: false,
        }
    }

    /// What there is for `position`, of the log whose newest position is `newest`.
    pub fn look(&mut self, position: Cursor, newest: Cursor, now: Instant) -> Look {
        self.be_of(position.epoch);
        if position.seq < self.hole(position.epoch, now) {
            return Look::Gone;
        }
        if let Some(batch) = self.segments.get(position, now) {
            return Look::Found(batch);
        }
        if let Some(walk) = self.walks.iter().find(|walk| walk.passes(position.seq)) {
            return Look::Wait(Some(Arc::clone(walk)));
        }
        // where it begins is not known yet: it may pass here
        let undecided = |walk: &Arc<Walk>| walk.from.get().is_none() && position.seq < walk.goal;
        if self.walks.len() >= self.concurrency || self.walks.iter().any(undecided) {
            return Look::Wait(None);
        }
        let goal = position.seq / STRETCH_EVENTS * STRETCH_EVENTS + STRETCH_EVENTS + AHEAD_EVENTS;
        let goal = goal.min(newest.seq);
        let (from, failed, found) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let walk = Walk { position, goal, from, failed, found };
        let cutter = self.near(position.seq);
        if let Some(cutter) = &cutter {
            walk.begin(cutter.at().seq);
        }
        let walk = Arc::new(walk);
        self.walks.push(Arc::clone(&walk));
        // each may come to hold a map
        while self.walks.len() + self.idle.len() > self.concurrency {
            let oldest = self.idle.iter().enumerate().min_by_key(|(_, (since, _))| *since).map(|(place, _)| place);
            let Some(oldest) = oldest else { break };
            self.idle.swap_remove(oldest);
        }
        Look::Walk(walk, cutter)
    }

    /// The nearest fold that stopped before `seq`.
    fn near(&mut self, seq: u64) -> Option<Cutter> {
        let near = seq.saturating_sub(NEAR_EVENTS)..=seq;
        let usable = self.idle.iter().enumerate().filter(|(_, (_, cutter))| near.contains(&cutter.at().seq));
        let place = usable.max_by_key(|(_, (_, cutter))| cutter.at().seq).map(|(place, _)| place)?;
        Some(self.idle.swap_remove(place).1)
    }

    /// Keeps what a fold made; the bytes kept now.
    pub fn keep(&mut self, epoch: Epoch, made: Vec<Arc<FrameBatch>>, now: Instant) -> usize {
        if epoch == self.epoch {
            for batch in made {
                self.segments.put(batch, now);
            }
        }
        self.segments.bytes()
    }

    /// A fold has ended, with what it came to. Whether somebody is to begin to tidy up.
    pub fn end(&mut self, walk: &Arc<Walk>, cutter: Option<Cutter>, now: Instant) -> bool {
        self.walks.retain(|other| !Arc::ptr_eq(other, walk));
        let cutter = cutter.filter(|cutter| cutter.at().epoch == self.epoch);
        self.idle.extend(cutter.map(|cutter| (now, cutter)));
        !std::mem::replace(&mut self.tidying, true)
    }

    /// The position before which replay does not go, because it is not held; 0 when none is known.
    pub fn hole(&self, epoch: Epoch, now: Instant) -> u64 {
        let believed = |(_, at): &(u64, Instant)| epoch == self.epoch && now.duration_since(*at) < HOLE_BELIEVED;
        self.hole.filter(believed).map_or(0, |(seq, _)| seq)
    }

    /// This position is not held.
    pub fn note_hole(&mut self, at: Cursor, now: Instant) {
        if at.epoch == self.epoch {
            self.hole = Some((at.seq.max(self.hole(at.epoch, now)), now));
        }
    }

    /// Lets go what was not used since; the bytes that are left, and whether nothing is.
    pub fn tidy(&mut self, since: Instant) -> (usize, bool) {
        self.segments.forget_unused_since(since);
        self.idle.retain(|(stopped, _)| *stopped >= since);
        let bytes = self.segments.bytes();
        self.tidying = !(bytes == 0 && self.idle.is_empty() && self.walks.is_empty());
        (bytes, !self.tidying)
    }

    fn be_of(&mut self, epoch: Epoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.segments.clear();
            self.idle.clear();
            self.walks.clear();
            self.hole = None;
        }
    }
}
