//! Polls on demand: a request joins the poll that is under way, or wakes the service's loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::Service;

/// After how long an asking that nobody answered is repeated.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// Asks for polls ahead of time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresher {
    gates: Arc<[Gate; Service::ALL.len()]>,
}

/// One service's polls.
#[derive(Debug)]
pub(super) struct Gate {
    polls: watch::Sender<Polls>,
    wanted: Notify,
    min_gap: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Polls {
    begun: u64,
    ended: u64,
    ended_at: Option<Instant>,
}

impl Refresher {
    pub(super) fn new(min_gap: Duration) -> Self {
        Self { gates: Arc::new(std::array::from_fn(|_| Gate::new(min_gap))) }
    }

    pub(super) fn gate(&self, service: Service) -> &Gate {
        &self.gates[service as usize]
    }

    /// Has these services polled now and waits, at most `patience`, until their answers are in the map. A poll under way
    /// counts, and so does one that ended less than the shortest gap ago. Whether all ended in time; how they ended is on
    /// the [`crate::upstream_health::UpstreamHealth`]. On a process whose poller does not run it waits in vain.
    pub async fn refresh(&self, services: &[Service], patience: Duration) -> bool {
        let all = services.iter().map(|service| self.gate(*service).refreshed());
        timeout(patience, futures::future::join_all(all)).await.is_ok()
    }

    /// Has a service polled by a poll that begins after this was called, and not too soon after the last one; waits until
    /// its answer is in the map. Without a limit: whoever asks has nothing else to do.
    pub(super) async fn poll_anew(&self, service: Service) {
        self.gate(service).anew().await;
    }
}

impl Gate {
    fn new(min_gap: Duration) -> Self {
        Self { polls: watch::Sender::new(Polls::default()), wanted: Notify::new(), min_gap }
    }

    /// Returns when a poll has ended: the one that is under way, or one that begins now.
    pub async fn refreshed(&self) {
        let mut polls = self.polls.subscribe();
        let Polls { begun, ended, .. } = *polls.borrow();
        let awaited = if begun > ended {
            begun
        } else if self.rests() {
            return;
        } else {
            self.wanted.notify_one();
            ended + 1
        };
        // the sender lives as long as the gate
        let _ = polls.wait_for(|polls| polls.ended >= awaited).await;
    }

    async fn anew(&self) {
        let mut polls = self.polls.subscribe();
        loop {
            // one that is under way may have asked before there was anything new
            let Ok(last) = polls.wait_for(|polls| polls.begun == polls.ended).await.map(|polls| *polls) else { return };
            if let Some(at) = last.ended_at {
                sleep_until(at + self.min_gap).await;
            }
            if polls.borrow().begun > last.begun {
                // somebody else's began meanwhile, and so after this was asked
                let _ = polls.wait_for(|polls| polls.ended > last.ended).await;
                return;
            }
            self.wanted.notify_one();
            // it may be that the asking was taken for one that was just answered
            if timeout(ASKED_AGAIN, polls.wait_for(|polls| polls.ended > last.ended)).await.is_ok() {
                return;
            }
        }
    }

    /// Whether the last poll ended less than the shortest gap ago.
    fn rests(&self) -> bool {
        self.polls.borrow().ended_at.is_some_and(|at| at.elapsed() < self.min_gap)
    }

    /// Returns when somebody asks for a poll.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
        // an asking that came just before the last poll began was answered by it
        while self.rests() {
            self.wanted.notified().await;
        }
    }

    /// Marks a poll as under way until the mark is dropped.
    pub fn begin(&self) -> UnderWay<'_> {
        self.polls.send_modify(|polls| polls.begun = polls.ended + 1);
        UnderWay { gate: self }
    }
}

/// A poll under way; it ends when this is dropped, however that comes about.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    gate: &'a Gate,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.gate.polls.send_modify(|polls| {
            polls.ended = polls.begun;
            polls.ended_at = Some(Instant::now());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GAP: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A loop like the poller's, whose polls take 100 ms of the paused clock.
    fn polling(refresher: &Refresher) -> Arc<AtomicUsize> {
        let (refresher, polls) = (refresher.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&polls);
        tokio::spawn(async move {
            let gate = refresher.gate(Service::City);
            loop {
                gate.wanted().await;
                let under_way = gate.begin();
                tokio::time::sleep(Duration::from_millis(100)).await;
                count.fetch_add(1, Ordering::SeqCst);
                drop(under_way);
            }
        });
        polls
    }

    #[tokio::test(start_paused = true)]
    async fn many_askers_share_one_poll() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        let askers = (0..100).map(|_| refresher.refresh(&[Service::City], PATIENCE));
        assert!(futures::future::join_all(askers).await.into_iter().all(|in_time| in_time));
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_during_a_poll_waits_for_its_end_and_causes_no_other() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(polls.load(Ordering::SeqCst), 0, "the poll is under way");
            refresher.refresh(&[Service::City], PATIENCE).await;
            assert_eq!(polls.load(Ordering::SeqCst), 1);
        };
        tokio::join!(late, refresher.refresh(&[Service::City], PATIENCE));
        tokio::time::sleep(GAP * 3).await;
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_polled_at_most_once_in_a_gap() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        for _ in 0..50 {
            assert!(refresher.refresh(&[Service::City], PATIENCE).await);
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        tokio::time::sleep(GAP).await;
        assert!(refresher.refresh(&[Service::City], PATIENCE).await);
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded_where_nobody_polls() {
        let refresher = Refresher::new(GAP);
        let begun = Instant::now();
        assert!(!refresher.refresh(Service::ALL, PATIENCE).await);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_was_broken_off_releases_its_askers() {
        let refresher = Refresher::new(GAP);
        let under_way = refresher.gate(Service::Dao).begin();
        let asker = refresher.refresh(&[Service::Dao], PATIENCE);
        let (in_time, ()) = tokio::join!(asker, async move { drop(under_way) });
        assert!(in_time);
    }
}
