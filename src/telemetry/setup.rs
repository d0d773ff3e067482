//! Construction of the tracer from the settings.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tower::BoxError;
use tower::util::MapErrLayer;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::config::{CA_FILE, TelemetryConfig, TracesSampler};
use super::export::{ConnectError, Export, SpanQueue};
use super::{ON, TARGET};
use crate::tls::{self, explained, with_causes};

/// The reason why the exporter cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] tls::SetupError),
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
    /// None when no endpoint is set.
    ///
    /// # Errors
    /// The configuration is invalid, or the file of authorities cannot be used.
    pub fn new(config: TelemetryConfig) -> Result<Option<Self>, ExportError> {
        let Some(endpoint) = config.endpoint() else { return Ok(None) };
        let connect_error = ConnectError::default();
        let reported = connect_error.clone();
        let client = config
            .authorities()
            .trusted_by(reqwest::Client::builder())?
            .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
            // the headers may be secrets for the configured host only
            .redirect(reqwest::redirect::Policy::none())
            // the exporter reports that a request failed, and not why
            .connector_layer(MapErrLayer::new(move |error: BoxError| {
                reported.set(explained(with_causes(&*error), CA_FILE));
                error
            }))
            .build()
            .map_err(tls::SetupError::from)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str())
            .with_headers(HashMap::from_iter(config.headers))
            .with_timeout(config.timeout)
            .build()?;
        let attributes = config.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(attributes)
            .with_service_name(config.service)
            .build();
        let sampler = sampler(config.sampler, config.ratio);
        let (queue, export) =
            SpanQueue::new(exporter, connect_error, &resource, config.max_queue, config.max_batch, config.delay);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Some(Self { tracer: provider.tracer("living-map"), export }))
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

fn sampler(sampler: TracesSampler, part: f64) -> Sampler {
    use TracesSampler::{AlwaysOff, AlwaysOn, ParentOrOff, ParentOrOn, ParentOrRatio, Ratio};
    let ratio = Sampler::TraceIdRatioBased(match sampler {
        AlwaysOn | ParentOrOn => 1.0,
        AlwaysOff | ParentOrOff => 0.0,
        Ratio | ParentOrRatio => part,
    });
    let by_parent = matches!(sampler, ParentOrOn | ParentOrOff | ParentOrRatio);
    if by_parent { Sampler::ParentBased(Box::new(ratio)) } else { ratio }
}
