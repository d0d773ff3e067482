//! Sources of data that the ring buffer does not hold: snapshots, and frames that it has evicted.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::frame::FrameBatch;
use super::layers::LayerSet;
use crate::access::shares::Client;
use crate::model::Cursor;

/// A snapshot as JSON.
#[derive(Debug, Clone)]
pub struct SnapshotJson {
    /// Position of the snapshot.
    pub cursor: Cursor,
    /// The JSON, shared by all clients that get it.
    pub json: Bytes,
}

/// Returns a snapshot of the given layers. It should return the same bytes for a while (see
/// [`StreamConfig::min_bytes_per_second`](super::StreamConfig::min_bytes_per_second) on the memory that this bounds),
/// and they should not be older than the oldest frame of the ring.
pub type SnapshotSource = Arc<dyn Fn(LayerSet) -> BoxFuture<'static, SnapshotJson> + Send + Sync>;

/// Result of a replay for a client whose position the ring has evicted.
#[derive(Debug, Clone)]
pub enum Replay {
    /// Frames as the ring had them. The batch covers the next position ([`FrameBatch::continues_from`]).
    Frames(Arc<FrameBatch>),
    /// The frames after the position are gone, or the position is of another log or in the future.
    Gone {
        /// The oldest position that can be resumed from, if it is known and older than the ring's.
        oldest: Option<Cursor>,
    },
    /// Replay is unavailable: the log or the history is unavailable, or there are too many requests.
    Unavailable,
}

/// Returns a batch of the frames after a position, for a client by which replays are shared. The source does not block its
/// caller's thread and answers within a bounded time. Equal requests share one result.
pub type ReplaySource = Arc<dyn Fn(Client, Cursor) -> BoxFuture<'static, Replay> + Send + Sync>;

/// The sources of one server.
#[derive(Clone)]
pub struct StreamSources {
    /// The current map, for clients that begin or cannot resume.
    pub snapshot: SnapshotSource,
    /// Evicted frames, for clients that resume or lag.
    pub replay: ReplaySource,
}
