//! Where the server listens and who may come.

use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};

use super::value::origin;

/// Where the server listens and who may come.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct Listen {
    /// TCP port; 0 takes a free one and says which
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = 7017)]
    pub port: u16,

    /// Address to listen on. One that is not loopback needs AUTH said explicitly
    #[arg(long, env = "BIND", value_name = "BIND", default_value = "127.0.0.1")]
    pub bind: IpAddr,

    /// Address and port of a listener with nothing but `/metrics`, for which no token is asked: whoever reaches it reads them
    #[arg(long, env = "METRICS_BIND", value_name = "METRICS_BIND")]
    pub metrics_bind: Option<SocketAddr>,

    /// Who may use the server: `none` is everybody who can reach it, `token` whoever has an API token, `jwt` whoever has a
    /// JSON Web Token
    #[arg(long, env = "AUTH", value_name = "AUTH")]
    pub auth: Option<Auth>,

    /// Origins whose pages may read the API and open streams, beside the server's own; `*` is any
    #[arg(long, env = "ALLOWED_ORIGINS", value_name = "ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<String>,

    /// How log lines are written
    #[arg(long, env = "LOG_FORMAT", value_name = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Which log lines are written, as `tracing` directives (`info`, `living_map=debug,info`)
    #[arg(long, env = "LOG_LEVEL", value_name = "LOG_LEVEL", default_value = "info,async_nats=warn,sqlx=warn")]
    pub log_level: String,
}

/// How access is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Everybody who can reach the server may use all of it
    None,
    /// Whoever has a token of the list
    Token,
    /// Whoever has a token that the issuer signed
    Jwt,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Listen {
    /// What no single setting can be refused for.
    ///
    /// # Errors
    /// Names the variable and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if self.bind.is_loopback() || self.auth.is_some() {
            return Ok(());
        }
        Err(format!(
            "BIND={} can be reached from outside this machine, and AUTH is not set. Say AUTH=token or AUTH=jwt, \
             AUTH=none if everybody who can reach it may use it, or set BIND to a loopback address such as 127.0.0.1",
            self.bind
        ))
    }
}
