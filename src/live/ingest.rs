//! Starting the fold and all that depends on the current map.

use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    BeginningHandles, LiveConfig, LiveMap, Replay, ReplayConfig, SavingConfig, TimeTravel, TimeTravelConfig,
    follow_from_saved, save,
};
use crate::history::Storage;
use crate::history::adopted::{self, AdoptionStatus};
use crate::history::retention::{self, RetentionConfig};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::log::OpenLog;
use crate::model::Epoch;
use crate::stream::{Hub, HubConfig, SnapshotJson, SnapshotSource, StreamSources};
use crate::tasks::{Stage, Tasks};
use crate::upstream_health::UpstreamHealth;

/// Settings of the fold, the ring buffer, retention, saved snapshots, time travel and replay.
#[derive(Debug, Clone, Args)]
pub struct IngestConfig {
    /// The current map.
    #[command(flatten)]
    pub live: LiveConfig,
    /// The ring buffer.
    #[command(flatten)]
    pub hub: HubConfig,
    /// Ages up to which events are kept.
    #[command(flatten)]
    pub retention: RetentionConfig,
    /// Saved snapshots.
    #[command(flatten)]
    pub saving: SavingConfig,
    /// Time travel.
    #[command(flatten)]
    pub time_travel: TimeTravelConfig,
    /// Replay for clients that resume.
    #[command(flatten)]
    pub replay: ReplayConfig,
}

/// Services that ingestion uses.
#[derive(Clone, Copy)]
pub struct IngestHandles<'a> {
    /// The databases.
    pub storage: &'a Storage,
    /// The event log.
    pub log: &'a OpenLog,
    /// Health of the upstreams, shown in snapshots.
    pub upstream_health: &'a UpstreamHealth,
    /// Records outages of the log and failures of retention.
    pub journal: &'a Journal,
    /// Decides on which replica retention and saving run.
    pub leadership: &'a Leadership,
}

/// The current map and what is derived from it.
pub struct Ingest {
    /// The current map.
    pub live: LiveMap,
    /// The ring buffer of frames.
    pub hub: Arc<Hub>,
    /// Maps of past moments.
    pub time_travel: TimeTravel,
    /// Snapshots and replayed frames for streaming clients.
    pub sources: StreamSources,
    /// Frames after any retained position.
    pub replay: Replay,
    /// Status of completing rows of the replaced service; none where there cannot be any.
    pub adoption: Option<watch::Receiver<AdoptionStatus>>,
}

impl Ingest {
    /// Starts the fold, retention, saving and the completion of adopted rows as tasks.
    #[must_use]
    pub fn start(config: IngestConfig, handles: IngestHandles<'_>, tasks: &mut Tasks) -> Self {
        let IngestHandles { storage, log, upstream_health, journal, leadership } = handles;
        let (history, snapshots) = (&storage.history, &storage.snapshots);
        let live = LiveMap::new(config.live, upstream_health.clone(), journal.clone());
        let hub = Arc::new(Hub::new(config.hub, Epoch(0)));
        tasks.spawn("fold", Stage::Folding, {
            let (live, hub) = (live.clone(), Arc::clone(&hub));
            let beginning = BeginningHandles {
                log: Arc::clone(&log.log),
                history: Arc::clone(history),
                snapshots: Arc::clone(snapshots),
                leadership: leadership.clone(),
            };
            move |stop| follow_from_saved(live, hub, beginning, config.live, stop)
        });
        leadership.spawn(tasks, "retention", Stage::Working, {
            let (live, history, journal) = (live.clone(), Arc::clone(history), journal.clone());
            move |stop: CancellationToken| {
                let (live, history, journal) = (live.clone(), Arc::clone(&history), journal.clone());
                let config = config.retention.clone();
                async move {
                    // a map that is catching up still needs the oldest events
                    if stop.run_until_cancelled(live.caught_up()).await.is_some() {
                        retention::run(history, config, journal, stop).await;
                    }
                }
            }
        });
        let adoption = storage.adopted.may_exist().then(|| {
            let (rows, journal) = (Arc::clone(&storage.adopted), journal.clone());
            let (status, receiver) = watch::channel(AdoptionStatus::default());
            leadership.spawn(tasks, "adoption", Stage::Working, move |stop| {
                adopted::complete(Arc::clone(&rows), status.clone(), journal.clone(), stop)
            });
            receiver
        });
        leadership.spawn(tasks, "saving", Stage::Saving, {
            let (live, snapshots) = (live.clone(), Arc::clone(snapshots));
            move |stop| save(live.clone(), Arc::clone(&snapshots), config.saving, stop)
        });
        let time_travel = TimeTravel::new(
            config.time_travel,
            live.clone(),
            Arc::clone(&log.log),
            Arc::clone(history),
            Arc::clone(snapshots),
        );
        let replay = Replay::new(config.replay, live.clone(), time_travel.clone());
        let sources = StreamSources { snapshot: snapshot_source(live.clone()), replay: replay.source() };
        Self { live, hub, time_travel, sources, replay, adoption }
    }
}

fn snapshot_source(live: LiveMap) -> SnapshotSource {
    Arc::new(move |layers| {
        let live = live.clone();
        Box::pin(async move {
            let snapshot = live.snapshot(&layers.to_vec()).await;
            SnapshotJson { cursor: snapshot.cursor, json: snapshot.identity() }
        })
    })
}
