//! Every setting of the server: an environment variable, or the flag of the same name.
//!
//! `clap` reads them, so the list in `serve --help` is the list there is, and a wrong value is refused at start with
//! the variable's name and what was expected.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use url::Url;

use crate::model::Service;
use crate::model::subject::{InvalidSubject, Pattern};

/// What `serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// The log and the record.
    #[command(flatten)]
    pub storage: Storage,
    /// Who is polled.
    #[command(flatten)]
    pub upstreams: Upstreams,
    /// Snapshot and stream.
    #[command(flatten)]
    pub streaming: Streaming,
    /// What a request may be.
    #[command(flatten)]
    pub limits: Limits,
}

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

    /// Who may use the server: `none` is everybody who can reach it
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
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The log and the record.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct Storage {
    /// The record of every event: `sqlite://<file>` or `postgres://…`. A database of the service this one replaces is
    /// adopted as it is
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "DATABASE_URL",
        default_value = "sqlite://living-map.db",
        hide_env_values = true
    )]
    pub database_url: String,

    /// The NATS server with JetStream, `nats://…`; several separated by commas. Unset: the log is a table in the
    /// database, for one server alone
    #[arg(long, env = "NATS_URL", value_name = "NATS_URL", hide_env_values = true)]
    pub nats_url: Option<String>,

    /// Subjects to record beside those of the map, patterns separated by commas (`chat.message.*,task.>`)
    #[arg(long, env = "EXTRA_SUBJECTS", value_name = "EXTRA_SUBJECTS", value_delimiter = ',', value_parser = pattern)]
    pub extra_subjects: Vec<Pattern>,

    /// Days for which history is kept
    #[arg(long, env = "HISTORY_RETENTION_DAYS", value_name = "HISTORY_RETENTION_DAYS", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub history_retention_days: u32,

    /// Connections to the database for reading
    #[arg(long, env = "DATABASE_READERS", value_name = "DATABASE_READERS", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=200))]
    pub database_readers: u32,
}

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

/// Snapshot and stream.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct Streaming {
    /// Milliseconds for which the bytes of a snapshot are served before they are built anew
    #[arg(long, env = "SNAPSHOT_INTERVAL_MS", value_name = "SNAPSHOT_INTERVAL_MS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub snapshot_interval_ms: u64,

    /// Events kept in memory for clients that resume or lag
    #[arg(long, env = "STREAM_RING_EVENTS", value_name = "STREAM_RING_EVENTS", default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(16..))]
    pub stream_ring_events: u32,

    /// Bytes that those events may take
    #[arg(long, env = "STREAM_RING_BYTES", value_name = "STREAM_RING_BYTES", default_value_t = 64 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub stream_ring_bytes: usize,

    /// Streaming clients at one time; the next one is answered 503
    #[arg(long, env = "STREAM_MAX_CLIENTS", value_name = "STREAM_MAX_CLIENTS", default_value_t = 50_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub stream_max_clients: usize,

    /// Seconds for which a streaming client may take nothing before it is closed
    #[arg(long = "stream-stall-seconds", env = "STREAM_STALL_SECONDS", value_name = "STREAM_STALL_SECONDS", default_value = "30", value_parser = seconds)]
    pub stream_stall: Duration,
}

/// What a request may be.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The largest request body, in bytes
    #[arg(long, env = "MAX_BODY_BYTES", value_name = "MAX_BODY_BYTES", default_value_t = 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub max_body_bytes: usize,

    /// The most events in one POST
    #[arg(long, env = "MAX_BATCH_EVENTS", value_name = "MAX_BATCH_EVENTS", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_batch_events: usize,

    /// Entities that events may bring to the map; beyond, events about new ones are recorded and change nothing, and
    /// only what the services list is taken in. The same for all servers of one log
    #[arg(long, env = "MAX_ENTITIES", value_name = "MAX_ENTITIES", default_value_t = 200_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    pub max_entities: usize,

    /// Seconds that a request may take
    #[arg(long = "request-timeout-seconds", env = "REQUEST_TIMEOUT_SECONDS", value_name = "REQUEST_TIMEOUT_SECONDS", default_value = "30", value_parser = seconds)]
    pub request_timeout: Duration,
}

/// What `demo` can be told beside the settings of `serve`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Simulated network")]
pub struct DemoSettings {
    /// Agents in the simulated network
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// Nodes
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub nodes: u32,
    /// MicroDAOs
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub microdaos: u32,
    /// Events per second
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub events_per_second: u32,
    /// Runs with one seed are alike
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// An upstream that misbehaves: `<service>=slow`, `=down` or `=garbage`; may be given several times
    #[arg(long = "fault", value_name = "SERVICE=FAULT")]
    pub faults: Vec<String>,
    /// Keep the database in this file instead of a temporary one
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
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
            "BIND={} can be reached from outside this machine, and AUTH is not set. Say AUTH=none if everybody who can \
             reach it may use it, or set BIND to a loopback address such as 127.0.0.1",
            self.bind
        ))
    }
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

