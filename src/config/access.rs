//! Who may do what: what tokens are checked with.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Auth;
use super::value::seconds;

/// Who may do what.
#[derive(Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// API tokens, as lines of `living-map token` separated by commas
    #[arg(long, env = "AUTH_TOKENS", value_name = "AUTH_TOKENS", value_delimiter = ',', hide_env_values = true)]
    pub auth_tokens: Vec<String>,

    /// A file of such lines; empty ones and those that begin with # are passed over. Read at the start
    #[arg(long, env = "AUTH_TOKENS_FILE", value_name = "AUTH_TOKENS_FILE")]
    pub auth_tokens_file: Option<PathBuf>,

    /// The secret of tokens signed with HS256, at least 32 bytes
    #[arg(long, env = "JWT_SECRET", value_name = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,

    /// The issuer's public keys (a JSON Web Key Set), a file or an address, for RS256, ES256 and `EdDSA`
    #[arg(long, env = "JWT_JWKS", value_name = "JWT_JWKS", hide_env_values = true)]
    pub jwt_jwks: Option<String>,

    /// Seconds after which the keys are read anew; a token that names an unknown key asks for it sooner
    #[arg(long = "jwt-jwks-refresh-seconds", env = "JWT_JWKS_REFRESH_SECONDS", value_name = "JWT_JWKS_REFRESH_SECONDS", default_value = "300", value_parser = seconds)]
    pub jwt_jwks_refresh: Duration,

    /// Audiences of which a token must have one, separated by commas; any when unset
    #[arg(long, env = "JWT_AUDIENCE", value_name = "JWT_AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// The issuer that a token must have; any when unset
    #[arg(long, env = "JWT_ISSUER", value_name = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,

    /// Seconds that clocks may be apart
    #[arg(long, env = "JWT_LEEWAY_SECONDS", value_name = "JWT_LEEWAY_SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(0..=600))]
    pub jwt_leeway_seconds: u64,

    /// The claim with the role, or with a list that has it; through objects with dots (`realm_access.roles`)
    #[arg(long, env = "JWT_ROLE_CLAIM", value_name = "JWT_ROLE_CLAIM", default_value = "role")]
    pub jwt_role_claim: String,

    /// The key of tickets for streams, at least 32 bytes, the same on all servers of a load balancer. Random when unset: a
    /// ticket is good on the server that gave it
    #[arg(long, env = "TICKET_KEY", value_name = "TICKET_KEY", hide_env_values = true)]
    pub ticket_key: Option<String>,

    /// What those without a token may see, where tokens are asked for
    #[arg(long, env = "PUBLIC", value_name = "PUBLIC", default_value = "nothing")]
    pub public: Public,
}

/// What those without a token may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Public {
    /// Nothing but health and the page
    Nothing,
    /// The layers' own figures, without items
    Snapshot,
}

impl Access {
    /// What no single setting can be refused for.
    ///
    /// # Errors
    /// Names the variable and what was expected.
    pub fn check(&self, auth: Option<Auth>) -> Result<(), String> {
        let tokens = !self.auth_tokens.is_empty() || self.auth_tokens_file.is_some();
        let jwt = self.jwt_secret.is_some() || self.jwt_jwks.is_some();
        match auth {
            None if tokens || jwt => {
                Err("tokens are set, and AUTH is not. Say AUTH=token or AUTH=jwt, or AUTH=none to ask for none".into())
            }
            Some(Auth::Token) if !tokens => {
                Err("AUTH=token needs AUTH_TOKENS or AUTH_TOKENS_FILE; `living-map token` makes a token".into())
            }
            Some(Auth::Jwt) if self.jwt_secret.is_some() == self.jwt_jwks.is_some() => {
                Err("AUTH=jwt needs either JWT_SECRET or JWT_JWKS".into())
            }
            _ if self.ticket_key.as_ref().is_some_and(|key| key.len() < 32) => {
                Err("TICKET_KEY: expected at least 32 bytes".into())
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Access {
    // secrets
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("public", &self.public).finish_non_exhaustive()
    }
}
