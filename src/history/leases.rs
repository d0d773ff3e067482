//! Leases: a name that one process holds for a time. The database's clock says how long, so that the servers' clocks need
//! not agree.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::HistoryError;

/// A lease as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whether it is the asker's.
    pub ours: bool,
    /// Grows with each change of hands, and when a holder that was too late takes it again: of two that believe to hold
    /// it, the one with the higher token does.
    pub token: u64,
    /// What its holder, or the last one, said with it.
    pub note: String,
}

/// Leases. All methods may be called from any task, at most one at a time for each name and holder.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease `name` for `holder`, or prolongs it, to last so long from now; leaves it as it is when somebody
    /// else has it and its time is not over. Only what is the asker's afterwards carries its `note`.
    async fn hold(&self, name: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease, HistoryError>;

    /// Ends the lease held by this token now, for others to take it at once; false if it is not held by it any more.
    async fn give_back(&self, name: &str, token: u64) -> Result<bool, HistoryError>;
}
