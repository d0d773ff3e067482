//! The queue of finished spans and the task that exports them. The batch processor of the SDK is not used: it needs a
//! thread and does not report how many spans it dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;

/// Timeout for the last spans at shutdown: an unavailable collector must not delay the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A bounded queue of finished spans. Further spans are dropped.
#[derive(Debug)]
pub struct SpanQueue(mpsc::Sender<SpanData>);

/// The error of the last attempt to connect to the receiver, until it is taken. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct ConnectError(Arc<Mutex<Option<String>>>);

impl ConnectError {
    pub fn set(&self, error: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Exports the queued spans.
pub struct Export {
    exporter: SpanExporter,
    connect_error: ConnectError,
    spans: mpsc::Receiver<SpanData>,
    max_batch: usize,
    delay: Duration,
    /// True if the last request failed.
    failing: bool,
}

impl SpanQueue {
    pub fn new(
        mut exporter: SpanExporter,
        connect_error: ConnectError,
        resource: &Resource,
        max_queue: usize,
        max_batch: usize,
        delay: Duration,
    ) -> (Self, Export) {
        exporter.set_resource(resource);
        let (sender, spans) = mpsc::channel(max_queue.max(1));
        (Self(sender), Export { exporter, connect_error, spans, max_batch: max_batch.max(1), delay, failing: false })
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    // `Export::run` exports the remaining spans when it is stopped
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Export {
    /// Exports spans until `stop`, then the remaining ones. Failures are recorded in the journal, and their spans are
    /// lost.
    pub async fn run(mut self, journal: Journal, stop: CancellationToken) {
        let mut batch = Vec::new();
        while stop.run_until_cancelled(self.collect(&mut batch)).await.is_some() {
            self.send(std::mem::take(&mut batch), &journal, &stop).await;
        }
        self.spans.close();
        while !batch.is_empty() || self.spans.recv_many(&mut batch, self.max_batch).await > 0 {
            self.send(std::mem::take(&mut batch), &journal, &stop).await;
            if self.failing {
                while self.spans.recv_many(&mut batch, self.max_batch).await > 0 {}
                count("failed", batch.len());
                return;
            }
        }
    }

    /// Fills the batch until it is full, or until the delay after its first span has passed.
    async fn collect(&mut self, batch: &mut Vec<SpanData>) {
        let room = |batch: &Vec<SpanData>| self.max_batch.saturating_sub(batch.len());
        if batch.is_empty() && self.spans.recv_many(batch, self.max_batch).await == 0 {
            return std::future::pending().await;
        }
        let deadline = Instant::now() + self.delay;
        while room(batch) > 0 {
            match timeout_at(deadline, self.spans.recv_many(batch, room(batch))).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>, journal: &Journal, stop: &CancellationToken) {
        let spans = batch.len();
        let stopped = async {
            stop.cancelled().await;
            sleep(SHUTDOWN_TIMEOUT).await;
        };
        let sent = tokio::select! {
            sent = self.exporter.export(batch) => sent,
            () = stopped => Err(OTelSdkError::Timeout(SHUTDOWN_TIMEOUT)),
        };
        match sent {
            Ok(()) => {
                count("exported", spans);
                if self.failing {
                    tracing::info!("trace export works again");
                }
                self.failing = false;
            }
            Err(error) => {
                count("failed", spans);
                let error = match self.connect_error.take() {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                journal.record("write", "traces", "", &error);
                if !self.failing {
                    tracing::warn!(error, spans, "cannot export traces, spans are lost (OTEL_EXPORTER_OTLP_ENDPOINT)");
                }
                self.failing = true;
            }
        }
    }
}

fn count(outcome: &'static str, spans: usize) {
    counter!("living_map_trace_spans_total", "outcome" => outcome).increment(spans as u64);
}
