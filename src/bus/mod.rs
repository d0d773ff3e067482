//! The NATS connection and our declared streams.
//!
//! | part | what it knows |
//! |---|---|
//! | [`connection`] | connecting, reconnecting, and how the connection is doing |
//! | [`declared`] | the streams we declare, as data |
//! | [`streams`] | how one compares with the server's, and how it is made so |
//! | [`network`] | all of them together, the log taking the others' messages |
//! | [`subjects`] | which patterns cover or overlap which |
//!
//! nats-server 2.9 and newer are met: streams are read and updated as the server's own JSON, so that settings which
//! this program does not know survive an update, and no key-value bucket is used.
//!
//! | metric | |
//! |---|---|
//! | `living_map_nats_connected` | gauge: 1 while there is a connection |
//! | `living_map_nats_connects_total` | connections made, the first included |
//! | `living_map_nats_slow_consumer_total` | times a subscription was too slow and lost messages |

pub mod backoff;
pub mod connection;
pub mod declared;
pub mod network;
pub mod streams;
pub mod subjects;

pub use connection::{Connection, Link, NatsConfig, NatsError, connect};
pub use declared::{Declaration, LIVING_MAP, Source};
pub use streams::{Ensured, Sourced, StreamError, StreamInfo};
