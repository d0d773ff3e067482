//! Activity of a connection: decides which deadlines apply to it, and whether it may be closed to make room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::config::HttpConfig;

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Longest time between two requests.
    pub idle: Duration,
    /// Longest time from the first byte of a request's head to its last.
    pub head: Duration,
    /// Longest time for which bytes after a malformed request are discarded.
    pub discard: Duration,
    /// Longest time that a client may be behind `bytes_per_second`.
    pub stall: Duration,
    /// Slowest average rate at which a client may read a response.
    pub bytes_per_second: u32,
}

impl Timeouts {
    /// Timeouts of all connections.
    pub fn new(config: &HttpConfig) -> Self {
        Self {
            idle: config.idle_timeout,
            head: config.head_timeout.min(config.idle_timeout),
            discard: config.discard_timeout,
            stall: config.response_stall_timeout,
            bytes_per_second: config.min_response_bytes_per_second,
        }
    }

    /// Timeouts of connections beyond the limit, which are there for one request.
    pub fn reserved(config: &HttpConfig) -> Self {
        let head = config.reserved_head_timeout;
        Self { idle: head, head, ..Self::new(config) }
    }
}

/// Activity of a connection, shared by its socket, its requests and the connection limit.
#[derive(Debug)]
pub struct Activity {
    state: Mutex<(Phase, Instant)>,
    evicted: CancellationToken,
}

/// Phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No byte of the next request has arrived.
    Idle,
    /// A part of the next request's head has arrived.
    Head,
    /// A request is being answered.
    Busy,
    /// All of the response is with hyper, which may not have written it yet.
    Flushing,
}

impl Activity {
    /// A new connection.
    pub fn new() -> Self {
        Self { state: Mutex::new((Phase::Idle, Instant::now())), evicted: CancellationToken::new() }
    }

    /// The phase and the time of its beginning.
    pub fn phase(&self) -> (Phase, Instant) {
        *self.state()
    }

    /// Notes that bytes were read from the socket.
    pub fn received(&self) {
        self.change(Phase::Idle, Phase::Head);
    }

    /// Notes that a request is complete as far as its head.
    pub fn begin_response(&self) {
        *self.state() = (Phase::Busy, Instant::now());
    }

    /// Notes that the body of the response is complete.
    pub fn end_response(&self) {
        self.change(Phase::Busy, Phase::Flushing);
    }

    /// Notes that everything that hyper had to write was written. Returns true if that was the end of a response.
    pub fn flushed(&self) -> bool {
        self.change(Phase::Flushing, Phase::Idle)
    }

    /// Time since which the connection has had no request in progress; none if it has one.
    pub fn idle_since(&self) -> Option<Instant> {
        let (phase, since) = self.phase();
        matches!(phase, Phase::Idle | Phase::Head).then_some(since)
    }

    /// Closes the connection to make room for another one.
    pub fn evict(&self) {
        self.evicted.cancel();
    }

    /// Returns true if the connection was closed to make room.
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Completes when the connection must make room.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    fn change(&self, from: Phase, to: Phase) -> bool {
        let mut state = self.state();
        let changes = state.0 == from;
        if changes {
            *state = (to, Instant::now());
        }
        changes
    }

    fn state(&self) -> MutexGuard<'_, (Phase, Instant)> {
        // a value of two words is never left half changed
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
