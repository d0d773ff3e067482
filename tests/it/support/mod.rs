//! What the tests share: processes and waiting for conditions.

pub mod nats;
pub mod postgres;
pub mod wait;
