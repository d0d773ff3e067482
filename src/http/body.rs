//! JSON request bodies, read within limits of size, memory and time.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;

use super::error::Problem;
use super::head::Malformed;
use super::requester::Requester;
use super::state::AppState;
use crate::access::shares::Slot;
use crate::model::envelope::is_json;
use crate::model::json::{parse_strict, parsed_bytes};

/// A body that exceeds the limit is read and discarded up to this multiple of the limit: closing a connection with unread
/// bytes would lose the response.
const DISCARD_FACTOR: usize = 16;

/// A body, with its share of the memory for bodies: keep it until the request is processed.
#[derive(Debug)]
pub struct Received<T> {
    /// Its content.
    pub content: T,
    /// Memory that it takes, as text and as JSON values.
    pub memory: [Slot; 2],
}

/// Reads the JSON body of a request, see [`read_bytes`].
///
/// # Errors
/// 415: not declared as JSON. 400: invalid JSON, with the position. See [`read_bytes`] for others.
pub async fn read_json(state: &AppState, request: Request) -> Result<Received<Value>, Problem> {
    let Received { content, memory } = read_text(state, request).await?;
    Ok(Received { content: json(&content)?, memory })
}

/// Reads the text of a JSON body, without parsing it.
///
/// # Errors
/// 415: not declared as JSON. See [`read_bytes`] for others.
pub async fn read_text(state: &AppState, request: Request) -> Result<Received<Bytes>, Problem> {
    check_json(request.headers())?;
    read_bytes(state, request).await
}

/// Reads the body of a request within the configured limits. It is read only once there is memory for it, so that
/// unfinished bodies are bounded in bytes, and returned only once there is memory for its values.
///
/// # Errors
/// 503: no memory in time. 415: compressed. 413: too large. 408: too slow.
pub async fn read_bytes(state: &AppState, request: Request) -> Result<Received<Bytes>, Problem> {
    let client = Requester::of(request.extensions()).client();
    let (Parts { headers, .. }, body) = request.into_parts();
    check_coding(&headers)?;
    let limit = state.config.max_body_bytes;
    let declared = declared_bytes(&body, limit)?;
    let text = state.pools.body(client.clone(), declared).await.map_err(|problem| state.problem(problem))?;
    let content = within(body, limit, state.config.body_timeout).await?;
    // what it waits for needs no text: bodies whose values have memory have their texts already
    let values = state.pools.parsed_body(client, parsed_bytes(&content)).await;
    let values = values.map_err(|problem| state.problem(problem))?;
    Ok(Received { content, memory: [text, values] })
}

/// Checks that a body is declared as JSON.
fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if declared.is_some_and(is_json) {
        return Ok(());
    }
    let detail = "expected 'Content-Type: application/json'";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).parameter("Content-Type"))
}

/// Checks that a body is not compressed.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    // a few compressed bytes could decompress to gigabytes, and no client needs it
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let detail = "expected a body without 'Content-Encoding'";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).parameter("Content-Encoding"));
    }
    Ok(())
}

/// Bytes that a body of at most `limit` bytes may take: its declared length, else the limit.
///
/// # Errors
/// 413: so much larger than the limit that it is not read at all.
fn declared_bytes(body: &Body, limit: usize) -> Result<usize, Problem> {
    let hint = body.size_hint();
    if usize::try_from(hint.lower()).unwrap_or(usize::MAX) > limit.saturating_mul(DISCARD_FACTOR) {
        return Err(too_large(limit));
    }
    Ok(hint.exact().and_then(|bytes| usize::try_from(bytes).ok()).map_or(limit, |bytes| bytes.min(limit)))
}

/// Reads at most `limit` bytes within `timeout`.
///
/// # Errors
/// 413: too large. 408: too slow.
async fn within(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, Problem> {
    tokio::time::timeout(timeout, read(body, limit))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {timeout:?}")))?
}

/// Parses strict JSON.
///
/// # Errors
/// 400: invalid JSON, with the position.
fn json(bytes: &[u8]) -> Result<Value, Problem> {
    parse_strict(bytes).map_err(not_json)
}

/// 400: a body that is not JSON.
pub fn not_json(error: impl Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body is not valid JSON: {error}")).field("body")
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let discard_limit = limit.saturating_mul(DISCARD_FACTOR);
    // all at once: growing would take up to twice the memory that is accounted for
    let mut bytes = BytesMut::with_capacity(declared_bytes(&body, limit)?);
    let mut length = 0_usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = match malformed(&error) {
                Some(malformed) => malformed.to_string(),
                None => format!("the body ended early: {error}"),
            };
            Problem::new(StatusCode::BAD_REQUEST, detail).field("body")
        })?;
        length = length.saturating_add(chunk.len());
        if length > discard_limit {
            break;
        }
        if length <= limit {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > limit { Err(too_large(limit)) } else { Ok(bytes.freeze()) }
}

/// Reason why the connection's reader ended the body, if it did.
fn malformed(error: &axum::Error) -> Option<Malformed> {
    let mut causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref().copied())
}

fn too_large(limit: usize) -> Problem {
    Problem::too_large(format_args!("{limit} bytes"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    async fn post(content_type: &'static str, body: impl Into<Body>) -> Result<Value, u16> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        read(&headers, body.into(), 1_000).await.map_err(|problem| problem.status().as_u16())
    }

    async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Value, Problem> {
        check_json(headers)?;
        check_coding(headers)?;
        json(&within(body, limit, TIMEOUT).await?)
    }

    #[tokio::test]
    async fn each_kind_of_invalid_body_has_its_status() {
        assert_eq!(post("application/json; charset=utf-8", "[1]").await, Ok(json!([1])));
        assert_eq!(post("application/cloudevents+json", "1").await, Ok(json!(1)));
        assert_eq!(post("text/plain", "[1]").await, Err(415));
        for body in [&b""[..], b"{", b"[1,]", b"\xff", b"\"\xff\"", b"1e400", b"\"\\ud800\"", &[b'['; 900]] {
            assert_eq!(post("application/json", body).await, Err(400), "{}", body.escape_ascii());
        }
        assert_eq!(post("application/json", vec![b' '; 1_001]).await, Err(413));
        assert_eq!(post("application/json", vec![b' '; 100_000]).await, Err(413));
        assert_eq!(read(&HeaderMap::new(), "[1]".into(), 10).await.unwrap_err().status(), 415);
    }

    #[tokio::test]
    async fn a_compressed_body_is_rejected_as_such() {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let coded = |coding| HeaderMap::from_iter([json.clone(), (header::CONTENT_ENCODING, coding)]);
        let gzip = read(&coded(HeaderValue::from_static("gzip")), "\x1f".into(), 10).await;
        assert_eq!(gzip.unwrap_err().status(), 415);
        let plain = read(&coded(HeaderValue::from_static("identity")), "[1]".into(), 10).await;
        assert_eq!(plain.ok(), Some(json!([1])));
    }

    #[tokio::test]
    async fn an_endless_body_is_rejected() {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64])));
        assert_eq!(post("application/json", Body::from_stream(endless)).await, Err(413));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_arrives_times_out() {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(post("application/json", Body::from_stream(never)).await, Err(408));
    }
}
