//! Who somebody is, and what they may do: API tokens, JSON Web Tokens, and tickets for a stream.
//!
//! This room reads credentials and says whose they are. Which route wants which role is `http`'s; when a stream ends
//! because a token did, `stream`'s. Nothing here keeps or shows a token: only hashes, public keys and one secret, which has
//! no `Debug` form.

pub mod address;
pub mod rate;
pub mod ticket;

mod jwks;
mod jwt;
mod role;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use jwks::{KeySource, KeysStatus};
pub use jwt::{JwtConfig, Verification};
pub use role::{Role, UnknownRole};
pub use ticket::{Ticket, TicketConfig};
pub use tokens::{InvalidTokens, NewToken, Tokens};

use crate::journal::Journal;
use jwks::Keys;
use jwt::Jwt;
use ticket::Tickets;

/// The longest credential that is looked at, in bytes. RS256 tokens of common issuers have one to three thousand.
const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// The longest name of somebody, in bytes; the rest is cut off.
const MAX_NAME_BYTES: usize = 128;

/// Somebody who showed a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The API token's name, or the JSON Web Token's subject.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// Until when; none for API tokens, which are good until they are taken out.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    fn new(name: &str, role: Role, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { name: name[..name.floor_char_boundary(MAX_NAME_BYTES)].into(), role, expires_at }
    }
}

/// Who sent a request, where that is asked at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a credential, on a route that takes them.
    Anonymous,
    /// Somebody known.
    Known(Identity),
}

impl Caller {
    /// Who it is, if that is known.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }
}

/// Why a credential is not taken. What it says is for whoever sent it, and never has the credential in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// None was sent.
    #[error("expected 'Authorization: Bearer …' with a token of this server")]
    Missing,
    /// What was sent is none.
    #[error("the token cannot be read")]
    Malformed,
    /// Nobody here made it.
    #[error("the token is not known, or its signature is not right")]
    Unknown,
    /// It was good.
    #[error("the token has expired")]
    Expired,
    /// It will be good.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is for somebody else, or of somebody else.
    #[error("the token is not for this server: its audience or issuer is another")]
    WrongRecipient,
    /// It says who somebody is, not what they may do here.
    #[error("the token gives no role here")]
    NoRole,
    /// The ticket was used before, is too old, or is none.
    #[error("the ticket is not known, was used already, or has expired; get another one")]
    Ticket,
    /// The issuer's keys are away.
    #[error("the keys that tokens are checked with are not available right now")]
    KeysUnavailable,
}

impl Denied {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::WrongRecipient => "elsewhere",
            Self::NoRole => "no_role",
            Self::Ticket => "ticket",
            Self::KeysUnavailable => "keys_away",
        }
    }
}

/// What tokens are taken.
#[derive(Debug)]
pub enum Scheme {
    /// Those of a list.
    Tokens(Tokens),
    /// Those that an issuer has signed.
    Jwt(JwtConfig),
}

/// Why tokens could not be checked with what was set.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccess {
    /// The secret can be guessed.
    #[error("expected a secret of at least 32 bytes")]
    ShortSecret,
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
}

/// Knows credentials. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    checked: Checked,
    tickets: Tickets,
}

enum Checked {
    Tokens(Tokens),
    Jwt(Box<Jwt>),
}

impl Access {
    /// Gets ready; a file of keys is read, keys of an address are not fetched yet.
    ///
    /// # Errors
    /// What was set cannot work.
    pub fn new(scheme: Scheme, tickets: TicketConfig, journal: Journal) -> Result<Self, InvalidAccess> {
        let checked = match scheme {
            Scheme::Tokens(tokens) => Checked::Tokens(tokens),
            Scheme::Jwt(config) => Checked::Jwt(Box::new(Jwt::new(config, journal)?)),
        };
        Ok(Self(Arc::new(Inner { checked, tickets: Tickets::new(tickets) })))
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, Denied> {
        if token.is_empty() || token.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::Malformed);
        }
        match &self.0.checked {
            Checked::Tokens(tokens) => tokens.find(token).ok_or(Denied::Unknown),
            Checked::Jwt(jwt) => jwt.authenticate(token).await,
        }
    }

    /// A ticket for somebody, good for one stream that begins soon.
    ///
    /// # Errors
    /// As many are outstanding as there may be; when the next one ends.
    pub fn ticket(&self, identity: &Identity) -> Result<Ticket, Duration> {
        self.0.tickets.issue(identity, Utc::now())
    }

    /// Whose ticket it is; it is used up by that.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn redeem(&self, ticket: &str) -> Result<Identity, Denied> {
        if ticket.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::Ticket);
        }
        self.0.tickets.redeem(ticket, Utc::now())
    }

    /// How the issuer's keys are; none where there are none to fetch.
    #[must_use]
    pub fn keys(&self) -> Option<KeysStatus> {
        self.keyring().map(Keys::status)
    }

    /// Keeps the issuer's keys current until `stop`.
    pub async fn keep_keys(self, stop: tokio_util::sync::CancellationToken) {
        match self.keyring() {
            Some(keys) => keys.keep(stop).await,
            None => stop.cancelled().await,
        }
    }

    fn keyring(&self) -> Option<&Keys> {
        match &self.0.checked {
            Checked::Tokens(_) => None,
            Checked::Jwt(jwt) => jwt.keys(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}
