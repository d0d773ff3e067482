//! One HTTP request to one service, with time and size limits.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use metrics::{counter, histogram};
use reqwest::{Response, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::{AdapterError, AdaptersConfig, Endpoint, ErrorKind, SetupError};
use crate::journal::Journal;
use crate::model::{Notes, Service, Traceparent, json};
use crate::telemetry::{self, TARGET};
use crate::tls;

/// Limit of an error response's body, in bytes; the rest is not read.
const MAX_ERROR_BODY_BYTES: usize = 2048;
/// Limit of the part of it that becomes the error text, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// Tokens of at least this length, in bytes, are masked in error texts.
const MIN_SECRET_BYTES: usize = 8;

/// Levels of arrays and objects in a response, at most. Parts of it get into payloads of events and into the map, which add a
/// few levels and must stay readable.
const MAX_DEPTH: usize = json::MAX_DEPTH - 8;

/// Bodies of at least this size are parsed on a blocking thread: parsing takes about 10 ms per MiB.
const BLOCKING_PARSE_BYTES: usize = 64 * 1024;

/// The connection pool that all clients share.
pub(super) fn pool(config: &AdaptersConfig) -> Result<reqwest::Client, SetupError> {
    let pool = config
        .authorities()
        .trusted_by(reqwest::Client::builder())?
        .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // the services are in the same network; a proxy that is configured for the internet must not be used
        .no_proxy()
        .pool_max_idle_per_host(config.concurrency)
        .connect_timeout(config.call_timeout)
        .build()
        .map_err(tls::SetupError::from)?;
    Ok(pool)
}

/// Path and query of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    segments: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    retried: bool,
}

impl<'a> Call<'a> {
    /// A main request: retried until the deadline of the poll.
    pub const fn main(segments: &'a [&'a str]) -> Self {
        Self { segments, query: &[], retried: true }
    }

    /// One of many detail requests: not retried, because the next poll repeats it.
    pub const fn detail(segments: &'a [&'a str]) -> Self {
        Self { segments, query: &[], retried: false }
    }

    pub const fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }

    fn path(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("/{}{separator}{}", self.segments.join("/"), query.join("&"))
    }
}

/// HTTP client of one service.
#[derive(Debug)]
pub(super) struct UpstreamClient {
    http: reqwest::Client,
    service: Service,
    endpoint: Endpoint,
    call_timeout: Duration,
    max_response_bytes: usize,
    backoff: ExponentialBuilder,
    journal: Journal,
}

impl UpstreamClient {
    pub fn new(config: &AdaptersConfig, service: Service, http: reqwest::Client, journal: Journal) -> Self {
        Self {
            http,
            service,
            endpoint: config.endpoints.get(service).clone(),
            call_timeout: config.call_timeout,
            max_response_bytes: config.max_response_bytes,
            journal,
            backoff: ExponentialBuilder::default()
                .with_jitter()
                .with_min_delay(config.retry_delay)
                .with_max_times(config.max_retries),
        }
    }

    /// Sends a request, with retries, and parses the response as JSON in the normal form of events.
    pub async fn get(&self, call: Call<'_>, deadline: Instant) -> Result<Value, AdapterError> {
        let attempt = || self.attempt(call, deadline);
        let response = if call.retried {
            attempt
                .retry(self.backoff)
                .when(ErrorKind::is_transient)
                .adjust(|_, delay| delay.filter(|delay| Instant::now() + *delay < deadline))
                .notify(|error, delay| {
                    tracing::debug!(service = %self.service, path = call.path(), %error, delay_ms = delay.as_millis(),
                        "upstream request is retried");
                })
                .await
        } else {
            attempt().await
        };
        response.map_err(|kind| {
            if !call.retried {
                self.record_failed_detail(call, &kind);
            }
            self.error(call, kind)
        })
    }

    /// Records a failed detail request in the error journal; the last known detail stays on the map. (A failed main request
    /// fails the poll, which the poller records.) A detail that does not exist, or was skipped for lack of time, is not a
    /// failure.
    fn record_failed_detail(&self, call: Call<'_>, kind: &ErrorKind) {
        if !matches!(kind, ErrorKind::DeadlinePassed | ErrorKind::Status { status: 404, .. }) {
            self.journal.record_rescued("read", self.service.as_str(), &call.path(), kind);
        }
    }

