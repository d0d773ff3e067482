//! The NATS connection and our declared streams.
//!
//! | part | what it knows |
//! |---|---|
//! | [`connection`] | connecting, reconnecting, and how the connection is doing |
//! | [`streams`] | the streams we declare, and how they compare with the server's |
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
pub mod streams;
pub mod subjects;

pub use connection::{Connection, Link, NatsConfig, NatsError, connect};
pub use streams::{Declaration, Ensured, StreamError, StreamInfo};
