//! Streaming to clients: the ring buffer, the frames, the filters, WebSocket and server-sent events.
//!
//! An event is encoded once, as the bytes of a complete WebSocket frame, and kept in one ring buffer ([`Hub`]). A
//! client is a position in that ring: it has no queue and no copy of a frame. A few tasks, the shards, own all sockets;
//! each writes the same bytes to all of its clients in one pass. A client whose position was evicted gets the missed
//! frames from a [`ReplaySource`], or a fresh snapshot if they are gone, never a silent gap. A client that does not
//! read is closed with a close code that says how to resume.
//!
//! ```text
//! live ──publish──► Hub (ring) ──wake──► shard ──► sockets at its position
//!                                          ▲
//! http ──Streams::upgrade──► upgraded ─────┘  (first a snapshot; evicted frames come from the StreamSources)
//! http ──Streams::open──► sse: the response body reads the ring by itself
//! ```

mod close;
mod config;
mod connection;
mod context;
mod frame;
mod hub;
mod layers;
mod options;
pub mod protocol;
mod slots;
mod sources;
mod sse;
mod streams;
mod websocket;

pub use close::{CloseReason, FINAL_CODES, RESUMABLE_CODES};
pub use config::{HubConfig, StreamConfig};
pub use connection::Connection;
pub use frame::{Frame, FrameBatch};
pub use hub::{Hub, RingRead};
pub use layers::LayerSet;
pub use options::{ClientInfo, InvalidOption, LastEventId, StreamOptions};
pub use sources::{Replay, ReplaySource, SnapshotJson, SnapshotSource, StreamSources};
pub use sse::OpenError;
pub use streams::Streams;
pub use websocket::UpgradeError;
