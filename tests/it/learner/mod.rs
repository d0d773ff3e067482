//! The learner: its rules on simulated experiences, its lessons in both databases, and the whole with real servers.

mod alone;
mod handover;
mod live;
pub mod memory;
mod outage;
mod simulation;
