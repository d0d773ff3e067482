//! How the six sources are doing: written by the poller, read by everybody. Where another server polls, its word is taken
//! over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::{Service, SourceHealth, SourceStatus};

/// The health of the sources. Cheap to clone; all clones are one board.
#[derive(Debug, Clone)]
pub struct UpstreamHealth {
    board: Arc<Board>,
}

#[derive(Debug)]
struct Board {
    sources: Mutex<[Source; Service::ALL.len()]>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Clone, Default)]
struct Source {
    /// When this server, or the one whose word was taken over, polled it last.
    polled_at: Option<DateTime<Utc>>,
    /// The poll of another server whose word was taken over last.
    heard: Option<DateTime<Utc>>,
    last_success_at: Option<DateTime<Utc>>,
    last_error: Option<String>,
    /// The map came back from a restart with this source's data.
    restored: bool,
}

/// What a server that polls says of one source to those that do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamReport {
    /// The upstream.
    pub service: Service,
    /// When it was polled last; none before the first time.
    pub polled_at: Option<DateTime<Utc>>,
    /// When a poll succeeded last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// What the last poll said if it failed.
    pub last_error: Option<String>,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It failed and did not before.
    Bad,
    /// It works and failed before, or works for the first time.
    Good,
    /// As before.
    Same,
}

impl Source {
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
        let sources = Mutex::new(std::array::from_fn(|_| Source::default()));
        Self { board: Arc::new(Board { sources, version: watch::Sender::new(0) }) }
    }
}

impl UpstreamHealth {
    /// Notes that a poll succeeded and its answer is in the log.
    pub fn record_success(&self, service: Service, at: DateTime<Utc>) -> Turn {
        self.record(service, |source| {
            let turn = if source.last_error.is_some() || source.polled_at.is_none() { Turn::Good } else { Turn::Same };
            source.polled_at = Some(at);
            source.last_success_at = Some(at);
            source.last_error = None;
            turn
        })
    }

    /// Notes that a poll failed.
    pub fn record_failure(&self, service: Service, error: impl Into<String>) -> Turn {
        self.record(service, |source| {
            let turn = if source.last_error.is_some() { Turn::Same } else { Turn::Bad };
            source.polled_at = Some(Utc::now());
            source.last_error = Some(error.into());
            turn
        })
    }

    /// Notes that the map holds data of these services from before a restart.
    pub fn note_restored(&self, services: &[Service]) {
        for &service in services {
            self.record(service, |source| source.restored = true);
        }
    }

    /// What this server knows, for others.
    #[must_use]
    pub fn reports(&self) -> Vec<UpstreamReport> {
        let sources = self.sources();
        let report = |(&service, source): (&Service, &Source)| UpstreamReport {
            service,
            polled_at: source.polled_at,
            last_success_at: source.last_success_at,
            last_error: source.last_error.clone(),
        };
        Service::ALL.iter().zip(sources.iter()).map(report).collect()
    }

    /// Takes over what another server says, where it has polled since it was last heard: what this server found itself
    /// meanwhile is newer. The servers' clocks need not agree.
    pub fn hear(&self, reports: &[UpstreamReport]) {
        let mut sources = self.sources();
        let mut news = false;
        for UpstreamReport { service, polled_at, last_success_at, last_error } in reports {
            let source = &mut sources[*service as usize];
            if polled_at.is_none() || source.heard == *polled_at {
                continue;
            }
            news = true;
            (source.polled_at, source.heard) = (*polled_at, *polled_at);
            (source.last_success_at, source.last_error) = (*last_success_at, last_error.clone());
        }
        drop(sources);
        if news {
            self.board.version.send_modify(|version| *version += 1);
        }
    }

    /// All six, in the order of [`Service::ALL`].
    #[must_use]
    pub fn health(&self, now: DateTime<Utc>) -> Vec<SourceHealth> {
        let sources = self.sources();
        let health = |(&service, source): (&Service, &Source)| SourceHealth {
            service,
            status: source.status(),
            age_seconds: source.last_success_at.map(|at| age_seconds(now, at)),
            last_success_at: source.last_success_at,
            last_error: source.last_error.clone(),
        };
        Service::ALL.iter().zip(sources.iter()).map(health).collect()
    }

