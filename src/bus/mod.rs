//! The NATS connection and our declared streams.
//!
//! | module | content |
//! |---|---|
//! | [`connection`] | credentials, TLS, choice of a server, connecting, reconnecting, denied permissions |
//! | [`declared`] | the declared streams, as data |
//! | [`streams`] | comparing one stream with its declaration, creating and extending it |
//! | [`conflicts`] | subjects that another stream has, and whether the log sources them from there |
//! | [`republish`] | streams that publish again what they store |
//! | [`network`] | all declared streams together; the log sources the others' messages |
//! | [`subjects`] | covering and overlapping of subject patterns |
//!
//! Works with nats-server 2.9 and newer: streams are read and updated as the server's own JSON, so that settings unknown to
//! this program survive an update, and no key-value bucket is used.
//!
//! | metric | |
//! |---|---|
//! | `living_map_nats_connected` | gauge: 1 while connected, else 0 |
//! | `living_map_nats_connects_total` | connections made, including the first |
//! | `living_map_nats_denied_total` | requests and messages for which the account lacks a permission |
//! | `living_map_nats_slow_consumer_total` | times a subscription was too slow and messages were dropped |

mod config;
mod error;

pub mod backoff;
pub mod conflicts;
pub mod connection;
pub mod declared;
pub mod network;
pub mod republish;
pub mod streams;
pub mod subjects;

pub use config::{ExtraSubjects, NatsAccessConfig, StreamsConfig};
pub use conflicts::{NotSourced, NotSourcedReason};
pub use connection::{ApiError, Connection, ConnectionState, NatsConfig, NatsError, connect};
pub use declared::{LIVING_MAP, NETWORK_PRESET, StreamDeclaration, StreamSource};
pub use error::StreamError;
pub use republish::Republisher;
pub use streams::{SourcedSubjects, StreamInfo, StreamStatus};
