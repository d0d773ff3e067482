//! The map as it was: the newest saved state before a moment, and the events from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::LiveMap;
use super::ahead::{Ahead, Entries, Stopped};
use super::saved;
use crate::history::{History, HistoryError, Snapshots};
use crate::log::{Bounds, EventLog, LogError};
use crate::map::{DEFAULT_MAX_ENTITIES, STATE_VERSION, State};
use crate::model::{Cursor, Epoch, LogEntry};

/// How the past is made.
#[derive(Debug, Clone, Copy)]
pub struct TimeTravelConfig {
    /// Moments made at one time; further ones wait.
    pub concurrency: usize,
    /// How long one may wait and be made, in all.
    pub patience: Duration,
    /// As the live map has it: it decides what is on the map.
    pub max_entities: usize,
}

impl Default for TimeTravelConfig {
    fn default() -> Self {
        Self { concurrency: 2, patience: Duration::from_secs(20), max_entities: DEFAULT_MAX_ENTITIES }
    }
}

/// The earliest moment that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// Its position; 0 when the log is held from its beginning.
    pub cursor: Cursor,
    /// The log's time there; at position 0 that of the first event.
    pub logged_at: DateTime<Utc>,
}

/// Why a moment cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeTravelError {
    /// What leads there is not kept any more.
    #[error("the past reaches back to {} only", oldest.cursor)]
    Gone {
        /// From here on it is.
        oldest: Oldest,
    },
    /// The position belongs to another log than the one there is now.
    #[error("the cursor is of another log; this one's past reaches back to {}", oldest.cursor)]
    OtherEpoch {
        /// From here on it is.
        oldest: Oldest,
    },
    /// It has not happened yet.
    #[error("the map is at {newest} now")]
    Ahead {
        /// The map's position.
        newest: Cursor,
    },
    /// The log or the record is away, or too much is asked at one time; the same call may succeed later.
    #[error("the past is not available: {0}")]
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

/// The map at any moment that is kept. Cloning it copies one pointer.
///
/// Metrics: `living_map_past_seconds` (making one moment), `living_map_past_refused_total`.
#[derive(Clone)]
pub struct TimeTravel(Arc<Inner>);

struct Inner {
    config: TimeTravelConfig,
    live: LiveMap,
    log: Arc<dyn EventLog>,
    history: Arc<dyn History>,
    snapshots: Arc<dyn Snapshots>,
    room: Semaphore,
}

/// What is kept of a log's events, without a gap.
pub(super) struct Kept {
    log: Bounds,
    /// The first position.
    pub(super) first: u64,
}

impl TimeTravel {
    /// The past of `live`, which follows `log`.
    #[must_use]
    pub fn new(
        config: TimeTravelConfig,
        live: LiveMap,
        log: Arc<dyn EventLog>,
        history: Arc<dyn History>,
        snapshots: Arc<dyn Snapshots>,
    ) -> Self {
        let room = Semaphore::new(config.concurrency.max(1));
        Self(Arc::new(Inner { config, live, log, history, snapshots, room }))
    }

    /// The map at `cursor`, exactly as a client had it there.
    ///
    /// # Errors
    /// See [`TimeTravelError`].
    pub async fn state_at(&self, cursor: Cursor) -> Result<State, TimeTravelError> {
        let newest = self.0.live.cursor();
        if newest.epoch != cursor.epoch {
            return Err(TimeTravelError::OtherEpoch { oldest: self.oldest().await? });
        }
        if newest.seq < cursor.seq {
            return Err(TimeTravelError::Ahead { newest });
        }
        self.bounded(Box::pin(async {
            let started = Instant::now();
            let state = match self.present(cursor).await? {
                Some(state) => state,
                None => self.make(cursor, None).await?,
            };
            metrics::histogram!("living_map_past_seconds").record(started.elapsed());
            Ok(state)
        }))
        .await
    }