    pub fn error(&self, call: Call<'_>, kind: ErrorKind) -> AdapterError {
        AdapterError { service: self.service, path: call.path(), kind }
    }

    async fn attempt(&self, call: Call<'_>, deadline: Instant) -> Result<Value, ErrorKind> {
        let started = Instant::now();
        if started >= deadline {
            return Err(ErrorKind::DeadlinePassed);
        }
        let until = deadline.min(started + self.call_timeout);
        let span = tracing::info_span!(
            target: TARGET,
            "GET",
            otel.kind = "client",
            otel.status_code = Empty,
            peer.service = self.service.as_str(),
            http.request.method = "GET",
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let response = match timeout_at(until, self.exchange(call).instrument(span.clone())).await {
            Ok(response) => response,
            Err(_) => Err(ErrorKind::Timeout(until - started)),
        };
        let outcome = response.as_ref().map_or_else(ErrorKind::outcome, |_| "ok");
        if response.is_err() {
            span.record("otel.status_code", "error").record("error.type", outcome);
        }
        counter!("living_map_upstream_requests_total", "service" => self.service.as_str(), "outcome" => outcome)
            .increment(1);
        histogram!("living_map_upstream_duration_seconds", "service" => self.service.as_str())
            .record(started.elapsed());
        response
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Value, ErrorKind> {
        let url = self.endpoint.resource(call.segments, call.query);
        let mut request = self.http.get(url).header(header::ACCEPT, "application/json");
        if let Some(token) = self.endpoint.token() {
            request = request.bearer_auth(token.expose());
        }
        if let Some(here) = telemetry::current() {
            request = request.header(Traceparent::NAME, here.to_string());
        }
        let mut response = request.send().await?;
        let status = response.status();
        Span::current().record("http.response.status_code", status.as_u16());
        if !status.is_success() {
            return Err(self.error_of_status(status, &mut response).await);
        }
        let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
        if declared.is_some_and(|length| length > self.max_response_bytes) {
            return Err(ErrorKind::TooLarge(self.max_response_bytes));
        }
        let mut body = Vec::with_capacity(declared.unwrap_or(0));
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.max_response_bytes {
                return Err(ErrorKind::TooLarge(self.max_response_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        let json::Normal { value, notes } = parse(body).await?;
        if !notes.is_empty() {
            self.record_repair(call, &notes);
        }
        Ok(value)
    }

    /// Counts and records what was repaired in a response, which is used as if it had been sent so.
    fn record_repair(&self, call: Call<'_>, notes: &Notes) {
        for (kind, places) in notes.counts() {
            counter!("living_map_notes_total", "kind" => kind.as_str()).increment(places);
        }
        self.journal.record_rescued("read", self.service.as_str(), &call.path(), notes);
    }

    async fn error_of_status(&self, status: StatusCode, response: &mut Response) -> ErrorKind {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_ERROR_BODY_BYTES {
                break;
            }
        }
        let mut text = String::from_utf8_lossy(&body).into_owned();
        // some services repeat the request in the error; a very short token is not masked, it may be part of any word
        if let Some(token) = self.endpoint.token().filter(|token| token.expose().len() >= MIN_SECRET_BYTES) {
            text = text.replace(token.expose(), "…");
        }
        let one_line = text.replace(char::is_control, " ");
        let body = one_line.trim().chars().take(MAX_SHOWN_CHARS).collect();
        ErrorKind::Status { status: status.as_u16(), body }
    }
}

async fn parse(body: Vec<u8>) -> Result<json::Normal, ErrorKind> {
    if body.len() < BLOCKING_PARSE_BYTES {
        return to_json(&body);
    }
    match tokio::task::spawn_blocking(move || to_json(&body)).await {
        Ok(parsed) => parsed,
        Err(error) => Err(ErrorKind::NotJson(error.to_string())),
    }
}

fn to_json(body: &[u8]) -> Result<json::Normal, ErrorKind> {
    let normal = json::parse(body).map_err(|error| ErrorKind::NotJson(error.to_string()))?;
    if json::depth(&normal.value) > MAX_DEPTH {
        return Err(ErrorKind::NotJson(format!("nested too deeply: more than {MAX_DEPTH} levels")));
    }
    Ok(normal)
}
