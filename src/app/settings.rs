//! The settings, as each room wants them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use percent_encoding::percent_decode_str;

use super::access;
use crate::adapters::{AdaptersConfig, Endpoint, Endpoints, InvalidEndpoint, Secret};
use crate::alerts::RulesLimits;
use crate::config::{self, DemoSettings, Public, Settings};
use crate::dead_letters::{Archive, DeadLetterConfig, RetryConfig};
use crate::demo::DemoConfig;
use crate::history::HistoryConfig;
use crate::history::retention::RetentionConfig;
use crate::history::snapshots::SnapshotRetention;
use crate::http::HttpConfig;
use crate::journal::{Journal, JournalConfig, StoreLocation};
use crate::live::{ReplayConfig, SavingConfig};
use crate::model::Service;
use crate::stream::StreamConfig;
use crate::sync::SyncConfig;
use crate::webhooks::WebhookDispatcherConfig;

/// The journal's folder where none is set.
pub const JOURNAL_FOLDER: &str = "living-map-journal";

pub fn open_journal(settings: &Settings) -> anyhow::Result<Journal> {
    let place = place(settings)?;
    let config = JournalConfig {
        max_pending: settings.journal.journal_max_pending as usize,
        max_per_minute: settings.journal.journal_max_per_minute,
        flush_interval: settings.journal.journal_flush,
        max_age: Duration::from_hours(24) * settings.journal.journal_retention_days,
        ..JournalConfig::default()
    };
    Ok(Journal::new(config, Some(place)))
}

/// Where the journal's files are, and the archive's.
pub fn place(settings: &Settings) -> anyhow::Result<StoreLocation> {
    Ok(match &settings.journal.journal_url {
        Some(url) => StoreLocation::parse(url).context("JOURNAL_URL cannot be used")?,
        None => StoreLocation::folder(journal_folder(&settings.storage.database_url)),
    })
}

pub fn archive(settings: &Settings) -> anyhow::Result<Archive> {
    Ok(Archive::new(place(settings)?, Duration::from_secs(30)))
}

pub fn retry_config(settings: &Settings) -> RetryConfig {
    RetryConfig {
        delays: settings.dead_letters.dead_letter_retries.clone(),
        last_delay: Duration::from_hours(1) * settings.dead_letters.dead_letter_last_retry_hours,
    }
}

pub fn rules_limits(settings: &config::Alerts) -> RulesLimits {
    RulesLimits {
        max_rules: settings.alert_max_rules,
        max_groups: settings.alert_max_groups,
        max_webhooks: settings.alert_max_webhooks,
    }
}

pub fn dispatcher_config(settings: &config::Alerts) -> WebhookDispatcherConfig {
    WebhookDispatcherConfig {
        timeout: settings.webhook_timeout,
        retries: settings.webhook_retries.clone(),
        max_waiting: settings.webhook_max_waiting,
        kept: Duration::from_hours(settings.webhook_keep_hours.into()),
        ..WebhookDispatcherConfig::default()
    }
}

pub fn office_config(settings: &Settings) -> DeadLetterConfig {
    let settings = &settings.dead_letters;
    DeadLetterConfig {
        alert_threshold: settings.dead_letter_alert_threshold.into(),
        archive_after: Duration::from_hours(24) * settings.dead_letter_archive_days,
        ..DeadLetterConfig::default()
    }
}

/// Beside the database's file, or in the working directory where it has none.
pub fn journal_folder(database_url: &str) -> PathBuf {
    let file = database_url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let file = file.map(|path| path.split('?').next().unwrap_or(path));
    let beside = file.map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned());
    let folder = beside.as_deref().and_then(|path| Path::new(path).parent()).unwrap_or(Path::new(""));
    folder.join(JOURNAL_FOLDER)
}

pub fn history_config(settings: &Settings) -> HistoryConfig {
    HistoryConfig {
        reader_connections: settings.storage.database_readers,
        lease_timeout: settings.cluster.lease / 5,
        ..HistoryConfig::default()
    }
}

pub fn retention_config(settings: &Settings) -> RetentionConfig {
    RetentionConfig {
        rules: settings.storage.history_retention_rules.clone(),
        max_age: Duration::from_hours(24) * settings.storage.history_retention_days,
        ..RetentionConfig::default()
    }
}

pub fn saving_config(settings: &Settings) -> SavingConfig {
    let daily = TimeDelta::days(settings.storage.history_retention_days.into());
    SavingConfig {
        interval: Duration::from_mins(settings.saving.snapshot_save_minutes.into()),
        events: settings.saving.snapshot_save_events.into(),
        retention: SnapshotRetention {
            daily,
            events: settings.saving.snapshot_keep_events.into(),
            ..SnapshotRetention::default()
        },
    }
}

