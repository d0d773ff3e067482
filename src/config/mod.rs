//! Every setting of the server: an environment variable, or the flag of the same name.
//!
//! `clap` reads them, so the list in `serve --help` is the list there is, and a wrong value is refused at start with
//! the variable's name and what was expected.

mod cluster;
mod demo;
mod journal;
mod learner;
mod limits;
mod listen;
mod saving;
mod storage;
mod streaming;
mod upstreams;
mod value;

use clap::Args;

pub use cluster::Cluster;
pub use demo::DemoSettings;
pub use journal::Journal;
pub use learner::Learner;
pub use limits::Limits;
pub use listen::{Auth, Listen, LogFormat};
pub use saving::Saving;
pub use storage::Storage;
pub use streaming::Streaming;
pub use upstreams::Upstreams;

/// What `serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// The log and the record.
    #[command(flatten)]
    pub storage: Storage,
    /// Who is polled.
    #[command(flatten)]
    pub upstreams: Upstreams,
    /// What failed.
    #[command(flatten)]
    pub journal: Journal,
    /// Snapshot and stream.
    #[command(flatten)]
    pub streaming: Streaming,
    /// Saved snapshots and time travel.
    #[command(flatten)]
    pub saving: Saving,
    /// Several servers side by side, and the end of one.
    #[command(flatten)]
    pub cluster: Cluster,
    /// The learner.
    #[command(flatten)]
    pub learner: Learner,
    /// What a request may be.
    #[command(flatten)]
    pub limits: Limits,
}

#[cfg(test)]
mod tests;
