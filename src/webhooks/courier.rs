//! The task that follows the log and writes down who is to be told what.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::desk::{Cause, Desk};
use super::{count_failure, count_message, target};
use crate::alerts::{Destination, RulesStatus};
use crate::history::dead_letters::DeadLetterQueue;
use crate::history::outbox::OutboxMessage;
use crate::history::{HistoryError, Outbox};
use crate::journal::Journal;
use crate::live::LiveMap;
use crate::log::{EventLog, LogError};
use crate::map::AlertBook;
use crate::model::Cursor;

/// From one attempt at what is away to the next.
const RETRY: Duration = Duration::from_secs(1);

/// How webhooks are told.
#[derive(Debug, Clone)]
pub struct WebhookDispatcherConfig {
    /// How long a destination may take to answer. Default 10 s.
    pub timeout: Duration,
    /// The waits before each attempt but the first. Default 1 s, 5 s, 30 s, 5 min, 30 min, 2 h.
    pub retries: Vec<Duration>,
    /// Messages that may wait for each destination. Default 1,000.
    pub max_waiting: u64,
    /// How long messages are kept that were sent. Default 7 days.
    pub kept: Duration,
    /// How often it is looked whether something is due. Default 500 ms.
    pub interval: Duration,
    /// How often those that wait are counted. Default 5 s.
    pub count_interval: Duration,
    /// How often those that were kept long enough are deleted. Default 1 min.
    pub tidy_interval: Duration,
    /// How often the place in the log is written down where nothing is to be told. Default 5 s.
    pub save_interval: Duration,
    /// A place that was written down longer ago is not gone on from: what is active is told, and what was raised and
    /// cleared meanwhile is not. Default 1 h.
    pub stale_after: Duration,
}

impl Default for WebhookDispatcherConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            retries: [1, 5, 30, 300, 1_800, 7_200].map(Duration::from_secs).to_vec(),
            max_waiting: 1_000,
            kept: Duration::from_hours(7 * 24),
            interval: Duration::from_millis(500),
            count_interval: Duration::from_secs(5),
            tidy_interval: Duration::from_mins(1),
            save_interval: Duration::from_secs(5),
            stale_after: Duration::from_hours(1),
        }
    }
}

/// Tells webhooks of alerts. To be run where one server does so for all; run by two, it does no harm. Cheap to clone.
#[derive(Clone)]
pub struct WebhookDispatcher {
    /// How.
    pub config: Arc<WebhookDispatcherConfig>,
    /// Where alerts go.
    pub rules: watch::Receiver<RulesStatus>,
    /// What is to be sent.
    pub outbox: Arc<dyn Outbox>,
    /// Where what could not be sent goes.
    pub dead_letters: DeadLetterQueue,
    /// What is followed.
    pub log: Arc<dyn EventLog>,
    /// The alerts, where no place in the log is known.
    pub live: LiveMap,
    /// What fails here.
    pub journal: Journal,
    /// Who sends.
    pub client: Client,
    /// Rings when there is something to send.
    pub queued: Arc<Notify>,
}

/// Why following has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("another server has moved on")]
    Overtaken,
}

/// The desk at its place.
struct Post {
    desk: Desk,
    cursor: Cursor,
    version: i64,
    /// Whether something is not written down yet.
    dirty: bool,
}

