//! Polls on request: a request joins the poll in progress, or wakes the polling loop of the service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::Service;

/// Delay after which a request that caused no poll is repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Requests polls ahead of schedule. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresher {
    queues: Arc<[PollQueue; Service::ALL.len()]>,
}

/// Requests and polls of one service. All requests made during a poll are served by the next one.
#[derive(Debug)]
pub(super) struct PollQueue {
    polls: watch::Sender<Polls>,
    request: Notify,
    min_gap: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Polls {
    started: u64,
    ended: u64,
    ended_at: Option<Instant>,
}

impl Refresher {
    pub(super) fn new(min_gap: Duration) -> Self {
        Self { queues: Arc::new(std::array::from_fn(|_| PollQueue::new(min_gap))) }
    }

    pub(super) fn queue(&self, service: Service) -> &PollQueue {
        &self.queues[service as usize]
    }

    /// Polls these services now and waits, at most `limit`, until their data is on the map. A poll in progress counts,
    /// and so does one that ended less than the minimum gap ago. Returns whether all polls ended in time; their outcomes are
    /// in [`crate::upstream_health::UpstreamHealth`]. Always times out in a process whose poller does not run.
    pub async fn refresh(&self, services: &[Service], limit: Duration) -> bool {
        let all = services.iter().map(|service| self.queue(*service).refreshed());
        timeout(limit, futures::future::join_all(all)).await.is_ok()
    }

    /// Polls a service with a poll that starts after this call, and not within the minimum gap; waits, without a limit, until
    /// its data is on the map.
    pub(super) async fn poll_afresh(&self, service: Service) {
        self.queue(service).polled_afresh().await;
    }
}

impl PollQueue {
    fn new(min_gap: Duration) -> Self {
        Self { polls: watch::Sender::new(Polls::default()), request: Notify::new(), min_gap }
    }

    /// Returns when a poll has ended: the one in progress, or one that starts now.
    pub async fn refreshed(&self) {
        let mut polls = self.polls.subscribe();
        let Polls { started, ended, .. } = *polls.borrow();
        let awaited = if started > ended {
            started
        } else if self.is_recent() {
            return;
        } else {
            self.request.notify_one();
            ended + 1
        };
        // the sender lives as long as the queue
        let _ = polls.wait_for(|polls| polls.ended >= awaited).await;
    }

    async fn polled_afresh(&self) {
        let mut polls = self.polls.subscribe();
        loop {
            // a poll in progress may have sent its request before the change
            let Ok(last) = polls.wait_for(|polls| polls.started == polls.ended).await.map(|polls| *polls) else {
                return;
            };
            if let Some(at) = last.ended_at {
                sleep_until(at + self.min_gap).await;
            }
            if polls.borrow().started > last.started {
                // another request started a poll meanwhile, after this call
                let _ = polls.wait_for(|polls| polls.ended > last.ended).await;
                return;
            }
            self.request.notify_one();
            // the loop may have taken the request for one that the last poll served
            if timeout(REPEAT_AFTER, polls.wait_for(|polls| polls.ended > last.ended)).await.is_ok() {
                return;
            }
        }
    }

    /// Whether the last poll ended less than the minimum gap ago.
    fn is_recent(&self) -> bool {
        self.polls.borrow().ended_at.is_some_and(|at| at.elapsed() < self.min_gap)
    }

    /// Returns when a poll is requested.
    pub async fn requested(&self) {
        self.request.notified().await;
        // a request from just before the start of the last poll was served by it
        while self.is_recent() {
            self.request.notified().await;
        }
    }

    /// Marks a poll as in progress until the returned guard is dropped.
    pub fn start(&self) -> PollInProgress<'_> {
        self.polls.send_modify(|polls| polls.started = polls.ended + 1);
        PollInProgress { queue: self }
    }
}

/// Guard of a poll in progress; the poll has ended when this is dropped, also by a cancellation.
#[derive(Debug)]
pub(super) struct PollInProgress<'a> {
    queue: &'a PollQueue,
}

impl Drop for PollInProgress<'_> {
    fn drop(&mut self) {
        self.queue.polls.send_modify(|polls| {
            polls.ended = polls.started;
            polls.ended_at = Some(Instant::now());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GAP: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A loop like the poller's, whose polls take 100 ms of the paused clock.
    fn polling(refresher: &Refresher) -> Arc<AtomicUsize> {
        let (refresher, polls) = (refresher.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&polls);
        tokio::spawn(async move {
            let queue = refresher.queue(Service::City);
            loop {
                queue.requested().await;
                let in_progress = queue.start();
                tokio::time::sleep(Duration::from_millis(100)).await;
                count.fetch_add(1, Ordering::SeqCst);
                drop(in_progress);
            }
        });
        polls
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_poll() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        let requests = (0..100).map(|_| refresher.refresh(&[Service::City], TIMEOUT));
        assert!(futures::future::join_all(requests).await.into_iter().all(|in_time| in_time));
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_during_a_poll_waits_for_its_end_only() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(polls.load(Ordering::SeqCst), 0, "the poll is in progress");
            refresher.refresh(&[Service::City], TIMEOUT).await;
            assert_eq!(polls.load(Ordering::SeqCst), 1);
        };
        tokio::join!(late, refresher.refresh(&[Service::City], TIMEOUT));
        tokio::time::sleep(GAP * 3).await;
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_polled_at_most_once_per_gap() {
        let refresher = Refresher::new(GAP);
        let polls = polling(&refresher);
        for _ in 0..50 {
            assert!(refresher.refresh(&[Service::City], TIMEOUT).await);
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        tokio::time::sleep(GAP).await;
        assert!(refresher.refresh(&[Service::City], TIMEOUT).await);
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded_without_a_poller() {
        let refresher = Refresher::new(GAP);
        let started = Instant::now();
        assert!(!refresher.refresh(Service::ALL, TIMEOUT).await);
        assert_eq!(started.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_poll_releases_its_requests() {
        let refresher = Refresher::new(GAP);
        let in_progress = refresher.queue(Service::Dao).start();
        let request = refresher.refresh(&[Service::Dao], TIMEOUT);
        let (in_time, ()) = tokio::join!(request, async move { drop(in_progress) });
        assert!(in_time);
    }
}
