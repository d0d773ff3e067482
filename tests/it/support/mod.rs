//! Shared test support: server processes, clients, and waiting for conditions.

pub mod daemon;
pub mod follower;
pub mod nats;
pub mod nats_accounts;
pub mod nginx;
pub mod otlp;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod receiver;
pub mod roaming_client;
pub mod tcp_proxy;
pub mod tls;
pub mod wait;
