//! A webhook receiver: verifies signatures according to Standard Webhooks, and responds as configured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::wait::until;

/// A received message.
#[derive(Debug, Clone)]
pub struct Got {
    /// `webhook-id`.
    pub id: String,
    /// The body, with a valid signature.
    pub body: Value,
    /// Time of arrival.
    pub at: Instant,
    /// True if the response was 2xx.
    pub taken: bool,
}

impl Got {
    /// The alert id, and `raised` or `cleared`.
    pub fn what(&self) -> (String, String) {
        let state = self.body["type"].as_str().unwrap().rsplit('.').next().unwrap();
        (self.body["data"]["id"].as_str().unwrap_or_default().to_owned(), state.to_owned())
    }
}

/// A configured response.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<u32>,
    pub location: Option<String>,
    pub delay: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    next: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Option<Answer>>,
}

/// An HTTP server in the test process.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<Inner>,
    /// The URL of the receiver.
    pub url: String,
}

/// The signing key of all receivers.
const KEY: [u8; 32] = [7; 32];

/// The key in the format of the settings.
pub fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

impl Receiver {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(take)).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, url }
    }

    /// Sets the responses to the next requests, one each.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.inner.next.lock().unwrap().extend(answers);
    }

    /// Sets the response to all other requests; 204 by default.
    pub fn answer_all(&self, answer: Option<Answer>) {
        *self.inner.otherwise.lock().unwrap() = answer;
    }

    /// The messages received so far.
    pub fn got(&self) -> Vec<Got> {
        self.inner.got.lock().unwrap().clone()
    }

    /// The messages accepted so far.
    pub fn taken(&self) -> Vec<(String, String)> {
        self.got().iter().filter(|got| got.taken).map(Got::what).collect()
    }

    /// Waits until `count` messages have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        until(&format!("{count} messages"), async || Some(self.got()).filter(|got| got.len() >= count)).await
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let named =
        |name: &str| headers.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_str().unwrap().to_owned();
    let (id, timestamp, signatures) = (named("webhook-id"), named("webhook-timestamp"), named("webhook-signature"));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    let good = signatures.split(' ').filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
    if !good.into_iter().any(|tag| hmac::verify(&key, &signed, &tag).is_ok()) {
        // not recorded, so a test that expects the message fails
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let age = chrono::Utc::now().timestamp() - timestamp.parse::<i64>().unwrap();
    assert!(age.abs() <= 5, "the timestamp is that of the attempt");
    let next = inner.next.lock().unwrap().pop_front();
    let answer = next.or_else(|| inner.otherwise.lock().unwrap().clone()).unwrap_or_else(|| Answer::status(204));
    let got = Got {
        id,
        body: serde_json::from_slice(&body).unwrap(),
        at: Instant::now(),
        taken: (200..300).contains(&answer.status),
    };
    inner.got.lock().unwrap().push(got);
    sleep(answer.delay).await;
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), "hunter2 is no secret of ours").into_response();
    if answer.status == 204 {
        response = StatusCode::NO_CONTENT.into_response();
    }
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(location) = answer.location {
        response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
    }
    response
}
