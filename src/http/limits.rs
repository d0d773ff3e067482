//! Rate limits by address and by token.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::Extensions;
use axum::http::HeaderMap;
use clap::Args;
use clap::builder::TypedValueParser;
use ipnet::IpNet;

use super::error::Problem;
use super::requester::Requester;
use crate::access::Identity;
use crate::access::address::{self, Networks};
use crate::access::base_path::BasePath;
use crate::access::origin::ForwardedAddress;
use crate::access::rate::{Limiter, Rate};
use crate::config::defaults;
use crate::config::value::network;
use crate::instruments::{Limit, count_rejected};

/// Request header in which proxies forward the client's address.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Request header in which proxies forward the host that the client addressed.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// Request header in which proxies forward the scheme that the client used.
const FORWARDED_SCHEME: &str = "x-forwarded-proto";

/// Request header in which proxies forward the path prefix that they have removed.
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// A rate limit; `None` is unlimited.
type RateLimit = Option<Rate>;

/// Rate limits. Each applies per address and, independently, per token.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitsConfig {
    /// Requests per second from one address, and with one token, as a mean of ten seconds; publishing requests are not
    /// included. 0: no limit.
    ///
    /// Beyond: answered 429, counted as `requests_address` or `requests_token`.
    #[arg(id = "REQUESTS_PER_SECOND", env, long = "requests-per-second", default_value = "1000",
        value_parser = clap::value_parser!(u32).map(per_second))]
    pub requests: RateLimit,
    /// Events published per second from one address, and with one token, as a mean of ten seconds; a publishing request is
    /// at least one. 0: no limit.
    ///
    /// Beyond: answered 429, counted as `events_address` or `events_token`.
    #[arg(id = "PUBLISHED_PER_SECOND", env, long = "published-per-second", default_value = "10000",
        value_parser = clap::value_parser!(u32).map(per_second))]
    pub events: RateLimit,
    /// Rejected tokens per minute from one address; above it further ones are answered 429 instead of 401. Requests with a
    /// valid token are not counted. 0: no limit.
    ///
    /// Beyond: answered 429, counted as `auth_failures`.
    #[arg(id = "AUTH_FAILURES_PER_MINUTE", env, long = "auth-failures-per-minute", default_value = "60",
        value_parser = clap::value_parser!(u32).map(per_minute))]
    pub auth_failures: RateLimit,
    /// Addresses and networks without limits of rate and number by address, separated by commas. They share pools like others.
    #[arg(id = "UNLIMITED_ADDRESSES", env, long = "unlimited-addresses", default_value = "127.0.0.0/8,::1",
        value_delimiter = ',', value_parser = network)]
    pub unlimited: Vec<IpNet>,
    /// Proxies whose `X-Forwarded-For` names the client, separated by commas. Unset: all clients of a proxy share its
    /// address. Their `X-Forwarded-Host` and `X-Forwarded-Proto` count as the address of the page, and
    /// `X-Forwarded-Prefix` as `BASE_PATH`.
    #[arg(id = "TRUSTED_PROXIES", env, long = "trusted-proxies", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Seconds over which a rate per second is a mean: so many seconds' worth are accepted at once after a pause.
const MEAN_SECONDS: u32 = 10;

fn per_second(number: u32) -> RateLimit {
    (number > 0).then(|| Rate { per_second: number.into(), burst: number.saturating_mul(MEAN_SECONDS) })
}

fn per_minute(number: u32) -> RateLimit {
    (number > 0).then(|| Rate { per_second: f64::from(number) / 60.0, burst: number })
}

/// The last of a header's values, which is from the nearest proxy.
fn last_value(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get_all(name).iter().next_back()?.as_bytes());
    Some(value.rsplit(',').next().unwrap_or_default().trim().to_owned())
}

/// Rate limiters and the address rules.
#[derive(Debug, Default)]
pub struct Limits {
    requests: Option<Limiter>,
    events: Option<Limiter>,
    auth_failures: Option<Limiter>,
    unlimited: Networks,
    trusted_proxies: Networks,
}

/// Key by which requests are counted.
#[derive(Hash)]
enum Key<'a> {
    Address(IpAddr),
    Token(&'a str),
}

impl Limits {
    /// Limiters without any request counted.
    #[must_use]
    pub fn new(config: LimitsConfig) -> Self {
        Self {
            requests: config.requests.map(Limiter::new),
            events: config.events.map(Limiter::new),
            auth_failures: config.auth_failures.map(Limiter::new),
            unlimited: config.unlimited.into_iter().collect(),
            trusted_proxies: config.trusted_proxies.into_iter().collect(),
        }
    }

