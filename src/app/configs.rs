//! Configurations of the builders, from the settings.

use std::time::Duration;

use super::settings::{
    adapters_config, endpoints, history_config, http_config, replay_config, retention_config, rules_limits,
    saving_config, sync_config,
};
use super::{access, streams};
use crate::adapters::Endpoints;
use crate::alerts::AlertingConfig;
use crate::bus::NatsConfig;
use crate::config::Settings;
use crate::history::StorageConfig;
use crate::http::ServingConfig;
use crate::learner::config::{ChanceConfig, DriftConfig, SharedConfig, SiblingConfig};
use crate::learner::{LearnerConfig, LearningConfig, RuleConfig};
use crate::lease::LeaseConfig;
use crate::live::{IngestConfig, LiveConfig, TimeTravelConfig};
use crate::log::{ExperienceConfig, JetStreamConfig, LogConfig, NatsLogConfig, TableLogConfig, WriterConfig};
use crate::stream::HubConfig;
use crate::sync::UpstreamSyncConfig;

pub fn storage_config(settings: &Settings) -> StorageConfig {
    StorageConfig {
        url: settings.storage.database_url.clone(),
        learner_url: settings.learner.learner_database_url.clone(),
        database: history_config(settings),
    }
}

/// None with the table log, beside which there can be no other replica.
pub fn lease_config(settings: &Settings, name: &'static str) -> Option<LeaseConfig> {
    settings.storage.nats_url.is_some().then_some(LeaseConfig { name, lasting: settings.cluster.lease })
}

/// With `writer`, the process writes the history of a `JetStream` log.
pub fn log_config(settings: &Settings, writer: Option<WriterConfig>) -> LogConfig {
    let Some(url) = &settings.storage.nats_url else {
        let extra_subjects = settings.extra_subjects();
        return LogConfig::Table(TableLogConfig { extra_subjects, ..TableLogConfig::default() });
    };
    let nats = NatsConfig { url: url.clone(), ..NatsConfig::default() };
    LogConfig::JetStream(Box::new(NatsLogConfig { nats, stream: jetstream_config(settings), writer }))
}

pub fn jetstream_config(settings: &Settings) -> JetStreamConfig {
    let (stream, network) = streams::declared(settings);
    JetStreamConfig { stream, network, manage: settings.storage.nats_manage_streams, ..JetStreamConfig::default() }
}

pub fn ingest_config(settings: &Settings) -> IngestConfig {
    let max_entities = settings.limits.max_entities;
    IngestConfig {
        live: LiveConfig {
            snapshot_interval: Duration::from_millis(settings.streaming.snapshot_interval_ms),
            max_entities,
            ..LiveConfig::default()
        },
        hub: HubConfig {
            max_frames: settings.streaming.stream_ring_events as usize,
            max_bytes: settings.streaming.stream_ring_bytes,
        },
        retention: retention_config(settings),
        saving: saving_config(settings),
        time_travel: TimeTravelConfig {
            concurrency: settings.saving.time_travel_concurrency,
            max_entities,
            ..TimeTravelConfig::default()
        },
        replay: replay_config(settings),
    }
}

/// `simulated`: the endpoints of the demo, instead of the configured ones.
pub fn upstream_sync_config(settings: &Settings, simulated: Option<Endpoints>) -> anyhow::Result<UpstreamSyncConfig> {
    let endpoints = match simulated {
        Some(endpoints) => endpoints,
        None => endpoints(settings)?,
    };
    Ok(UpstreamSyncConfig { adapters: adapters_config(settings, endpoints), sync: sync_config(settings) })
}

pub fn alerting_config(settings: &Settings) -> AlertingConfig {
    AlertingConfig {
        file: settings.alerts.alert_rules.clone(),
        limits: rules_limits(&settings.alerts),
        reload_interval: settings.alerts.alert_rules_reload,
        evaluation_interval: settings.alerts.alert_interval,
    }
}

pub fn serving_config(settings: &Settings) -> ServingConfig {
    ServingConfig { http: http_config(settings), limits: access::limits_config(settings) }
}

pub fn experience_config(settings: &Settings) -> ExperienceConfig {
    let learner = &settings.learner;
    ExperienceConfig {
        stream: learner.experience_stream_name.clone(),
        subject: learner.experience_subject.as_str().to_owned(),
        durable: learner.experience_durable.clone(),
        ack_wait: learner.experience_ack_wait,
        max_deliver: learner.experience_max_deliver,
        batch: learner.experience_fetch_batch,
        fetch_timeout: learner.experience_fetch_timeout,
        read_batch: 1_000,
        heartbeat: Duration::from_secs(5),
    }
}

pub fn learning_config(settings: &Settings) -> LearningConfig {
    let learner = &settings.learner;
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let default = RuleConfig::default();
    let rules = RuleConfig {
        window_ms: millis(learner.experience_window),
        sample_pct: learner.experience_ok_sample_pct,
        latency_spike_ms: learner.experience_latency_spike_ms.into(),
        error_threshold: learner.experience_error_threshold,
        silent_threshold: learner.experience_silent_threshold,
        latency_threshold: learner.experience_latency_threshold,
        recovery_threshold: learner.experience_recovery_threshold,
        dedup_ttl_ms: millis(learner.experience_event_dedup_ttl),
        max_ids: learner.experience_max_ids,
        max_agents: learner.experience_max_agents,
        chance: ChanceConfig {
            min_cases: learner.experience_chance_min_cases,
            lessons_a_week: learner.experience_chance_lessons_per_week,
            ..default.chance
        },
        shared: SharedConfig {
            min_agents: learner.experience_shared_min_agents,
            min_pct: learner.experience_shared_min_pct,
        },
        drift: DriftConfig {
            block_ms: millis(learner.experience_drift_block),
            min_ratio: 1.0 + f64::from(learner.experience_drift_min_pct) / 100.0,
            ..default.drift
        },
        sibling: SiblingConfig {
            min_cases: learner.experience_sibling_min_cases,
            min_difference: learner.experience_sibling_min_difference_pct / 100.0,
            ..default.sibling
        },
    };
    let learner = LearnerConfig {
        rules,
        review_after: learner.lesson_review,
        subject: learner.lesson_publish_enabled.then(|| learner.lesson_subject.as_str().to_owned()),
        ..LearnerConfig::default()
    };
    LearningConfig { learner, experiences: experience_config(settings) }
}
