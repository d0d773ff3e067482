//! One signed request to one destination, within its limits.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode, header, redirect};
use tokio::time::timeout;
use uuid::Uuid;

use super::signature::signature;
use crate::alerts::Destination;

/// How much of the answer to a message that was not taken is read, in bytes, and how much of it is shown, in characters.
const MAX_ANSWER_BYTES: usize = 1024;
const MAX_SHOWN_CHARS: usize = 200;

/// The longest wait that a receiver can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// What happened, without the address.
    pub error: String,
    /// How long the receiver asks to wait, at most an hour.
    pub retry_after: Option<Duration>,
    /// The receiver says that it wants nothing more (410).
    pub gone: bool,
}

impl Rejection {
    fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry_after: None, gone: false }
    }
}

/// Sends messages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    timeout: Duration,
}

impl Client {
    /// A client that waits so long for an answer.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(timeout: Duration) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("living-map/", env!("CARGO_PKG_VERSION")))
            // what was signed for one address is not for another
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, timeout })
    }

    /// Sends one message. Returns when the destination has taken it (2xx).
    ///
    /// # Errors
    /// It was not taken, or not in time.
    pub async fn send(&self, destination: &Destination, id: Uuid, body: &str) -> Result<(), Rejection> {
        let began = std::time::Instant::now();
        let outcome = match timeout(self.timeout, self.attempt(destination, id, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Rejection::new(format!("no answer within {} s", self.timeout.as_secs_f64()))),
        };
        let name = || destination.name.clone();
        metrics::histogram!("living_map_webhook_duration_seconds", "destination" => name()).record(began.elapsed());
        let word = match &outcome {
            Ok(()) => "delivered",
            Err(rejection) if rejection.gone => "gone",
            Err(_) => "failed",
        };
        metrics::counter!("living_map_webhook_attempts_total", "destination" => name(), "outcome" => word).increment(1);
        outcome
    }

    async fn attempt(&self, destination: &Destination, id: Uuid, body: &str) -> Result<(), Rejection> {
        let (id, timestamp) = (format!("msg_{}", id.simple()), Utc::now().timestamp());
        let request = self
            .http
            .post(destination.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-signature", signature(&destination.keys, &id, timestamp, body))
            .header("webhook-timestamp", timestamp)
            .header("webhook-id", id)
            .body(body.to_owned());
        let answer = request.send().await.map_err(|error| Rejection::new(cause(error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| wait(value.to_str().ok()?));
        let error = format!("{status}{}", shown(answer).await);
        Err(Rejection { error, retry_after, gone: status == StatusCode::GONE })
    }
}

/// The innermost cause; the address may be a secret.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The beginning of what the receiver says, in one line.
async fn shown(mut answer: Response) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_ANSWER_BYTES {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - text.len())]);
    }
    let text = String::from_utf8_lossy(&text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
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
    fn a_receiver_may_ask_for_seconds_or_a_date_and_not_for_ever() {
        assert_eq!(wait("120"), Some(Duration::from_mins(2)));
        assert_eq!(wait("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = (Utc::now() + Duration::from_mins(10)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let asked = wait(&soon).unwrap();
        assert!((590..=600).contains(&asked.as_secs()), "{asked:?}");
        for nothing in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(nothing), None, "{nothing}");
        }
    }
}