    /// The map at a time of the log: with every event before the first that the log took later. After the newest event it
    /// is the map now.
    ///
    /// # Errors
    /// [`TimeTravelError::Gone`] before the oldest moment, and see [`TimeTravelError`].
    pub async fn state_at_time(&self, time: DateTime<Utc>) -> Result<State, TimeTravelError> {
        let (newest, newest_at) = self.0.live.with(|state| (state.cursor(), state.logged_at()));
        if newest.seq == 0 || time >= newest_at {
            return self.state_at(newest).await;
        }
        self.bounded(Box::pin(async {
            let started = Instant::now();
            let state = self.make(newest, Some(time)).await?;
            if state.cursor().seq == 0 {
                return Err(TimeTravelError::Gone { oldest: self.oldest().await? });
            }
            metrics::histogram!("living_map_past_seconds").record(started.elapsed());
            Ok(state)
        }))
        .await
    }

    /// The earliest moment that can be shown.
    ///
    /// # Errors
    /// [`TimeTravelError::Unavailable`].
    pub async fn oldest(&self) -> Result<Oldest, TimeTravelError> {
        let newest = self.0.live.cursor();
        let kept = self.kept(newest.epoch).await?;
        self.oldest_of(newest, &kept).await
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, TimeTravelError>>) -> Result<T, TimeTravelError> {
        let refuse = |reason: &str| {
            metrics::counter!("living_map_past_refused_total").increment(1);
            TimeTravelError::Unavailable(reason.to_owned())
        };
        let within = async {
            let _place = self.0.room.acquire().await.map_err(|_| refuse("closed"))?;
            work.await
        };
        timeout(self.0.config.patience, within).await.unwrap_or_else(|_| Err(refuse("it took too long")))
    }

    /// A copy of the live map, if it is at `cursor`.
    async fn present(&self, cursor: Cursor) -> Result<Option<State>, TimeTravelError> {
        if self.0.live.cursor() != cursor {
            return Ok(None);
        }
        let live = self.0.live.clone();
        let max_entities = self.0.config.max_entities;
        let copy = move || -> Result<Option<State>, String> {
            let saved = live.with(|state| (state.cursor() == cursor).then(|| state.to_saved()));
            let Some(saved) = saved.transpose().map_err(|error| error.to_string())? else { return Ok(None) };
            let state = State::from_saved(&saved).map_err(|error| error.to_string())?;
            Ok(Some(state.with_max_entities(max_entities)))
        };
        work(copy).await?.map_err(TimeTravelError::Unavailable)
    }

    /// The map at `cursor`, or at a `time` before it.
    async fn make(&self, cursor: Cursor, time: Option<DateTime<Utc>>) -> Result<State, TimeTravelError> {
        let snapshots = &self.0.snapshots;
        let saved = async { Ok(snapshots.state_at(cursor.epoch, STATE_VERSION, cursor.seq, time).await?) };
        let (kept, saved) = tokio::try_join!(self.kept(cursor.epoch), saved)?;
        let entries = self.entries(&kept);
        if let Some(saved) = saved
            && (saved.cursor == cursor || kept.first <= saved.cursor.seq + 1)
        {
            // they are read while the state is
            let ahead = entries.clone().ahead(saved.cursor.seq, cursor, time);
            if let Some(state) = saved::read(saved).await {
                return self.fold(state, ahead).await;
            }
        }
        if kept.first <= 1 {
            return self.fold(State::new(cursor.epoch), entries.ahead(0, cursor, time)).await;
        }
        Err(TimeTravelError::Gone { oldest: self.oldest_of(self.0.live.cursor(), &kept).await? })
    }

    /// Where what is kept is read from.
    pub(super) fn entries(&self, kept: &Kept) -> Entries {
        Entries { log: Arc::clone(&self.0.log), history: Arc::clone(&self.0.history), log_first: kept.log.first }
    }

