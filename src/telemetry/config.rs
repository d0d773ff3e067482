//! Configuration of traces: the variables of the OpenTelemetry specification that apply here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum, ValueHint};
use url::Url;

use crate::config::defaults;
use crate::config::value::{http_url, milliseconds};
use crate::tls::CaFile;

/// Setting of [`TelemetryConfig::ca_file`].
pub(super) const CA_FILE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// Receiver, batching and sampling of traces, exported by OTLP over HTTP.
#[derive(Clone, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub struct TelemetryConfig {
    /// OTLP receiver for HTTP, such as <http://localhost:4318>. Unset: no traces.
    #[arg(id = "OTEL_EXPORTER_OTLP_ENDPOINT", env, long = "otel-exporter-otlp-endpoint", value_parser = receiver)]
    pub base_endpoint: Option<Url>,
    /// The same as a complete URL, when its path does not end in /v1/traces.
    #[arg(id = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env, long = "otel-exporter-otlp-traces-endpoint",
        value_parser = receiver)]
    pub traces_endpoint: Option<Url>,
    /// Headers of requests to the receiver, `name=value` separated by commas.
    #[arg(id = "OTEL_EXPORTER_OTLP_HEADERS", env, long = "otel-exporter-otlp-headers", hide_env_values = true,
        value_delimiter = ',', value_parser = pair)]
    pub headers: Vec<(String, String)>,
    /// File with certificate authorities (PEM) of the receiver, beside those of the system. Read at the start.
    #[arg(id = "OTEL_EXPORTER_OTLP_CERTIFICATE", env, long = "otel-exporter-otlp-certificate",
        value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Milliseconds that one request to the receiver may take.
    #[arg(id = "OTEL_EXPORTER_OTLP_TIMEOUT", env, long = "otel-exporter-otlp-timeout", default_value = "10000",
        value_parser = milliseconds)]
    pub timeout: Duration,
    /// Name of this server in traces (`service.name`).
    #[arg(id = "OTEL_SERVICE_NAME", env, long = "otel-service-name", default_value = "living-map")]
    pub service: String,
    /// Further attributes of this server in traces, `name=value` separated by commas.
    #[arg(id = "OTEL_RESOURCE_ATTRIBUTES", env, long = "otel-resource-attributes", value_delimiter = ',',
        value_parser = pair)]
    pub attributes: Vec<(String, String)>,
    /// Traces that are kept.
    #[arg(id = "OTEL_TRACES_SAMPLER", env, long = "otel-traces-sampler", default_value = "parentbased_always_on")]
    pub sampler: TracesSampler,
    /// Ratio of traces that a `…traceidratio` sampler keeps, from 0 to 1.
    #[arg(id = "OTEL_TRACES_SAMPLER_ARG", env, long = "otel-traces-sampler-arg", default_value = "1",
        value_parser = ratio)]
    pub ratio: f64,
    /// Spans that may wait for export; further ones are dropped and counted.
    ///
    /// Beyond: dropped, counted in `living_map_trace_spans_total`.
    #[arg(id = "OTEL_BSP_MAX_QUEUE_SIZE", env, long = "otel-bsp-max-queue-size", default_value_t = 2048,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_queue: usize,
    /// Spans in one request.
    #[arg(id = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", env, long = "otel-bsp-max-export-batch-size", default_value_t = 512,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub max_batch: usize,
    /// Milliseconds that a span waits for others of the same request.
    #[arg(id = "OTEL_BSP_SCHEDULE_DELAY", env, long = "otel-bsp-schedule-delay", default_value = "5000",
        value_parser = milliseconds)]
    pub delay: Duration,
}

/// Traces that are kept, named as in the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TracesSampler {
    /// All
    AlwaysOn,
    /// None
    AlwaysOff,
    /// A ratio
    #[value(name = "traceidratio")]
    Ratio,
    /// As the caller decided; all without a caller
    #[value(name = "parentbased_always_on")]
    ParentOrOn,
    /// As the caller decided; none without a caller
    #[value(name = "parentbased_always_off")]
    ParentOrOff,
    /// As the caller decided; a ratio without a caller
    #[value(name = "parentbased_traceidratio")]
    ParentOrRatio,
}

impl TelemetryConfig {
    /// The URL to which spans are sent; none when traces are disabled.
    #[must_use]
    pub fn endpoint(&self) -> Option<Url> {
        if let Some(complete) = &self.traces_endpoint {
            return Some(complete.clone());
        }
        let mut url = self.base_endpoint.clone()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
        Some(url)
    }

    /// Authorities of the receiver's certificate.
    #[must_use]
    pub fn authorities(&self) -> CaFile<'_> {
        CaFile::new(CA_FILE, self.ca_file.as_ref())
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for TelemetryConfig {
    // the headers are secrets
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryConfig")
            .field("service", &self.service)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

/// A password in the URL would appear in every error message about it.
fn receiver(text: &str) -> Result<Url, String> {
    let url = http_url(text).map_err(|_| "expected an address such as http://localhost:4318".to_owned())?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    Err("expected an address without a password; set it in OTEL_EXPORTER_OTLP_HEADERS".to_owned())
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
