//! A private `nats-server`.
