//! Traces, from the settings.

use anyhow::Context;

use crate::telemetry::{Telemetry, TelemetryConfig};

/// The tracer and its exporter; none when no endpoint is set.
///
/// # Errors
/// The exporter rejects the settings.
pub fn telemetry(config: &TelemetryConfig) -> anyhow::Result<Option<Telemetry>> {
    Telemetry::new(config.clone()).context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")
}
