//! Time travel: the map of a past moment, folded from the newest saved state before it and the entries after that
//! state.

mod request;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use futures::StreamExt;

use super::LiveMap;
use super::read_ahead::{EntrySource, ReadAhead, ReadAheadError};
use super::saved;
use crate::access::shares::{Client, Full, Pool, QueueConfig, Slot};
use crate::config::defaults;
use crate::history::bases::{Base, Bases};
use crate::history::{History, HistoryError, Snapshots};
use crate::log::{EventLog, LogError};
use crate::map::{MapOptions, READABLE_VERSIONS, State};
use crate::model::{Cursor, Epoch, LogEntry};

pub use request::TimeTravelRequest;

/// Limits of time travel.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Saved snapshots and time travel")]
pub struct TimeTravelConfig {
    /// Requests for maps of past moments that are computed at one time; further ones wait. One client's requests take at most
    /// all but one of these slots.
    ///
    /// Beyond: the request waits for its share; after `POOL_WAIT_SECONDS` it is answered 503, counted in
    /// `living_map_pool_refused_total`.
    #[arg(id = "TIME_TRAVEL_CONCURRENCY", env, long = "time-travel-concurrency", default_value_t = 2,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub concurrency: usize,
    /// Longest time of one request, waiting included.
    #[arg(skip = Duration::from_secs(20))]
    pub timeout: Duration,
    /// As in [`LiveConfig`](super::LiveConfig).
    #[arg(skip)]
    pub map: MapOptions,
    /// Waiting requests.
    #[arg(skip)]
    pub queue: QueueConfig,
    /// Approximate memory of the events that are read at a time, in bytes; at least one event.
    #[arg(skip = 8_usize << 20)]
    pub batch_bytes: usize,
}

impl Default for TimeTravelConfig {
    fn default() -> Self {
        defaults()
    }
}

/// The oldest position that time travel reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestPosition {
    /// The position; 0 if the log is retained from its beginning.
    pub cursor: Cursor,
    /// The log's timestamp there; at position 0 that of the first event.
    pub logged_at: DateTime<Utc>,
}

/// The reason why a past map cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeTravelError {
    /// The entries or saved states before the position are deleted.
    #[error("the oldest available position is {}", oldest.cursor)]
    Gone {
        /// The oldest available position.
        oldest: OldestPosition,
    },
    /// The position belongs to a log that was replaced.
    #[error("the cursor is of another log; the oldest available position of this log is {}", oldest.cursor)]
    OtherEpoch {
        /// The oldest available position.
        oldest: OldestPosition,
    },
    /// The position is in the future.
    #[error("the cursor is in the future; the map is at {newest}")]
    Ahead {
        /// The map's position.
        newest: Cursor,
    },
    /// There are too many requests. The call may succeed later.
    #[error("too many maps of past moments are requested: {0}")]
    Busy(Full),
    /// The log or the history is unavailable or too slow. The call may succeed later.
    #[error("time travel is unavailable: {0}")]
    Unavailable(String),
}

