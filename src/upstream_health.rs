//! Health of the six upstreams: last success, last error, age. Written by the poller, read by every module above. A replica
//! that does not poll merges the reports of the leader, which travel as the note of the lease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::{Service, SourceHealth, SourceStatus};

/// Health of all upstreams. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct UpstreamHealth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstreams: Mutex<[Upstream; Service::ALL.len()]>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Clone, Default)]
struct Upstream {
    /// Time of the last poll, by this replica or by the one whose report was merged.
    polled_at: Option<DateTime<Utc>>,
    /// `polled_at` of the report that was merged last.
    merged_poll: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    last_error: Option<String>,
    /// The map was restored after a restart with data of this upstream.
    restored: bool,
}

/// Health of one upstream as the polling replica reports it to the others. Stored as JSON in the note of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamReport {
    /// The upstream.
    pub service: Service,
    /// Time of the last poll; none before the first.
    pub polled_at: Option<DateTime<Utc>>,
    /// Time of the last successful poll.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Error of the last poll, if it failed.
    pub last_error: Option<String>,
}

/// Effect of a poll on the health of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthChange {
    /// The poll failed; the one before did not.
    Failed,
    /// The poll succeeded; the one before failed, or there was none.
    Recovered,
    /// Same outcome as the poll before.
    Unchanged,
}

impl Upstream {
    const fn status(&self) -> SourceStatus {
        match (self.polled_at, &self.last_error) {
            (None, _) => SourceStatus::Unknown,
            (Some(_), None) => SourceStatus::Ok,
            (Some(_), Some(_)) if self.last_success_at.is_some() || self.restored => SourceStatus::Stale,
            (Some(_), Some(_)) => SourceStatus::Down,
        }
    }
}

impl Default for UpstreamHealth {
    fn default() -> Self {
        let upstreams = Mutex::new(std::array::from_fn(|_| Upstream::default()));
        Self { inner: Arc::new(Inner { upstreams, version: watch::Sender::new(0) }) }
    }
}

impl UpstreamHealth {
    /// Records a poll that succeeded and whose answer is in the log.
    pub fn record_success(&self, service: Service, at: DateTime<Utc>) -> HealthChange {
        self.update(service, |upstream| {
            let recovered = upstream.last_error.is_some() || upstream.polled_at.is_none();
            upstream.polled_at = Some(at);
            upstream.last_success_at = Some(at);
            upstream.last_error = None;
            if recovered { HealthChange::Recovered } else { HealthChange::Unchanged }
        })
    }

    /// Records a poll that failed.
    pub fn record_failure(&self, service: Service, error: impl Into<String>) -> HealthChange {
        self.update(service, |upstream| {
            let failed_before = upstream.last_error.is_some();
            upstream.polled_at = Some(Utc::now());
            upstream.last_error = Some(error.into());
            if failed_before { HealthChange::Unchanged } else { HealthChange::Failed }
        })
    }

    /// Records that the map holds data of these upstreams from before a restart.
    pub fn record_restored(&self, services: &[Service]) {
        for &service in services {
            self.update(service, |upstream| upstream.restored = true);
        }
    }

    /// One report for each upstream, for the other replicas.
    #[must_use]
    pub fn reports(&self) -> Vec<UpstreamReport> {
        let upstreams = self.upstreams();
        let report = |(&service, upstream): (&Service, &Upstream)| UpstreamReport {
            service,
            polled_at: upstream.polled_at,
            last_success_at: upstream.last_success_at,
            last_error: upstream.last_error.clone(),
        };
        Service::ALL.iter().zip(upstreams.iter()).map(report).collect()
    }

    /// Merges the reports of another replica. Each of its polls counts once, so that a later poll by this replica is not
    /// overwritten; the clocks of the replicas need not agree.
    pub fn merge(&self, reports: &[UpstreamReport]) {
        let mut upstreams = self.upstreams();
        let mut changed = false;
        for UpstreamReport { service, polled_at, last_success_at, last_error } in reports {
            let upstream = &mut upstreams[*service as usize];
            if polled_at.is_none() || upstream.merged_poll == *polled_at {
                continue;
            }
            changed = true;
            (upstream.polled_at, upstream.merged_poll) = (*polled_at, *polled_at);
            (upstream.last_success_at, upstream.last_error) = (*last_success_at, last_error.clone());
        }
        drop(upstreams);
        if changed {
            self.inner.version.send_modify(|version| *version += 1);
        }
    }

    /// Health of all six, in the order of [`Service::ALL`].
    #[must_use]
    pub fn health(&self, now: DateTime<Utc>) -> Vec<SourceHealth> {
        let upstreams = self.upstreams();
        let health = |(&service, upstream): (&Service, &Upstream)| SourceHealth {
            service,
            status: upstream.status(),
            age_seconds: upstream.last_success_at.map(|at| age_seconds(now, at)),
            last_success_at: upstream.last_success_at,
            last_error: upstream.last_error.clone(),
        };
        Service::ALL.iter().zip(upstreams.iter()).map(health).collect()
    }

