//! Bases: the map with which a log begins, which is not the empty map when the log has lost its entries.

use chrono::{DateTime, Utc};

use crate::model::Cursor;

/// The map with which a log begins. Every fold of the log starts from its newest base, or from a snapshot after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Position at which the map begins.
    pub cursor: Cursor,
    /// Number among the bases of the log. A further base is added when the log loses its oldest entries unread.
    pub number: u64,
    /// Position whose map it is, in this or another log; `None` for the empty map.
    pub carried: Option<Cursor>,
    /// The log's time of the last event in the map. `None` for the empty map, and when the snapshot is missing.
    pub logged_at: Option<DateTime<Utc>>,
}

/// The bases of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bases {
    /// The first one.
    pub first: Base,
    /// The newest one.
    pub newest: Base,
}
