//! Clients of the six upstream services: their HTTP responses, converted to normalized records ([`Answer`]).
//!
//! No other module knows an upstream's paths or JSON. Each item is read leniently: an item without an id is skipped and
//! counted, a field of the wrong type is left out. A response of an entirely wrong shape is an error, so that the last good
//! data stays on the map.
//!
//! Metrics: `living_map_upstream_requests_total{service, outcome}`, `living_map_upstream_duration_seconds{service}` (both
//! per HTTP request, retries included), `living_map_upstream_skipped_items_total{service}`,
//! `living_map_usage_agents_deferred_total`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};
use tokio::time::Instant;

use crate::config::defaults;
use crate::config::value::seconds;
use crate::journal::Journal;
use crate::model::{Answer, Compatibility, Service};
use crate::tls::{self, CaFile};

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

/// Setting of [`AdaptersConfig::ca_file`].
const CA_FILE: &str = "UPSTREAM_CA_FILE";

/// Addresses, timeouts and limits of requests to the upstreams.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream services")]
pub struct AdaptersConfig {
    /// Addresses and tokens of the six services.
    #[command(flatten)]
    pub endpoints: Endpoints,
    /// Seconds that one request to an upstream may take, its body included.
    ///
    /// Beyond: the poll fails; the last good data is kept.
    #[arg(id = "UPSTREAM_TIMEOUT_SECONDS", env, long = "upstream-timeout-seconds", default_value = "5",
        value_parser = seconds)]
    pub call_timeout: Duration,
    /// Largest response accepted from an upstream, in bytes.
    ///
    /// Beyond: the poll fails; the last good data is kept.
    #[arg(id = "UPSTREAM_MAX_BYTES", env, long = "upstream-max-bytes", default_value_t = 16 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub max_response_bytes: usize,
    /// File with certificate authorities (PEM) of the upstreams, beside those of the system. Read at the start.
    #[arg(id = "UPSTREAM_CA_FILE", env, long = "upstream-ca-file", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Retries of a request after a failure that may be temporary; 0 disables them.
    #[arg(skip = 2_usize)]
    pub max_retries: usize,
    /// Shortest wait before the first retry; jitter adds up to as much again, and each further wait is twice as long.
    #[arg(skip = Duration::from_millis(100))]
    pub retry_delay: Duration,
    /// Requests to one service at the same time; at least 1.
    #[arg(skip = 8_usize)]
    pub concurrency: usize,
    /// Agents for which one poll requests the usage summary, one request each. The agents take turns; in each turn those of the
    /// usage service's top list are first.
    ///
    /// Beyond: the agent is requested by one of the next polls, and keeps its figures until then; counted in
    /// `living_map_usage_agents_deferred_total`.
    #[arg(id = "USAGE_AGENTS_PER_POLL", env, long = "usage-agents-per-poll", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub usage_agents_per_poll: usize,
    /// Time for which a microdao service without `/internal/microdaos` is not asked for it again.
    #[arg(skip = Duration::from_mins(10))]
    pub internal_list_recheck: Duration,
    /// Fields that are read for clients of another service.
    #[arg(skip)]
    pub compatibility: Compatibility,
}

impl Default for AdaptersConfig {
    fn default() -> Self {
        defaults()
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
pub struct SetupError(#[from] tls::SetupError);

impl AdaptersConfig {
    /// Authorities of the upstreams' certificates.
    #[must_use]
    pub fn authorities(&self) -> CaFile<'_> {
        CaFile::new(CA_FILE, self.ca_file.as_ref())
    }
}

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
    /// When the file of authorities cannot be used, or TLS cannot be initialised.
    pub fn new(config: &AdaptersConfig, journal: &Journal) -> Result<Self, SetupError> {
        let http = client::pool(config)?;
        let client = |service| UpstreamClient::new(config, service, http.clone(), journal.clone());
        Ok(Self {
            adapters: Arc::new(Adapters {
                agents: agents::Agents::new(client(Service::Agents), config.compatibility),
                microdao: microdao::Microdao::new(config, client(Service::Microdao)),
                dao: dao::Dao::new(config, client(Service::Dao)),
                usage: usage::Usage::new(config, client(Service::Usage)),
                city: city::City::new(client(Service::City), config.compatibility),
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
