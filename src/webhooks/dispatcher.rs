//! The task that follows the log and writes the messages for each destination to the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::client::WebhookClient;
use super::config::WebhookDispatcherConfig;
use super::notification_state::{NotificationState, Trigger};
use super::processor::WebhookProcessor;
use super::{count_failure, count_message, target};
use crate::alerts::{Destination, RulesStatus};
use crate::dead_letters::DeadLetterQueue;
use crate::history::outbox::{OutboxCheckpoint, OutboxMessage};
use crate::history::{HistoryError, Outbox};
use crate::journal::Journal;
use crate::live::LiveMap;
use crate::log::{EventLog, LogError};
use crate::map::AlertProjection;
use crate::model::Cursor;
use crate::tls::SetupError;

/// Wait between two attempts to follow the log.
const RETRY: Duration = Duration::from_secs(1);

/// Sends alerts to webhooks. Runs on the leader; running it on two replicas does no harm. Cheap to clone.
#[derive(Clone)]
pub struct WebhookDispatcher {
    pub(super) config: Arc<WebhookDispatcherConfig>,
    rules: watch::Receiver<RulesStatus>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) dead_letters: DeadLetterQueue,
    log: Arc<dyn EventLog>,
    /// The alerts and the position to begin at when there is no usable checkpoint.
    live: LiveMap,
    pub(super) journal: Journal,
    pub(super) client: WebhookClient,
    /// Notified when the outbox has something to send.
    pub(super) queued: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("another replica has advanced the checkpoint")]
    Overtaken,
    #[error("the notification state cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

/// The notification state at a position in the log.
struct Checkpoint {
    state: NotificationState,
    cursor: Cursor,
    version: i64,
    /// Not yet saved completely.
    dirty: bool,
}

impl WebhookDispatcher {
    /// A dispatcher for the destinations of `rules`.
    ///
    /// # Errors
    /// The file of authorities cannot be used, or TLS cannot be set up.
    pub fn new(
        config: WebhookDispatcherConfig,
        rules: watch::Receiver<RulesStatus>,
        outbox: Arc<dyn Outbox>,
        dead_letters: DeadLetterQueue,
        log: Arc<dyn EventLog>,
        live: LiveMap,
        journal: Journal,
    ) -> Result<Self, SetupError> {
        let client = WebhookClient::new(&config)?;
        let (config, queued) = (Arc::new(config), Arc::default());
        Ok(Self { config, rules, outbox, dead_letters, log, live, journal, client, queued })
    }

    /// A processor that sends this dispatcher's dead letters again.
    #[must_use]
    pub fn processor(&self) -> WebhookProcessor {
        WebhookProcessor::new(self.rules.clone(), self.client.clone())
    }