    /// Client address of a request: the peer's, or the one that a trusted proxy forwards.
    pub(super) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        // of several headers the last one is from the nearest proxy
        let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
        address::client_address(peer, forwarded, &self.trusted_proxies)
    }

    /// Address that the client used, as a trusted proxy forwards it; `None` from any other peer.
    pub(super) fn forwarded_address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<ForwardedAddress> {
        if !self.is_trusted(extensions) {
            return None;
        }
        let scheme = last_value(headers, FORWARDED_SCHEME).map(|scheme| scheme.to_ascii_lowercase());
        Some(ForwardedAddress { host: last_value(headers, FORWARDED_HOST), scheme })
    }

    /// Path prefix under which the client sees this server, as a trusted proxy forwards it. An invalid one counts as none.
    pub(super) fn forwarded_prefix(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<BasePath> {
        let prefix = last_value(headers, FORWARDED_PREFIX).filter(|_| self.is_trusted(extensions))?;
        prefix.parse().ok()
    }

    fn is_trusted(&self, extensions: &Extensions) -> bool {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        peer.is_some_and(|ConnectInfo(peer)| self.trusted_proxies.contains(peer.ip().to_canonical()))
    }

    /// Counts a request of this address.
    ///
    /// # Errors
    /// 429: the limit is exceeded.
    pub(super) fn count_request_of_address(&self, address: IpAddr, publishes: bool) -> Result<(), Problem> {
        let (limiter, limit) = self.request_limiter(publishes, false);
        self.take_by_address(limiter, address, 1, limit)
    }

    /// Counts a request with this token.
    ///
    /// # Errors
    /// 429: the limit is exceeded.
    pub(super) fn count_request_of_token(&self, identity: &Identity, publishes: bool) -> Result<(), Problem> {
        let (limiter, limit) = self.request_limiter(publishes, true);
        take_by_token(limiter, identity, 1, limit)
    }

    const fn request_limiter(&self, publishes: bool, by_token: bool) -> (Option<&Limiter>, Limit) {
        match (publishes, by_token) {
            (false, false) => (self.requests.as_ref(), Limit::RequestsAddress),
            (false, true) => (self.requests.as_ref(), Limit::RequestsToken),
            (true, false) => (self.events.as_ref(), Limit::EventsAddress),
            (true, true) => (self.events.as_ref(), Limit::EventsToken),
        }
    }

    /// Counts the events of a publishing request. The first event was counted with the request.
    ///
    /// # Errors
    /// 429: the limit is exceeded.
    pub(super) fn count_events(&self, requester: &Requester, count: usize) -> Result<(), Problem> {
        let more = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let limiter = self.events.as_ref();
        if let Some(identity) = requester.identity() {
            take_by_token(limiter, identity, more, Limit::EventsToken)?;
        }
        self.take_by_address(limiter, requester.address, more, Limit::EventsAddress)
    }

    /// Counts a rejected token from this address.
    ///
    /// # Errors
    /// 429: the limit is exceeded.
    pub(super) fn count_auth_failure(&self, address: IpAddr) -> Result<(), Problem> {
        self.take_by_address(self.auth_failures.as_ref(), address, 1, Limit::AuthFailures)
    }

    fn take_by_address(
        &self,
        limiter: Option<&Limiter>,
        address: IpAddr,
        count: u32,
        limit: Limit,
    ) -> Result<(), Problem> {
        let Some(limiter) = limiter.filter(|_| !self.unlimited.contains(address)) else { return Ok(()) };
        limiter.take(&key_of(address), count).map_err(|wait| too_many(limit, wait))
    }
}

fn take_by_token(limiter: Option<&Limiter>, identity: &Identity, count: u32, limit: Limit) -> Result<(), Problem> {
    let Some(limiter) = limiter else { return Ok(()) };
    limiter.take(&Key::Token(&identity.name), count).map_err(|wait| too_many(limit, wait))
}

fn key_of(address: IpAddr) -> Key<'static> {
    Key::Address(address::limit_key(address))
}

fn too_many(limit: Limit, wait: Duration) -> Problem {
    count_rejected(limit);
    let detail = match limit {
        Limit::RequestsAddress => "this address exceeds its request rate limit",
        Limit::RequestsToken => "this token exceeds its request rate limit",
        Limit::EventsAddress => "this address exceeds its rate limit for published events",
        Limit::EventsToken => "this token exceeds its rate limit for published events",
        _ => "too many requests with invalid tokens from this address",
    };
    Problem::too_many(detail, wait)
}
