//! The loop: the log in order, folded into the map; snapshot bytes and the hub's frames come from here. Nothing else
//! holds the current map.

pub mod past;
pub mod replay;

mod ahead;
mod follow;
mod saved;
mod signals;
mod snapshot;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::journal::Journal;
use crate::map::{DEFAULT_MAX_ENTITIES, State};
use crate::model::{Cursor, Epoch, Event, Layer};
use crate::upstream_health::UpstreamHealth;

pub use follow::{follow, follow_from_saved};
pub use past::{TimeTravel, TimeTravelConfig, TimeTravelError};
pub use replay::{Replay, ReplayConfig, ReplayError};
pub use saved::{SavingConfig, save};
use snapshot::SnapshotCache;
pub use snapshot::{Encoding, SnapshotBytes};

/// How the map is served.
#[derive(Debug, Clone, Copy)]
pub struct LiveConfig {
    /// Snapshot bytes are rebuilt at most once in this time, so a snapshot is at most this old.
    pub snapshot_interval: Duration,
    /// How often the log is asked whether it is there, so that its absence shows while nothing happens.
    pub log_check_interval: Duration,
    /// Entities that events may bring to the map, see [`State::with_max_entities`].
    pub max_entities: usize,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            snapshot_interval: Duration::from_millis(100),
            log_check_interval: Duration::from_secs(2),
            max_entities: DEFAULT_MAX_ENTITIES,
        }
    }
}

/// How the loop is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// Folding what was there at the start.
    CatchingUp,
    /// At the log's end.
    Current,
    /// The log is away; the map is as it was then. The reason.
    Stale(String),
}

/// The current map, shared by every reader.
#[derive(Clone)]
pub struct LiveMap {
    inner: Arc<Inner>,
}

struct Inner {
    state: RwLock<State>,
    position: watch::Sender<Cursor>,
    following: watch::Sender<Following>,
    complete: AtomicBool,
    upstream_health: UpstreamHealth,
    journal: Journal,
    cache: SnapshotCache,
    signals: broadcast::Sender<Arc<Event>>,
}

impl LiveMap {
    /// The empty map before the first entry of a log; [`follow()`] fills it. Snapshots show `upstream_health`, and outages of
    /// the log are recorded in `journal`.
    #[must_use]
    pub fn new(config: LiveConfig, upstream_health: UpstreamHealth, journal: Journal) -> Self {
        let state = State::new(Epoch(0));
        let inner = Inner {
            position: watch::Sender::new(state.cursor()),
            following: watch::Sender::new(Following::CatchingUp),
            complete: AtomicBool::new(false),
            state: RwLock::new(state),
            upstream_health,
            journal,
            cache: SnapshotCache::new(config.snapshot_interval),
            signals: signals::channel(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the map. Keep it short: the fold waits meanwhile.
    pub fn with<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        // a fold that panicked has left the state between two entries, which is as good as before the second
        read(&self.inner.state.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The position folded last.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        *self.inner.position.borrow()
    }

    /// A snapshot of `layers` (all when empty), at most one build interval old.
    pub async fn snapshot(&self, layers: &[Layer]) -> Arc<SnapshotBytes> {
        self.inner.cache.get(self, layers).await
    }

    /// How the loop is doing.
    #[must_use]
    pub fn following(&self) -> Following {
        self.inner.following.borrow().clone()
    }

    /// Returns once `cursor` is folded (a publisher reads its own write), or the log turned out to be another one.
    pub async fn folded(&self, cursor: Cursor) {
        let mut position = self.inner.position.subscribe();
        let reached = |at: &Cursor| at.epoch != cursor.epoch || at.seq >= cursor.seq;
        // an error means that the map itself is gone, and with it every reason to wait
        let _ = position.wait_for(reached).await;
    }

    /// Whether everything that was in the log at the start is folded. Before that the map is one of the past, or empty.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inner.complete.load(Ordering::Acquire)
    }

    /// Returns once everything that was in the log at the start is folded.
    pub async fn caught_up(&self) {
        let mut following = self.inner.following.subscribe();
        let _ = following.wait_for(|following| *following == Following::Current).await;
    }
}
