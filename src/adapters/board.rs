//! How the six sources are doing: written by the poller, read by everybody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::model::{Service, SourceHealth, SourceStatus};

/// The health of the sources. Cheap to clone; all clones are one board.
#[derive(Debug, Clone)]
pub struct SourceBoard {
    board: Arc<Board>,
}

#[derive(Debug)]
struct Board {
    sources: Mutex<[Source; Service::ALL.len()]>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Clone, Default)]
struct Source {
    polled: bool,
    last_success_at: Option<DateTime<Utc>>,
    last_error: Option<String>,
    /// The map came back from a restart with this source's data.
    restored: bool,
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
        match (self.polled, &self.last_error) {
            (false, _) => SourceStatus::Unknown,
            (true, None) => SourceStatus::Ok,
            (true, Some(_)) if self.last_success_at.is_some() || self.restored => SourceStatus::Stale,
            (true, Some(_)) => SourceStatus::Down,
        }
    }
}

impl Default for SourceBoard {
    fn default() -> Self {
        let sources = Mutex::new(std::array::from_fn(|_| Source::default()));
        Self { board: Arc::new(Board { sources, version: watch::Sender::new(0) }) }
    }
}

impl SourceBoard {
    /// Notes that a poll succeeded and its answer is in the log.
    pub fn record_success(&self, service: Service, at: DateTime<Utc>) -> Turn {
        self.record(service, |source| {
            let turn = if source.last_error.is_some() || !source.polled { Turn::Good } else { Turn::Same };
            source.polled = true;
            source.last_success_at = Some(at);
            source.last_error = None;
            turn
        })
    }

    /// Notes that a poll failed.
    pub fn record_failure(&self, service: Service, error: impl Into<String>) -> Turn {
        self.record(service, |source| {
            let turn = if source.last_error.is_some() { Turn::Same } else { Turn::Bad };
            source.polled = true;
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

    fn status(board: &SourceBoard, service: Service) -> SourceStatus {
        board.health(at(0))[service as usize].status
    }

    #[test]
    fn a_failure_is_down_without_good_data_and_stale_with() {
        let board = SourceBoard::default();
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
    fn data_from_before_a_restart_is_rescued_in_the_order_of_services() {
        let board = SourceBoard::default();
        board.note_restored(&[Service::Agents, Service::Dao, Service::Space]);
        assert_eq!(board.rescued(), None, "nothing failed yet");
        for service in [Service::Dao, Service::Agents, Service::City] {
            board.record_failure(service, "no");
        }
        assert_eq!(board.rescued().as_deref(), Some("agents, dao"));
    }

    #[test]
    fn all_six_are_reported_with_age_and_error_and_each_report_is_announced() {
        let board = SourceBoard::default();
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
