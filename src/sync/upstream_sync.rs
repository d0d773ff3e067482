//! Starting the poller and the control-event handler.

use clap::Args;

use super::{ControlEventHandler, Poller, Refresher, SyncConfig};
use crate::adapters::{AdaptersConfig, Upstreams};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::LiveMap;
use crate::log::OpenLog;
use crate::tasks::{Stage, Tasks};
use crate::upstream_health::UpstreamHealth;

/// Settings of the upstreams' clients and of polling.
#[derive(Debug, Clone, Args)]
pub struct UpstreamSyncConfig {
    /// The HTTP clients.
    #[command(flatten)]
    pub adapters: AdaptersConfig,
    /// Intervals and timeouts of polling.
    #[command(flatten)]
    pub sync: SyncConfig,
}

/// Services that the poller uses.
#[derive(Clone, Copy)]
pub struct UpstreamSyncHandles<'a> {
    /// Accepts the differences that polls find.
    pub log: &'a OpenLog,
    /// The current map.
    pub live: &'a LiveMap,
    /// Records the outcome of each poll.
    pub upstream_health: &'a UpstreamHealth,
    /// Records failed polls.
    pub journal: &'a Journal,
    /// Decides on which replica polls are scheduled and control events handled.
    pub leadership: &'a Leadership,
}

/// Handles of the poller.
pub struct UpstreamSync {
    /// Health of the upstreams.
    pub health: UpstreamHealth,
    /// Requests polls ahead of schedule.
    pub refresher: Refresher,
}

impl UpstreamSync {
    /// Starts the poller and the handler of control events as tasks.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn start(
        config: UpstreamSyncConfig,
        handles: UpstreamSyncHandles<'_>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        let UpstreamSyncHandles { log, live, upstream_health, journal, leadership } = handles;
        let upstreams = Upstreams::new(&config.adapters, journal)?;
        let poller = Poller::new(
            config.sync,
            upstreams.clone(),
            upstream_health.clone(),
            live.clone(),
            log.log.clone(),
            journal.clone(),
        );
        let refresher = poller.refresher();
        // every replica polls on request; only the leader requests a poll in each interval
        tasks.spawn("poller", Stage::Working, |stop| poller.clone().run(stop));
        leadership.spawn_unless_following(tasks, "regular polls", Stage::Working, move |stop| {
            poller.clone().poll_regularly(stop)
        });
        let control = ControlEventHandler::new(
            live.clone(),
            upstreams,
            refresher.clone(),
            upstream_health.clone(),
            journal.clone(),
        );
        // only the leader handles control events; its view of the upstreams reaches the others with the lease
        leadership
            .spawn_unless_following(tasks, "control events", Stage::Working, move |stop| control.clone().run(stop));
        Ok(Self { health: upstream_health.clone(), refresher })
    }
}
