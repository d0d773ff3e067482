//! How much of what somebody may have, by address and by token.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::Extensions;
use axum::http::HeaderMap;
use metrics::counter;

use super::error::Problem;
use crate::access::address::{self, Networks};
use crate::access::rate::{Limiter, Rate};
use crate::access::{Caller, Identity};

/// The header in which proxies say whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a request comes from, in its extensions.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The client's address.
    pub address: IpAddr,
    /// Who it is; none where nobody is asked.
    pub caller: Option<Caller>,
}

impl Visitor {
    /// Of a request that passed the gate; one that did not, which only tests make, is from nowhere.
    pub fn of(extensions: &Extensions) -> Self {
        let nowhere = Self { address: Ipv4Addr::UNSPECIFIED.into(), caller: None };
        extensions.get().cloned().unwrap_or(nowhere)
    }

    /// Whether it gets only what everybody may see.
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.caller, Some(Caller::Anonymous))
    }

    /// Who it is, where that was asked.
    pub fn identity(&self) -> Option<&Identity> {
        self.caller.as_ref().and_then(Caller::identity)
    }
}

/// What rates there are; none is no limit. Each holds for every address, and once more for every token.
#[derive(Debug, Clone, Default)]
pub struct LimitsConfig {
    /// Requests, but for those that publish.
    pub requests: Option<Rate>,
    /// Published events; a request that publishes is at least one.
    pub events: Option<Rate>,
    /// Requests with a token that is not taken, by address only.
    pub auth_failures: Option<Rate>,
    /// Addresses that no limit by address holds for.
    pub unlimited: Networks,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
}

/// Who has had how much.
#[derive(Debug, Default)]
pub struct Limits {
    requests: Option<Limiter>,
    events: Option<Limiter>,
    auth_failures: Option<Limiter>,
    unlimited: Networks,
    trusted_proxies: Networks,
}

/// Whom a limit is counted for.
#[derive(Hash)]
enum Key<'a> {
    Address(IpAddr),
    Token(&'a str),
}

impl Limits {
    /// Nobody has had anything yet.
    #[must_use]
    pub fn new(config: LimitsConfig) -> Self {
        Self {
            requests: config.requests.map(Limiter::new),
            events: config.events.map(Limiter::new),
            auth_failures: config.auth_failures.map(Limiter::new),
            unlimited: config.unlimited,
            trusted_proxies: config.trusted_proxies,
        }
    }

    /// The address of the client of a request.
    pub(super) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        // of several headers the last one was written last
        let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
        address::client(peer, forwarded, &self.trusted_proxies)
    }

    /// One more request of this address.
    pub(super) fn request_from(&self, address: IpAddr, publishes: bool) -> Result<(), Problem> {
        let (limiter, limit) = self.requests(publishes, false);
        self.by_address(limiter, address, 1, limit)
    }

    /// One more request with this token.
    pub(super) fn request_by(&self, identity: &Identity, publishes: bool) -> Result<(), Problem> {
        let (limiter, limit) = self.requests(publishes, true);
        by_token(limiter, identity, 1, limit)
    }

    const fn requests(&self, publishes: bool, by_token: bool) -> (Option<&Limiter>, &'static str) {
        match (publishes, by_token) {
            (false, false) => (self.requests.as_ref(), "requests_address"),
            (false, true) => (self.requests.as_ref(), "requests_token"),
            (true, false) => (self.events.as_ref(), "events_address"),
            (true, true) => (self.events.as_ref(), "events_token"),
        }
    }

    /// The events of a request that publishes, of which the first was counted with it.
    pub(super) fn events(&self, visitor: &Visitor, count: usize) -> Result<(), Problem> {
        let more = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let limiter = self.events.as_ref();
        if let Some(identity) = visitor.identity() {
            by_token(limiter, identity, more, "events_token")?;
        }
        self.by_address(limiter, visitor.address, more, "events_address")
    }

    /// Whether this address may show one more token.
    pub(super) fn may_try(&self, address: IpAddr) -> Result<(), Problem> {
        if self.unlimited.contains(address) {
            return Ok(());
        }
        let verdict = self.auth_failures.as_ref().map_or(Ok(()), |limiter| limiter.look(&key_of(address)));
        verdict.map_err(|wait| too_many("auth_failures", wait))
    }

    /// It showed one that was not taken.
    pub(super) fn failed(&self, address: IpAddr) {
        if let Some(limiter) = &self.auth_failures
            && !self.unlimited.contains(address)
        {
            // who comes at the same time may be one too many, and is not to be told so twice
            let _ = limiter.take(&key_of(address), 1);
        }
    }

    fn by_address(
        &self,
        limiter: Option<&Limiter>,
        address: IpAddr,
        count: u32,
        limit: &'static str,
    ) -> Result<(), Problem> {
        let Some(limiter) = limiter.filter(|_| !self.unlimited.contains(address)) else { return Ok(()) };
        limiter.take(&key_of(address), count).map_err(|wait| too_many(limit, wait))
    }
}

fn by_token(limiter: Option<&Limiter>, identity: &Identity, count: u32, limit: &'static str) -> Result<(), Problem> {
    let Some(limiter) = limiter else { return Ok(()) };
    limiter.take(&Key::Token(&identity.name), count).map_err(|wait| too_many(limit, wait))
}

fn key_of(address: IpAddr) -> Key<'static> {
    Key::Address(address::party(address))
}

/// Counts what was refused for its size, number or rate. `limit` is from a closed set.
pub fn refused(limit: &'static str) {
    counter!("living_map_limits_refused_total", "limit" => limit).increment(1);
}

fn too_many(limit: &'static str, wait: Duration) -> Problem {
    refused(limit);
    let what = match limit {
        "requests_address" => "this address sends more requests than it may",
        "requests_token" => "more requests come with this token than may",
        "events_address" => "this address publishes more events than it may",
        "events_token" => "more events are published with this token than may",
        _ => "too many tokens that are not known came from this address",
    };
    Problem::too_many(what, wait)
}
