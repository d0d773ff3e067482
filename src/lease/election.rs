//! The task that acquires, renews and releases the lease.

use std::pin::pin;
use std::sync::Arc;

use metrics::counter;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Leadership, LeaseConfig, Role};
use crate::history::HistoryError;
use crate::history::leases::{Lease, Leases};
use crate::upstream_health::{UpstreamHealth, UpstreamReport};

/// Acquires the lease when it is free, and renews it.
pub struct LeaderElection {
    config: LeaseConfig,
    leases: Arc<dyn Leases>,
    upstream_health: UpstreamHealth,
    leadership: Leadership,
    /// Identity of this run of this process.
    holder: Uuid,
    /// End of the term without renewal: expiry of the lease, less the time that tasks have to stop.
    until: Instant,
    /// Time of the last answer from the database.
    answered: Instant,
    /// The last note that was encoded.
    note: String,
}

impl LeaderElection {
    /// An election, to be run. The leader writes its `upstream_health` to the note of the lease; the other replicas merge
    /// it from there.
    #[must_use]
    pub fn new(config: LeaseConfig, leases: Arc<dyn Leases>, upstream_health: UpstreamHealth) -> Self {
        metrics::gauge!("living_map_lease_held").set(0.0);
        let leadership = Leadership::new(Role::Following, config.name, config.grace());
        let (holder, now) = (Uuid::now_v7(), Instant::now());
        Self { config, leases, upstream_health, leadership, holder, until: now, answered: now, note: "[]".to_owned() }
    }

    /// Leadership of this replica, as the election decides it.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes part in the election until `stop`, then releases the lease. Tasks that run by the lease must have ended
    /// before, because the next leader starts at once.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.attempt().await;
            if stop.run_until_cancelled(sleep_until(next)).await.is_none() {
                break;
            }
        }
        if let Role::Leading(Some(token)) = self.leadership.status().role {
            self.leadership.set_role(Role::Following);
            match self.leases.release(self.config.name, token).await {
                Ok(_) => {
                    count("given_back");
                    tracing::info!(token, "lease released");
                }
                Err(error) => tracing::warn!(%error, "the lease could not be released; it expires by itself"),
            }
        }
    }

    /// Attempts to acquire or renew the lease; returns the time of the next attempt.
    async fn attempt(&mut self) -> Instant {
        let requested = Instant::now();
        match serde_json::to_string(&self.upstream_health.reports()) {
            Ok(note) => self.note = note,
            Err(error) => {
                counter!("living_map_lease_failures_total").increment(1);
                tracing::error!(%error, "the report on the upstreams cannot be encoded; the previous one is stored");
            }
        }
        let note = self.note.clone();
        let (leases, leadership) = (Arc::clone(&self.leases), self.leadership.clone());
        let mut answer = pin!(leases.acquire(self.config.name, self.holder, self.config.lasting, &note));
        let outcome = tokio::select! {
            outcome = &mut answer => outcome,
            // the request is not aborted: the database could still grant the lease, to a replica that does not know
            () = sleep_until(self.until), if matches!(leadership.status().role, Role::Leading(_)) => {
                self.lose("it could not be renewed in time");
                answer.await
            }
        };
        self.apply(requested, outcome);
        requested + self.config.interval()
    }

    /// Applies the outcome of an attempt. `requested` is before the database read its clock, so the lease expires no
    /// sooner than computed here.
    fn apply(&mut self, requested: Instant, outcome: Result<Lease, HistoryError>) {
        let role = self.leadership.status().role;
        match outcome {
            Ok(lease) => {
                self.answered = Instant::now();
                self.leadership.set_error(None);
                let until = requested + self.config.lasting - self.config.grace();
                if !lease.held {
                    if let Role::Leading(_) = role {
                        self.lose("another replica has acquired it");
                    }
                    self.leadership.set_role(Role::Following);
                    self.merge(&lease.note);
                } else if until > Instant::now() {
                    self.until = until;
                    self.lead(role, lease.token);
                } else {
                    // too late to use; the next attempt renews what is left of the lease
                    tracing::debug!("the lease was acquired too late to be used");
                }
            }
            Err(error) => {
                counter!("living_map_lease_failures_total").increment(1);
                tracing::debug!(%error, "the lease could not be requested");
                self.leadership.set_error(Some(error.to_string()));
                let failed = Instant::now();
                match role {
                    Role::Leading(_) if failed >= self.until => self.lose("the database is unavailable"),
                    Role::Following if failed - self.answered >= self.config.lasting => {
                        tracing::warn!(%error, "leadership is unknown: the database is unavailable; polling upstreams");
                        self.leadership.set_role(Role::Unknown);
                    }
                    _ => {}
                }
            }
        }
    }

    fn lead(&self, role: Role, token: u64) {
        if role == Role::Leading(Some(token)) {
            return;
        }
        if let Role::Leading(_) = role {
            // no other replica held the lease meanwhile, but it had expired: tasks start a new run
            self.lose("it had expired");
        }
        count("taken");
        tracing::info!(token, "this replica leads");
        self.leadership.set_role(Role::Leading(Some(token)));
    }

    fn lose(&self, reason: &'static str) {
        count("lost");
        tracing::warn!(reason, "this replica has lost the lease");
        self.leadership.set_role(Role::Unknown);
    }

    /// Merges the leader's note. A note that cannot be parsed, by another version, is ignored.
    fn merge(&self, note: &str) {
        match serde_json::from_str::<Vec<UpstreamReport>>(note) {
            Ok(reports) => self.upstream_health.merge(&reports),
            Err(error) => tracing::debug!(%error, "the leader's report on its upstreams cannot be parsed"),
        }
    }
}

fn count(change: &'static str) {
    counter!("living_map_lease_changes_total", "change" => change).increment(1);
}
