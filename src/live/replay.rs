//! Replay: produces again the frames that the hub's ring has evicted.
//!
//! A fold starts from the nearest saved state before a position and continues through the retained entries. Its frames
//! are grouped into batches, cached within a bound of bytes and shared by all lagging clients. Few folds run at a time,
//! and each pauses for a while where it stopped, so that thousands of clients that reconnect together cost one fold.
//!
//! A batch has no gap. Where an entry is missing, replay ends, and clients before it get a snapshot.

mod batch_builder;
mod batch_cache;
mod folds;
mod slot_request;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::LiveMap;
use super::read_ahead::ReadAheadError;
use super::time_travel::{self, TimeTravel, TimeTravelError};
use crate::access::shares::{Client, Pool, QueueConfig, Slot};
use crate::config::defaults;
use crate::map::State;
use crate::model::Cursor;
use crate::stream::{FrameBatch, Replay as ReplayResult, ReplaySource};
use batch_builder::{BATCH_EVENTS, BatchBuilder, FoldError};
use folds::{Fold, Folds, Lookup};
use slot_request::SlotRequest;

/// Distance that a fold continues beyond the request, in positions and in bytes, since the client will read on.
const AHEAD_EVENTS: u64 = 4 * BATCH_EVENTS;
const AHEAD_BYTES: usize = 1024 * 1024;

/// Retention of unused batches and paused folds.
const IDLE_TTL: Duration = Duration::from_secs(30);

/// Lifetime of the cached oldest position.
const OLDEST_TTL: Duration = Duration::from_secs(1);

/// Limits of replay to clients that resume.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct ReplayConfig {
    /// Missed events that are replayed one by one to a client that resumes.
    ///
    /// Beyond: the client gets a snapshot, or 410 over server-sent events.
    #[arg(id = "STREAM_REPLAY_EVENTS", env, long = "stream-replay-events", default_value_t = 1_000_000)]
    pub max_events: u64,
    /// Bytes of replayed frames kept in memory for further clients.
    ///
    /// Beyond: the least recently used frames are dropped and computed again.
    #[arg(id = "STREAM_REPLAY_BYTES", env, long = "stream-replay-bytes", default_value_t = 64 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub max_bytes: usize,
    /// Replays computed at one time; further clients wait. One client's (a token, else an address) take at most all but one of
    /// these slots.
    ///
    /// Beyond: the replay waits for its share.
    #[arg(id = "STREAM_REPLAY_CONCURRENCY", env, long = "stream-replay-concurrency", default_value_t = 2,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub concurrency: usize,
    /// Longest wait of a client, and of a fold for the log or the history.
    #[arg(skip = Duration::from_secs(20))]
    pub timeout: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        defaults()
    }
}

/// The reason why there is no replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The entries after the position are deleted or too old, or it is not a past position of this log.
    #[error("the events after the cursor are gone")]
    Gone,
    /// The log or the history is unavailable, or there are too many requests. The call may succeed later.
    #[error("replay is unavailable: {0}")]
    Unavailable(String),
}

