//! Traces: the variables of the OpenTelemetry specification, as far as they mean something here.

use std::time::Duration;

use clap::{Args, ValueEnum};
use url::Url;

use super::value::{http_url, milliseconds};

/// Traces, sent by OTLP over HTTP.
#[derive(Clone, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub struct Traces {
    /// Where traces go: an OTLP receiver for HTTP, such as <http://localhost:4318>. Nothing is traced when unset
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = receiver)]
    pub otel_exporter_otlp_endpoint: Option<Url>,

    /// The same as a whole address, when it does not end in /v1/traces
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_parser = receiver)]
    pub otel_exporter_otlp_traces_endpoint: Option<Url>,

    /// Headers of these requests, `name=value` separated by commas
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", value_name = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true,
        value_delimiter = ',', value_parser = pair)]
    pub otel_exporter_otlp_headers: Vec<(String, String)>,

    /// Milliseconds that one request may take
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", value_name = "OTEL_EXPORTER_OTLP_TIMEOUT", default_value = "10000", value_parser = milliseconds)]
    pub otel_exporter_otlp_timeout: Duration,

    /// What this server is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "OTEL_SERVICE_NAME", default_value = "living-map")]
    pub otel_service_name: String,

    /// What else is said of it, `name=value` separated by commas
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "OTEL_RESOURCE_ATTRIBUTES", value_delimiter = ',', value_parser = pair)]
    pub otel_resource_attributes: Vec<(String, String)>,

    /// Which traces are kept
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        value_name = "OTEL_TRACES_SAMPLER",
        default_value = "parentbased_always_on"
    )]
    pub otel_traces_sampler: TracesSampler,

    /// The part of the traces that a `…traceidratio` sampler keeps, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = ratio)]
    pub otel_traces_sampler_arg: f64,

    /// Spans that may wait to be sent; further ones are dropped and counted
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", value_name = "OTEL_BSP_MAX_QUEUE_SIZE", default_value_t = 2048,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub otel_bsp_max_queue_size: u32,

    /// Spans in one request
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", value_name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub otel_bsp_max_export_batch_size: u32,

    /// Milliseconds that a span waits for others to be sent with
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", value_name = "OTEL_BSP_SCHEDULE_DELAY", default_value = "5000", value_parser = milliseconds)]
    pub otel_bsp_schedule_delay: Duration,
}

/// Which traces are kept, by the names of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TracesSampler {
    /// All
    AlwaysOn,
    /// None
    AlwaysOff,
    /// A part
    #[value(name = "traceidratio")]
    Ratio,
    /// As the caller decided; all of its own
    #[value(name = "parentbased_always_on")]
    ParentOrOn,
    /// As the caller decided; none of its own
    #[value(name = "parentbased_always_off")]
    ParentOrOff,
    /// As the caller decided; a part of its own
    #[value(name = "parentbased_traceidratio")]
    ParentOrRatio,
}

impl Traces {
    /// Where spans are sent; none when they are not.
    #[must_use]
    pub fn endpoint(&self) -> Option<Url> {
        if let Some(whole) = &self.otel_exporter_otlp_traces_endpoint {
            return Some(whole.clone());
        }
        let mut url = self.otel_exporter_otlp_endpoint.clone()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
        Some(url)
    }
}

impl std::fmt::Debug for Traces {
    // the headers are secrets
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").field("sampler", &self.otel_traces_sampler).finish_non_exhaustive()
    }
}

/// A password in an address would be in every message about it.
fn receiver(text: &str) -> Result<Url, String> {
    let url = http_url(text).map_err(|_| "expected an address such as http://localhost:4318".to_owned())?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    Err("expected an address without a password; say it in OTEL_EXPORTER_OTLP_HEADERS".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    let name = Some(name.trim()).filter(|name| !name.is_empty()).ok_or("expected name=value")?;
    Ok((name.to_owned(), decoded(value)))
}

fn ratio(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|ratio: &f64| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
