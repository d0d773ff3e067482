//! Retries by themselves, with a processor that has an opinion of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use living_map::dead_letters::{DeadLetterConfig, DeadLetterService};
use living_map::history::dead_letters::{
    DeadLetter, DeadLetterQuery, DeadLetterQueue, DeadLetterStatus, Failure, Origin, ProcessError, Processor,
    RetryConfig, StoredDeadLetter,
};
use living_map::history::{self, HistoryConfig};
use living_map::journal::Journal;
use living_map::live::{LiveConfig, LiveMap};
use living_map::log::EventLog;
use living_map::log::table::{TableLog, TableLogConfig};
use living_map::upstream_health::UpstreamHealth;
use tokio_util::sync::CancellationToken;

use crate::support::wait::until;

/// Fails so many times, as if away or for good, and then works.
pub struct Moody {
    pub away: AtomicUsize,
    pub fails: AtomicUsize,
    pub tried: AtomicUsize,
}

impl Moody {
    pub fn new(away: usize, fails: usize) -> Arc<Self> {
        Arc::new(Self { away: away.into(), fails: fails.into(), tried: 0.into() })
    }
}

#[async_trait]
impl Processor for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    async fn process(&self, kept: &StoredDeadLetter) -> Result<(), ProcessError> {
        assert_eq!(&*kept.body, b"{\"n\":1}");
        let take =
            |count: &AtomicUsize| count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if take(&self.away) {
            return Err(ProcessError::Away("gone".into()));
        }
        self.tried.fetch_add(1, Ordering::SeqCst);
        if take(&self.fails) { Err(ProcessError::Failed("no".into())) } else { Ok(()) }
    }
}

/// An office over a database of its own.
pub struct World {
    pub letters: DeadLetterQueue,
    pub office: DeadLetterService,
    pub journal: Journal,
    pub stop: CancellationToken,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn new(processor: Arc<Moody>, config: DeadLetterConfig, last_delay: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("map.db").display());
        let database = history::open(&url, &HistoryConfig::default()).await.unwrap();
        let log: Arc<dyn EventLog> =
            Arc::new(TableLog::open(TableLogConfig::default(), database.history, None).await.unwrap());
        let retries = RetryConfig { delays: [10, 20, 30].map(Duration::from_millis).to_vec(), last_delay };
        let letters = DeadLetterQueue::new(database.dead_letters, retries);
        let live = LiveMap::new(LiveConfig::default(), UpstreamHealth::default(), Journal::default());
        let journal = Journal::default();
        let office = DeadLetterService::new(config, letters.clone(), vec![processor], log, live, journal.clone());
        Self { letters, office, journal, stop: CancellationToken::new(), folder }
    }

    pub async fn fail(&self, seq: u64) {
        let origin = Origin { stream: "S".into(), seq, cursor: None, logged_at: Utc::now() };
        let failure = Failure::of_message("moody", "a.b", "{\"n\":1}".into(), origin, "first".into());
        self.letters.failed(failure).await.unwrap();
    }

    pub fn run(&self) {
        tokio::spawn(self.office.clone().run(self.stop.clone()));
    }

    pub async fn all(&self) -> Vec<DeadLetter> {
        self.office.letters(&DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() }).await.unwrap().items
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn quick() -> DeadLetterConfig {
    DeadLetterConfig {
        interval: Duration::from_millis(5),
        away_delay: Duration::from_millis(10),
        ..DeadLetterConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_at_a_further_attempt_never_was_a_dead_letter() {
    let moody = Moody::new(5, 2);
    let world = World::new(Arc::clone(&moody), quick(), Duration::from_hours(1)).await;
    world.fail(1).await;
    world.run();
    until("it to be processed", || async { world.all().await.is_empty().then_some(()) }).await;
    assert_eq!(moody.tried.load(Ordering::SeqCst), 3, "that it was away five times is no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_death_it_is_tried_once_more_and_not_again() {
    let moody = Moody::new(0, usize::MAX);
    let world = World::new(Arc::clone(&moody), quick(), Duration::from_millis(300)).await;
    world.fail(1).await;
    world.run();
    let letter = until("the last attempt", || async {
        world.all().await.pop().filter(|letter| letter.status == DeadLetterStatus::Dead && letter.next_at.is_none())
    })
    .await;
    assert_eq!((letter.attempts, letter.published), (5, true), "the first, three retries and one after its death");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(moody.tried.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempt_after_its_death_can_succeed() {
    let moody = Moody::new(0, 3);
    let world = World::new(moody, quick(), Duration::from_millis(100)).await;
    world.fail(1).await;
    world.run();
    until("it to be replayed", || async {
        world.all().await.pop().filter(|letter| letter.status == DeadLetterStatus::Replayed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_offices_at_work_lose_nothing_and_a_letter_nobody_processes_holds_up_no_other() {
    let moody = Moody::new(0, 10);
    let world = World::new(Arc::clone(&moody), quick(), Duration::from_hours(1)).await;
    let origin = Origin { stream: "S".into(), seq: 99, cursor: None, logged_at: Utc::now() };
    let stranger = Failure::of_message("nobody", "a.b", "{\"n\":1}".into(), origin, "first".into());
    for _ in 0..20 {
        let key = uuid::Uuid::new_v4().to_string();
        world.letters.failed(Failure { key, ..stranger.clone() }).await.unwrap();
    }
    for seq in 1..=30 {
        world.fail(seq).await;
    }
    world.run();
    world.run();
    until("all of them to be processed", || async {
        world.all().await.iter().all(|letter| letter.processor == "nobody").then_some(())
    })
    .await;
    assert_eq!(world.all().await.len(), 20);
}
