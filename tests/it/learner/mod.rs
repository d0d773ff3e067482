//! The learner: its rules in a simulated network, its memory in both databases, and the whole of it with real servers.

mod alone;
mod handover;
mod live;
mod memory;
mod outage;
mod simulation;
