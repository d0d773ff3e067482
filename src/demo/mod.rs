//! A simulated network: six upstream services over real HTTP, and events in the real log. Both share one network state,
//! so that a poll agrees with the events before it.
//!
//! Seeded: the same seed and size give the same entities and the same events in the same order. Times come from the
//! clock, and event ids differ between starts, since a log that outlives the demo would treat repeated ids as
//! duplicates.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::Endpoints;
use crate::log::EventLog;

mod entities;
mod event;
mod experiences;
mod fault;
mod hourly_usage;
mod names;
mod network_state;
mod scenario;
mod traffic;
mod upstreams;

pub use fault::{Fault, FaultSetting, Faults, InvalidFault};
use network_state::NetworkState;

/// Default alert rules of the demo.
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

/// The network state that the simulated services and the traffic share.
#[derive(Clone)]
struct SharedState(Arc<Mutex<NetworkState>>);

impl SharedState {
    fn lock(&self) -> MutexGuard<'_, NetworkState> {
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
    /// A port cannot be bound.
    pub async fn start(config: &DemoConfig, log: Arc<dyn EventLog>) -> io::Result<DemoHandle> {
        let state = SharedState(Arc::new(Mutex::new(NetworkState::new(config, Utc::now()))));
        let faults = Faults::new(&config.faults);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let endpoints = upstreams::start(&state, &faults, &stop, &mut tasks).await?;
        tasks.spawn(experiences::run(config.clone(), state.clone(), Arc::clone(&log), stop.clone()));
        tasks.spawn(traffic::run(config.clone(), state, log, stop.clone()));
        Ok(DemoHandle { endpoints, faults, stop, tasks })
    }
}

/// The running network. Dropping the handle stops it.
pub struct DemoHandle {
    endpoints: Endpoints,
    faults: Faults,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl DemoHandle {
    /// The URLs and tokens of the simulated services.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Controls the faults of the services.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Stops the traffic and the services, and waits for their end.
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