impl From<TimeTravelError> for ReplayError {
    fn from(error: TimeTravelError) -> Self {
        match error {
            TimeTravelError::Gone { .. } | TimeTravelError::OtherEpoch { .. } => Self::Gone,
            TimeTravelError::Ahead { .. } | TimeTravelError::Busy(_) | TimeTravelError::Unavailable(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// Produces the frames after any retained position. Cheap to clone.
///
/// | metric | |
/// |---|---|
/// | `living_map_replay_requests_total{result}` | requested batches: `held` (from the cache), `made` (folded), `gone`, `unavailable` |
/// | `living_map_replay_folded_total` | events folded for replay |
/// | `living_map_replay_bytes` | gauge: bytes of cached frames |
#[derive(Clone)]
pub struct Replay(Arc<Inner>);

struct Inner {
    config: ReplayConfig,
    live: LiveMap,
    time_travel: TimeTravel,
    folds: Mutex<Folds>,
    /// Slots of running folds.
    pool: Pool,
    /// Changes when a fold knows its start, has finished batches, or has ended.
    changed: watch::Sender<()>,
    /// The cached oldest position, and when it was determined.
    oldest: tokio::sync::Mutex<Option<(Instant, Option<Cursor>)>>,
}

impl Replay {
    /// Replay for `live`, with the retained entries and states of `time_travel`.
    #[must_use]
    pub fn new(config: ReplayConfig, live: LiveMap, time_travel: TimeTravel) -> Self {
        let folds = Mutex::new(Folds::new(&config));
        // bounded by the slots of streams: each waits for one replay
        let queue = QueueConfig { per_client: usize::MAX, clients: usize::MAX, ..QueueConfig::default() };
        Self(Arc::new(Inner {
            config,
            live,
            time_travel,
            folds,
            pool: Pool::new("replay", config.concurrency, queue),
            changed: watch::Sender::new(()),
            oldest: tokio::sync::Mutex::default(),
        }))
    }

    /// The source for the stream.
    #[must_use]
    pub fn source(&self) -> ReplaySource {
        let replay = self.clone();
        Arc::new(move |client, position| {
            let replay = replay.clone();
            Box::pin(async move {
                match replay.batch_after(client, position).await {
                    Ok(batch) => ReplayResult::Frames(batch),
                    Err(ReplayError::Gone) => ReplayResult::Gone { oldest: replay.oldest().await },
                    Err(ReplayError::Unavailable(problem)) => {
                        tracing::warn!(%position, problem, "replay for a client failed; it gets a snapshot or an error");
                        ReplayResult::Unavailable
                    }
                }
            })
        })
    }

    /// The slots of folds.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// A batch that covers the position after `position`, folded in a slot of `client` if no fold covers it yet.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn batch_after(&self, client: Client, position: Cursor) -> Result<Arc<FrameBatch>, ReplayError> {
        self.batch_within(self.0.config.max_events, client, position).await
    }

    /// Like [`Replay::batch_after`], for all retained positions: readers of recordings go back beyond
    /// [`ReplayConfig::max_events`], page by page.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn recorded_batch_after(&self, client: Client, position: Cursor) -> Result<Arc<FrameBatch>, ReplayError> {
        self.batch_within(u64::MAX, client, position).await
    }

    /// The batch after a position that is at most `max_events` before the newest one.
    async fn batch_within(
        &self,
        max_events: u64,
        client: Client,
        position: Cursor,
    ) -> Result<Arc<FrameBatch>, ReplayError> {
        let mut cached = true;
        let found = timeout(self.0.config.timeout, self.find(max_events, &client, position, &mut cached)).await;
        let found = found.unwrap_or_else(|_| Err(ReplayError::Unavailable("timed out".to_owned())));
        let result = match &found {
            Ok(_) if cached => "held",
            Ok(_) => "made",
            Err(ReplayError::Gone) => "gone",
            Err(ReplayError::Unavailable(_)) => "unavailable",
        };
        metrics::counter!("living_map_replay_requests_total", "result" => result).increment(1);
        found
    }

    async fn find(
        &self,
        max_events: u64,
        client: &Client,
        position: Cursor,
        cached: &mut bool,
    ) -> Result<Arc<FrameBatch>, ReplayError> {
        let mut changed = self.0.changed.subscribe();
        let mut awaited: Option<Arc<Fold>> = None;
        let mut slots = SlotRequest::new(&self.0.pool, client, self.0.config.timeout);
        loop {
            changed.borrow_and_update();
            // first the result of the awaited fold, so that no other one starts for the same request
            if let Some(fold) = &awaited {
                if let Some(batch) = fold.found(position) {
                    return Ok(batch);
                }
                if let Some(error) = fold.error(position) {
                    return Err(error);
                }
            }
            let newest = self.newest(position);
            let oldest = newest.seq.saturating_sub(max_events);
            if position.epoch != newest.epoch || !(oldest..newest.seq).contains(&position.seq) {
                return Err(ReplayError::Gone);
            }
            let lookup = self.lock().lookup(position, newest, Instant::now(), slots.is_granted());
            match lookup {
                Lookup::Found(batch) => return Ok(batch),
                Lookup::Gone => return Err(ReplayError::Gone),
                Lookup::Wait(fold) => {
                    // another client may use the slot meanwhile
                    slots.cancel();
                    awaited = fold.or(awaited);
                }
                Lookup::NeedsSlot => slots.request(),
                Lookup::Start(fold, paused) => {
                    let slot = slots.take();
                    self.start(Arc::clone(&fold), paused, slot);
                    awaited = Some(fold);
                }
            }
            *cached = false;
            tokio::select! {
                // does not fail: this value keeps the sender alive
                _ = changed.changed() => {}
                granted = slots.granted() => granted.map_err(|full| ReplayError::Unavailable(full.to_string()))?,
            }
        }
    }

    /// The map's position; at least `position` if any client ever had it.
    fn newest(&self, position: Cursor) -> Cursor {
        let newest = self.0.live.cursor();
        let is_old = newest.epoch == position.epoch && position.seq < newest.seq;
        // an entry is in the ring, and may be evicted, before the published position covers it
        if is_old { newest } else { self.0.live.with(State::cursor) }
    }

    /// The oldest position that can be resumed from, if it is known.
    pub async fn oldest(&self) -> Option<Cursor> {
        let limit = self.0.live.cursor().seq.saturating_sub(self.0.config.max_events);
        self.oldest_recorded().await.map(|oldest| Cursor { seq: oldest.seq.max(limit), ..oldest })
    }

    /// The oldest position after which recordings begin, if it is known.
    pub async fn oldest_recorded(&self) -> Option<Cursor> {
        let mut known = self.0.oldest.lock().await;
        let newest = self.0.live.cursor();
        let known_now = known.filter(|(at, _)| at.elapsed() < OLDEST_TTL);
        let oldest = match known_now {
            Some((_, oldest)) => oldest.filter(|oldest| oldest.epoch == newest.epoch),
            None => self.find_oldest(newest).await,
        };
        if known_now.is_none() {
            *known = Some((Instant::now(), oldest));
        }
        oldest
    }

    /// The oldest saved state from which all entries are retained.
    async fn find_oldest(&self, newest: Cursor) -> Option<Cursor> {
        let found = timeout(self.0.config.timeout, async {
            let retained = self.0.time_travel.retained(newest.epoch).await?;
            let missing = self.lock().missing(newest.epoch, Instant::now());
            let from = Cursor { seq: missing.max(retained.first.saturating_sub(1)), ..newest };
            self.0.time_travel.oldest_state(from).await
        });
        found.await.ok()?.ok()?
    }

    /// Runs a fold in a separate task: its first caller may be gone before it ends, and others wait for it.
    fn start(&self, fold: Arc<Fold>, paused: Option<BatchBuilder>, slot: Option<Slot>) {
        let mut guard = FoldGuard { replay: self.clone(), fold: Arc::clone(&fold), builder: None, slot };
        tokio::spawn(async move {
            match guard.replay.run(&fold, paused).await {
                Ok(builder) => guard.builder = Some(builder),
                Err(error) => fold.set_error(error),
            }
            drop(guard);
        });
    }

    async fn run(&self, fold: &Fold, paused: Option<BatchBuilder>) -> Result<BatchBuilder, ReplayError> {
        let Inner { config, time_travel, .. } = &*self.0;
        let timed_out = |_| ReplayError::Unavailable("the log or the history timed out".to_owned());
        let (position, goal) = (fold.position, fold.goal);
        let retained = timeout(config.timeout, time_travel.retained(position.epoch)).await.map_err(timed_out)??;
        let paused = paused.filter(|paused| retained.first <= paused.at().seq + 1);
        let mut builder = if let Some(paused) = paused {
            paused
        } else {
            let base = timeout(config.timeout, time_travel.base(position, &retained)).await;
            BatchBuilder::new(base.map_err(timed_out)??)
        };
        fold.set_start(builder.at().seq);
        self.0.changed.send_replace(());
        let to = Cursor { seq: goal, ..position };
        let mut entries = time_travel.entry_source(&retained).read_ahead(builder.at().seq, to, None);
        let (mut ahead, max_ahead) = (0, AHEAD_BYTES.min(config.max_bytes / 8));
        while builder.at().seq < goal && ahead < max_ahead {
            let page = match timeout(config.timeout, entries.next()).await.map_err(timed_out)? {
                Ok(Some(page)) => page,
                Err(ReadAheadError::Unavailable(reason)) => return Err(ReplayError::Unavailable(reason)),
                // the entries end before the goal
                Ok(None) | Err(ReadAheadError::Deleted) => {
                    return Err(self.gone(position, FoldError::MissingEntry(builder.at().seq + 1)));
                }
            };
            let count = page.len() as u64;
            let (folded, returned) = time_travel::run_blocking(move || {
                let folded = builder.fold(&page, goal);
                (folded, builder)
            })
            .await?;
            builder = returned;
            metrics::counter!("living_map_replay_folded_total").increment(count);
            let batches = folded.map_err(|error| self.gone(position, error))?;
            let beyond = batches.iter().filter(|batch| batch.after.seq > position.seq);
            ahead += beyond.flat_map(|batch| &batch.frames).map(|frame| frame.bytes()).sum::<usize>();
            fold.offer(&batches);
            self.cache(position, batches);
        }
        Ok(builder)
    }

    fn cache(&self, position: Cursor, batches: Vec<Arc<FrameBatch>>) {
        if !batches.is_empty() {
            let bytes = self.lock().cache(position.epoch, batches, Instant::now());
            report_bytes(bytes);
            self.0.changed.send_replace(());
        }
    }

    /// Records that replay cannot pass the failed position.
    fn gone(&self, position: Cursor, error: FoldError) -> ReplayError {
        let (FoldError::MissingEntry(seq) | FoldError::Encoding(seq)) = error;
        tracing::warn!(?error, "no replay across this position; clients before it get a snapshot");
        self.lock().set_missing(Cursor { seq, ..position }, Instant::now());
        ReplayError::Gone
    }

    /// Removes unused batches and paused folds until nothing is left.
    async fn clean_up(self) {
        loop {
            tokio::time::sleep(IDLE_TTL).await;
            let Some(since) = Instant::now().checked_sub(IDLE_TTL) else { continue };
            let (bytes, done) = self.lock().remove_unused_since(since);
            report_bytes(bytes);
            if done {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Folds> {
        self.0.folds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a fold when dropped, also after a panic.
struct FoldGuard {
    replay: Replay,
    fold: Arc<Fold>,
    builder: Option<BatchBuilder>,
    slot: Option<Slot>,
}

impl Drop for FoldGuard {
    fn drop(&mut self) {
        let start_cleanup = self.replay.lock().end(&self.fold, self.builder.take(), Instant::now());
        // there is no runtime when the process exits
        if let (true, Ok(runtime)) = (start_cleanup, Handle::try_current()) {
            runtime.spawn(self.replay.clone().clean_up());
        }
        drop(self.slot.take());
        self.replay.0.changed.send_replace(());
    }
}

fn report_bytes(bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("living_map_replay_bytes").set(bytes as f64);
}