    /// Follows the log and sends until `stop`.
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
                // the sender is dropped only when the server ends
                let _ = rules.wait_for(|status| !status.destinations.is_empty()).await;
                self.live.caught_up().await;
                let Err(error) = self.follow(afresh).await else {
                    (failed, afresh) = (false, false);
                    continue;
                };
                count_failure("follow");
                afresh = matches!(error, FollowError::Log(LogError::Truncated { .. } | LogError::EpochChanged(_)));
                if !failed {
                    self.journal.record("read", "webhooks", "", &error);
                    tracing::warn!(%error, "the webhook dispatcher cannot follow the log; retrying");
                }
                failed = true;
                tokio::time::sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Follows the log until there is no destination left, or an error. `afresh`: ignore the saved position.
    async fn follow(&self, afresh: bool) -> Result<(), FollowError> {
        let mut rules = self.rules.clone();
        let mut destinations = Arc::clone(&rules.borrow_and_update().destinations);
        let mut checkpoint = self.load(afresh).await?;
        self.reconcile(&mut checkpoint, &destinations).await?;
        let mut entries = self.log.read(checkpoint.cursor.epoch, checkpoint.cursor.seq).await?;
        let mut ticks = tokio::time::interval(self.config.save_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                entry = entries.next() => {
                    let entry = entry.ok_or_else(|| LogError::Unavailable("the log's reader ended".into()))??;
                    let messages = checkpoint.state.apply(&entry, &destinations);
                    checkpoint.cursor = entry.cursor;
                    checkpoint.dirty = true;
                    if let Some(messages) = messages {
                        self.commit(&mut checkpoint, messages).await?;
                    }
                }
                _ = ticks.tick(), if checkpoint.dirty => self.commit(&mut checkpoint, Vec::new()).await?,
                Ok(()) = rules.changed() => {
                    destinations = Arc::clone(&rules.borrow_and_update().destinations);
                    self.reconcile(&mut checkpoint, &destinations).await?;
                    if destinations.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The last saved checkpoint. When it cannot be resumed from: a new one at the map's position in the log.
    async fn load(&self, afresh: bool) -> Result<Checkpoint, HistoryError> {
        let saved = self.outbox.checkpoint().await?;
        let version = saved.as_ref().map_or(0, |saved| saved.version);
        let state = saved.as_ref().and_then(|saved| self.decode(saved));
        let (book, here) = self.live.with(|map| (AlertProjection::of(map), map.cursor()));
        Ok(match (saved, state) {
            (Some(saved), Some(state))
                if !afresh && saved.cursor.epoch == here.epoch && saved.age < self.config.stale_after =>
            {
                Checkpoint { state, cursor: saved.cursor, version, dirty: false }
            }
            (_, state) => {
                Checkpoint { state: state.unwrap_or_default().moved_to(book), cursor: here, version, dirty: true }
            }
        })
    }

    /// The saved state. One that cannot be read, such as another build's, is reported and handled as if there were none.
    fn decode(&self, saved: &OutboxCheckpoint) -> Option<NotificationState> {
        let decoded: serde_json::Result<NotificationState> = serde_json::from_str(&saved.state);
        let problem =
            decoded.as_ref().err().map(|error| format!("the saved notification state cannot be read: {error}"));
        if let Some(problem) = problem {
            count_failure("restore");
            self.journal.record("read", "webhooks", "checkpoint", &problem);
            tracing::warn!(problem, "webhooks begin without knowing what they have sent");
        }
        decoded.ok()
    }

    /// Queues the notifications that are missing: after a start, and after destinations have changed.
    async fn reconcile(&self, checkpoint: &mut Checkpoint, destinations: &[Destination]) -> Result<(), FollowError> {
        let name = format!("{}:{}", checkpoint.cursor, checkpoint.version);
        let trigger = Trigger { name: &name, cursor: checkpoint.cursor, at: Utc::now() };
        let messages = checkpoint.state.reconcile(destinations, &trigger);
        self.commit(checkpoint, messages).await
    }

    /// Writes messages and checkpoint in one transaction.
    async fn commit(&self, checkpoint: &mut Checkpoint, messages: Vec<OutboxMessage>) -> Result<(), FollowError> {
        let messages = self.within_bounds(checkpoint, messages).await?;
        let state = serde_json::to_string(&checkpoint.state)?;
        if !self.outbox.advance(checkpoint.version, checkpoint.cursor, &state, &messages).await? {
            return Err(FollowError::Overtaken);
        }
        checkpoint.version += 1;
        checkpoint.dirty = false;
        for message in &messages {
            count_message(&message.destination, "queued");
        }
        if !messages.is_empty() {
            self.queued.notify_one();
        }
        Ok(())
    }

    /// The messages that fit into their destination's queue. The others are dropped, counted and recorded in the journal.
    async fn within_bounds(
        &self,
        checkpoint: &mut Checkpoint,
        messages: Vec<OutboxMessage>,
    ) -> Result<Vec<OutboxMessage>, HistoryError> {
        if messages.is_empty() {
            return Ok(messages);
        }
        let queues = self.outbox.backlog().await?.into_iter();
        let mut waiting: HashMap<String, u64> = queues.map(|queue| (queue.destination, queue.waiting)).collect();
        let (mut accepted, max) = (Vec::new(), self.config.max_waiting);
        for message in messages {
            let waiting = waiting.entry(message.destination.clone()).or_default();
            if *waiting < max {
                *waiting += 1;
                accepted.push(message);
                continue;
            }
            checkpoint.state.forget(&message);
            count_message(&message.destination, "refused");
            let error = format!("{max} messages are waiting already (WEBHOOK_MAX_WAITING); this one is dropped");
            self.journal.record("queue", &target(&message.destination), &message.alert_id, &error);
        }
        Ok(accepted)
    }
}