    /// Status of one upstream.
    #[must_use]
    pub fn status(&self, service: Service) -> SourceStatus {
        self.upstreams()[service as usize].status()
    }

    /// Names of the upstreams whose last good data is served after a failed poll, as the value of a header: `agents, dao`.
    /// None when there are none.
    #[must_use]
    pub fn fallbacks(&self) -> Option<String> {
        let upstreams = self.upstreams();
        let stale: Vec<&str> = Service::ALL
            .iter()
            .zip(upstreams.iter())
            .filter(|(_, upstream)| upstream.status() == SourceStatus::Stale)
            .map(|(service, _)| service.as_str())
            .collect();
        (!stale.is_empty()).then(|| stale.join(", "))
    }

    /// A number that grows with every change.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    fn update<R>(&self, service: Service, update: impl FnOnce(&mut Upstream) -> R) -> R {
        let result = update(&mut self.upstreams()[service as usize]);
        self.inner.version.send_modify(|version| *version += 1);
        result
    }

    fn upstreams(&self) -> MutexGuard<'_, [Upstream; Service::ALL.len()]> {
        self.inner.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds, rounded to the millisecond; 0 when the clock was set back.
fn age_seconds(now: DateTime<Utc>, at: DateTime<Utc>) -> f64 {
    (now - at).to_std().map_or(0.0, |age| (age.as_secs_f64() * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn status(health: &UpstreamHealth, service: Service) -> SourceStatus {
        health.health(at(0))[service as usize].status
    }

    #[test]
    fn a_failure_is_stale_with_good_data_and_down_without() {
        let health = UpstreamHealth::default();
        assert_eq!(status(&health, Service::Dao), SourceStatus::Unknown);
        assert_eq!(health.record_failure(Service::Dao, "no"), HealthChange::Failed);
        assert_eq!(status(&health, Service::Dao), SourceStatus::Down);
        assert_eq!(health.fallbacks(), None);
        assert_eq!(health.record_success(Service::Dao, at(0)), HealthChange::Recovered);
        assert_eq!(health.record_success(Service::Dao, at(1)), HealthChange::Unchanged);
        assert_eq!(status(&health, Service::Dao), SourceStatus::Ok);
        health.record_failure(Service::Dao, "no");
        assert_eq!(health.record_failure(Service::Dao, "still not"), HealthChange::Unchanged);
        assert_eq!(status(&health, Service::Dao), SourceStatus::Stale);
    }

    #[test]
    fn each_poll_of_the_leader_is_merged_once() {
        let (leader, follower) = (UpstreamHealth::default(), UpstreamHealth::default());
        follower.merge(&leader.reports());
        assert_eq!(*follower.version().borrow(), 0, "the leader has not polled yet");
        leader.record_success(Service::Dao, at(1));
        leader.record_failure(Service::City, "gone");
        follower.merge(&leader.reports());
        assert_eq!(follower.health(at(9)), leader.health(at(9)));
        follower.merge(&leader.reports());
        assert_eq!(*follower.version().borrow(), 1, "a report merged before changes nothing");
        // a poll by the follower counts until the leader polls again
        follower.record_success(Service::City, at(2));
        follower.merge(&leader.reports());
        assert_eq!(status(&follower, Service::City), SourceStatus::Ok);
        leader.record_failure(Service::City, "still gone");
        follower.merge(&leader.reports());
        assert_eq!(follower.health(at(9)), leader.health(at(9)));
    }

    #[test]
    fn restored_data_is_a_fallback_once_a_poll_fails() {
        let health = UpstreamHealth::default();
        health.record_restored(&[Service::Agents, Service::Dao, Service::Space]);
        assert_eq!(health.fallbacks(), None, "nothing failed yet");
        for service in [Service::Dao, Service::Agents, Service::City] {
            health.record_failure(service, "no");
        }
        assert_eq!(health.fallbacks().as_deref(), Some("agents, dao"));
    }

    #[test]
    fn health_has_age_and_error_and_a_version() {
        let health = UpstreamHealth::default();
        let version = health.version();
        let other = health.clone();
        other.record_success(Service::City, at(10));
        other.record_failure(Service::City, "gone");
        assert_eq!(*version.borrow(), 2);
        let health = health.health(at(12));
        assert_eq!(health.iter().map(|upstream| upstream.service).collect::<Vec<_>>(), Service::ALL);
        let city = &health[Service::City as usize];
        assert_eq!((city.age_seconds, city.last_error.as_deref()), (Some(2.0), Some("gone")));
        assert_eq!(health[0].age_seconds, None);
    }
}
