//! The stream over real sockets.

mod clients;
mod delivery;
mod event_source;
mod limits;
mod server;
mod sse;
mod sse_limits;
