//! The NATS connection and our declared streams.
