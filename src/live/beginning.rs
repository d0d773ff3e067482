//! The beginning of a log's map: a saved snapshot that the log continues, or the log's base.
//!
//! A log that has lost entries (it was recreated, restored from a backup, or cut off by its limits before they were read)
//! begins with the map of the entries it lost, its base. The leader computes the base and stores it once; all other replicas
//! wait for it, so that all fold the log from the same bytes.
//!
//! | metric | |
//! |---|---|
//! | `living_map_bases_total{kind}` | bases stored by this replica: `empty`, `recreated`, `restored`, `truncated` |
//! | `living_map_base_failures_total` | failed attempts to find or store a base, which are repeated |

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::time::timeout;

use super::LiveMap;
use super::saved::{self, SaveError};
use crate::history::bases::Base;
use crate::history::leases::Fence;
use crate::history::snapshots::{NewBase, SavedState};
use crate::history::{History, HistoryError, Snapshots};
use crate::lease::Leadership;
use crate::log::{Bounds, EventLog, LogError};
use crate::map::{MapOptions, READABLE_VERSIONS, STATE_VERSION, State};
use crate::model::{Cursor, Epoch, LogEntry};

/// Entries read from the history at a time.
const PAGE: u32 = 1_000;

/// Longest wait for one entry of the log.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Kind of the base of a log without a predecessor, as a label.
const EMPTY: &str = "empty";

/// Beyond every position.
const END: u64 = i64::MAX.unsigned_abs();

/// Services by which a map finds its beginning.
#[derive(Clone)]
pub struct BeginningHandles {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Entries that the log may have lost.
    pub history: Arc<dyn History>,
    /// Saved snapshots and bases.
    pub snapshots: Arc<dyn Snapshots>,
    /// Decides which replica computes a base.
    pub leadership: Leadership,
}

/// The base that the map of a log is folded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The base with this number, or a snapshot after it.
    Base(u64),
    /// A snapshot, in a log without a base: it is older than bases are.
    Saved,
    /// The empty map, which no leader has stored as the base yet.
    Undecided,
}

/// Result of looking for the beginning.
pub(super) enum Beginning {
    /// With this map.
    Map(Box<State>, Origin),
    /// The base does not exist yet, for the given reason.
    Awaited(String),
}

/// The reason why a beginning cannot be determined. The call may succeed later.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginningError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Database(#[from] HistoryError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The map that a log gets as its base.
enum BaseSource {
    /// The empty map: there is no earlier log.
    Empty,
    /// The map of the last entries of a log, which may be the same one.
    Log(Epoch),
}

impl BeginningHandles {
    /// The map with which to begin following the log. `live` is the current map, of this or an earlier log.
    pub(super) async fn find(&self, live: &LiveMap, options: MapOptions) -> Result<Beginning, BeginningError> {
        let (bounds, saved) = self.checked_bounds().await?;
        let bases = self.snapshots.bases(bounds.epoch, READABLE_VERSIONS).await?;
        let newest = bases.map(|bases| bases.newest);
        let origin = newest.map_or(Origin::Saved, |base| Origin::Base(base.number));
        let reachable = saved.filter(|saved| bounds.first <= saved.cursor.seq.saturating_add(1));
        if let Some(saved) = reachable
            && let Some(state) = saved::decode(saved).await
        {
            tracing::info!(cursor = %state.cursor(), "starting from the saved snapshot");
            return Ok(Beginning::Map(Box::new(state), origin));
        }
        if newest.is_some_and(|base| base.carried.is_none() && bounds.first <= base.cursor.seq.saturating_add(1)) {
            return Ok(Beginning::Map(Box::new(State::new(bounds.epoch)), origin));
        }
        let Some(source) = self.source(live, &bounds, newest).await? else {
            // snapshots of another version only
            return Ok(Beginning::Map(Box::new(State::new(bounds.epoch)), Origin::Saved));
        };
        match (source, self.leadership.fence()) {
            (source, Some(fence)) => {
                let carrying = CarryOver { handles: self, live, bounds, options };
                carrying.store(source, newest.map_or(0, |base| base.number + 1), fence).await
            }
            // nothing to wait for; a base that appears later replaces this map
            (BaseSource::Empty, None) => Ok(Beginning::Map(Box::new(State::new(bounds.epoch)), Origin::Undecided)),
            (BaseSource::Log(_), None) => {
                Ok(Beginning::Awaited("the log has lost entries; waiting for the leader to carry the map over".into()))
            }
        }
    }

