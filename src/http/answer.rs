//! Bodies of responses: their bytes are counted until the socket has accepted them, and large ones are computed and encoded
//! on the blocking thread pool, into pieces.
//!
//! [`account`] covers every route, so that no handler can forget it.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::error::{DEFAULT_RETRY_AFTER, Problem};
use super::requester::Requester;
use crate::access::shares::Client;
use crate::instruments::{Limit, count_rejected};

mod body;
mod budget;
mod ledger;

pub use budget::ResponseBudget;

pub use body::PieceWriter;

use body::{Pieces, TrackedBody};
use budget::{NoRoom, Permit};

/// Bytes up to which a body is not counted: a connection's own buffers are larger. Problem documents, health and readiness
/// are answered whatever else is in flight.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// Bytes of JSON that are encoded on the thread of the request, which takes well below a millisecond.
const INLINE_BYTES: usize = 64 * 1024;

/// State of the accounting layer of a group of routes.
#[derive(Debug, Clone)]
pub struct Accounting {
    /// Bytes in flight.
    pub budget: ResponseBudget,
    /// Bytes reserved before the handler runs; 0 for routes whose answers are small.
    pub reserved: usize,
}

/// Marks a response whose bytes are counted already.
#[derive(Debug, Clone, Copy)]
struct Counted;

/// Counts the bytes of a response until its socket has accepted them, or rejects it with 503. Must be inside compression,
/// whose bodies have no known size and keep only a few KiB. Streams of unknown size have limits of their own.
pub async fn account(State(layer): State<Accounting>, request: Request, next: Next) -> Response {
    let client = Requester::of(request.extensions()).client();
    let reserved = match layer.reserved {
        0 => None,
        bytes => match layer.budget.reserve(&client, bytes).await {
            Ok(permit) => Some(permit),
            Err(no_room) => return rejected(no_room).into_response(),
        },
    };
    let response = next.run(request).await;
    let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let Some(bytes) = bytes.filter(|bytes| *bytes > UNCOUNTED_BYTES) else { return response };
    if response.extensions().get::<Counted>().is_some() {
        return response;
    }
    let permit = match reserved {
        Some(permit) => permit.resize(bytes),
        None => layer.budget.reserve(&client, bytes).await,
    };
    match permit {
        Ok(permit) => tracked(response, permit),
        Err(no_room) => rejected(no_room).into_response(),
    }
}

/// A response whose body has this permit.
fn tracked(response: Response, permit: Permit) -> Response {
    let mut response = response.map(|body| Body::new(TrackedBody::new(body, permit)));
    response.extensions_mut().insert(Counted);
    response
}

/// Response with parts that other responses may share, once there is room for it.
///
/// # Errors
/// 503: there is no room in time.
pub async fn shared(budget: &ResponseBudget, client: &Client, parts: Arc<[Bytes]>) -> Result<Response, Problem> {
    if parts.iter().map(Bytes::len).sum::<usize>() <= UNCOUNTED_BYTES {
        return Ok(owned(&parts));
    }
    let permit = budget.share(client, &parts).await.map_err(rejected)?;
    let mut response = Response::new(Body::new(Pieces::new(permit.into_parts())));
    response.extensions_mut().insert(Counted);
    Ok(response)
}

/// Response with parts that no other response shares. The [layer](account) counts them.
pub fn owned(parts: &[Bytes]) -> Response {
    Response::new(Body::new(Pieces::new(parts.to_vec())))
}

/// Counts and describes the rejection of a response.
fn rejected(no_room: NoRoom) -> Problem {
    count_rejected(Limit::ResponseBytes);
    Problem::unavailable(no_room.to_string(), DEFAULT_RETRY_AFTER)
}

/// JSON of a value. Above 64 KiB it is encoded on the blocking thread pool.
///
/// # Errors
/// 500: the value cannot be encoded.
pub async fn json<T: Serialize + Send + 'static>(value: T) -> Result<Response, Problem> {
    let mut writer = PieceWriter::bounded(INLINE_BYTES);
    match serde_json::to_writer(&mut writer, &value) {
        Ok(()) => Ok(json_of(writer.finish())),
        Err(error) if error.is_io() => json_from(move || Ok(value)).await,
        Err(error) => Err(Problem::internal(error)),
    }
}

/// JSON of a value that is computed, and encoded, on the blocking thread pool.
///
/// # Errors
/// The error of `compute`. 500: the value cannot be encoded.
pub async fn json_from<T: Serialize>(
    compute: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let encode = move || {
        let mut writer = PieceWriter::unbounded();
        serde_json::to_writer(&mut writer, &compute()?).map_err(Problem::internal)?;
        Ok(writer.finish())
    };
    blocking(encode).await.map(json_of)
}

/// Runs CPU-bound work on the blocking thread pool.
///
/// # Errors
/// The error of `work`. 500: it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

/// Response with encoded JSON.
pub fn json_of(pieces: Vec<Bytes>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], Body::new(Pieces::new(pieces))).into_response()
}
