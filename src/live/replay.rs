//! What the hub's ring has left behind, event by event, in the frames that the ring had.
//!
//! A fold begins at the nearest saved state before a position and goes on through the entries that are kept; what it makes
//! is cut into stretches that all who are behind share, within bounded bytes. A few folds are under way at a time, and stay
//! a while where they stopped, so that thousands of clients that come back together cost one.
//!
//! A stretch holds consecutive positions, or there is none: where a position is not kept, replay ends, and whoever is
//! before it gets a snapshot.

mod segments;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::LiveMap;
use super::ahead::Stopped;
use super::past::{self, TimeTravel, TimeTravelError};
use crate::map::State;
use crate::model::Cursor;
use crate::stream::{FrameBatch, Replay as Answer, ReplaySource};
use segments::{Broken, Cutter, STRETCH_EVENTS};
use table::{Look, Table, Walk};

/// How far a fold goes beyond what was asked for, in positions and in bytes: a client reads on.
const AHEAD_EVENTS: u64 = 4 * STRETCH_EVENTS;
const AHEAD_BYTES: usize = 1024 * 1024;

/// How long what nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How long it is believed where the oldest position is.
const OLDEST_KNOWN: Duration = Duration::from_secs(1);

/// How far and how fast replay goes.
#[derive(Debug, Clone, Copy)]
pub struct ReplayConfig {
    /// Positions behind the newest that are gone on from; what is older gets a snapshot.
    pub max_events: u64,
    /// Bytes of frames that are kept for those who come after.
    pub max_bytes: usize,
    /// Folds at one time, and states kept for them.
    pub concurrency: usize,
    /// How long a client waits, and how long a fold waits for the log or the record.
    pub patience: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self { max_events: 1_000_000, max_bytes: 64 * 1024 * 1024, concurrency: 2, patience: Duration::from_secs(20) }
    }
}

/// Why there is no replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// What follows the position is not kept, is too long ago, or it is no position of this log's past.
    #[error("what follows the cursor is gone")]
    Gone,
    /// The log or the record is away, or too much is asked at one time; the same call may succeed later.
    #[error("replay is not available: {0}")]
    Unavailable(String),
}

