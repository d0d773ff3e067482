//! The server-sent events transport: the frames and filters of the WebSocket, over an HTTP response without an end.
//!
//! The body of the response is the client: it reads the ring when the HTTP server polls it, which is when the socket
//! has accepted the previous chunk. Besides its position it holds one chunk of frames in flight, or a shared snapshot.

mod client;
mod encode;
mod in_flight;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::stream;
use http::{HeaderValue, Response, header};
use metrics::counter;
use tokio::time::{Instant, sleep, sleep_until};

use super::close::CloseReason;
use super::connection::Connection;
use super::context::StreamContext;
use super::options::StreamOptions;
use super::slots::{ClientSlot, Transport};
use super::sources::Replay;
use crate::access::shares::Client;
use crate::model::Cursor;
use client::{ClientMonitor, SseClient};

/// The reason for a rejected stream of server-sent events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The cursor cannot be resumed from: the events after it are gone, or it is of another log or in the future.
    #[error("the stream cannot be resumed after this cursor; begin without a cursor, or resume after a newer one")]
    Gone {
        /// The oldest position that can be resumed from.
        oldest: Cursor,
    },
    /// The ring has evicted the events after the cursor, and replay is unavailable.
    #[error("the events after this cursor are temporarily unavailable")]
    Unavailable {
        /// Delay before the next attempt.
        retry_after: Duration,
    },
    /// The limit of clients is reached, in total or for this address.
    #[error("the limit of streaming clients is reached, in total or for this address")]
    Full {
        /// Delay before the next attempt.
        retry_after: Duration,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping {
        /// Delay before the next attempt.
        retry_after: Duration,
    },
}

/// The response with the stream; `connection` carries it. See [`Streams::open`](super::Streams::open).
pub async fn open<E: From<OpenError>>(
    context: &Arc<StreamContext>,
    options: StreamOptions,
    connection: Connection,
    admit: impl FnOnce() -> Result<(), E>,
) -> Result<Response<Body>, E> {
    let retry_after = context.config.retry_after;
    if context.shutdown.is_cancelled() {
        return Err(OpenError::Stopping { retry_after }.into());
    }
    let slot = context.slots.acquire(Transport::Sse, &options.client).ok_or(OpenError::Full { retry_after })?;
    if let Some(cursor) = options.cursor {
        check_cursor(context, slot.client(), cursor).await?;
    }
    admit()?;
    if options.cursor.is_some() {
        counter!("living_map_stream_resumed_total").increment(1);
    }
    connection.becomes_stream();
    Ok(respond(context, options, slot, connection))
}

/// Rejects a cursor that cannot be resumed from.
async fn check_cursor(context: &StreamContext, client: &Client, cursor: Cursor) -> Result<(), OpenError> {
    match oldest_since(context, client, cursor).await? {
        None => Ok(()),
        Some(oldest) => {
            counter!("sse_cursor_410_total").increment(1);
            Err(OpenError::Gone { oldest })
        }
    }
}

/// The oldest position that can be resumed from.
///
/// # Errors
/// The ring has evicted older events, and replay is unavailable.
pub async fn oldest(context: &StreamContext, client: &Client) -> Result<Cursor, OpenError> {
    let start = Cursor { seq: 0, ..context.hub.oldest() };
    Ok(oldest_since(context, client, start).await?.unwrap_or(start))
}

/// `None` if `cursor` can be resumed from, else the oldest position that can.
async fn oldest_since(context: &StreamContext, client: &Client, cursor: Cursor) -> Result<Option<Cursor>, OpenError> {
    if context.hub.can_resume(cursor) {
        return Ok(None);
    }
    let replayed = match (context.sources.replay)(client.clone(), cursor).await {
        Replay::Frames(batch) if batch.continues_from(cursor) => return Ok(None),
        Replay::Unavailable => return Err(OpenError::Unavailable { retry_after: context.config.retry_after }),
        // the ring has advanced in the meantime and covers the cursor now
        _ if context.hub.can_resume(cursor) => return Ok(None),
        Replay::Frames(_) => None,
        Replay::Gone { oldest } => oldest,
    };
    let ring = context.hub.oldest();
    Ok(Some(replayed.filter(|cursor| cursor.epoch == ring.epoch).map_or(ring, |cursor| cursor.min(ring))))
}

fn respond(
    context: &Arc<StreamContext>,
    options: StreamOptions,
    slot: ClientSlot,
    connection: Connection,
) -> Response<Body> {
    let (client, monitor) = SseClient::new(Arc::clone(context), options, slot);
    context.tasks.spawn(watch(monitor, Arc::clone(context), connection));
    let mut response = Response::new(Body::from_stream(stream::unfold(client, SseClient::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx and compatible proxies would otherwise buffer some kilobytes before they forward them
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    // the connection is no longer counted among HTTP connections and must not return to them
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Closes the connection of a client that reads too slowly, or that has not read the `reconnect` frame after a
/// shutdown.
async fn watch(monitor: ClientMonitor, context: Arc<StreamContext>, connection: Connection) {
    let ClientMonitor { in_flight, close_reason, gone } = monitor;
    let config = &context.config;
    let stalled = async {
        loop {
            match in_flight.deadline() {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
                // a chunk sent in the meantime has a deadline that is no earlier
                None => sleep(config.stall_timeout).await,
            }
        }
    };
    let stopped = async {
        context.shutdown.cancelled().await;
        sleep(config.close_timeout).await;
    };
    let reason = tokio::select! {
        biased;
        () = gone.cancelled() => return,
        () = stopped => CloseReason::Shutdown,
        () = stalled => CloseReason::Slow,
    };
    // must be set before the connection, and the client with it, is dropped
    let _ = close_reason.set(reason);
    connection.hang_up();
}
