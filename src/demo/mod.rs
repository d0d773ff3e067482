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
use clap::Args;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::Endpoints;
use crate::config::defaults;
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

/// Size and activity of the simulated network.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Simulated network")]
pub struct DemoConfig {
    /// Agents in the simulated network; the number varies around it.
    #[arg(long, default_value_t = 60, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub agents: usize,
    /// Nodes.
    #[arg(long, default_value_t = 12, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub nodes: usize,
    /// MicroDAOs.
    #[arg(long, default_value_t = 6, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub microdaos: usize,
    /// DAOs; 0 is a network without governance.
    #[arg(skip = 4_usize)]
    pub daos: usize,
    /// Events per second on average; 0 is a network without events.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u32).range(0..=10_000).map(f64::from))]
    pub events_per_second: f64,
    /// Seed: runs with the same one have the same entities and events.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// An upstream that misbehaves: `<service>=slow`, `=down` or `=garbage`; may be given several times.
    #[arg(long = "fault", value_name = "SERVICE=FAULT")]
    pub faults: Vec<FaultSetting>,
}

impl Default for DemoConfig {
    fn default() -> Self {
        defaults()
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
