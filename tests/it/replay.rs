//! Replay: whoever is behind the ring is given every event as the ring had it.

mod after_a_restart;
mod client;
mod clock;
mod holes;
mod random;
mod stuck;
mod truth;
mod wanderer;