/// A whole or fractional number of seconds, from a millisecond to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| (0.001..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds from 0.001 to 86400".to_owned())
}

/// A pattern of subjects to record, without the blanks around it. One for every first token would record the requests to
/// `JetStream` too, which would answer for them: nothing could be asked of it any more.
fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text.trim().parse().map_err(|error: InvalidSubject| error.to_string())?;
    if pattern.as_str().starts_with(['*', '>']) {
        return Err("expected a pattern that begins with a name, such as task.>".to_owned());
    }
    Ok(pattern)
}

fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected an address such as http://localhost:7014".to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(text.to_owned());
    }
    let url = http_url(text).map_err(|_| "expected an origin such as https://map.example.org, or *".to_owned())?;
    match url.origin().ascii_serialization() {
        origin if origin == text.trim_end_matches('/') => Ok(origin),
        origin => Err(format!("expected an origin without a path, such as {origin}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        Command::try_parse_from([&["test"], arguments].concat())
            .map(|command| command.settings)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_name_and_what_was_expected() {
        for (arguments, name, expected) in [
            (["--port", "x"], "PORT", "invalid digit"),
            (["--port", "70000"], "PORT", "65535"),
            (["--bind", "here"], "BIND", "invalid IP address"),
            (["--auth", "some"], "AUTH", "none"),
            (["--sync-interval-seconds", "0"], "SYNC_INTERVAL_SECONDS", "a number of seconds"),
            (["--agents-service-url", "ftp://x"], "AGENTS_SERVICE_URL", "http://localhost:7014"),
            (["--extra-subjects", "a..b"], "EXTRA_SUBJECTS", "empty tokens"),
            (["--extra-subjects", ">"], "EXTRA_SUBJECTS", "begins with a name"),
            (["--extra-subjects", "*.>"], "EXTRA_SUBJECTS", "begins with a name"),
            (["--allowed-origins", "https://a.b/c"], "ALLOWED_ORIGINS", "https://a.b"),
            (["--history-retention-days", "0"], "HISTORY_RETENTION_DAYS", "1..=36500"),
            (["--upstream-max-bytes", "0"], "UPSTREAM_MAX_BYTES", "1024..="),
            (["--stream-ring-bytes", "0"], "STREAM_RING_BYTES", "65536.."),
            (["--stream-max-clients", "0"], "STREAM_MAX_CLIENTS", "1.."),
            (["--max-body-bytes", "0"], "MAX_BODY_BYTES", "1024..="),
            (["--max-batch-events", "0"], "MAX_BATCH_EVENTS", "1.."),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(name) && error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn every_setting_has_an_environment_variable_of_its_flags_name() {
        use clap::CommandFactory;
        for argument in Command::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap().replace('-', "_").to_uppercase();
            assert_eq!(argument.get_env().unwrap().to_str(), Some(flag.as_str()));
            assert!(argument.get_help().is_some(), "{flag} says nothing in --help");
        }
    }

    #[test]
    fn the_readme_has_every_setting_with_its_default() {
        use clap::CommandFactory;
        let readme = include_str!("../README.md");
        for argument in Command::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let name = argument.get_env().unwrap().to_str().unwrap();
            let row = readme.lines().find(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is not in the README's table"));
            for default in argument.get_default_values() {
                let default = format!("`{}`", default.to_str().unwrap());
                assert!(row.contains(&default), "{name}: the README does not say {default}: {row}");
            }
        }
    }

    #[test]
    fn blanks_around_the_commas_of_a_list_are_no_part_of_it() {
        let settings =
            parse(&["--extra-subjects", "task.>, chat.* ", "--allowed-origins", "http://a, http://b"]).unwrap();
        let subjects: Vec<&str> = settings.storage.extra_subjects.iter().map(Pattern::as_str).collect();
        assert_eq!(subjects, ["task.>", "chat.*"]);
        assert_eq!(settings.listen.allowed_origins, ["http://a", "http://b"]);
    }

    #[test]
    fn a_bind_that_others_can_reach_needs_auth_said() {
        assert!(parse(&["--bind", "::1"]).unwrap().listen.check().is_ok());
        let error = parse(&["--bind", "0.0.0.0"]).unwrap().listen.check().unwrap_err();
        assert!(error.contains("AUTH"), "{error}");
        assert!(parse(&["--bind", "0.0.0.0", "--auth", "none"]).unwrap().listen.check().is_ok());
    }
}
