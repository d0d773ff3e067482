//! All settings: the configuration structs of the modules in one, and the values that follow from several of them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Command, ValueEnum};
use percent_encoding::percent_decode_str;
use tracing_subscriber::EnvFilter;

use crate::access::shares::QueueConfig;
use crate::access::{AccessConfig, Auth, Public};
use crate::alerts::AlertingConfig;
use crate::bus::{ExtraSubjects, StreamsConfig};
use crate::config;
use crate::config::value::whole_seconds;
use crate::dead_letters::{Archive, DeadLetterConfig, RetryConfig};
use crate::demo::DemoConfig;
use crate::history::StorageConfig;
use crate::http::ServingConfig;
use crate::journal::{Journal, JournalConfig, StoreLocation};
use crate::learner::LearningConfig;
use crate::lease::LeaseConfig;
use crate::live::IngestConfig;
use crate::log::BridgeConfig;
use crate::model::Compatibility;
use crate::model::subject::{MAP_SUBJECTS, Pattern};
use crate::stream::StreamConfig;
use crate::sync::UpstreamSyncConfig;
use crate::telemetry::{self, TelemetryConfig};
use crate::webhooks::WebhookDispatcherConfig;

/// Name of the journal's folder where `JOURNAL_URL` is not set.
pub const JOURNAL_FOLDER: &str = "living-map-journal";

/// All settings of the server.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Addresses to listen on.
    #[command(flatten)]
    pub listen: ListenConfig,
    /// Clients of the service that this one replaces.
    #[command(flatten)]
    pub compatibility: CompatibilityConfig,
    /// Log lines.
    #[command(flatten)]
    pub logging: LoggingConfig,
    /// Authentication.
    #[command(flatten)]
    pub access: AccessConfig,
    /// The databases.
    #[command(flatten)]
    pub storage: StorageConfig,
    /// The NATS server and its streams.
    #[command(flatten)]
    pub streams: StreamsConfig,
    /// Subjects recorded by subscription.
    #[command(flatten)]
    pub bridge: BridgeConfig,
    /// Requests to the upstreams, polling.
    #[command(flatten)]
    pub upstreams: UpstreamSyncConfig,
    /// The error journal.
    #[command(flatten)]
    pub journal: JournalConfig,
    /// Messages that could not be processed.
    #[command(flatten)]
    pub dead_letters: DeadLetterConfig,
    /// Retries of failed messages.
    #[command(flatten)]
    pub retry: RetryConfig,
    /// Alert rules and webhooks.
    #[command(flatten)]
    pub alerts: AlertSettings,
    /// The current map and its past.
    #[command(flatten)]
    pub ingest: IngestConfig,
    /// Streams to clients.
    #[command(flatten)]
    pub stream: StreamConfig,
    /// Leadership.
    #[command(flatten)]
    pub lease: LeaseConfig,
    /// Shutdown.
    #[command(flatten)]
    pub shutdown: ShutdownConfig,
    /// The learner's place in this process.
    #[command(flatten)]
    pub learner_process: LearnerProcessConfig,
    /// The learner and the stream of experiences.
    #[command(flatten)]
    pub learning: LearningConfig,
    /// Requests that wait for a slot of a pool that clients share.
    #[command(flatten)]
    pub shares: QueueConfig,
    /// The HTTP server.
    #[command(flatten)]
    pub serving: ServingConfig,
    /// Traces.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// Addresses to listen on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenConfig {
    /// TCP port; 0 selects a free one, which is logged.
    #[arg(id = "PORT", env, long = "port", default_value_t = 7017)]
    pub port: u16,
    /// Address to listen on. One that is not loopback needs an explicit AUTH.
    #[arg(id = "BIND", env, long = "bind", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Address and port of a second listener that serves only `/metrics`, `/health` and `/ready`, without authentication.
    #[arg(id = "METRICS_BIND", env, long = "metrics-bind")]
    pub metrics_bind: Option<SocketAddr>,
    /// Open files kept for databases, NATS, the six services and probes. The process raises its soft limit of open files to
    /// the hard one; what is left of it bounds `MAX_CONNECTIONS` and `STREAM_MAX_CLIENTS` together.
    #[arg(id = "RESERVED_FILES", env, long = "reserved-files", default_value_t = 256,
        value_parser = RangedU64ValueParser::<usize>::new().range(64..=65_536))]
    pub reserved_files: usize,
}

impl ListenConfig {
    /// Rejects a reachable address without an explicit `AUTH`.
    ///
    /// # Errors
    /// The variable's name and what was expected.
    pub fn check(&self, auth: Option<Auth>) -> Result<(), String> {
        if self.bind.is_loopback() || auth.is_some() {
            return Ok(());
        }
        Err(format!(
            "BIND={} can be reached from other machines, and AUTH is not set. Set AUTH=token or AUTH=jwt, AUTH=none if \
             everybody who can reach the server may use it, or BIND to a loopback address such as 127.0.0.1",
            self.bind
        ))
    }
}