    /// Returns true if the log has a newer base than that of a map with this origin.
    pub(super) async fn is_replaced(&self, epoch: Epoch, origin: Origin) -> Result<bool, HistoryError> {
        let bases = self.snapshots.bases(epoch, READABLE_VERSIONS).await?;
        // the empty map is the beginning anyway
        let newest = bases.map(|bases| bases.newest).filter(|base| base.carried.is_some());
        Ok(newest.is_some_and(|base| Origin::Base(base.number) != origin))
    }

    /// Stores the empty map as the base of a log, where this replica leads and began with it before it led.
    pub(super) async fn store_empty(&self, bounds: &Bounds) -> Result<bool, HistoryError> {
        let Some(fence) = self.leadership.fence() else { return Ok(false) };
        let cursor = Cursor { epoch: bounds.epoch, seq: bounds.first.saturating_sub(1) };
        let base = NewBase { cursor, number: 0, carried: None, state_version: STATE_VERSION, snapshot: None, fence };
        let stored = self.snapshots.save_base(&base).await?;
        if stored {
            metrics::counter!("living_map_bases_total", "kind" => EMPTY).increment(1);
        }
        Ok(stored)
    }

    /// On the leader: saves the map if the log has dropped the entries after the newest saved snapshot, without which a server
    /// that starts now could not continue.
    pub(super) async fn keep_reachable(&self, live: &LiveMap) -> Result<(), BeginningError> {
        if self.leadership.fence().is_none() {
            return Ok(());
        }
        let bounds = self.log.bounds().await?;
        let needed = bounds.first.saturating_sub(1);
        let cursor = live.cursor();
        if needed == 0 || cursor.epoch != bounds.epoch || cursor.seq < needed {
            return Ok(());
        }
        if self.snapshots.oldest_state(bounds.epoch, READABLE_VERSIONS, needed).await?.is_none() {
            saved::save_now(live, &*self.snapshots).await?;
        }
        Ok(())
    }

    /// The bounds of the log and its newest saved state. A log that ends before a position that is recorded, or has another
    /// entry there, was restored from a backup and gets a new epoch; so was one whose map was carried over to another log.
    async fn checked_bounds(&self) -> Result<(Bounds, Option<SavedState>), BeginningError> {
        let epoch = self.log.bounds().await?.epoch;
        let saved = self.snapshots.state_at(epoch, READABLE_VERSIONS, END, None).await?;
        let recorded = self.history.log_range(epoch).await?.map(|held| held.last);
        // read afterwards: everything that was recorded before is in the log
        let bounds = self.log.bounds().await?;
        if bounds.epoch != epoch {
            return Err(LogError::EpochChanged(bounds.epoch).into());
        }
        let is_superseded = self.snapshots.carried_from(epoch, READABLE_VERSIONS).await?.is_some();
        let known = recorded.max(saved.as_ref().map(|saved| saved.cursor.seq)).unwrap_or(0);
        let lost = is_superseded
            || known > bounds.last
            || match recorded.filter(|seq| *seq >= bounds.first) {
                Some(seq) => self.has_same_entry(epoch, epoch, seq).await? == Some(false),
                None => false,
            };
        if !lost {
            return Ok((bounds, saved));
        }
        let renewed = self.log.lost_entries(epoch).await?;
        if renewed != epoch {
            tracing::error!(%epoch, %renewed, known, last = bounds.last, "the log was restored from a backup; it has a new epoch");
            return Err(LogError::EpochChanged(renewed).into());
        }
        let saved = saved.filter(|saved| saved.cursor.seq <= bounds.last);
        Ok((bounds, saved))
    }

