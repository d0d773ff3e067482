//! Leader election: of several replicas that share a database, the holder of a lease runs the single-instance tasks.
//!
//! The leader renews the lease several times in its duration. A leader that cannot renew it stops its tasks before another
//! replica can acquire the lease; one that stops in order releases it, and the next replica acquires it within a fifth of
//! its duration. The note of the lease carries the leader's view of the upstreams' health to the other replicas.
//!
//! Two replicas may both believe that they lead (a suspended process, a clock that jumped), so every task that runs by the
//! lease is harmless when it runs twice. The documentation of each task says why.
//!
//! | metric | |
//! |---|---|
//! | `living_map_lease_held` | 1 while this replica holds the lease, else 0 |
//! | `living_map_lease_changes_total{change}` | `taken`, `lost`, `given_back` by this replica |
//! | `living_map_lease_failures_total` | requests that the database did not answer |

mod election;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::defaults;
use crate::config::value::whole_seconds;
use crate::history::Leases;
use crate::history::leases::Fence;
use crate::tasks::{Stage, Tasks};
use crate::upstream_health::UpstreamHealth;

pub use election::LeaderElection;

/// Name and duration of a lease.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Cluster and shutdown")]
pub struct LeaseConfig {
    /// The name. Servers share one lease for all their single-instance tasks, because the replica that polls the upstreams
    /// also saves the resulting map. A process that runs one such task alone uses another name.
    #[arg(skip = "leader")]
    pub name: &'static str,
    /// Seconds that the leader's lease lasts without renewal: so much later, plus at most a fifth, another replica takes over
    /// after a crash. A planned stop releases it at once.
    #[arg(id = "LEASE_SECONDS", env, long = "lease-seconds", default_value = "5", value_parser = whole_seconds(2, 300))]
    pub lasting: Duration,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        defaults()
    }
}

impl LeaseConfig {
    /// Interval of attempts to acquire or renew the lease.
    fn interval(&self) -> Duration {
        self.lasting / 5
    }

    /// Time before its expiry at which a leader that could not renew the lease gives it up: what its tasks have to stop.
    fn grace(&self) -> Duration {
        self.lasting / 5
    }
}

/// Role of this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This replica leads. Holds the fencing token; none where there can be no other replica.
    Leading(Option<u64>),
    /// Another replica leads.
    Following,
    /// The database has not answered for the duration of a lease, so no lease known to this replica can still be valid.
    Unknown,
}

/// The role, since when, and the last error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadershipStatus {
    /// The role.
    pub role: Role,
    /// Start of the role.
    pub since: DateTime<Utc>,
    /// Error of the last attempt to acquire or renew the lease, if it failed.
    pub error: Option<String>,
}

/// Runs tasks depending on the role of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    status: Arc<watch::Sender<LeadershipStatus>>,
    /// Name of the lease.
    lease: &'static str,
    grace: Duration,
}

impl Leadership {
    /// Starts the election as a task; without a lease this process can have no other replica beside it.
    #[must_use]
    pub fn start(
        config: Option<LeaseConfig>,
        leases: &Arc<dyn Leases>,
        upstream_health: &UpstreamHealth,
        tasks: &mut Tasks,
    ) -> Self {
        let Some(config) = config else { return Self::permanent() };
        let election = LeaderElection::new(config, Arc::clone(leases), upstream_health.clone());
        let leadership = election.leadership();
        tasks.spawn("lease", Stage::Leading, |stop| election.run(stop));
        leadership
    }

    /// Leadership of a process that can have no other replica beside it: it leads from its start to its end.
    #[must_use]
    pub fn permanent() -> Self {
        metrics::gauge!("living_map_lease_held").set(1.0);
        Self::new(Role::Leading(None), LeaseConfig::default().name, Duration::ZERO)
    }

    fn new(role: Role, lease: &'static str, grace: Duration) -> Self {
        let status = LeadershipStatus { role, since: Utc::now(), error: None };
        Self { status: Arc::new(watch::Sender::new(status)), lease, grace }
    }

    /// The fence for a write as the leader; `None` while this replica does not lead.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        match self.status.borrow().role {
            Role::Leading(token) => Some(Fence { lease: self.lease, token }),
            Role::Following | Role::Unknown => None,
        }
    }

    /// The current status.
    #[must_use]
    pub fn status(&self) -> LeadershipStatus {
        self.status.borrow().clone()
    }

    /// Spawns a task that runs while this replica leads, see [`Leadership::while_leading`].
    pub fn spawn<F>(
        &self,
        tasks: &mut Tasks,
        name: &'static str,
        stage: Stage,
        task: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let leadership = self.clone();
        tasks.spawn(name, stage, |stop| async move { leadership.while_leading(stop, task).await });
    }

    /// Spawns a task that runs while no other replica leads, see [`Leadership::unless_following`].
    pub fn spawn_unless_following<F>(
        &self,
        tasks: &mut Tasks,
        name: &'static str,
        stage: Stage,
        task: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let leadership = self.clone();
        tasks.spawn(name, stage, |stop| async move { leadership.unless_following(stop, task).await });
    }

    /// Runs `task` whenever this replica leads, until `stop`, then waits for its end. When the lease is lost, the token of
    /// the task is cancelled, and the task is dropped if it has not ended by the time another replica can lead. Each term
    /// of leadership is a new run. Returns early when the task ends by itself.
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

    /// Runs `task` on the leader, or on every replica while leadership is unknown; otherwise like
    /// [`Leadership::while_leading`].
    pub async fn unless_following<F: Future<Output = ()>>(
        &self,
        stop: CancellationToken,
        task: impl FnMut(CancellationToken) -> F,
    ) {
        self.run_while(|role| (role != Role::Following).then_some(()), stop, task).await;
    }

    /// Runs `task` while `term` of the role is the same value; not while it is none.
    async fn run_while<R: PartialEq, F: Future<Output = ()>>(
        &self,
        term: impl Fn(Role) -> Option<R>,
        stop: CancellationToken,
        mut task: impl FnMut(CancellationToken) -> F,
    ) {
        let mut status = self.status.subscribe();
        loop {
            // the sender lives as long as `self`, so neither wait fails
            let begin = status.wait_for(|status| term(status.role).is_some());
            let Some(begun) = stop.run_until_cancelled(begin).await else { return };
            let Ok(begun_term) = begun.map(|status| term(status.role)) else { return };
            let run = stop.child_token();
            let mut running = pin!(task(run.clone()));
            tokio::select! {
                () = &mut running => return,
                _ = status.wait_for(|status| term(status.role) != begun_term) => {}
            }
            run.cancel();
            if timeout(self.grace, running).await.is_err() {
                tracing::warn!("a task did not stop in time after the lease was lost; aborted");
            }
        }
    }

    fn set_role(&self, role: Role) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.role != role;
            if changed {
                (status.role, status.since) = (role, Utc::now());
            }
            changed
        });
        if changed {
            metrics::gauge!("living_map_lease_held").set(f64::from(u8::from(matches!(role, Role::Leading(_)))));
        }
    }

    fn set_error(&self, error: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.error != error;
            status.error = error;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