/// Clients of the service that this one replaces.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Listening")]
pub struct CompatibilityConfig {
    /// Clients to serve besides this service's own: with `prototype`, those of the Python `living-map-service`. The map has its
    /// fields and names as well, new rows of history have its names of services, and pages of any origin may read its routes
    /// and open its stream. The same on all servers of one log.
    #[arg(id = "COMPATIBLE", env, long = "compatible", default_value = "none")]
    pub compatible: Compatibility,
}

/// Default of `LOG_LEVEL`. Libraries that log each attempt to connect are left out: this process logs a failure once, with the
/// setting that is concerned.
const LOG_LEVEL: &str =
    "info,async_nats=warn,async_nats::connector=off,object_store=warn,rustls_platform_verifier=off,sqlx=warn";

/// Form and choice of log lines.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct LoggingConfig {
    /// Format of log lines.
    #[arg(id = "LOG_FORMAT", env, long = "log-format", default_value = "text")]
    pub format: LogFormat,
    /// Log lines that are written, as `tracing` directives (`info`, `living_map=debug,info`).
    #[arg(id = "LOG_LEVEL", env, long = "log-level", default_value = LOG_LEVEL)]
    pub level: String,
}

impl LoggingConfig {
    /// The filter of log lines.
    ///
    /// # Errors
    /// `LOG_LEVEL` is not valid.
    pub fn filter(&self) -> anyhow::Result<EnvFilter> {
        let filter = EnvFilter::try_new(&self.level).map_err(|error| {
            anyhow::anyhow!("LOG_LEVEL={}: {error}; expected directives such as living_map=debug,info", self.level)
        })?;
        // spans of traces are not for log lines, and where nothing records them they cost nothing
        Ok(filter.add_directive(format!("{}=off", telemetry::TARGET).parse()?))
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// The learner's place in this process.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Learner")]
pub struct LearnerProcessConfig {
    /// Run the learner in this server. `false` where `living-map learn` runs beside it.
    #[arg(id = "LEARNER_ENABLED", env, long = "learner-enabled", default_value_t = true, action = clap::ArgAction::Set)]
    pub enabled: bool,
    /// Port of `living-map learn`, for `/health` and `/metrics`.
    #[arg(id = "LEARNER_PORT", env, long = "learner-port", default_value_t = 9109)]
    pub port: u16,
}

/// Planned shutdown.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Cluster and shutdown")]
pub struct ShutdownConfig {
    /// Seconds that a planned shutdown may take in all; what has not ended by then is aborted. A supervisor must wait longer
    /// before it kills.
    #[arg(id = "STOP_SECONDS", env, long = "stop-seconds", default_value = "25", value_parser = whole_seconds(5, 3_600))]
    pub timeout: Duration,
}

/// Settings of `living-map alerts`, a part of all settings.
#[derive(Debug, Clone, Args)]
pub struct AlertSettings {
    /// The file of rules.
    #[command(flatten)]
    pub rules: AlertingConfig,
    /// Webhooks.
    #[command(flatten)]
    pub webhooks: WebhookDispatcherConfig,
}

/// Settings of `demo` in addition to [`Settings`].
#[derive(Debug, Clone, Args)]
pub struct DemoSettings {
    /// The simulated network.
    #[command(flatten)]
    pub network: DemoConfig,
    /// Keep the database in this file instead of a temporary one.
    #[arg(long, value_name = "FILE", help_heading = "Simulated network")]
    pub keep: Option<PathBuf>,
}

impl Settings {
    /// Problems that involve several settings: the variables' names and what was expected.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let checks = [
            self.listen.check(self.access.auth),
            self.ingest.retention.check(self.ingest.saving.interval),
            self.access.check(),
            self.check_bridge(),
            self.storage.check_learner_pooler(),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    /// Rejects a bridge beside the table log, which has no streams.
    fn check_bridge(&self) -> Result<(), String> {
        if self.bridge.subjects.is_empty() || self.streams.nats_url.is_some() {
            return Ok(());
        }
        Err("BRIDGE_SUBJECTS requires NATS_URL: its messages are received from NATS".to_owned())
    }

    /// Sets the values that follow from other settings. Calling it again changes nothing.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        self.storage.database.lease_timeout = self.lease.lasting / 5;
        if let Ok(daily) = TimeDelta::from_std(self.ingest.retention.max_age) {
            self.ingest.saving.retention.daily = daily;
        }
        self.ingest.time_travel.queue = self.shares;
        let UpstreamSyncConfig { adapters, sync } = &mut self.upstreams;
        // a list is requested before its details: one slow request must not use up the whole round
        sync.round_timeout = sync.round_timeout.max(adapters.call_timeout * 2);
        let ServingConfig { http, limits } = &self.serving;
        self.stream.allowed_origins.clone_from(&http.cors_origins);
        self.stream.unlimited = limits.unlimited.iter().copied().collect();
        self.storage.database.page_bytes = http.max_page_bytes;
        self.ingest.time_travel.batch_bytes = self.storage.database.batch_bytes;
        self.learning.experiences.batch_bytes = self.storage.database.batch_bytes;
        self.resolve_serving();
        self.resolve_compatibility();
        self.add_lesson_subject();
        self
    }

    fn resolve_serving(&mut self) {
        let ServingConfig { http, limits } = &mut self.serving;
        // proxies may have as many connections as there are
        http.unlimited = limits.unlimited.iter().chain(&limits.trusted_proxies).copied().collect();
        http.public_snapshot = self.access.public == Public::Snapshot;
        http.max_silence_minutes = self.alerts.rules.max_silence_minutes;
        http.queue = self.shares;
        // one connection remains for the server's own queries
        http.queries = usize::try_from(self.storage.database.reader_connections).unwrap_or(1).saturating_sub(1).max(1);
        // a fresh snapshot that is not available in time is answered with the newest one
        http.fresh_timeout = http.fresh_timeout.min(http.request_timeout / 2);
        // most of a shutdown is for the tasks after the requests
        http.drain_timeout = http.drain_timeout.min(self.shutdown.timeout / 3);
        if let Some(rate) = &mut limits.events {
            // after a pause, a request of the largest accepted size must be within the limit
            rate.burst = rate.burst.max(u32::try_from(http.max_batch).unwrap_or(u32::MAX));
        }
    }

    fn resolve_compatibility(&mut self) {
        let compatible = self.compatibility.compatible;
        self.upstreams.adapters.compatibility = compatible;
        self.storage.database.compatibility = compatible;
        self.serving.http.compatibility = compatible;
        self.ingest.live.compatibility = compatible;
        self.ingest.time_travel.map = self.ingest.live.map_options();
        if compatible.is_prototype() {
            self.stream.allowed_origins.push("*".to_owned());
        }
    }

    /// The log records the subject under which lessons are published.
    fn add_lesson_subject(&mut self) {
        let Some(lessons) = self.learning.learner.subject() else { return };
        let own = MAP_SUBJECTS.iter().filter_map(|own| own.parse::<Pattern>().ok());
        if !own.chain(self.streams.extra_patterns()).any(|recorded| recorded.matches(lessons)) {
            let subject = self.learning.learner.lesson_subject.clone();
            self.streams.extra_subjects.push(ExtraSubjects::Pattern(subject));
        }
    }

    /// Location of the error journal's files, and of the archive of dead letters.
    ///
    /// # Errors
    /// `JOURNAL_URL` is not a usable location, or the file `JOURNAL_CA_FILE` cannot be used.
    pub fn journal_location(&self) -> anyhow::Result<StoreLocation> {
        Ok(match &self.journal.url {
            Some(url) => {
                let authorities = self.journal.authorities().read()?;
                StoreLocation::parse(url, &authorities).context("JOURNAL_URL cannot be used")?
            }
            None => StoreLocation::folder_beside(journal_folder(&self.storage.url)),
        })
    }
}

/// The reference of all settings, `docs/configuration.md`.
#[must_use]
pub fn settings_reference() -> String {
    config::reference(&Settings::augment_args(Command::new("living-map")))
}

/// The limits among all settings, a table in `docs/limits.md`.
#[must_use]
pub fn limits_reference() -> String {
    config::limits(&Settings::augment_args(Command::new("living-map")))
}

pub fn open_journal(settings: &Settings) -> anyhow::Result<Journal> {
    Ok(Journal::new(settings.journal.clone(), Some(settings.journal_location()?)))
}

pub fn archive(settings: &Settings) -> anyhow::Result<Archive> {
    Ok(Archive::new(settings.journal_location()?, Duration::from_secs(30)))
}

/// Beside the database's file, or in the working directory where it has none.
pub fn journal_folder(database_url: &str) -> PathBuf {
    let file = database_url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let file = file.map(|path| path.split('?').next().unwrap_or(path));
    let beside = file.map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned());
    let folder = beside.as_deref().and_then(|path| Path::new(path).parent()).unwrap_or(Path::new(""));
    folder.join(JOURNAL_FOLDER)
}

#[cfg(test)]
mod tests;