    /// Compares the entry at `seq` in the log with the one recorded for the log `recorded`; `None` if one of them is missing.
    async fn has_same_entry(&self, epoch: Epoch, recorded: Epoch, seq: u64) -> Result<Option<bool>, BeginningError> {
        let row = self.history.read_log(recorded, seq.saturating_sub(1), 1).await?.into_iter().next();
        let Some(row) = row.filter(|row| row.cursor.seq == seq) else { return Ok(None) };
        self.is_entry(epoch, &row).await
    }

    /// Compares the log's entry at the position of `row` with it; `None` if there is none.
    async fn is_entry(&self, epoch: Epoch, row: &LogEntry) -> Result<Option<bool>, BeginningError> {
        let seq = row.cursor.seq;
        let mut entries = self.log.read(epoch, seq.saturating_sub(1)).await?;
        // the last entry may have been deleted: then there is nothing to read
        let entry = timeout(READ_TIMEOUT, entries.next()).await.ok().flatten().transpose()?;
        let entry = entry.filter(|entry| entry.cursor.seq == seq);
        Ok(entry.map(|entry| entry.event.id == row.event.id && entry.logged_at == row.logged_at))
    }

    /// The log whose map the log gets as its base. `None` if it had a map whose encoding this build cannot read.
    async fn source(
        &self,
        live: &LiveMap,
        bounds: &Bounds,
        base: Option<Base>,
    ) -> Result<Option<BaseSource>, BeginningError> {
        let epoch = bounds.epoch;
        let own_state = self.snapshots.oldest_state(epoch, READABLE_VERSIONS, 0).await?;
        if base.is_some() || live.cursor().epoch == epoch || own_state.is_some() {
            return Ok(Some(BaseSource::Log(epoch)));
        }
        let saved = self.snapshots.positions().await?;
        if saved.iter().any(|saved| saved.cursor.epoch == epoch) {
            return Ok(None);
        }
        let snapshot = saved.first().map(|saved| (saved.logged_at, saved.cursor.epoch));
        let current = live.with(|map| (map.logged_at(), map.cursor().epoch));
        let current = Some(current).filter(|(_, epoch)| *epoch != Epoch(0));
        let mut newest = snapshot.max(current);
        for recorded in self.history.epochs().await? {
            if recorded != epoch {
                newest = newest.max(self.last_recorded(recorded).await?.map(|time| (time, recorded)));
            }
        }
        if let Some((_, earlier)) = newest {
            return Ok(Some(BaseSource::Log(earlier)));
        }
        // the log dropped entries that were recorded before the first snapshot
        let held = self.history.log_range(epoch).await?;
        let dropped = held.is_some_and(|held| held.first < bounds.first);
        Ok(Some(if dropped { BaseSource::Log(epoch) } else { BaseSource::Empty }))
    }

    /// The log's time of the last recorded entry.
    async fn last_recorded(&self, epoch: Epoch) -> Result<Option<DateTime<Utc>>, HistoryError> {
        let Some(held) = self.history.log_range(epoch).await? else { return Ok(None) };
        let last = self.history.read_log(epoch, held.last.saturating_sub(1), 1).await?;
        Ok(last.first().map(|entry| entry.logged_at))
    }
}

/// Computes and stores the base of a log.
struct CarryOver<'a> {
    handles: &'a BeginningHandles,
    live: &'a LiveMap,
    bounds: Bounds,
    options: MapOptions,
}

