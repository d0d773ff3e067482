//! Streaming to browsers: the shared ring, the frames, the filters, the WebSocket, server-sent events.
//!
//! An event is encoded once, as the bytes of a ready WebSocket frame, and kept in one ring ([`Hub`]). A client is a
//! position in that ring: it has no queue and no copy of a frame. A few tasks, the shards, own all sockets; each writes
//! the same bytes to all of its clients in one pass. Whoever is behind the ring is given what it missed by a
//! [`ReplaySource`], in the same frames, or a fresh snapshot where that is not to be had, never a silent gap; whoever does
//! not read at all is closed with a code that says how to go on.
//!
//! ```text
//! live ──publish──► Hub (ring) ──wake──► shard ──► sockets at its position
//!                                          ▲
//! http ──Streams::upgrade──► upgraded ─────┘  (snapshot first; what the ring has not, from the Sources)
//! http ──Streams::open──► sse: the body of the answer reads the ring by itself
//! ```

mod client;
mod close;
mod config;
mod connection;
mod decode;
mod filter;
mod handshake;
mod hub;
mod io;
mod outbox;
pub mod protocol;
mod ready;
mod replay;
mod shard;
mod sse;
mod streams;

pub use close::{CloseReason, FINAL_CODES, RESUMABLE_CODES};
pub use config::{HubConfig, StreamConfig};
pub use connection::Connection;
pub use filter::{Guest, InvalidOption, LayerSet, StreamOptions};
pub use handshake::UpgradeError;
pub use hub::{Batch, Frame, Hub, Read};
pub use replay::{Replay, ReplaySource};
pub use sse::OpenError;
pub use streams::{SnapshotJson, SnapshotSource, Sources, Streams};