impl From<TimeTravelError> for ReplayError {
    fn from(error: TimeTravelError) -> Self {
        match error {
            TimeTravelError::Gone { .. } | TimeTravelError::OtherEpoch { .. } => Self::Gone,
            TimeTravelError::Ahead { .. } | TimeTravelError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// The frames behind any position that is kept. Cloning it copies one pointer.
///
/// | metric | |
/// |---|---|
/// | `living_map_replay_requests_total{result}` | stretches asked for: `held`, `made`, `gone`, `unavailable` |
/// | `living_map_replay_folded_total` | events folded for them |
/// | `living_map_replay_bytes` | gauge: frames kept |
#[derive(Clone)]
pub struct Replay(Arc<Inner>);

struct Inner {
    config: ReplayConfig,
    live: LiveMap,
    past: TimeTravel,
    table: Mutex<Table>,
    /// Changes whenever there is more in the table, or a fold has ended.
    changed: watch::Sender<()>,
    /// What was found out about it last, and when.
    oldest: tokio::sync::Mutex<Option<(Instant, Option<Cursor>)>>,
}

impl Replay {
    /// The frames of `live`, from its `past`.
    #[must_use]
    pub fn new(config: ReplayConfig, live: LiveMap, past: TimeTravel) -> Self {
        let table = Mutex::new(Table::new(&config));
        Self(Arc::new(Inner {
            config,
            live,
            past,
            table,
            changed: watch::Sender::new(()),
            oldest: tokio::sync::Mutex::default(),
        }))
    }

    /// As the stream asks for it.
    #[must_use]
    pub fn source(&self) -> ReplaySource {
        let replay = self.clone();
        Arc::new(move |position| {
            let replay = replay.clone();
            Box::pin(async move {
                match replay.behind(position).await {
                    Ok(batch) => Answer::Frames(batch),
                    Err(ReplayError::Gone) => Answer::Gone { oldest: replay.oldest().await },
                    Err(ReplayError::Unavailable(problem)) => {
                        tracing::warn!(%position, problem, "a client cannot be given what it missed right now");
                        Answer::Unavailable
                    }
                }
            })
        })
    }

    /// The stretch that goes on from `position`.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn behind(&self, position: Cursor) -> Result<Arc<FrameBatch>, ReplayError> {
        let mut held = true;
        let found = timeout(self.0.config.patience, self.find(position, &mut held)).await;
        let found = found.unwrap_or_else(|_| Err(ReplayError::Unavailable("it took too long".to_owned())));
        let result = match &found {
            Ok(_) if held => "held",
            Ok(_) => "made",
            Err(ReplayError::Gone) => "gone",
            Err(ReplayError::Unavailable(_)) => "unavailable",
        };
        metrics::counter!("living_map_replay_requests_total", "result" => result).increment(1);
        found
    }

    async fn find(&self, position: Cursor, held: &mut bool) -> Result<Arc<FrameBatch>, ReplayError> {
        let mut changed = self.0.changed.subscribe();
        let mut awaited: Option<Arc<Walk>> = None;
        loop {
            changed.borrow_and_update();
            // before another fold is begun for what this one did, or could not do
            if let Some(walk) = &awaited {
                if let Some(batch) = walk.found(position) {
                    return Ok(batch);
                }
                if let Some(error) = walk.failed(position) {
                    return Err(error);
                }
            }
            let newest = self.newest(position);
            let reach = newest.seq.saturating_sub(self.0.config.max_events);
            if position.epoch != newest.epoch || !(reach..newest.seq).contains(&position.seq) {
                return Err(ReplayError::Gone);
            }
            let look = self.lock().look(position, newest, Instant::now());
            match look {
                Look::Found(batch) => return Ok(batch),
                Look::Gone => return Err(ReplayError::Gone),
                Look::Wait(walk) => awaited = walk.or(awaited),
                Look::Walk(walk, cutter) => {
                    self.start(Arc::clone(&walk), cutter);
                    awaited = Some(walk);
                }
            }
            *held = false;
            // does not fail: the sender is kept alive by this value
            let _ = changed.changed().await;
        }
    }

    /// The map's position: at least `position` if that was ever shown to anybody.
    fn newest(&self, position: Cursor) -> Cursor {
        let newest = self.0.live.cursor();
        let is_past = newest.epoch == position.epoch && position.seq < newest.seq;
        // what is being folded is in the ring, and may have left it, before the position is told
        if is_past { newest } else { self.0.live.with(State::cursor) }
    }

    /// The oldest position that can be gone on from, as far as is known.
    pub async fn oldest(&self) -> Option<Cursor> {
        let mut known = self.0.oldest.lock().await;
        let newest = self.0.live.cursor();
        let known_now = known.filter(|(at, _)| at.elapsed() < OLDEST_KNOWN);
        let oldest = match known_now {
            Some((_, oldest)) => oldest.filter(|oldest| oldest.epoch == newest.epoch),
            None => self.look_for_oldest(newest).await,
        };
        if known_now.is_none() {
            *known = Some((Instant::now(), oldest));
        }
        let reach = newest.seq.saturating_sub(self.0.config.max_events);
        oldest.map(|oldest| Cursor { seq: oldest.seq.max(reach), ..newest })
    }

    /// The oldest position that what is kept goes on from.
    async fn look_for_oldest(&self, newest: Cursor) -> Option<Cursor> {
        let looked = timeout(self.0.config.patience, async {
            let kept = self.0.past.kept(newest.epoch).await?;
            let hole = self.lock().hole(newest.epoch, Instant::now());
            let from = Cursor { seq: hole.max(kept.first.saturating_sub(1)), ..newest };
            self.0.past.oldest_state(from).await
        });
        looked.await.ok()?.ok()?
    }

    /// Folds in a task of its own: whoever asked for it may be gone before it ends, and others wait for it.
    fn start(&self, walk: Arc<Walk>, cutter: Option<Cutter>) {
        let mut ending = Ending { replay: self.clone(), walk: Arc::clone(&walk), cutter: None };
        tokio::spawn(async move {
            match ending.replay.walk(&walk, cutter).await {
                Ok(cutter) => ending.cutter = Some(cutter),
                Err(error) => walk.fail(error),
            }
            drop(ending);
        });
    }

    async fn walk(&self, walk: &Walk, cutter: Option<Cutter>) -> Result<Cutter, ReplayError> {
        let Inner { config, past, .. } = &*self.0;
        let late = |_| ReplayError::Unavailable("the log or the record does not answer".to_owned());
        let (position, goal) = (walk.position, walk.goal);
        let kept = timeout(config.patience, past.kept(position.epoch)).await.map_err(late)??;
        let mut cutter = match cutter.filter(|cutter| kept.first <= cutter.at().seq + 1) {
            Some(cutter) => cutter,
            None => Cutter::new(timeout(config.patience, past.base(position, &kept)).await.map_err(late)??),
        };
        walk.begin(cutter.at().seq);
        self.0.changed.send_replace(());
        let to = Cursor { seq: goal, ..position };
        let mut entries = past.entries(&kept).ahead(cutter.at().seq, to, None);
        let (mut ahead, far) = (0, AHEAD_BYTES.min(config.max_bytes / 8));
        while cutter.at().seq < goal && ahead < far {
            let page = match timeout(config.patience, entries.next()).await.map_err(late)? {
                Ok(Some(page)) => page,
                Err(Stopped::Failed(error)) => return Err(error.into()),
                // nothing more, and yet not there
                Ok(None) | Err(Stopped::Deleted) => {
                    return Err(self.broken(position, Broken::Hole(cutter.at().seq + 1)));
                }
            };
            let count = page.len() as u64;
            let (made, back) = past::work(move || {
                let made = cutter.fold(&page, goal);
                (made, cutter)
            })
            .await?;
            cutter = back;
            metrics::counter!("living_map_replay_folded_total").increment(count);
            let made = made.map_err(|broken| self.broken(position, broken))?;
            let beyond = made.iter().filter(|batch| batch.after.seq > position.seq);
            ahead += beyond.flat_map(|batch| &batch.frames).map(|frame| frame.bytes()).sum::<usize>();
            walk.made(&made);
            self.keep(position, made);
        }
        Ok(cutter)
    }

    fn keep(&self, position: Cursor, made: Vec<Arc<FrameBatch>>) {
        if !made.is_empty() {
            let bytes = self.lock().keep(position.epoch, made, Instant::now());
            show(bytes);
            self.0.changed.send_replace(());
        }
    }

    fn broken(&self, position: Cursor, broken: Broken) -> ReplayError {
        let (Broken::Hole(seq) | Broken::Frame(seq)) = broken;
        tracing::warn!(?broken, "clients before this position cannot be given every event, and get a snapshot");
        self.lock().note_hole(Cursor { seq, ..position }, Instant::now());
        ReplayError::Gone
    }

    /// Lets go what nobody uses, until there is nothing left.
    async fn upkeep(self) {
        loop {
            tokio::time::sleep(IDLE).await;
            let Some(since) = Instant::now().checked_sub(IDLE) else { continue };
            let (bytes, done) = self.lock().tidy(since);
            show(bytes);
            if done {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a fold, in whatever way.
struct Ending {
    replay: Replay,
    walk: Arc<Walk>,
    cutter: Option<Cutter>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let to_tidy = self.replay.lock().end(&self.walk, self.cutter.take(), Instant::now());
        // none when the process ends
        if let (true, Ok(runtime)) = (to_tidy, Handle::try_current()) {
            runtime.spawn(self.replay.clone().upkeep());
        }
        self.replay.0.changed.send_replace(());
    }
}

fn show(bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("living_map_replay_bytes").set(bytes as f64);
}
