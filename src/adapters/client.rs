//! One HTTP request to one service, within its limits.

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
use crate::model::{Service, Traceparent, json};
use crate::telemetry::{self, TARGET};

/// How much of the body of a failure is read, in bytes, and how much of it is shown, in characters.
const MAX_REFUSAL_BYTES: usize = 2048;
const MAX_SHOWN_CHARS: usize = 200;

/// From this length a token is hidden where it is repeated, in bytes.
const MIN_SECRET_BYTES: usize = 8;

/// Bodies from this size are parsed off the runtime's threads: parsing costs some 10 ms for each MiB.
const PARSE_ASIDE_FROM_BYTES: usize = 64 * 1024;

/// The connection pool that all clients share.
pub(super) fn pool(config: &AdaptersConfig) -> Result<reqwest::Client, SetupError> {
    let pool = reqwest::Client::builder()
        .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // the services are neighbours; a proxy set for the outside world must not come between
        .no_proxy()
        .pool_max_idle_per_host(config.concurrency)
        .connect_timeout(config.call_timeout)
        .build()?;
    Ok(pool)
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    segments: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    retried: bool,
}

impl<'a> Call<'a> {
    /// A part of the service's main answer: retried while the round lasts.
    pub const fn main(segments: &'a [&'a str]) -> Self {
        Self { segments, query: &[], retried: true }
    }

    /// One of many details: not retried, since the next round asks again.
    pub const fn detail(segments: &'a [&'a str]) -> Self {
        Self { segments, query: &[], retried: false }
    }

    pub const fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }

    fn path(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("/{}{mark}{}", self.segments.join("/"), query.join("&"))
    }
}

/// A client of one service.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    service: Service,
    endpoint: Endpoint,
    call_timeout: Duration,
    max_response_bytes: usize,
    backoff: ExponentialBuilder,
    journal: Journal,
}

impl Client {
    pub fn new(http: reqwest::Client, service: Service, config: &AdaptersConfig, journal: Journal) -> Self {
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

    /// Asks, and reads the whole answer as JSON in the normal form that events are kept in.
    pub async fn get(&self, call: Call<'_>, deadline: Instant) -> Result<Value, AdapterError> {
        let attempt = || self.attempt(call, deadline);
        let answer = if call.retried {
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
        answer.map_err(|kind| {
            if !call.retried {
                self.note_detail(call, &kind);
            }
            self.error(call, kind)
        })
    }

    /// A main answer that is not to be had fails the poll, and whoever asked for that notes it. Of a detail only the
    /// adapter knows; what was known of it stays. That there is none, or no time for it, is no failure.
    fn note_detail(&self, call: Call<'_>, kind: &ErrorKind) {
        if !matches!(kind, ErrorKind::RoundOver | ErrorKind::Status { status: 404, .. }) {
            self.journal.record_rescued("read", self.service.as_str(), &call.path(), kind);
        }
    }

    pub fn error(&self, call: Call<'_>, kind: ErrorKind) -> AdapterError {
        AdapterError { service: self.service, path: call.path(), kind }
    }

    async fn attempt(&self, call: Call<'_>, deadline: Instant) -> Result<Value, ErrorKind> {
        let begun = Instant::now();
        if begun >= deadline {
            return Err(ErrorKind::RoundOver);
        }
        let until = deadline.min(begun + self.call_timeout);
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
        let answer = match timeout_at(until, self.exchange(call).instrument(span.clone())).await {
            Ok(answer) => answer,
            Err(_) => Err(ErrorKind::Timeout(until - begun)),
        };
        let outcome = answer.as_ref().map_or_else(ErrorKind::outcome, |_| "ok");
        if answer.is_err() {
            span.record("otel.status_code", "error").record("error.type", outcome);
        }
        counter!("living_map_upstream_requests_total", "service" => self.service.as_str(), "outcome" => outcome)
            .increment(1);
        histogram!("living_map_upstream_duration_seconds", "service" => self.service.as_str()).record(begun.elapsed());
        answer
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
            return Err(self.refusal(status, &mut response).await);
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
        parse(body).await
    }

    async fn refusal(&self, status: StatusCode, response: &mut Response) -> ErrorKind {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_REFUSAL_BYTES {
                break;
            }
        }
        let mut text = String::from_utf8_lossy(&body).into_owned();
        // some services repeat the request in their complaint; a very short token is no secret, but part of many words
        if let Some(token) = self.endpoint.token().filter(|token| token.expose().len() >= MIN_SECRET_BYTES) {
            text = text.replace(token.expose(), "…");
        }
        let one_line = text.replace(char::is_control, " ");
        let body = one_line.trim().chars().take(MAX_SHOWN_CHARS).collect();
        ErrorKind::Status { status: status.as_u16(), body }
    }
}

async fn parse(body: Vec<u8>) -> Result<Value, ErrorKind> {
    if body.len() < PARSE_ASIDE_FROM_BYTES {
        return to_json(&body);
    }
    match tokio::task::spawn_blocking(move || to_json(&body)).await {
        Ok(parsed) => parsed,
        Err(error) => Err(ErrorKind::NotJson(error.to_string())),
    }
}

fn to_json(body: &[u8]) -> Result<Value, ErrorKind> {
    json::parse(body).map(|normal| normal.value).map_err(ErrorKind::NotJson)
}
