//! The six services that are polled.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use url::Url;

use super::value::{http_url, seconds};
use crate::model::Service;

/// The six services that are polled.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream services")]
pub struct Upstreams {
    /// The agents service
    #[arg(long, env = "AGENTS_SERVICE_URL", value_name = "AGENTS_SERVICE_URL", default_value = "http://localhost:7014", value_parser = http_url)]
    pub agents_service_url: Url,
    /// Bearer token for it
    #[arg(long, env = "AGENTS_TOKEN", value_name = "AGENTS_TOKEN", hide_env_values = true)]
    pub agents_token: Option<String>,
    /// The microDAO service
    #[arg(long, env = "MICRODAO_SERVICE_URL", value_name = "MICRODAO_SERVICE_URL", default_value = "http://localhost:7015", value_parser = http_url)]
    pub microdao_service_url: Url,
    /// Bearer token for it
    #[arg(long, env = "MICRODAO_TOKEN", value_name = "MICRODAO_TOKEN", hide_env_values = true)]
    pub microdao_token: Option<String>,
    /// The DAO service
    #[arg(long, env = "DAO_SERVICE_URL", value_name = "DAO_SERVICE_URL", default_value = "http://localhost:7016", value_parser = http_url)]
    pub dao_service_url: Url,
    /// Bearer token for it
    #[arg(long, env = "DAO_TOKEN", value_name = "DAO_TOKEN", hide_env_values = true)]
    pub dao_token: Option<String>,
    /// The usage engine
    #[arg(long, env = "USAGE_ENGINE_URL", value_name = "USAGE_ENGINE_URL", default_value = "http://localhost:7013", value_parser = http_url)]
    pub usage_engine_url: Url,
    /// Bearer token for it
    #[arg(long, env = "USAGE_TOKEN", value_name = "USAGE_TOKEN", hide_env_values = true)]
    pub usage_token: Option<String>,
    /// The city service
    #[arg(long, env = "CITY_SERVICE_URL", value_name = "CITY_SERVICE_URL", default_value = "http://localhost:7001", value_parser = http_url)]
    pub city_service_url: Url,
    /// Bearer token for it
    #[arg(long, env = "CITY_TOKEN", value_name = "CITY_TOKEN", hide_env_values = true)]
    pub city_token: Option<String>,
    /// The space service
    #[arg(long, env = "SPACE_SERVICE_URL", value_name = "SPACE_SERVICE_URL", default_value = "http://localhost:7002", value_parser = http_url)]
    pub space_service_url: Url,
    /// Bearer token for it
    #[arg(long, env = "SPACE_TOKEN", value_name = "SPACE_TOKEN", hide_env_values = true)]
    pub space_token: Option<String>,

    /// Seconds between two polls of an upstream
    #[arg(long = "sync-interval-seconds", env = "SYNC_INTERVAL_SECONDS", value_name = "SYNC_INTERVAL_SECONDS", default_value = "15", value_parser = seconds)]
    pub sync_interval: Duration,

    /// Seconds that one call to an upstream may take, its body included
    #[arg(long = "upstream-timeout-seconds", env = "UPSTREAM_TIMEOUT_SECONDS", value_name = "UPSTREAM_TIMEOUT_SECONDS", default_value = "5", value_parser = seconds)]
    pub upstream_timeout: Duration,

    /// The largest answer taken from an upstream, in bytes
    #[arg(long, env = "UPSTREAM_MAX_BYTES", value_name = "UPSTREAM_MAX_BYTES", default_value_t = 16 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub upstream_max_bytes: usize,
}

impl Upstreams {
    /// The variables of a service's address and token.
    #[must_use]
    pub const fn variables(service: Service) -> [&'static str; 2] {
        match service {
            Service::Agents => ["AGENTS_SERVICE_URL", "AGENTS_TOKEN"],
            Service::Microdao => ["MICRODAO_SERVICE_URL", "MICRODAO_TOKEN"],
            Service::Dao => ["DAO_SERVICE_URL", "DAO_TOKEN"],
            Service::Usage => ["USAGE_ENGINE_URL", "USAGE_TOKEN"],
            Service::City => ["CITY_SERVICE_URL", "CITY_TOKEN"],
            Service::Space => ["SPACE_SERVICE_URL", "SPACE_TOKEN"],
        }
    }

    /// A service's address and token.
    #[must_use]
    pub fn of(&self, service: Service) -> (&Url, Option<&str>) {
        match service {
            Service::Agents => (&self.agents_service_url, self.agents_token.as_deref()),
            Service::Microdao => (&self.microdao_service_url, self.microdao_token.as_deref()),
            Service::Dao => (&self.dao_service_url, self.dao_token.as_deref()),
            Service::Usage => (&self.usage_engine_url, self.usage_token.as_deref()),
            Service::City => (&self.city_service_url, self.city_token.as_deref()),
            Service::Space => (&self.space_service_url, self.space_token.as_deref()),
        }
    }
}
