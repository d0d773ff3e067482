//! What the tests share: processes and waiting for conditions.

pub mod cable;
pub mod daemon;
pub mod follower;
pub mod nats;
pub mod otlp;
pub mod postgres;
pub mod process;
pub mod receiver;
pub mod roamer;
pub mod wait;
