//! Which of several servers does what one does for all: who holds the lease in the database that they share.
//!
//! The holder prolongs it three times and more in its time. One that cannot stops what it does before anybody else can
//! have taken the lease; one that stops in order gives it back, and the next takes it within a fifth of its time. What the
//! holder knows and the others need, how the upstreams are doing, travels with the lease.
//!
//! That two believe to hold it cannot be ruled out (a process that was asleep, a clock that jumped): every task that runs
//! by lease is harmless when it runs twice. Each says in its own documentation why.
//!
//! | metric | |
//! |---|---|
//! | `living_map_lease_held` | 1 while this server holds it, else 0 |
//! | `living_map_lease_changes_total{change}` | `taken`, `lost`, `given_back` by this server |
//! | `living_map_lease_failures_total` | times the database did not answer |

mod keeper;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use keeper::{Keeper, keeper};

/// How long, and how often.
#[derive(Debug, Clone, Copy)]
pub struct LeaseConfig {
    /// Its name: one for all that one server does, since whoever polls the upstreams also saves what came of it. A process
    /// that does one thing alone has another one.
    pub name: &'static str,
    /// How long the lease lasts when it is not prolonged: after a `kill -9` the next server takes it so much later, and a
    /// fifth of it at most.
    pub lasting: Duration,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { name: "leader", lasting: Duration::from_secs(5) }
    }
}

impl LeaseConfig {
    /// From one attempt to take or prolong it to the next.
    fn interval(&self) -> Duration {
        self.lasting / 5
    }

    /// How long before the end a holder that could not prolong it stops, and how long what it did may take to end.
    fn grace(&self) -> Duration {
        self.lasting / 5
    }
}

/// What this server is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It does what one does for all. The lease's token; none where there can be no other server.
    Leading(Option<u64>),
    /// Another one does.
    Following,
    /// The database has not answered for the time of a lease: nobody can hold it, as far as this server knows.
    Unknown,
}

/// A role, since when, and why it is not a better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadershipStatus {
    /// The role.
    pub role: Role,
    /// When it began.
    pub since: DateTime<Utc>,
    /// Why the last attempt to take or prolong the lease failed.
    pub error: Option<String>,
}

/// Runs tasks by lease. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    standing: Arc<watch::Sender<LeadershipStatus>>,
    grace: Duration,
}

impl Leadership {
    /// That of a server which can have no other beside it: it leads from its start to its end.
    #[must_use]
    pub fn alone() -> Self {
        metrics::gauge!("living_map_lease_held").set(1.0);
        Self::new(Role::Leading(None), Duration::ZERO)
    }

    fn new(role: Role, grace: Duration) -> Self {
        let standing = LeadershipStatus { role, since: Utc::now(), error: None };
        Self { standing: Arc::new(watch::Sender::new(standing)), grace }
    }

    /// What this server is now.
    #[must_use]
    pub fn standing(&self) -> LeadershipStatus {
        self.standing.borrow().clone()
    }

    /// Runs `task` whenever this server leads, until `stop`; then waits for its end. When the lease is lost, the task is
    /// told by its own token, and dropped if it has not ended by when another server can lead. Each term of this server is
    /// a new run. Returns early when the task ends by itself.
    pub async fn while_leading<F: Future<Output = ()>>(
        &self,
        stop: CancellationToken,
        task: impl FnMut(CancellationToken) -> F,
    ) {
        let term = |role| match role {
            Role::Leading(token) => Some(token),
            Role::Following | Role::Unknown => None,
        };
        self.run_while(term, stop, task).await;
    }

    /// The same, and also while nobody can lead: for what had better be done by each than by none.
    pub async fn unless_following<F: Future<Output = ()>>(
        &self,
        stop: CancellationToken,
        task: impl FnMut(CancellationToken) -> F,
    ) {
        self.run_while(|role| (role != Role::Following).then_some(()), stop, task).await;
    }

    /// Runs `task` while `reason` gives the same reason.
    async fn run_while<R: PartialEq, F: Future<Output = ()>>(
        &self,
        reason: impl Fn(Role) -> Option<R>,
        stop: CancellationToken,
        mut task: impl FnMut(CancellationToken) -> F,
    ) {
        let mut standing = self.standing.subscribe();
        loop {
            // the sender lives as long as this, so neither wait fails
            let begin = standing.wait_for(|standing| reason(standing.role).is_some());
            let Some(begun) = stop.run_until_cancelled(begin).await else { return };
            let Ok(why) = begun.map(|standing| reason(standing.role)) else { return };
            let run = stop.child_token();
            let mut running = pin!(task(run.clone()));
            tokio::select! {
                () = &mut running => return,
                _ = standing.wait_for(|standing| reason(standing.role) != why) => {}
            }
            run.cancel();
            if timeout(self.grace, running).await.is_err() {
                tracing::warn!("a task did not end with the lease that it ran by; it was broken off");
            }
        }
    }

    fn set_role(&self, role: Role) {
        let changed = self.standing.send_if_modified(|standing| {
            let changed = standing.role != role;
            if changed {
                (standing.role, standing.since) = (role, Utc::now());
            }
            changed
        });
        if changed {
            metrics::gauge!("living_map_lease_held").set(f64::from(u8::from(matches!(role, Role::Leading(_)))));
        }
    }

    fn note_error(&self, error: Option<String>) {
        self.standing.send_if_modified(|standing| {
            let changed = standing.error != error;
            standing.error = error;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