pub fn adapters_config(settings: &Settings, endpoints: Endpoints) -> AdaptersConfig {
    AdaptersConfig {
        endpoints,
        call_timeout: settings.upstreams.upstream_timeout,
        max_response_bytes: settings.upstreams.upstream_max_bytes,
        ..AdaptersConfig::default()
    }
}

pub fn sync_config(settings: &Settings) -> SyncConfig {
    let default = SyncConfig::default();
    // what an answer builds on comes first, then its details: one slow call must not take a whole round
    let round_timeout = default.round_timeout.max(settings.upstreams.upstream_timeout * 2);
    SyncConfig { interval: settings.upstreams.sync_interval, round_timeout, ..default }
}

pub fn stream_config(settings: &Settings) -> StreamConfig {
    StreamConfig {
        max_clients: settings.streaming.stream_max_clients,
        shares: access::stream_shares(settings),
        max_message_bytes: settings.streaming.stream_max_message_bytes,
        allowed_origins: settings.listen.allowed_origins.clone(),
        stall_timeout: settings.streaming.stream_stall,
        heartbeat_interval: settings.streaming.sse_heartbeat,
        ..StreamConfig::default()
    }
}

pub fn replay_config(settings: &Settings) -> ReplayConfig {
    ReplayConfig {
        max_events: settings.streaming.stream_replay_events,
        max_bytes: settings.streaming.stream_replay_bytes,
        concurrency: settings.streaming.stream_replay_concurrency,
        ..ReplayConfig::default()
    }
}

pub fn http_config(settings: &Settings) -> HttpConfig {
    let default = HttpConfig::default();
    let request_timeout = settings.limits.request_timeout;
    HttpConfig {
        max_connections: settings.limits.max_connections,
        connection_shares: access::connection_shares(settings),
        idle_timeout: settings.limits.idle_timeout,
        max_head_bytes: settings.limits.max_head_bytes,
        max_headers: settings.limits.max_headers,
        max_uri_bytes: settings.limits.max_uri_bytes,
        body_timeout: settings.limits.body_timeout,
        public_snapshot: settings.access.public == Public::Snapshot,
        max_body_bytes: settings.limits.max_body_bytes,
        max_batch: settings.limits.max_batch_events,
        max_silence_minutes: settings.alerts.alert_max_silence_minutes,
        request_timeout,
        // a fresh snapshot that is not to be had in time is answered with the newest there is
        fresh_timeout: default.fresh_timeout.min(request_timeout / 2),
        cors_origins: settings.listen.allowed_origins.clone(),
        // most of a stop is for what comes after the requests
        drain_timeout: default.drain_timeout.min(settings.cluster.stop / 3),
        ..default
    }
}

pub fn endpoints(settings: &Settings) -> anyhow::Result<Endpoints> {
    let mut endpoints = Endpoints::default();
    for &service in Service::ALL {
        let (url, token) = settings.upstreams.of(service);
        let endpoint = Endpoint::new(url.as_str(), token.map(Secret::new)).map_err(|error| {
            let [address, secret] = config::Upstreams::variables(service);
            let variable = if error == InvalidEndpoint::Token { secret } else { address };
            anyhow::anyhow!("{variable} cannot be used: {error}")
        })?;
        endpoints.set(service, endpoint);
    }
    Ok(endpoints)
}

pub fn demo_config(demo: &DemoSettings) -> anyhow::Result<DemoConfig> {
    let faults = demo.faults.iter().map(|fault| fault.parse().with_context(|| format!("--fault {fault}")));
    Ok(DemoConfig {
        agents: demo.agents as usize,
        nodes: demo.nodes as usize,
        microdaos: demo.microdaos as usize,
        events_per_second: f64::from(demo.events_per_second),
        seed: demo.seed,
        faults: faults.collect::<anyhow::Result<_>>()?,
        ..DemoConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_beside_the_database_file() {
        for (url, folder) in [
            ("sqlite://living-map.db", "living-map-journal"),
            ("sqlite:///var/lib/a%20map/x.db?mode=rwc", "/var/lib/a map/living-map-journal"),
            ("sqlite:data/x.db", "data/living-map-journal"),
            ("postgres://me:hush@db/living_map", "living-map-journal"),
        ] {
            assert_eq!(journal_folder(url), Path::new(folder), "{url}");
        }
    }
}
