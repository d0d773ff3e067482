//! Traces by OTLP, when they are asked for.
//!
//! The rooms open `tracing` spans under [`TARGET`]; this room alone knows OpenTelemetry. When no endpoint is set, nothing
//! listens to that target: a span costs one load of an atomic, and none of its fields is made.

mod export;
mod setup;

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::model::{Event, Traceparent};

pub use export::Export;
pub use setup::{ExportError, Sampling, Telemetry, TelemetryConfig};

/// The `tracing` target of spans that are exported. Log lines have others.
pub const TARGET: &str = "otel";

/// How many traces a span is linked to at most.
const MAX_LINKS: usize = 64;

/// Whether spans go anywhere.
static ON: AtomicBool = AtomicBool::new(false);

/// Whether traces are made.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Where the caller is in its trace; none outside of one, and when traces are off.
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

/// Makes a span that was not entered yet a part of a trace that came from elsewhere.
pub fn continues(span: &Span, from: Traceparent) {
    // refused only by a span that has begun, which would be a defect here, and a trace is not worth more than its request
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context(from)));
}

/// Makes a span that was not entered yet a part of the trace of the first one, and links it to the others.
pub fn processes(span: &Span, events: &[Traceparent]) {
    let Some((first, others)) = events.split_first() else { return };
    continues(span, *first);
    for other in others {
        span.add_link(context(*other));
    }
}

fn context(of: Traceparent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace_id.to_be_bytes()),
        SpanId::from_bytes(of.span_id.to_be_bytes()),
        if of.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::NONE,
    )
}

/// The spans in which events were published, one for each trace that is kept; empty when traces are off.
pub fn published<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Traceparent> {
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
