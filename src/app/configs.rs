//! Configurations that depend on a choice: the log and the leadership.

use super::settings::Settings;
use crate::bus::NatsError;
use crate::lease::LeaseConfig;
use crate::log::{JetStreamConfig, LogConfig, NatsLogConfig, TableLogConfig, WriterConfig};

/// None with the table log, beside which there can be no other replica.
pub fn lease_config(settings: &Settings, name: &'static str) -> Option<LeaseConfig> {
    settings.streams.nats_url.is_some().then_some(LeaseConfig { name, ..settings.lease })
}

/// With `writer`, the process writes the history of a `JetStream` log.
///
/// # Errors
/// The settings of the connection to NATS contradict each other.
pub fn log_config(settings: &Settings, writer: Option<WriterConfig>) -> Result<LogConfig, NatsError> {
    let Some(nats) = settings.streams.connection()? else {
        let extra_subjects = settings.streams.extra_patterns();
        return Ok(LogConfig::Table(TableLogConfig { extra_subjects, ..TableLogConfig::default() }));
    };
    let batch_bytes = settings.storage.database.batch_bytes;
    let writer = writer.map(|writer| WriterConfig { batch_bytes, ..writer });
    Ok(LogConfig::JetStream(Box::new(NatsLogConfig { nats, stream: jetstream_config(settings), writer })))
}

/// The log's stream and the network's other streams.
pub fn jetstream_config(settings: &Settings) -> JetStreamConfig {
    let (stream, network) = settings.streams.declared();
    let read_batch_bytes = settings.storage.database.batch_bytes;
    let (manage, bridged) = (settings.streams.manage, settings.bridge.subjects.clone());
    JetStreamConfig { stream, network, manage, bridged, read_batch_bytes, ..JetStreamConfig::default() }
}
