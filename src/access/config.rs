//! Configuration of authentication.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, ValueHint};

use super::ticket::TicketConfig;
use crate::config::defaults;
use crate::config::value::seconds;

/// Authentication scheme, tokens and keys.
#[derive(Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessConfig {
    /// Authentication: `none` accepts everybody who can reach the server, `token` requires an API token, `jwt` a JSON Web
    /// Token. Required when `BIND` is not a loopback address.
    #[arg(id = "AUTH", env, long = "auth")]
    pub auth: Option<Auth>,
    /// API tokens, as lines of `living-map token`, separated by commas.
    #[arg(id = "AUTH_TOKENS", env, long = "auth-tokens", value_delimiter = ',', hide_env_values = true)]
    pub tokens: Vec<String>,
    /// File of such lines, read at the start; empty lines and lines that begin with # are ignored.
    #[arg(id = "AUTH_TOKENS_FILE", env, long = "auth-tokens-file")]
    pub tokens_file: Option<PathBuf>,
    /// Secret of tokens signed with HS256, at least 32 bytes.
    #[arg(id = "JWT_SECRET", env, long = "jwt-secret", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// The issuer's public keys (JSON Web Key Set) for RS256, ES256 and `EdDSA`: a file or a URL.
    #[arg(id = "JWT_JWKS", env, long = "jwt-jwks", hide_env_values = true, value_hint = ValueHint::AnyPath)]
    pub jwt_jwks: Option<String>,
    /// File with certificate authorities (PEM) of the issuer, beside those of the system. Read at the start.
    #[arg(id = "JWT_JWKS_CA_FILE", env, long = "jwt-jwks-ca-file", value_hint = ValueHint::FilePath)]
    pub jwt_jwks_ca_file: Option<PathBuf>,
    /// Seconds between two refreshes of the keys; a token that names an unknown key causes one sooner, at most every 10 s.
    #[arg(id = "JWT_JWKS_REFRESH_SECONDS", env, long = "jwt-jwks-refresh-seconds", default_value = "300",
        value_parser = seconds)]
    pub jwt_jwks_refresh: Duration,
    /// Accepted audiences, separated by commas; a token must have one of them. Unset: any.
    #[arg(id = "JWT_AUDIENCE", env, long = "jwt-audience", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
    /// Accepted issuer. Unset: any.
    #[arg(id = "JWT_ISSUER", env, long = "jwt-issuer")]
    pub jwt_issuer: Option<String>,
    /// Accepted difference of clocks, in seconds.
    #[arg(id = "JWT_LEEWAY_SECONDS", env, long = "jwt-leeway-seconds", default_value = "30",
        value_parser = clap::value_parser!(u64).range(0..=600).map(Duration::from_secs))]
    pub jwt_leeway: Duration,
    /// Claim with the role: a text or a list; in nested objects with dots (`realm_access.roles`).
    #[arg(id = "JWT_ROLE_CLAIM", env, long = "jwt-role-claim", default_value = "role")]
    pub jwt_role_claim: String,
    /// Tickets for streams.
    #[command(flatten)]
    pub tickets: TicketConfig,
    /// Access without a token, where tokens are required.
    #[arg(id = "PUBLIC", env, long = "public", default_value = "nothing")]
    pub public: Public,
}

/// Authentication scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Everybody who can reach the server may use all of it
    None,
    /// Callers need an API token of the list
    Token,
    /// Callers need a JSON Web Token of the issuer
    Jwt,
}

/// Access without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Public {
    /// Only health and the page
    Nothing,
    /// The layers' totals, without items
    Snapshot,
}

impl AccessConfig {
    /// Checks the scheme against the tokens and keys that are set.
    ///
    /// # Errors
    /// Names the variable and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let tokens = !self.tokens.is_empty() || self.tokens_file.is_some();
        let jwt = self.jwt_secret.is_some() || self.jwt_jwks.is_some();
        match self.auth {
            None if tokens || jwt => {
                Err("tokens are set, and AUTH is not set. Set AUTH=token or AUTH=jwt, or AUTH=none to require no token"
                    .into())
            }
            Some(Auth::Token) if !tokens => {
                Err("AUTH=token needs AUTH_TOKENS or AUTH_TOKENS_FILE; `living-map token` makes a token".into())
            }
            Some(Auth::Jwt) if self.jwt_secret.is_some() == self.jwt_jwks.is_some() => {
                Err("AUTH=jwt needs either JWT_SECRET or JWT_JWKS".into())
            }
            _ if self.tickets.key.as_ref().is_some_and(|key| key.len() < 32) => {
                Err("TICKET_KEY: expected at least 32 bytes".into())
            }
            _ => Ok(()),
        }
    }
}

impl Default for AccessConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for AccessConfig {
    // secrets
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessConfig").field("auth", &self.auth).field("public", &self.public).finish_non_exhaustive()
    }
}