    /// How one of them is doing.
    #[must_use]
    pub fn status(&self, service: Service) -> SourceStatus {
        self.sources()[service as usize].status()
    }

    /// The sources whose last good data stands in for a failed poll, as a header says it: `agents, dao`.
    #[must_use]
    pub fn rescued(&self) -> Option<String> {
        let sources = self.sources();
        let stale: Vec<&str> = Service::ALL
            .iter()
            .zip(sources.iter())
            .filter(|(_, source)| source.status() == SourceStatus::Stale)
            .map(|(service, _)| service.as_str())
            .collect();
        (!stale.is_empty()).then(|| stale.join(", "))
    }

    /// A number that grows with every report.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.board.version.subscribe()
    }

    fn record<R>(&self, service: Service, note: impl FnOnce(&mut Source) -> R) -> R {
        let noted = note(&mut self.sources()[service as usize]);
        self.board.version.send_modify(|version| *version += 1);
        noted
    }

    fn sources(&self) -> MutexGuard<'_, [Source; Service::ALL.len()]> {
        self.board.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds to the millisecond; 0 when the clock was set back.
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

    fn status(board: &UpstreamHealth, service: Service) -> SourceStatus {
        board.health(at(0))[service as usize].status
    }

    #[test]
    fn a_failure_is_down_without_good_data_and_stale_with() {
        let board = UpstreamHealth::default();
        assert_eq!(status(&board, Service::Dao), SourceStatus::Unknown);
        assert_eq!(board.record_failure(Service::Dao, "no"), Turn::Bad);
        assert_eq!(status(&board, Service::Dao), SourceStatus::Down);
        assert_eq!(board.rescued(), None);
        assert_eq!(board.record_success(Service::Dao, at(0)), Turn::Good);
        assert_eq!(board.record_success(Service::Dao, at(1)), Turn::Same);
        assert_eq!(status(&board, Service::Dao), SourceStatus::Ok);
        board.record_failure(Service::Dao, "no");
        assert_eq!(board.record_failure(Service::Dao, "still not"), Turn::Same);
        assert_eq!(status(&board, Service::Dao), SourceStatus::Stale);
    }

    #[test]
    fn the_word_of_the_server_that_polls_is_taken_over_once_for_each_poll() {
        let (leader, follower) = (UpstreamHealth::default(), UpstreamHealth::default());
        follower.hear(&leader.reports());
        assert_eq!(*follower.version().borrow(), 0, "it has not polled yet");
        leader.record_success(Service::Dao, at(1));
        leader.record_failure(Service::City, "gone");
        follower.hear(&leader.reports());
        assert_eq!(follower.health(at(9)), leader.health(at(9)));
        follower.hear(&leader.reports());
        assert_eq!(*follower.version().borrow(), 1, "the same word again is no news");
        // its own poll counts until the leader's next one
        follower.record_success(Service::City, at(2));
        follower.hear(&leader.reports());
        assert_eq!(status(&follower, Service::City), SourceStatus::Ok);
        leader.record_failure(Service::City, "still gone");
        follower.hear(&leader.reports());
        assert_eq!(follower.health(at(9)), leader.health(at(9)));
    }

    #[test]
    fn data_from_before_a_restart_is_rescued_in_the_order_of_services() {
        let board = UpstreamHealth::default();
        board.note_restored(&[Service::Agents, Service::Dao, Service::Space]);
        assert_eq!(board.rescued(), None, "nothing failed yet");
        for service in [Service::Dao, Service::Agents, Service::City] {
            board.record_failure(service, "no");
        }
        assert_eq!(board.rescued().as_deref(), Some("agents, dao"));
    }

    #[test]
    fn all_six_are_reported_with_age_and_error_and_each_report_is_announced() {
        let board = UpstreamHealth::default();
        let version = board.version();
        let other = board.clone();
        other.record_success(Service::City, at(10));
        other.record_failure(Service::City, "gone");
        assert_eq!(*version.borrow(), 2);
        let health = board.health(at(12));
        assert_eq!(health.iter().map(|source| source.service).collect::<Vec<_>>(), Service::ALL);
        let city = &health[Service::City as usize];
        assert_eq!((city.age_seconds, city.last_error.as_deref()), (Some(2.0), Some("gone")));
        assert_eq!(health[0].age_seconds, None);
    }
}
