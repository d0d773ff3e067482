//! HTTP client: one signed request to one destination.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode, header, redirect};
use tokio::time::timeout;
use uuid::Uuid;

use super::WebhookDispatcherConfig;
use super::config::CA_FILE;
use super::signature::signature;
use crate::alerts::Destination;
use crate::tls::{SetupError, explained};

/// Bytes read of the body of an error response.
const MAX_BODY_BYTES: usize = 1024;
/// Characters of the body that an error message quotes.
const MAX_QUOTED_CHARS: usize = 200;

/// Upper limit for `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// A message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct DeliveryError {
    /// The cause, without the URL.
    pub error: String,
    /// `Retry-After` of the response, at most an hour.
    pub retry_after: Option<Duration>,
    /// The destination answered 410 Gone: it accepts no more messages.
    pub gone: bool,
}

impl DeliveryError {
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry_after: None, gone: false }
    }
}

/// Sends messages to webhooks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookClient {
    http: reqwest::Client,
    timeout: Duration,
}

impl WebhookClient {
    /// A client with the timeout and the authorities of `config`.
    ///
    /// # Errors
    /// The file of authorities cannot be used, or TLS cannot be set up.
    pub fn new(config: &WebhookDispatcherConfig) -> Result<Self, SetupError> {
        let http = config
            .authorities()
            .trusted_by(reqwest::Client::builder())?
            .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
            // a message is signed for one URL and must not reach another
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, timeout: config.timeout })
    }

    /// Sends one message. Returns when the destination has accepted it (2xx).
    ///
    /// # Errors
    /// No connection, an error status, or a timeout.
    pub async fn send(&self, destination: &Destination, id: Uuid, body: &str) -> Result<(), DeliveryError> {
        let began = std::time::Instant::now();
        let outcome = match timeout(self.timeout, self.attempt(destination, id, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DeliveryError::new(format!("no response within {} s", self.timeout.as_secs_f64()))),
        };
        let name = || destination.name.clone();
        metrics::histogram!("living_map_webhook_duration_seconds", "destination" => name()).record(began.elapsed());
        let label = match &outcome {
            Ok(()) => "delivered",
            Err(error) if error.gone => "gone",
            Err(_) => "failed",
        };
        metrics::counter!("living_map_webhook_attempts_total", "destination" => name(), "outcome" => label)
            .increment(1);
        outcome
    }

    async fn attempt(&self, destination: &Destination, id: Uuid, body: &str) -> Result<(), DeliveryError> {
        let (id, timestamp) = (format!("msg_{}", id.simple()), Utc::now().timestamp());
        let request = self
            .http
            .post(destination.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-signature", signature(&destination.keys, &id, timestamp, body))
            .header("webhook-timestamp", timestamp)
            .header("webhook-id", id)
            .body(body.to_owned());
        let response = request.send().await.map_err(|error| DeliveryError::new(root_cause(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?));
        let error = format!("{status}{}", quoted_body(response).await);
        Err(DeliveryError { error, retry_after, gone: status == StatusCode::GONE })
    }
}

/// The innermost cause, without the URL, which may contain a secret.
fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    explained(cause.to_string(), CA_FILE)
}

/// The beginning of the response's body, in one line.
async fn quoted_body(mut response: Response) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_BODY_BYTES {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - text.len())]);
    }
    let text = String::from_utf8_lossy(&text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_QUOTED_CHARS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// Parses `Retry-After`: seconds, or a date.
fn parse_retry_after(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    let date = || {
        let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
        Some((at.to_utc() - Utc::now()).to_std().unwrap_or_default())
    };
    seconds.or_else(date).map(|wait| wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_limit() {
        assert_eq!(parse_retry_after("120"), Some(Duration::from_mins(2)));
        assert_eq!(parse_retry_after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = (Utc::now() + Duration::from_mins(10)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let asked = parse_retry_after(&soon).unwrap();
        assert!((590..=600).contains(&asked.as_secs()), "{asked:?}");
        for invalid in ["", "-1", "soon", "1.5"] {
            assert_eq!(parse_retry_after(invalid), None, "{invalid}");
        }
    }
}
