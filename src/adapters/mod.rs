//! Clients of the six upstream services: their HTTP responses, converted to normalized records ([`Answer`]).
//!
//! No other module knows an upstream's paths or JSON. Each item is read leniently: an item without an id is skipped and
//! counted, a field of the wrong type is left out. A response of an entirely wrong shape is an error, so that the last good
//! data stays on the map.
//!
//! Metrics: `living_map_upstream_requests_total{service, outcome}`, `living_map_upstream_duration_seconds{service}` (both
//! per HTTP request, retries included), `living_map_upstream_skipped_items_total{service}`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::Journal;
use crate::model::{Answer, Service};

mod agents;
mod city;
mod client;
mod dao;
mod endpoint;
mod error;
mod microdao;
mod read;
mod space;
mod usage;

pub use endpoint::{Endpoint, Endpoints, InvalidEndpoint, Secret};
pub use error::{AdapterError, ErrorKind};

use client::UpstreamClient;

/// How the upstreams are called.
#[derive(Debug, Clone)]
pub struct AdaptersConfig {
    /// Where the six services are, and their tokens.
    pub endpoints: Endpoints,
    /// Longest time for one HTTP request, from the connection to the last byte of the body. Default 5 s.
    pub call_timeout: Duration,
    /// Longest body that is read, in bytes. Default 16 MiB.
    pub max_response_bytes: usize,
    /// Retries of a request that failed in a way that may pass; 0 means none. Default 2.
    pub max_retries: usize,
    /// Shortest wait before the first retry; jitter adds up to as much again, and each further wait is twice as long.
    /// Default 100 ms.
    pub retry_delay: Duration,
    /// Requests to one service at the same time; at least 1. Default 8.
    pub concurrency: usize,
    /// Agents whose usage is asked for one by one in a round; the next round goes on where this one stopped; 0 means
    /// that only the usage service's own top list is read. Default 100.
    pub usage_calls_per_round: usize,
    /// How long a microdao service that has no `/internal/microdaos` is not asked for it again. Default 10 min.
    pub internal_list_recheck: Duration,
}

impl Default for AdaptersConfig {
    fn default() -> Self {
        Self {
            endpoints: Endpoints::default(),
            call_timeout: Duration::from_secs(5),
            max_response_bytes: 16 * 1024 * 1024,
            max_retries: 2,
            retry_delay: Duration::from_millis(100),
            concurrency: 8,
            usage_calls_per_round: 100,
            internal_list_recheck: Duration::from_mins(10),
        }
    }
}

/// Input of one poll.
#[derive(Debug, Clone)]
pub struct PollContext {
    /// Deadline of the poll: no request is started or waited for after it.
    pub deadline: Instant,
    /// Canonical ids of the agents on the map, sorted.
    pub agent_ids: Vec<String>,
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for the upstream services could not be set up: {0}")]
pub struct SetupError(#[from] reqwest::Error);

/// Clients of the six services over one connection pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams {
    adapters: Arc<Adapters>,
}

#[derive(Debug)]
struct Adapters {
    agents: agents::Agents,
    microdao: microdao::Microdao,
    dao: dao::Dao,
    usage: usage::Usage,
    city: city::City,
    space: space::Space,
}

impl Upstreams {
    /// Sets up the clients; connects to nothing yet. Failed requests for details are recorded in `journal`.
    ///
    /// # Errors
    /// When TLS cannot be initialised.
    pub fn new(config: &AdaptersConfig, journal: &Journal) -> Result<Self, SetupError> {
        let http = client::pool(config)?;
        let client = |service| UpstreamClient::new(config, service, http.clone(), journal.clone());
        Ok(Self {
            adapters: Arc::new(Adapters {
                agents: agents::Agents::new(client(Service::Agents)),
                microdao: microdao::Microdao::new(config, client(Service::Microdao)),
                dao: dao::Dao::new(config, client(Service::Dao)),
                usage: usage::Usage::new(config, client(Service::Usage)),
                city: city::City::new(client(Service::City)),
                space: space::Space::new(client(Service::Space)),
            }),
        })
    }

    /// Drops what the client has cached about a service, which may have been replaced or reconfigured.
    pub fn reset(&self, service: Service) {
        match service {
            Service::Microdao => self.adapters.microdao.reset(),
            // the other clients cache nothing between polls
            Service::Agents | Service::Dao | Service::Usage | Service::City | Service::Space => {}
        }
    }

    /// Polls one service for all its data.
    ///
    /// # Errors
    /// The main request failed. A failed detail request is not an error; the detail is left out.
    pub async fn poll(&self, service: Service, context: &PollContext) -> Result<Answer, AdapterError> {
        match service {
            Service::Agents => self.adapters.agents.poll(context).await,
            Service::Microdao => self.adapters.microdao.poll(context).await,
            Service::Dao => self.adapters.dao.poll(context).await,
            Service::Usage => self.adapters.usage.poll(context).await,
            Service::City => self.adapters.city.poll(context).await,
            Service::Space => self.adapters.space.poll(context).await,
        }
    }
}
