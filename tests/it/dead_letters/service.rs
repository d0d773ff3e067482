//! The dead letter service with a processor that fails a given number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use living_map::dead_letters::{
    DeadLetterAlert, DeadLetterConfig, DeadLetterQueue, DeadLetterService, FailedMessage, ProcessError, Processor,
    RetryConfig,
};
use living_map::history::dead_letters::{
    DeadLetter, DeadLetterQuery, DeadLetterStatus, MessageOrigin, StoredDeadLetter,
};
use living_map::history::{self, HistoryConfig};
use living_map::journal::Journal;
use living_map::log::dead_letter_publisher;
use living_map::log::table::{TableLog, TableLogConfig};
use tokio_util::sync::CancellationToken;

use crate::support::wait::until;

/// Is unavailable a number of times, then fails a number of times, then succeeds.
pub struct FailingProcessor {
    pub unavailable: AtomicUsize,
    pub failures: AtomicUsize,
    /// Attempts made.
    pub attempts: AtomicUsize,
}

impl FailingProcessor {
    pub fn new(unavailable: usize, failures: usize) -> Arc<Self> {
        Arc::new(Self { unavailable: unavailable.into(), failures: failures.into(), attempts: 0.into() })
    }
}

#[async_trait]
impl Processor for FailingProcessor {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        assert_eq!(&*stored.body, b"{\"n\":1}");
        let countdown =
            |count: &AtomicUsize| count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if countdown(&self.unavailable) {
            return Err(ProcessError::Unavailable("gone".into()));
        }
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if countdown(&self.failures) { Err(ProcessError::Failed("no".into())) } else { Ok(()) }
    }
}

/// A service with a database of its own.
pub struct TestService {
    pub queue: DeadLetterQueue,
    pub service: DeadLetterService,
    pub journal: Journal,
    pub stop: CancellationToken,
    pub folder: tempfile::TempDir,
}

impl TestService {
    pub async fn new(processor: Arc<FailingProcessor>, config: DeadLetterConfig, last_delay: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("map.db").display());
        let database = history::open(&url, &HistoryConfig::default()).await.unwrap();
        let log = TableLog::open(TableLogConfig::default(), database.history, None).await.unwrap();
        let retries = RetryConfig {
            delays: [10, 20, 30].map(Duration::from_millis).to_vec(),
            last_delay,
            ..RetryConfig::default()
        };
        let queue = DeadLetterQueue::new(retries, database.dead_letters);
        let journal = Journal::default();
        let service = DeadLetterService::new(
            config,
            queue.clone(),
            vec![processor],
            dead_letter_publisher(Arc::new(log)),
            DeadLetterAlert::new(|| None, || false),
            journal.clone(),
        );
        Self { queue, service, journal, stop: CancellationToken::new(), folder }
    }

    pub async fn fail(&self, seq: u64) {
        let origin = MessageOrigin { stream: "S".into(), seq, cursor: None, logged_at: Utc::now() };
        let failed = FailedMessage::of_message("test", "a.b", "{\"n\":1}".into(), origin, "first".into());
        self.queue.enqueue(failed).await.unwrap();
    }

    pub fn run(&self) {
        tokio::spawn(self.service.clone().run(self.stop.clone()));
    }

    pub async fn all(&self) -> Vec<DeadLetter> {
        self.service.list(&DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() }).await.unwrap().items
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn quick() -> DeadLetterConfig {
    DeadLetterConfig {
        interval: Duration::from_millis(5),
        unavailable_delay: Duration::from_millis(10),
        ..DeadLetterConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_processed_by_a_retry_is_no_dead_letter() {
    let processor = FailingProcessor::new(5, 2);
    let test = TestService::new(Arc::clone(&processor), quick(), Duration::from_hours(1)).await;
    test.fail(1).await;
    test.run();
    until("it to be processed", || async { test.all().await.is_empty().then_some(()) }).await;
    assert_eq!(processor.attempts.load(Ordering::SeqCst), 3, "being unavailable five times counts as no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_retried_once() {
    let processor = FailingProcessor::new(0, usize::MAX);
    let test = TestService::new(Arc::clone(&processor), quick(), Duration::from_millis(300)).await;
    test.fail(1).await;
    test.run();
    let letter = until("the last attempt", || async {
        test.all().await.pop().filter(|letter| letter.status == DeadLetterStatus::Dead && letter.next_at.is_none())
    })
    .await;
    assert_eq!((letter.attempts, letter.published), (5, true), "the first, three retries and one as a dead letter");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(processor.attempts.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retry_of_a_dead_letter_can_succeed() {
    let processor = FailingProcessor::new(0, 3);
    let test = TestService::new(processor, quick(), Duration::from_millis(100)).await;
    test.fail(1).await;
    test.run();
    until("it to be replayed", || async {
        test.all().await.pop().filter(|letter| letter.status == DeadLetterStatus::Replayed)
    })
    .await;
}

/// Messages without a processor do not hold up others, and two services on one queue lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_a_queue() {
    let processor = FailingProcessor::new(0, 10);
    let test = TestService::new(Arc::clone(&processor), quick(), Duration::from_hours(1)).await;
    let origin = MessageOrigin { stream: "S".into(), seq: 99, cursor: None, logged_at: Utc::now() };
    let unprocessable = FailedMessage::of_message("unknown", "a.b", "{\"n\":1}".into(), origin, "first".into());
    for _ in 0..20 {
        let key = uuid::Uuid::new_v4().to_string();
        test.queue.enqueue(FailedMessage { key, ..unprocessable.clone() }).await.unwrap();
    }
    for seq in 1..=30 {
        test.fail(seq).await;
    }
    test.run();
    test.run();
    until("all of them to be processed", || async {
        test.all().await.iter().all(|letter| letter.processor == "unknown").then_some(())
    })
    .await;
    assert_eq!(test.all().await.len(), 20);
}
