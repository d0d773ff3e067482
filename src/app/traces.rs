//! Traces, from the settings.

use anyhow::Context;

use crate::config::{Traces, TracesSampler};
use crate::telemetry::{Sampling, Telemetry, TelemetryConfig};

/// The exporter of traces; none when no endpoint is set.
///
/// # Errors
/// The endpoint or a header is invalid.
pub fn telemetry(settings: &Traces) -> anyhow::Result<Option<Telemetry>> {
    let Some(endpoint) = settings.endpoint() else { return Ok(None) };
    let config = TelemetryConfig {
        endpoint,
        headers: settings.otel_exporter_otlp_headers.clone(),
        timeout: settings.otel_exporter_otlp_timeout,
        service: settings.otel_service_name.clone(),
        attributes: settings.otel_resource_attributes.clone(),
        sampling: sampling(settings.otel_traces_sampler, settings.otel_traces_sampler_arg),
        max_queue: settings.otel_bsp_max_queue_size as usize,
        max_batch: settings.otel_bsp_max_export_batch_size as usize,
        delay: settings.otel_bsp_schedule_delay,
    };
    Telemetry::new(config).context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used").map(Some)
}

const fn sampling(sampler: TracesSampler, part: f64) -> Sampling {
    use TracesSampler::{AlwaysOff, AlwaysOn, ParentOrOff, ParentOrOn, ParentOrRatio, Ratio};
    let by_parent = matches!(sampler, ParentOrOn | ParentOrOff | ParentOrRatio);
    let ratio = match sampler {
        AlwaysOn | ParentOrOn => 1.0,
        AlwaysOff | ParentOrOff => 0.0,
        Ratio | ParentOrRatio => part,
    };
    Sampling { by_parent, ratio }
}