impl From<HistoryError> for TimeTravelError {
    fn from(error: HistoryError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<LogError> for TimeTravelError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Computes the map at any retained position. Cheap to clone.
///
/// Metrics: `living_map_past_seconds` (computing one map), `living_map_past_refused_total`.
#[derive(Clone)]
pub struct TimeTravel(Arc<Inner>);

struct Inner {
    config: TimeTravelConfig,
    live: LiveMap,
    log: Arc<dyn EventLog>,
    history: Arc<dyn History>,
    snapshots: Arc<dyn Snapshots>,
    pool: Pool,
}

/// Logs before the current one to which time travel goes back.
const MAX_EARLIER_LOGS: usize = 64;

/// The retained entries of a log, in the log and the history together, without a gap.
pub(super) struct RetainedRange {
    epoch: Epoch,
    /// The first position that the log itself has; beyond every position in an earlier log, of which only the history is left.
    log_first: u64,
    /// The last position.
    last: u64,
    /// The first retained position.
    pub(super) first: u64,
    /// The log's first base, if it is the map of lost entries. Nothing before it is of this log.
    base: Option<Base>,
}

impl RetainedRange {
    fn new(epoch: Epoch, first: u64, bases: Option<Bases>, (log_first, last): (u64, u64)) -> Self {
        let base = bases.map(|bases| bases.first).filter(|base| base.carried.is_some_and(|from| from.epoch != epoch));
        let first = base.map_or(first, |base| first.max(base.cursor.seq.saturating_add(1)));
        Self { epoch, log_first, last, first, base }
    }

    /// Returns true if the map can be folded from the empty one.
    const fn starts_empty(&self) -> bool {
        self.first <= 1 && self.base.is_none()
    }
}

impl TimeTravel {
    /// Time travel for `live`, which follows `log`.
    #[must_use]
    pub fn new(
        config: TimeTravelConfig,
        live: LiveMap,
        log: Arc<dyn EventLog>,
        history: Arc<dyn History>,
        snapshots: Arc<dyn Snapshots>,
    ) -> Self {
        let pool = Pool::new("time_travel", config.concurrency, config.queue);
        Self(Arc::new(Inner { config, live, log, history, snapshots, pool }))
    }

    /// A request of `client`, which computes maps once it has a slot.
    #[must_use]
    pub fn request(&self, client: Client) -> TimeTravelRequest {
        TimeTravelRequest::new(self.clone(), client)
    }

    /// The slots of requests.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// The log whose map was current at `time`: its last position, and its retained entries. `newest` is the map's position.
    async fn log_at(&self, newest: Cursor, time: DateTime<Utc>) -> Result<(Cursor, RetainedRange), TimeTravelError> {
        let mut retained = self.retained(newest.epoch).await?;
        let mut last = newest;
        for _ in 0..MAX_EARLIER_LOGS {
            let Some(base) = retained.base.filter(|base| base.logged_at.is_some_and(|at| at > time)) else { break };
            let Some(carried) = base.carried else { break };
            let Some(earlier) = self.retained_earlier(carried.epoch).await? else { break };
            (last, retained) = (carried, earlier);
        }
        Ok((last, retained))
    }

    /// The oldest available position.
    ///
    /// # Errors
    /// [`TimeTravelError::Unavailable`].
    pub async fn oldest(&self) -> Result<OldestPosition, TimeTravelError> {
        let (newest, newest_at) = self.0.live.with(|map| (map.cursor(), map.logged_at()));
        let mut retained = self.retained(newest.epoch).await?;
        let mut oldest = self.oldest_of(&retained).await?;
        for _ in 0..MAX_EARLIER_LOGS {
            let Some(carried) = retained.base.and_then(|base| base.carried) else { break };
            let Some(earlier) = self.retained_earlier(carried.epoch).await? else { break };
            let Some(older) = self.oldest_of(&earlier).await? else { break };
            (oldest, retained) = (Some(older), earlier);
        }
        Ok(oldest.unwrap_or(OldestPosition { cursor: newest, logged_at: newest_at }))
    }

    /// A copy of the live map, if it is at `cursor`.
    async fn current_state(&self, cursor: Cursor, slot: &Arc<Slot>) -> Result<Option<State>, TimeTravelError> {
        if self.0.live.cursor() != cursor {
            return Ok(None);
        }
        let live = self.0.live.clone();
        let options = self.0.config.map;
        let copy = move || -> Result<Option<State>, String> {
            let saved = live.with(|state| (state.cursor() == cursor).then(|| state.to_saved()));
            let Some(saved) = saved.transpose().map_err(|error| error.to_string())? else { return Ok(None) };
            let state = State::from_saved(&saved).map_err(|error| error.to_string())?;
            Ok(Some(state.with_options(options)))
        };
        run_blocking(holding(slot, copy)).await?.map_err(TimeTravelError::Unavailable)
    }

    /// The map at `cursor`, or at a `time` before it, from the nearest saved state.
    async fn compute(
        &self,
        cursor: Cursor,
        time: Option<DateTime<Utc>>,
        retained: &RetainedRange,
        slot: &Arc<Slot>,
    ) -> Result<State, TimeTravelError> {
        let saved = self.0.snapshots.state_at(cursor.epoch, READABLE_VERSIONS, cursor.seq, time).await?;
        let entries = self.entry_source(retained);
        if let Some(saved) = saved
            && (saved.cursor == cursor || retained.first <= saved.cursor.seq + 1)
        {
            // entries are read while the state is decoded
            let ahead = entries.clone().read_ahead(saved.cursor.seq, cursor, time);
            if let Some(state) = saved::decode_holding(saved, Arc::clone(slot)).await {
                return self.fold(state, ahead, slot).await;
            }
        }
        if retained.starts_empty() {
            return self.fold(State::new(cursor.epoch), entries.read_ahead(0, cursor, time), slot).await;
        }
        Err(TimeTravelError::Gone { oldest: self.oldest().await? })
    }

    /// The source of the retained entries.
    pub(super) fn entry_source(&self, retained: &RetainedRange) -> EntrySource {
        EntrySource {
            log: Arc::clone(&self.0.log),
            history: Arc::clone(&self.0.history),
            log_first: retained.log_first,
            batch_bytes: self.0.config.batch_bytes,
        }
    }

    /// The newest state at or before `cursor` from which retained entries lead on.
    pub(super) async fn base(&self, cursor: Cursor, retained: &RetainedRange) -> Result<State, TimeTravelError> {
        let saved = self.0.snapshots.state_at(cursor.epoch, READABLE_VERSIONS, cursor.seq, None).await?;
        let saved = match saved.filter(|saved| retained.first <= saved.cursor.seq + 1) {
            Some(saved) => saved::decode(saved).await,
            None => None,
        };
        let state = match saved {
            Some(state) => state,
            None if retained.starts_empty() => State::new(cursor.epoch),
            None => return Err(TimeTravelError::Gone { oldest: self.oldest().await? }),
        };
        Ok(state.with_options(self.0.config.map))
    }

    /// The position of the oldest saved state at or after `from`. The beginning of a log needs no saved state.
    pub(super) async fn oldest_state(&self, from: Cursor) -> Result<Option<Cursor>, TimeTravelError> {
        if from.seq == 0 {
            return Ok(Some(from));
        }
        let oldest = self.0.snapshots.oldest_state(from.epoch, READABLE_VERSIONS, from.seq).await?;
        Ok(oldest.map(|(cursor, _)| cursor))
    }

    async fn fold(&self, state: State, mut entries: ReadAhead, slot: &Arc<Slot>) -> Result<State, TimeTravelError> {
        let mut state = state.with_options(self.0.config.map);
        loop {
            let batch = match entries.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(state),
                Err(ReadAheadError::Deleted) => return Err(TimeTravelError::Gone { oldest: self.oldest().await? }),
                Err(ReadAheadError::Unavailable(reason)) => return Err(TimeTravelError::Unavailable(reason)),
            };
            let advance = move || {
                for entry in &batch {
                    state.advance(entry);
                }
                state
            };
            state = run_blocking(holding(slot, advance)).await?;
        }
    }

    /// The first entry of a log.
    async fn first_entry(&self, retained: &RetainedRange) -> Result<Option<LogEntry>, TimeTravelError> {
        let epoch = retained.epoch;
        if let Some(entry) = self.0.history.read_log(epoch, 0, 1).await?.into_iter().next() {
            return Ok(Some(entry));
        }
        // the history lags behind the log
        if retained.log_first > 1 || retained.last == 0 {
            return Ok(None);
        }
        Ok(self.0.log.read(epoch, 0).await?.next().await.transpose()?)
    }

    /// The retained entries of the current log `epoch`.
    pub(super) async fn retained(&self, epoch: Epoch) -> Result<RetainedRange, TimeTravelError> {
        let Inner { log, history, snapshots, .. } = &*self.0;
        let (log, held, bases) =
            tokio::join!(log.bounds(), history.log_range(epoch), snapshots.bases(epoch, READABLE_VERSIONS));
        let (log, held, bases) = (log?, held?, bases?);
        if log.epoch != epoch {
            return Err(TimeTravelError::Unavailable("the log was recreated".into()));
        }
        // the history counts only if it reaches the beginning of the log
        let first = held.filter(|held| held.last.saturating_add(1) >= log.first).map_or(log.first, |held| held.first);
        Ok(RetainedRange::new(epoch, first.min(log.first), bases, (log.first, log.last)))
    }

    /// The retained entries of an earlier log, from which the map was carried over to a later one; `None` for other logs.
    async fn retained_earlier(&self, epoch: Epoch) -> Result<Option<RetainedRange>, TimeTravelError> {
        let Inner { history, snapshots, .. } = &*self.0;
        let (last, held, bases) = tokio::join!(
            snapshots.carried_from(epoch, READABLE_VERSIONS),
            history.log_range(epoch),
            snapshots.bases(epoch, READABLE_VERSIONS)
        );
        let (Some(last), held, bases) = (last?, held?, bases?) else { return Ok(None) };
        let first = held.map_or(last.saturating_add(1), |held| held.first);
        Ok(Some(RetainedRange::new(epoch, first, bases, (u64::MAX, last))))
    }

    /// The oldest position of a log; `None` if there is no saved state to begin with.
    async fn oldest_of(&self, retained: &RetainedRange) -> Result<Option<OldestPosition>, TimeTravelError> {
        let epoch = retained.epoch;
        if retained.starts_empty() {
            let logged_at = self.first_entry(retained).await?.map_or(DateTime::UNIX_EPOCH, |entry| entry.logged_at);
            return Ok(Some(OldestPosition { cursor: Cursor { epoch, seq: 0 }, logged_at }));
        }
        let saved = self.0.snapshots.oldest_state(epoch, READABLE_VERSIONS, retained.first.saturating_sub(1)).await?;
        Ok(saved.map(|(cursor, logged_at)| OldestPosition { cursor, logged_at }))
    }
}

/// `work`, holding the slot until it ends, also after the request is cancelled: cancelled requests must not add up to more work
/// at one time than there are slots.
fn holding<T>(slot: &Arc<Slot>, work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static {
    let slot = Arc::clone(slot);
    move || {
        let result = work();
        drop(slot);
        result
    }
}

/// Runs CPU-bound work on the blocking thread pool.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TimeTravelError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| TimeTravelError::Unavailable(error.to_string()))
}
