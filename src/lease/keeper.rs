//! The task that takes, prolongs and gives back the lease.

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

/// Takes the lease when it can be had, and prolongs it.
pub struct Keeper {
    leases: Arc<dyn Leases>,
    config: LeaseConfig,
    upstream_health: UpstreamHealth,
    leadership: Leadership,
    /// This run of this server.
    holder: Uuid,
    /// Until when the lease is surely ours, if it is not prolonged, less the time that tasks may take to end.
    until: Instant,
    /// When the database last answered.
    answered: Instant,
}

/// A keeper, to be run, and what is done by its lease. While this server leads, the lease carries what `upstream_health` says; else
/// `upstream_health` learns it from there.
#[must_use]
pub fn keeper(leases: Arc<dyn Leases>, config: LeaseConfig, upstream_health: UpstreamHealth) -> (Keeper, Leadership) {
    metrics::gauge!("living_map_lease_held").set(0.0);
    let leadership = Leadership::new(Role::Following, config.grace());
    let (holder, now) = (Uuid::now_v7(), Instant::now());
    let keeper =
        Keeper { leases, config, upstream_health, leadership: leadership.clone(), holder, until: now, answered: now };
    (keeper, leadership)
}

impl Keeper {
    /// Keeps the lease until `stop`, and gives it back then. What runs by it must have ended before: the next server begins
    /// at once.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.attempt().await;
            if stop.run_until_cancelled(sleep_until(next)).await.is_none() {
                break;
            }
        }
        if let Role::Leading(Some(token)) = self.leadership.standing().role {
            self.leadership.set_role(Role::Following);
            match self.leases.give_back(self.config.name, token).await {
                Ok(_) => {
                    count("given_back");
                    tracing::info!(token, "the lease is given back");
                }
                Err(error) => tracing::warn!(%error, "the lease could not be given back; it runs out by itself"),
            }
        }
    }

    /// Tries to take or to prolong the lease; when to do so again.
    async fn attempt(&mut self) -> Instant {
        let asked = Instant::now();
        let note = serde_json::to_string(&self.upstream_health.reports()).unwrap_or_default();
        let (leases, leadership) = (Arc::clone(&self.leases), self.leadership.clone());
        let mut answer = pin!(leases.hold(self.config.name, self.holder, self.config.lasting, &note));
        let outcome = tokio::select! {
            outcome = &mut answer => outcome,
            // the attempt is left to end: broken off, it could still take the lease for nobody
            () = sleep_until(self.until), if matches!(leadership.standing().role, Role::Leading(_)) => {
                self.lose("it could not be prolonged in time");
                answer.await
            }
        };
        self.learn(asked, outcome);
        asked + self.config.interval()
    }

    /// `asked` is before the database's clock was read, so the lease ends there no sooner than we reckon.
    fn learn(&mut self, asked: Instant, outcome: Result<Lease, HistoryError>) {
        let role = self.leadership.standing().role;
        match outcome {
            Ok(lease) => {
                self.answered = Instant::now();
                self.leadership.note_error(None);
                let until = asked + self.config.lasting - self.config.grace();
                if !lease.ours {
                    if let Role::Leading(_) = role {
                        self.lose("another server has taken it");
                    }
                    self.leadership.set_role(Role::Following);
                    self.hear(&lease.note);
                } else if until > Instant::now() {
                    self.until = until;
                    self.lead(role, lease.token);
                } else {
                    // an answer so late is none; the next attempt finds the lease ours, or prolongs what is left of it
                    tracing::debug!("the lease was taken too late to be used");
                }
            }
            Err(error) => {
                counter!("living_map_lease_failures_total").increment(1);
                tracing::debug!(%error, "the lease could not be asked for");
                self.leadership.note_error(Some(error.to_string()));
                let late = Instant::now();
                match role {
                    Role::Leading(_) if late >= self.until => self.lose("the database is away"),
                    Role::Following if late - self.answered >= self.config.lasting => {
                        tracing::warn!(%error, "the database does not say who leads; upstreams are polled all the same");
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
            // nobody had it meanwhile, yet it had run out: what ran by it begins anew
            self.lose("it had run out");
        }
        count("taken");
        tracing::info!(token, "this server leads: it polls, saves the map and deletes what is too old");
        self.leadership.set_role(Role::Leading(Some(token)));
    }

    fn lose(&self, reason: &'static str) {
        count("lost");
        tracing::warn!(reason, "this server has lost the lease");
        self.leadership.set_role(Role::Unknown);
    }

    /// Takes over what the leading server says. Another build's words are no reason to stop.
    fn hear(&self, note: &str) {
        match serde_json::from_str::<Vec<UpstreamReport>>(note) {
            Ok(reports) => self.upstream_health.merge(&reports),
            Err(error) => tracing::debug!(%error, "what the leading server says of its sources cannot be read"),
        }
    }
}

fn count(change: &'static str) {
    counter!("living_map_lease_changes_total", "change" => change).increment(1);
}
