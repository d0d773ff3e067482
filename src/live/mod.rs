//! The loop: the log in order, folded into the map; snapshot bytes and the hub's frames come from here. Nothing else
//! holds the current map.

use std::sync::Arc;

use bytes::Bytes;

use crate::map::State;
use crate::model::{Cursor, Layer};

/// The current map, shared by every reader.
#[derive(Clone)]
pub struct LiveMap {}

/// A snapshot, encoded once for everybody who asks for the same layers.
#[derive(Debug)]
pub struct SnapshotBytes {
    /// The position it is exact at.
    pub cursor: Cursor,
    /// Strong validator, with quotes.
    pub etag: String,
    /// The sources whose last good data stands in for a failed poll, as the header says it (`agents, dao`).
    pub rescued: Option<String>,
    identity: Bytes,
}

/// How a snapshot's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl SnapshotBytes {
    /// The JSON, uncompressed.
    #[must_use]
    pub fn identity(&self) -> Bytes {
        self.identity.clone()
    }

    /// The JSON as `encoding` wants it; compressed at most once.
    pub async fn encoded(self: &Arc<Self>, _encoding: Encoding) -> Bytes {
        todo!()
    }
}

/// How the loop is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// Folding what was there at the start.
    CatchingUp,
    /// At the log's end.
    Current,
    /// The log is away; the map is as it was then. The reason.
    Stale(String),
}

impl LiveMap {
    /// Reads the map. Keep it short: the fold waits meanwhile.
    pub fn with<R>(&self, _read: impl FnOnce(&State) -> R) -> R {
        todo!()
    }

    /// The position folded last.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        todo!()
    }

    /// A snapshot of `layers` (all when empty), at most one build interval old.
    pub async fn snapshot(&self, _layers: &[Layer]) -> Arc<SnapshotBytes> {
        todo!()
    }

    /// How the loop is doing.
    #[must_use]
    pub fn following(&self) -> Following {
        todo!()
    }

    /// Returns once position `seq` is folded (a publisher reads its own write).
    pub async fn folded(&self, _cursor: Cursor) {
        todo!()
    }
}