    /// The state nearest to `cursor`, and not behind it, that what is kept goes on from.
    pub(super) async fn base(&self, cursor: Cursor, kept: &Kept) -> Result<State, TimeTravelError> {
        let saved = self.0.snapshots.state_at(cursor.epoch, STATE_VERSION, cursor.seq, None).await?;
        let saved = match saved.filter(|saved| kept.first <= saved.cursor.seq + 1) {
            Some(saved) => saved::read(saved).await,
            None => None,
        };
        let state = match saved {
            Some(state) => state,
            None if kept.first <= 1 => State::new(cursor.epoch),
            None => return Err(TimeTravelError::Gone { oldest: self.oldest_of(self.0.live.cursor(), kept).await? }),
        };
        Ok(state.with_max_entities(self.0.config.max_entities))
    }

    /// The oldest position, `from` or behind it, that has a saved state; the log's beginning if that is asked for.
    pub(super) async fn oldest_state(&self, from: Cursor) -> Result<Option<Cursor>, TimeTravelError> {
        if from.seq == 0 {
            return Ok(Some(from));
        }
        let oldest = self.0.snapshots.oldest_state(from.epoch, STATE_VERSION, from.seq).await?;
        Ok(oldest.map(|(cursor, _)| cursor))
    }

    async fn fold(&self, state: State, mut entries: Ahead) -> Result<State, TimeTravelError> {
        let mut state = state.with_max_entities(self.0.config.max_entities);
        loop {
            let batch = match entries.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(state),
                Err(Stopped::Deleted) => return Err(TimeTravelError::Gone { oldest: self.oldest().await? }),
                Err(Stopped::Failed(error)) => return Err(error),
            };
            state = work(move || {
                for entry in &batch {
                    state.advance(entry);
                }
                state
            })
            .await?;
        }
    }

    /// The entry that comes next after a position.
    async fn next(&self, epoch: Epoch, after: u64, kept: &Kept) -> Result<Option<LogEntry>, TimeTravelError> {
        if let Some(entry) = self.0.history.read_log(epoch, after, 1).await?.into_iter().next() {
            return Ok(Some(entry));
        }
        // the record lags behind the log
        if after.saturating_add(1) < kept.log.first || after >= kept.log.last {
            return Ok(None);
        }
        Ok(self.0.log.read(epoch, after).await?.next().await.transpose()?)
    }

    /// What is kept of the log `epoch`.
    pub(super) async fn kept(&self, epoch: Epoch) -> Result<Kept, TimeTravelError> {
        let (log, held) = tokio::join!(self.0.log.bounds(), self.0.history.held(epoch));
        let (log, held) = (log?, held?);
        if log.epoch != epoch {
            return Err(TimeTravelError::Unavailable("the log was recreated".into()));
        }
        // of no use unless it goes on to where the log begins
        let first = held.filter(|held| held.last.saturating_add(1) >= log.first).map_or(log.first, |held| held.first);
        Ok(Kept { first: first.min(log.first), log })
    }

    async fn oldest_of(&self, newest: Cursor, kept: &Kept) -> Result<Oldest, TimeTravelError> {
        let epoch = newest.epoch;
        if kept.first <= 1 {
            let first = if kept.log.last == 0 { None } else { self.next(epoch, 0, kept).await? };
            let logged_at = first.map_or(DateTime::UNIX_EPOCH, |entry| entry.logged_at);
            return Ok(Oldest { cursor: Cursor { epoch, seq: 0 }, logged_at });
        }
        let saved = self.0.snapshots.oldest_state(epoch, STATE_VERSION, kept.first - 1).await?;
        let (cursor, logged_at) =
            saved.unwrap_or_else(|| self.0.live.with(|state| (state.cursor(), state.logged_at())));
        Ok(Oldest { cursor, logged_at })
    }
}

/// Runs what takes its time off the threads that serve.
pub(super) async fn work<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TimeTravelError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| TimeTravelError::Unavailable(error.to_string()))
}
