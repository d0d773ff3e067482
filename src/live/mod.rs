//! The live map: follows the log, folds each entry in order, and provides snapshot bytes and the hub's frames. No other
//! module holds the current map.

pub mod replay;
pub mod time_travel;

mod beginning;
mod follow;
mod ingest;
mod read_ahead;
mod saved;
mod signals;
mod snapshot;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use clap::Args;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use tokio::sync::{broadcast, watch};

use crate::config::defaults;
use crate::journal::Journal;
use crate::map::{DEFAULT_MAX_ENTITIES, MapOptions, State};
use crate::model::{Compatibility, Cursor, Epoch, Event, Layer};
use crate::upstream_health::UpstreamHealth;

pub use beginning::BeginningHandles;
pub use follow::{follow, follow_from_saved};
pub use ingest::{Ingest, IngestConfig, IngestHandles};
pub use replay::{Replay, ReplayConfig, ReplayError};
pub use saved::{SavingConfig, save};
use snapshot::SnapshotCache;
pub use snapshot::{Encoding, SnapshotBytes};
pub use time_travel::{TimeTravel, TimeTravelConfig, TimeTravelError, TimeTravelRequest};

/// The current map: age of its snapshots, its size.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct LiveConfig {
    /// Milliseconds for which an encoded snapshot is reused before it is built again.
    #[arg(id = "SNAPSHOT_INTERVAL_MS", env, long = "snapshot-interval-ms", default_value = "100",
        value_parser = clap::value_parser!(u64).range(1..=60_000).map(Duration::from_millis))]
    pub snapshot_interval: Duration,
    /// Interval of the checks whether the log is available, so that an outage shows while there are no events.
    #[arg(skip = Duration::from_secs(2))]
    pub log_check_interval: Duration,
    /// Entities that events may add to the map; beyond, events about new ones are recorded and change nothing, and only
    /// entities listed by the upstream services are added. The same on all servers of one log.
    ///
    /// Beyond: the event is recorded and changes nothing, counted in `living_map_entities_turned_away_total`.
    #[arg(id = "MAX_ENTITIES", env, long = "max-entities", help_heading = "Limits", default_value_t = DEFAULT_MAX_ENTITIES,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    pub max_entities: usize,
    /// Fields and names that the map shows.
    #[arg(skip)]
    pub compatibility: Compatibility,
}

impl LiveConfig {
    /// Options of every map in this process.
    #[must_use]
    pub const fn map_options(&self) -> MapOptions {
        MapOptions { max_entities: self.max_entities, compatibility: self.compatibility }
    }
}

impl Default for LiveConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Status of following the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowStatus {
    /// Folding the entries that were in the log at the start.
    CatchingUp,
    /// At the end of the log.
    Current,
    /// The log has lost entries, and the map with which it begins is not stored yet, for the given reason.
    AwaitingBase(String),
    /// The log is unavailable, for the given reason; the map no longer changes.
    Stale(String),
}

/// The current map, shared by all readers. Cheap to clone.
#[derive(Clone)]
pub struct LiveMap {
    inner: Arc<Inner>,
}

struct Inner {
    state: RwLock<State>,
    position: watch::Sender<Cursor>,
    status: watch::Sender<FollowStatus>,
    complete: AtomicBool,
    /// Number of times that the map was replaced by one that is not a continuation of it.
    replacements: watch::Sender<u64>,
    upstream_health: UpstreamHealth,
    journal: Journal,
    cache: SnapshotCache,
    signals: broadcast::Sender<Arc<Event>>,
}

impl LiveMap {
    /// An empty map, which [`follow()`] fills. Snapshots contain `upstream_health`; outages of the log are recorded in
    /// `journal`.
    #[must_use]
    pub fn new(config: LiveConfig, upstream_health: UpstreamHealth, journal: Journal) -> Self {
        let state = State::new(Epoch(0)).with_options(config.map_options());
        let inner = Inner {
            position: watch::Sender::new(state.cursor()),
            status: watch::Sender::new(FollowStatus::CatchingUp),
            complete: AtomicBool::new(false),
            replacements: watch::Sender::new(0),
            state: RwLock::new(state),
            upstream_health,
            journal,
            cache: SnapshotCache::new(config.snapshot_interval),
            signals: signals::channel(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the map. Keep `read` short: the fold waits for it.
    pub fn with<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        // a panic in the fold leaves the state between two entries, which is consistent
        read(&self.inner.state.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The position of the newest folded entry.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        *self.inner.position.borrow()
    }

    /// A snapshot of `layers` (all if empty), at most one build interval old.
    pub async fn snapshot(&self, layers: &[Layer]) -> Arc<SnapshotBytes> {
        self.inner.cache.get(self, layers).await
    }

    /// The status of following the log.
    #[must_use]
    pub fn follow_status(&self) -> FollowStatus {
        self.inner.status.borrow().clone()
    }

    /// Completes when `cursor` is folded (read your own writes), or when the log was replaced by another one.
    pub async fn folded(&self, cursor: Cursor) {
        let mut position = self.inner.position.subscribe();
        let reached = |at: &Cursor| at.epoch != cursor.epoch || at.seq >= cursor.seq;
        // an error means that the map is dropped, so there is nothing to wait for
        let _ = position.wait_for(reached).await;
    }

    /// Returns true if all entries that were in the log at the start are folded. Before that the map is old or empty.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inner.complete.load(Ordering::Acquire)
    }

    /// A receiver that changes when the map is replaced by one that is not a continuation of it: with another log, or one
    /// that has lost entries.
    #[must_use]
    pub fn replacements(&self) -> watch::Receiver<u64> {
        self.inner.replacements.subscribe()
    }

    /// Completes when all entries that were in the log at the start are folded.
    pub async fn caught_up(&self) {
        let mut status = self.inner.status.subscribe();
        let _ = status.wait_for(|status| *status == FollowStatus::Current).await;
    }
}
