//! Authentication and limits, from the settings.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::access::address::{AddressQuota, Networks};
use crate::access::rate::Rate;
use crate::access::{Access, JwtConfig, KeySource, Scheme, TicketConfig, Tokens, Verification};
use crate::config::{Auth, Settings};
use crate::http::LimitsConfig;
use crate::journal::Journal;
use crate::tasks::{Stage, Tasks};

/// Limit of the file of tokens, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Burst of a rate limit, in seconds of the rate: what a client may use at once after a pause.
const BURST_SECONDS: u32 = 10;

/// Token verification, with the task that refreshes its keys; none if the server requires no tokens.
///
/// # Errors
/// The tokens, the secret or the keys are invalid.
pub fn start(settings: &Settings, journal: &Journal, tasks: &mut Tasks) -> anyhow::Result<Option<Access>> {
    let access = access(settings, journal)?;
    if let Some(access) = access.clone() {
        tasks.spawn("keys", Stage::Working, |stop| access.keep_keys(stop));
    }
    Ok(access)
}

fn access(settings: &Settings, journal: &Journal) -> anyhow::Result<Option<Access>> {
    let access = &settings.access;
    access.check(settings.listen.auth).map_err(anyhow::Error::msg)?;
    let scheme = match settings.listen.auth {
        None | Some(Auth::None) => return Ok(None),
        Some(Auth::Token) => Scheme::Tokens(tokens(settings)?),
        Some(Auth::Jwt) => Scheme::Jwt(JwtConfig {
            verification: verification(settings)?,
            audience: access.jwt_audience.iter().map(|audience| audience.trim().to_owned()).collect(),
            issuer: access.jwt_issuer.clone(),
            leeway: Duration::from_secs(access.jwt_leeway_seconds),
            role_claim: access.jwt_role_claim.clone(),
        }),
    };
    let variable = if access.jwt_secret.is_some() { "JWT_SECRET" } else { "JWT_JWKS" };
    let tickets = TicketConfig { key: access.ticket_key.clone(), max: settings.limits.max_tickets };
    Access::new(scheme, tickets, journal.clone()).with_context(|| format!("{variable} cannot be used")).map(Some)
}

fn tokens(settings: &Settings) -> anyhow::Result<Tokens> {
    let access = &settings.access;
    let file = match &access.auth_tokens_file {
        Some(path) => {
            let size = std::fs::metadata(path).context("AUTH_TOKENS_FILE cannot be read")?.len();
            ensure!(size <= MAX_FILE_BYTES, "AUTH_TOKENS_FILE: expected at most {MAX_FILE_BYTES} bytes");
            std::fs::read_to_string(path).context("AUTH_TOKENS_FILE cannot be read")?
        }
        None => String::new(),
    };
    // the lines of the file come first, so that the line number in an error is that of the file
    let lines = file.lines().chain(access.auth_tokens.iter().map(String::as_str));
    Tokens::parse(lines).context("AUTH_TOKENS_FILE, and AUTH_TOKENS behind it, cannot be used")
}

fn verification(settings: &Settings) -> anyhow::Result<Verification> {
    let access = &settings.access;
    match (&access.jwt_secret, &access.jwt_jwks) {
        (None, Some(place)) => {
            let source = KeySource::parse(place).map_err(anyhow::Error::msg).context("JWT_JWKS cannot be used")?;
            Ok(Verification::Keys { source, refresh: access.jwt_jwks_refresh })
        }
        (secret, _) => Ok(Verification::Secret(secret.clone().unwrap_or_default())),
    }
}

pub fn limits_config(settings: &Settings) -> LimitsConfig {
    let limits = &settings.limits;
    let a_second = |number: u32, least: usize| {
        let burst = number.saturating_mul(BURST_SECONDS).max(u32::try_from(least).unwrap_or(u32::MAX));
        (number > 0).then(|| Rate { per_second: number.into(), burst })
    };
    let failures = limits.auth_failures_per_minute;
    LimitsConfig {
        requests: a_second(limits.requests_per_second, 1),
        // after a pause, a request of the largest accepted size must be within the limit
        events: a_second(limits.published_per_second, limits.max_batch_events),
        auth_failures: (failures > 0).then(|| Rate { per_second: f64::from(failures) / 60.0, burst: failures }),
        unlimited: unlimited(settings),
        trusted_proxies: limits.trusted_proxies.iter().copied().collect(),
    }
}

/// Quota of connections per address. Trusted proxies are unlimited.
pub fn connection_shares(settings: &Settings) -> AddressQuota {
    let unlimited = settings.limits.unlimited_addresses.iter().chain(&settings.limits.trusted_proxies);
    AddressQuota::new(settings.limits.max_connections_per_address, unlimited.copied().collect())
}

/// Quota of streams per address.
pub fn stream_shares(settings: &Settings) -> AddressQuota {
    AddressQuota::new(settings.streaming.stream_max_clients_per_address, unlimited(settings))
}

fn unlimited(settings: &Settings) -> Networks {
    settings.limits.unlimited_addresses.iter().copied().collect()
}
