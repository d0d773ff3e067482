//! Export of traces by OTLP, if an endpoint is configured.
//!
//! Other modules open `tracing` spans with [`TARGET`]; only this module uses OpenTelemetry. Without an endpoint no
//! subscriber listens to that target: a span then costs one atomic load, and its fields are not evaluated.

mod config;
mod export;
mod setup;

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::model::{Event, Traceparent};

pub use config::{TelemetryConfig, TracesSampler};
pub use export::Export;
pub use setup::{ExportError, Telemetry};

/// The `tracing` target of exported spans. Log lines have other targets.
pub const TARGET: &str = "otel";

/// Maximum number of traces that a span is linked to.
const MAX_LINKS: usize = 64;

/// True if spans are exported.
static ON: AtomicBool = AtomicBool::new(false);

/// Returns true if traces are exported.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The trace context of the current span; `None` outside a trace, and if traces are off.
#[must_use]
pub fn current() -> Option<Traceparent> {
    if !is_on() {
        return None;
    }
    let context = Span::current().context();
    let span = context.span();
    let own = span.span_context();
    own.is_valid().then(|| Traceparent {
        trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(own.span_id().to_bytes()),
        sampled: own.is_sampled(),
    })
}

/// Sets the remote parent of a span that is not entered yet.
pub fn set_parent(span: &Span, parent: Traceparent) {
    // fails only for a span that was entered, which is a bug in the caller; the request must not fail because of its
    // trace
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context(parent)));
}

/// Sets the first of `parents` as the remote parent of a span that is not entered yet, and links the span to the
/// others.
pub fn set_parents(span: &Span, parents: &[Traceparent]) {
    let Some((first, others)) = parents.split_first() else { return };
    set_parent(span, *first);
    for other in others {
        span.add_link(context(*other));
    }
}

fn context(parent: Traceparent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::NONE,
    )
}

/// The trace contexts in which events were published, one for each sampled trace; empty if traces are off.
pub fn publishers<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Traceparent> {
    let mut spans: Vec<Traceparent> = Vec::new();
    if !is_on() {
        return spans;
    }
    for from in events.into_iter().filter_map(Event::traceparent).filter(|from| from.sampled) {
        if spans.len() < MAX_LINKS && !spans.iter().any(|known| known.trace_id == from.trace_id) {
            spans.push(from);
        }
    }
    spans
}
