//! Replay: a client behind the ring gets every event in the frames that the ring had.

mod after_a_restart;
mod client;
mod clock;
mod expected;
mod gaps;
mod random;
mod random_client;
mod recording;
mod shares;
mod stuck;
