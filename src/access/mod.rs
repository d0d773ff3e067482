//! Authentication: API tokens, JSON Web Tokens, and tickets for streams; hosts and origins of requests without a token.
//!
//! This module verifies credentials and returns identities. `http` defines which role a route requires, and `stream` ends
//! a stream when its token expires. No token is stored or logged: the module holds only hashes, public keys, and one
//! secret, which has no `Debug` output.

pub mod address;
pub mod base_path;
pub mod host;
pub mod origin;
pub mod rate;
pub mod shares;
pub mod ticket;

mod config;
mod jwks;
mod jwt;
mod role;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use config::{AccessConfig, Auth, Public};
pub use jwks::{KeySource, KeysStatus};
pub use jwt::{JwtConfig, Verification};
pub use role::{Role, UnknownRole};
pub use ticket::{Ticket, TicketConfig};
pub use tokens::{InvalidTokens, NewToken, Tokens};

use crate::journal::Journal;
use jwks::Keys;
use jwt::Jwt;
use shares::PoolUse;
use ticket::Tickets;

/// Maximum length of a credential, in bytes. RS256 tokens of common issuers have 1,000 to 3,000.
const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// Maximum length of an identity's name, in bytes; longer ones are truncated.
const MAX_NAME_BYTES: usize = 128;

/// Identity that a credential proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the API token, or subject of the JSON Web Token.
    pub name: Arc<str>,
    /// Role.
    pub role: Role,
    /// Expiry; `None` for API tokens, which are valid until they are removed from the configuration.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    fn new(name: &str, role: Role, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { name: name[..name.floor_char_boundary(MAX_NAME_BYTES)].into(), role, expires_at }
    }
}

/// Sender of a request, if the server requires tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A request without a credential, on a route that does not require one.
    Anonymous,
    /// An authenticated request.
    Known(Identity),
}

impl Caller {
    /// Identity of an authenticated request.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }
}

/// Reason for the rejection of a credential. The message is sent to the client and does not contain the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request has no credential.
    #[error("expected the header 'Authorization: Bearer …' with a token for this server")]
    Missing,
    /// The credential has an invalid format.
    #[error("the token is malformed")]
    Malformed,
    /// The token's `crit` names header parameters that this server does not support.
    #[error("the token's header has 'crit': this server supports no critical header parameters")]
    Critical,
    /// Unknown token, or invalid signature.
    #[error("the token is unknown or its signature is invalid")]
    Unknown,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token's `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// Wrong audience or issuer.
    #[error("the token is not for this server: its audience or issuer does not match")]
    WrongIssuerOrAudience,
    /// The token is valid but has no role of this server.
    #[error("the token has no role of this server")]
    NoRole,
    /// The ticket is invalid, used, or expired.
    #[error("the ticket is invalid, was used already, or has expired; request a new one")]
    Ticket,
    /// The issuer's keys could not be fetched yet.
    #[error("the keys that verify tokens are unavailable")]
    KeysUnavailable,
}

impl Denied {
    /// Label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::WrongIssuerOrAudience => "elsewhere",
            Self::NoRole => "no_role",
            Self::Ticket => "ticket",
            Self::KeysUnavailable => "keys_away",
        }
    }
}

/// Authentication scheme.
#[derive(Debug)]
pub enum Scheme {
    /// API tokens of a list.
    Tokens(Tokens),
    /// JSON Web Tokens.
    Jwt(JwtConfig),
}

/// Invalid configuration of the authentication scheme.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccess {
    /// The secret is too short.
    #[error("expected a secret of at least 32 bytes")]
    ShortSecret,
    /// The keys cannot be used.
    #[error("{0}")]
    Keys(String),
}

/// Verifies credentials and issues tickets. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<AccessInner>);

struct AccessInner {
    verifier: TokenVerifier,
    tickets: Tickets,
}

enum TokenVerifier {
    Tokens(Tokens),
    Jwt(Box<Jwt>),
}

impl Access {
    /// Reads the keys if they are in a file. [`Access::keep_keys`] fetches those of a URL.
    ///
    /// # Errors
    /// The configuration is invalid.
    pub fn new(scheme: Scheme, tickets: TicketConfig, journal: Journal) -> Result<Self, InvalidAccess> {
        let verifier = match scheme {
            Scheme::Tokens(tokens) => TokenVerifier::Tokens(tokens),
            Scheme::Jwt(config) => TokenVerifier::Jwt(Box::new(Jwt::new(config, journal)?)),
        };
        Ok(Self(Arc::new(AccessInner { verifier, tickets: Tickets::new(tickets) })))
    }

    /// Verifies a token and returns its identity.
    ///
    /// # Errors
    /// The reason for the rejection.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, Denied> {
        if token.is_empty() || token.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::Malformed);
        }
        match &self.0.verifier {
            TokenVerifier::Tokens(tokens) => tokens.find(token).ok_or(Denied::Unknown),
            TokenVerifier::Jwt(jwt) => jwt.authenticate(token).await,
        }
    }

    /// Issues a ticket for one stream.
    ///
    /// # Errors
    /// Too many tickets are outstanding; returns the time until the next one expires.
    pub fn ticket(&self, identity: &Identity) -> Result<Ticket, Duration> {
        self.0.tickets.issue(identity, Utc::now())
    }

    /// Use of the pools of tickets.
    #[must_use]
    pub fn pool_usage(&self) -> [PoolUse; 2] {
        self.0.tickets.pool_usage()
    }

    /// Verifies a ticket and returns its identity. The ticket stays unused until [`Access::redeem`].
    ///
    /// # Errors
    /// The reason for the rejection.
    pub fn verify_ticket(&self, ticket: &str) -> Result<Identity, Denied> {
        if ticket.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::Ticket);
        }
        self.0.tickets.verify(ticket, Utc::now())
    }

    /// Uses up a ticket that was verified. It can be redeemed once.
    ///
    /// # Errors
    /// The ticket was redeemed or has expired in the meantime.
    pub fn redeem(&self, ticket: &str) -> Result<(), Denied> {
        self.0.tickets.redeem(ticket, Utc::now())
    }

    /// Status of the issuer's keys; `None` if the scheme has none.
    #[must_use]
    pub fn keys(&self) -> Option<KeysStatus> {
        self.issuer_keys().map(Keys::status)
    }

    /// Fetches the issuer's keys periodically until `stop`.
    pub async fn keep_keys(self, stop: tokio_util::sync::CancellationToken) {
        match self.issuer_keys() {
            Some(keys) => keys.run(stop).await,
            None => stop.cancelled().await,
        }
    }

    fn issuer_keys(&self) -> Option<&Keys> {
        match &self.0.verifier {
            TokenVerifier::Tokens(_) => None,
            TokenVerifier::Jwt(jwt) => jwt.keys(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}
