//! Stopping a process in order, in bounded time.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::history::Storage;
use crate::tasks::Tasks;

/// The deadlines of a stop.
pub struct Shutdown {
    limit: Duration,
    /// Deadline of clients and tasks.
    deadline: Instant,
    /// Time beyond the deadline for recording errors and closing the databases.
    reserve: Duration,
}

impl Shutdown {
    /// A stop that began at `start` and takes at most `limit`.
    pub fn new(limit: Duration, start: Instant) -> Self {
        let reserve = limit / 10;
        Self { limit, deadline: start + reserve * 9, reserve }
    }

    /// Waits for `clients` to be closed, then stops the tasks by stage and closes the databases.
    ///
    /// # Errors
    /// The names of those that were aborted at the deadline.
    pub async fn run(self, clients: impl Future<Output = ()>, tasks: Tasks, storage: &Storage) -> anyhow::Result<()> {
        let clients_closed = timeout_at(self.deadline, clients).await.is_ok();
        let mut aborted = tasks.stop(self.deadline, self.reserve).await;
        aborted.extend((!clients_closed).then_some("clients"));
        // statements in progress finish first
        let _ = timeout_at(self.deadline + self.reserve, storage.close()).await;
        anyhow::ensure!(
            aborted.is_empty(),
            "aborted after {} seconds (STOP_SECONDS): {}",
            self.limit.as_secs(),
            aborted.join(", ")
        );
        tracing::info!("stopped");
        Ok(())
    }
}
