//! What follows a position that the ring has left behind.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::hub::Batch;
use crate::model::Cursor;

/// The answer to a client that is behind the ring.
#[derive(Debug, Clone)]
pub enum Replay {
    /// Frames as the ring had them, of a stretch that the position lies in ([`Batch::goes_on_from`]).
    Frames(Arc<Batch>),
    /// What follows the position is not to be had any more, or it is a position of another log, or of the future.
    Gone {
        /// The oldest position that can be gone on from, where that is known and older than the ring's.
        oldest: Option<Cursor>,
    },
    /// It cannot be made right now: the log or the record is away, or too much is asked at one time.
    Unavailable,
}

/// Gives what follows a position, a stretch at a time. It works off the threads that serve, and answers in the end: within
/// a bounded time, which is its own affair. What it hands out is shared by all who ask for the same.
pub type ReplaySource = Arc<dyn Fn(Cursor) -> BoxFuture<'static, Replay> + Send + Sync>;