impl CarryOver<'_> {
    async fn store(&self, source: BaseSource, number: u64, fence: Fence) -> Result<Beginning, BeginningError> {
        let BaseSource::Log(source) = source else {
            let stored = self.handles.store_empty(&self.bounds).await?;
            let origin = if stored { Origin::Base(0) } else { Origin::Undecided };
            return Ok(Beginning::Map(Box::new(State::new(self.bounds.epoch)), origin));
        };
        let last = self.last_state(source).await?;
        let carried = last.cursor();
        let (state, kind) = self.moved(last).await?;
        let base = NewBase {
            cursor: state.cursor(),
            number,
            carried: Some(carried),
            state_version: STATE_VERSION,
            snapshot: None,
            fence,
        };
        let (state, snapshot) = saved::encode(state).await?;
        let base = NewBase { snapshot: Some(snapshot), ..base };
        if !self.handles.snapshots.save_base(&base).await? {
            return Ok(Beginning::Awaited("another replica has stored the log's base".into()));
        }
        metrics::counter!("living_map_bases_total", "kind" => kind).increment(1);
        tracing::warn!(from = %carried, to = %base.cursor, kind, "the log has lost entries; its map is carried over");
        Ok(Beginning::Map(Box::new(state), Origin::Base(number)))
    }

    /// The map at the last known position of the log `source`: the current or the newest saved one, and the entries recorded
    /// after it. Of the log itself only what it has dropped.
    async fn last_state(&self, source: Epoch) -> Result<State, BeginningError> {
        let limit = if source == self.bounds.epoch { self.bounds.first.saturating_sub(1) } else { END };
        let current = self.live.cursor();
        let current = Some(current).filter(|at| at.epoch == source && at.seq <= limit);
        let saved = self.handles.snapshots.state_at(source, READABLE_VERSIONS, limit, None).await?;
        let saved = saved.filter(|saved| current.is_none_or(|current| current.seq < saved.cursor.seq));
        let mut state = match saved {
            Some(saved) => saved::decode(saved).await,
            None => None,
        };
        if state.is_none() && current.is_some() {
            state = Some(saved::copy(self.live).await?);
        }
        let state = state.unwrap_or_else(|| State::new(source)).with_options(self.options);
        let after = state.cursor();
        self.fold_recorded(state, after, limit).await
    }

    /// Folds the entries recorded after `after`, up to position `limit`.
    async fn fold_recorded(&self, mut state: State, after: Cursor, limit: u64) -> Result<State, BeginningError> {
        let Cursor { epoch, mut seq } = after;
        loop {
            let mut page = self.handles.history.read_log(epoch, seq, PAGE).await?;
            page.retain(|entry| entry.cursor.seq <= limit);
            let Some(last) = page.last() else { return Ok(state) };
            seq = last.cursor.seq;
            let fold = move || {
                for entry in &page {
                    state.advance(entry);
                }
                state
            };
            state = tokio::task::spawn_blocking(fold).await?;
        }
    }

    /// The map directly before the first entry of the log that it does not contain, and the kind of loss.
    async fn moved(&self, state: State) -> Result<(State, &'static str), BeginningError> {
        let epoch = self.bounds.epoch;
        let before_first = self.bounds.first.saturating_sub(1);
        let from = state.cursor();
        if from.epoch == epoch {
            return Ok((state.carried_to(Cursor { epoch, seq: before_first }), "truncated"));
        }
        let copied = self.copied_to(from).await?;
        let kind = if copied > before_first { "restored" } else { "recreated" };
        if copied > before_first || before_first == 0 {
            return Ok((state.carried_to(Cursor { epoch, seq: copied }), kind));
        }
        // the new log has dropped its first entries already
        let state = state.carried_to(Cursor { epoch, seq: 0 });
        let state = self.fold_recorded(state, Cursor { epoch, seq: 0 }, before_first).await?;
        Ok((state.carried_to(Cursor { epoch, seq: before_first }), kind))
    }

    /// The last position up to which the log has the same entries as the log of `last`, of which it is a restored copy;
    /// otherwise the position before its first entry.
    async fn copied_to(&self, last: Cursor) -> Result<u64, BeginningError> {
        let (mut same, mut end) = (self.bounds.first.saturating_sub(1), self.bounds.last.min(last.seq));
        while same < end {
            let middle = same + (end - same).div_ceil(2);
            let row = self.handles.history.read_log(last.epoch, middle - 1, 1).await?.into_iter().next();
            let is_same = match row.filter(|row| row.cursor.seq <= end) {
                Some(row) => {
                    let is_same = self.handles.is_entry(self.bounds.epoch, &row).await? == Some(true);
                    is_same.then_some(row.cursor.seq)
                }
                None => None,
            };
            match is_same {
                Some(seq) => same = seq,
                None => end = middle - 1,
            }
        }
        Ok(same)
    }
}
