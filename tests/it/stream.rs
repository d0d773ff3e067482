//! The stream over real sockets.

mod clients;
mod delivery;
mod limits;
mod world;
