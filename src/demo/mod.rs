//! A simulated network: six upstream services over real HTTP and event traffic through the real log, both over one
//! world, so that a poll agrees with the events before it.
//!
//! Seeded: with the same seed and size the same entities live through the same events in the same order; times are the
//! clock's, and event ids differ from start to start, since a log that outlives the demo would take repeated ids for
//! repeated events.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::Endpoints;
use crate::log::EventLog;

mod beat;
mod entities;
mod experiences;
mod fault;
mod ledger;
mod names;
mod scene;
mod traffic;
mod upstreams;
mod world;

pub use fault::{Fault, FaultSetting, Faults, InvalidFault};
use world::World;

/// Alert rules for the simulated network, where no others are set.
pub const ALERT_RULES: &str = include_str!("alerts.toml");

/// How large and how lively the network is.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoConfig {
    /// Number of agents at the start, at least 1; they come and go around it. Default 60.
    pub agents: usize,
    /// Number of nodes, at least 1. Default 12.
    pub nodes: usize,
    /// Number of microDAOs, at least 1. Default 6.
    pub microdaos: usize,
    /// Number of DAOs; 0 is a network without governance. Default 4.
    pub daos: usize,
    /// Events a second on average, at most 100,000; 0 is a network in which nothing happens. Default 8.
    pub events_per_second: f64,
    /// What entities there are and what they live through follows from it. Default 7.
    pub seed: u64,
    /// How services misbehave from the start; more can be set with [`DemoHandle::faults`]. Default none.
    pub faults: Vec<FaultSetting>,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self { agents: 60, nodes: 12, microdaos: 6, daos: 4, events_per_second: 8.0, seed: 7, faults: vec![] }
    }
}

/// The world that all simulated services and the traffic share.
#[derive(Clone)]
struct SharedWorld(Arc<Mutex<World>>);

impl SharedWorld {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The simulated network.
#[derive(Debug)]
pub struct Demo;

impl Demo {
    /// Starts the services on free ports of the loopback interface, and the traffic into `log`.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub async fn start(config: &DemoConfig, log: Arc<dyn EventLog>) -> io::Result<DemoHandle> {
        let world = SharedWorld(Arc::new(Mutex::new(World::new(config, Utc::now()))));
        let faults = Faults::new(&config.faults);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let endpoints = upstreams::start(&world, &faults, &stop, &mut tasks).await?;
        tasks.spawn(experiences::run(config.clone(), world.clone(), Arc::clone(&log), stop.clone()));
        tasks.spawn(traffic::run(config.clone(), world, log, stop.clone()));
        Ok(DemoHandle { endpoints, faults, stop, tasks })
    }
}

/// The running network; it stops when this is dropped.
pub struct DemoHandle {
    endpoints: Endpoints,
    faults: Faults,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl DemoHandle {
    /// Where the simulated services are, with the tokens that they ask for.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// To make services misbehave and behave again.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Stops the traffic and the services, and waits until they have.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl fmt::Debug for DemoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoHandle").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
