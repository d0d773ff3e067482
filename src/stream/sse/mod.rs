//! Server-sent events: the same frames and filters as the WebSocket's, over a plain HTTP answer that does not end.
//!
//! A client is the body of its answer: it reads the ring when the HTTP server asks it for more, which is when the socket
//! has taken what it was given before. Beside its position it has one chunk of frames under way, or a shared snapshot.

mod client;
mod encode;
mod flight;

use std::time::Duration;

use axum::body::Body;
use futures::stream;
use http::{HeaderValue, Response, header};
use metrics::counter;
use tokio::time::{Instant, sleep, sleep_until};

use super::close::CloseReason;
use super::connection::Connection;
use super::filter::StreamOptions;
use super::replay::Replay;
use super::streams::{Place, Streams, Transport};
use crate::model::Cursor;
use client::{Client, Watched};

pub use client::Shared;

/// Why a stream of server-sent events does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The cursor cannot be resumed from: what follows it is gone, or it is of another log, or of the future.
    #[error("the stream cannot be resumed after this cursor; begin anew without one, or resume after a newer one")]
    Gone {
        /// The oldest position that can be resumed from.
        oldest: Cursor,
    },
    /// What follows the cursor is older than the ring, and cannot be made right now.
    #[error("what follows this cursor cannot be had right now")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// As many clients as the server takes, in all or from this address.
    #[error("the server has as many streaming clients as it takes, in all or from this address")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server is about to stop.
    #[error("the server is stopping")]
    Stopping {
        /// When to try again.
        retry_after: Duration,
    },
}

impl Streams {
    /// The answer to `GET /living-map/events/stream`; `connection` is the one that carries it.
    ///
    /// # Errors
    /// Why it is refused; nothing is left behind then.
    pub async fn open(&self, options: StreamOptions, connection: Connection) -> Result<Response<Body>, OpenError> {
        let shared = self.shared();
        let retry_after = shared.config.retry_after;
        if shared.shutdown.is_cancelled() {
            return Err(OpenError::Stopping { retry_after });
        }
        let place = self.take_place(Transport::Sse, options.guest).ok_or(OpenError::Full { retry_after })?;
        if let Some(cursor) = options.cursor
            && !shared.hub.can_resume(cursor)
        {
            match (shared.sources.replay)(cursor).await {
                Replay::Frames(batch) if batch.goes_on_from(cursor) => {}
                Replay::Unavailable => return Err(OpenError::Unavailable { retry_after }),
                // the ring has moved on meanwhile, and has it now
                _ if shared.hub.can_resume(cursor) => {}
                Replay::Frames(_) => return Err(gone(shared, None)),
                Replay::Gone { oldest } => return Err(gone(shared, oldest)),
            }
        }
        if options.cursor.is_some() {
            counter!("living_map_stream_resumed_total").increment(1);
        }
        connection.becomes_stream();
        Ok(answer(self, shared.clone(), options, place, connection))
    }
}

fn gone(shared: &Shared, replayed: Option<Cursor>) -> OpenError {
    counter!("sse_cursor_410_total").increment(1);
    let ring = shared.hub.oldest();
    let oldest = replayed.filter(|cursor| cursor.epoch == ring.epoch).map_or(ring, |cursor| cursor.min(ring));
    OpenError::Gone { oldest }
}

fn answer(
    streams: &Streams,
    shared: Shared,
    options: StreamOptions,
    place: Place,
    connection: Connection,
) -> Response<Body> {
    let (client, watched) = Client::new(shared.clone(), options, place);
    streams.spawn(watch(watched, shared, connection));
    let mut response = Response::new(Body::from_stream(stream::unfold(client, Client::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx, and who follows it, would otherwise collect some kilobytes before it passes them on
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    // it does not come back to the connections that are counted as such
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Hangs up on a client that takes nothing, and at the end on one that does not take the goodbye.
async fn watch(Watched { flight, cut, gone }: Watched, shared: Shared, connection: Connection) {
    let config = &shared.config;
    let stalled = async {
        loop {
            match flight.deadline() {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
                // whatever sets out meanwhile has at least as long
                None => sleep(config.stall_timeout).await,
            }
        }
    };
    let stopped = async {
        shared.shutdown.cancelled().await;
        sleep(config.close_timeout).await;
    };
    let reason = tokio::select! {
        biased;
        () = gone.cancelled() => return,
        () = stopped => CloseReason::Shutdown,
        () = stalled => CloseReason::Slow,
    };
    // set before the connection, and with it the client, is dropped
    let _ = cut.set(reason);
    connection.hang_up();
}