impl WebhookDispatcher {
    /// Follows and sends until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.keep_following(&stop), self.send(stop.clone()));
    }

    pub(super) fn destinations(&self) -> Arc<[Destination]> {
        Arc::clone(&self.rules.borrow().destinations)
    }

    async fn keep_following(&self, stop: &CancellationToken) {
        let work = async {
            let (mut rules, mut failed, mut afresh) = (self.rules.clone(), false, false);
            loop {
                // the sender is gone only when the server is
                let _ = rules.wait_for(|status| !status.destinations.is_empty()).await;
                self.live.caught_up().await;
                let Err(error) = self.follow(afresh).await else {
                    (failed, afresh) = (false, false);
                    continue;
                };
                count_failure("follow");
                afresh = matches!(error, Trouble::Log(LogError::Truncated { .. } | LogError::EpochChanged(_)));
                if !failed {
                    self.journal.record("read", "webhooks", "", &error);
                    tracing::warn!(%error, "the webhooks cannot follow the log; will try again");
                }
                failed = true;
                tokio::time::sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Follows the log until there is no destination any more, or something fails.
    async fn follow(&self, afresh: bool) -> Result<(), Trouble> {
        let mut rules = self.rules.clone();
        let mut destinations = Arc::clone(&rules.borrow_and_update().destinations);
        let mut post = self.post(afresh).await?;
        self.compare(&mut post, &destinations).await?;
        let mut entries = self.log.read(post.cursor.epoch, post.cursor.seq).await?;
        let mut ticks = tokio::time::interval(self.config.save_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                entry = entries.next() => {
                    let entry = entry.ok_or_else(|| LogError::Unavailable("the log's reader ended".into()))??;
                    let messages = post.desk.take(&entry, &destinations);
                    post.cursor = entry.cursor;
                    post.dirty = true;
                    if let Some(messages) = messages {
                        self.commit(&mut post, messages).await?;
                    }
                }
                _ = ticks.tick(), if post.dirty => self.commit(&mut post, Vec::new()).await?,
                Ok(()) = rules.changed() => {
                    destinations = Arc::clone(&rules.borrow_and_update().destinations);
                    self.compare(&mut post, &destinations).await?;
                    if destinations.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The desk as it was written down last. Where that cannot be gone on from, it is set up at the map's place in the log.
    async fn post(&self, afresh: bool) -> Result<Post, HistoryError> {
        let saved = self.outbox.position().await?;
        let version = saved.as_ref().map_or(0, |saved| saved.version);
        // of another build, and not to be read: as if it were not there
        let desk = saved.as_ref().and_then(|saved| serde_json::from_str::<Desk>(&saved.state).ok());
        let (book, here) = self.live.with(|map| (AlertBook::of(map), map.cursor()));
        Ok(match (saved, desk) {
            (Some(saved), Some(desk))
                if !afresh && saved.cursor.epoch == here.epoch && saved.age < self.config.stale_after =>
            {
                Post { desk, cursor: saved.cursor, version, dirty: false }
            }
            (_, desk) => Post { desk: desk.unwrap_or_default().moved(book), cursor: here, version, dirty: true },
        })
    }

    /// Tells what was not told: at a start, and to other destinations than before.
    async fn compare(&self, post: &mut Post, destinations: &[Destination]) -> Result<(), Trouble> {
        let name = format!("{}:{}", post.cursor, post.version);
        let messages = post.desk.compare(destinations, &Cause { name: &name, cursor: post.cursor, at: Utc::now() });
        self.commit(post, messages).await
    }

    /// Writes down what is to be told and the place in the log, both or neither.
    async fn commit(&self, post: &mut Post, messages: Vec<OutboxMessage>) -> Result<(), Trouble> {
        let messages = self.within_bounds(post, messages).await?;
        let state = serde_json::to_string(&post.desk).unwrap_or_default();
        if !self.outbox.advance(post.version, post.cursor, &state, &messages).await? {
            return Err(Trouble::Overtaken);
        }
        post.version += 1;
        post.dirty = false;
        for message in &messages {
            count_message(&message.destination, "queued");
        }
        if !messages.is_empty() {
            self.queued.notify_one();
        }
        Ok(())
    }

    /// Those for which there is room. What a destination that has been away for long is not told is visible.
    async fn within_bounds(
        &self,
        post: &mut Post,
        messages: Vec<OutboxMessage>,
    ) -> Result<Vec<OutboxMessage>, HistoryError> {
        if messages.is_empty() {
            return Ok(messages);
        }
        let standing = self.outbox.standing().await?.into_iter();
        let mut waiting: HashMap<String, u64> =
            standing.map(|standing| (standing.destination, standing.waiting)).collect();
        let (mut taken, most) = (Vec::new(), self.config.max_waiting);
        for message in messages {
            let waiting = waiting.entry(message.destination.clone()).or_default();
            if *waiting < most {
                *waiting += 1;
                taken.push(message);
                continue;
            }
            post.desk.untold(&message);
            count_message(&message.destination, "refused");
            let error = format!("{most} messages wait already (WEBHOOK_MAX_WAITING); it is not told");
            self.journal.record("queue", &target(&message.destination), &message.alert_id, &error);
        }
        Ok(taken)
    }
}
