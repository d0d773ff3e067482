//! Construction of the tracer from the settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::export::{Export, SpanQueue};
use super::{ON, TARGET};

/// What is exported, and where to.
#[derive(Clone)]
pub struct TelemetryConfig {
    /// Where spans are sent by HTTP: the whole address.
    pub endpoint: url::Url,
    /// Headers of these requests; they may be secrets.
    pub headers: Vec<(String, String)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// `service.name`.
    pub service: String,
    /// Further attributes of this process.
    pub attributes: Vec<(String, String)>,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// Spans that may wait to be sent; further ones are dropped.
    pub max_queue: usize,
    /// Spans in one request.
    pub max_batch: usize,
    /// How long a span waits for others to be sent with.
    pub delay: Duration,
}

impl fmt::Debug for TelemetryConfig {
    // secrets
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryConfig").field("service", &self.service).finish_non_exhaustive()
    }
}

/// Which traces are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether what a caller decided goes before the ratio.
    pub by_parent: bool,
    /// The part of all traces that is kept, from 0 to 1.
    pub ratio: f64,
}

/// The reason why the exporter cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// The exporter cannot be created.
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// A tracer and the export of its spans.
pub struct Telemetry {
    tracer: SdkTracer,
    export: Export,
}

impl Telemetry {
    /// Creates the tracer. No span is sent before [`Export::run`].
    ///
    /// # Errors
    /// The configuration is invalid.
    pub fn new(config: TelemetryConfig) -> Result<Self, ExportError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
            // the headers may be secrets for the configured host only
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(config.endpoint.as_str())
            .with_headers(HashMap::from_iter(config.headers))
            .with_timeout(config.timeout)
            .build()?;
        let attributes = config.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(attributes)
            .with_service_name(config.service)
            .build();
        let ratio = Sampler::TraceIdRatioBased(config.sampling.ratio);
        let sampler = if config.sampling.by_parent { Sampler::ParentBased(Box::new(ratio)) } else { ratio };
        let (queue, export) = SpanQueue::new(exporter, &resource, config.max_queue, config.max_batch, config.delay);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Self { tracer: provider.tracer("living-map"), export })
    }

    /// Turns traces on. Returns the layer for the subscriber, which records spans of [`TARGET`], and the export task.
    pub fn install<S>(self) -> (impl Layer<S>, Export)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        ON.store(true, Ordering::Relaxed);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, tracing::Level::TRACE));
        (layer, self.export)
    }
}
