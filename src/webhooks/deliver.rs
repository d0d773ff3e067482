//! Sending what is in the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Rejection;
use super::courier::WebhookDispatcher;
use super::{count_failure, count_message, processor, target};
use crate::alerts::Destination;
use crate::history::HistoryError;
use crate::history::outbox::Claimed;

/// Requests under way to one destination.
const CONCURRENCY: usize = 4;
/// From one attempt to note what became of a message to the next.
const NOTE_AGAIN: Duration = Duration::from_millis(200);
/// Messages deleted in one go.
const TIDY_BATCH: u32 = 500;
/// What noting it may take, beside what sending it may.
const NOTING: Duration = Duration::from_secs(5);

/// What became of a message.
enum Fate {
    Delivered,
    Later { wait: Duration, error: String },
    Dead(String),
}

impl WebhookDispatcher {
    /// Sends what is due until `stop`; then waits for what is under way.
    pub(super) async fn send(&self, stop: CancellationToken) {
        let under_way = TaskTracker::new();
        let mut places = HashMap::<String, Arc<Semaphore>>::new();
        let (mut failed, mut count_at, mut tidy_at) = (false, Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            let destinations = self.destinations();
            places.retain(|name, _| destinations.iter().any(|destination| destination.name == *name));
            let mut trouble = None;
            for destination in destinations.iter() {
                let places =
                    places.entry(destination.name.clone()).or_insert_with(|| Arc::new(Semaphore::new(CONCURRENCY)));
                if let Err(error) = self.send_to(destination, places, &under_way).await {
                    count_failure("claim");
                    trouble = Some(error);
                }
            }
            if Instant::now() >= count_at && trouble.is_none() {
                count_at = Instant::now() + self.config.count_interval;
                self.count(&destinations).await;
            }
            if Instant::now() >= tidy_at && trouble.is_none() {
                tidy_at = Instant::now() + self.config.tidy_interval;
                self.tidy(&destinations).await;
            }
            if let Some(error) = trouble.as_ref().filter(|_| !failed) {
                self.journal.record("read", "webhooks", "", error);
                tracing::warn!(%error, "the webhooks' outbox cannot be read; will try again");
            }
            failed = trouble.is_some();
            tokio::select! {
                () = self.queued.notified(), if !failed => {}
                () = sleep(self.config.interval) => {}
                () = stop.cancelled() => {}
            }
        }
        under_way.close();
        under_way.wait().await;
    }

    async fn send_to(
        &self,
        destination: &Destination,
        places: &Arc<Semaphore>,
        under_way: &TaskTracker,
    ) -> Result<(), HistoryError> {
        let free = u32::try_from(places.available_permits()).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(());
        }
        for claimed in self.outbox.claim(&destination.name, self.claim_time(), free).await? {
            let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
            let (courier, destination) = (self.clone(), destination.clone());
            // a task of its own: a send under way is finished and noted, whoever leads meanwhile
            under_way.spawn(async move { courier.deliver(&destination, &claimed, place).await });
        }
        Ok(())
    }

    /// How long a message is with whoever sends it.
    fn claim_time(&self) -> Duration {
        self.config.timeout + NOTING
    }

    async fn deliver(&self, destination: &Destination, claimed: &Claimed, _place: OwnedSemaphorePermit) {
        let until = Instant::now() + self.claim_time();
        let (name, attempts) = (&destination.name, self.config.retries.len() + 1);
        // those who claimed it before may have died with it each time
        let outcome = if claimed.attempt as usize > attempts {
            Err(Rejection { error: "the attempts before were broken off".to_owned(), retry_after: None, gone: false })
        } else {
            self.client.send(destination, claimed.message.id, &claimed.message.body).await
        };
        let fate = match outcome {
            Ok(()) => Fate::Delivered,
            Err(Rejection { error, retry_after, gone }) => {
                self.journal.record("send", &target(name), &claimed.message.alert_id, &error);
                let tried = (claimed.attempt as usize).saturating_sub(1);
                match self.config.retries.get(tried).filter(|_| !gone) {
                    Some(wait) => Fate::Later { wait: retry_after.unwrap_or_default().max(*wait), error },
                    None => Fate::Dead(error),
                }
            }
        };
        if !self.note(claimed, &fate, until).await {
            return;
        }
        match &fate {
            Fate::Delivered => count_message(name, "delivered"),
            Fate::Later { error, .. } => {
                tracing::debug!(
                    destination = name,
                    error,
                    attempt = claimed.attempt,
                    "a webhook did not take a message"
                );
                return;
            }
            Fate::Dead(error) => {
                count_message(name, "dead");
                tracing::warn!(destination = name, error, "a message to a webhook is given up; it is a dead letter");
            }
        }
        // the next one about this alert may go
        self.queued.notify_one();
    }

    /// Notes what became of a message, while nobody else can have claimed it. False where it was not noted.
    async fn note(&self, claimed: &Claimed, fate: &Fate, until: Instant) -> bool {
        loop {
            match self.note_once(claimed, fate).await {
                Ok(noted) => return noted,
                Err(error) => {
                    count_failure("note");
                    if Instant::now() + NOTE_AGAIN >= until {
                        tracing::warn!(%error, "what became of a message to a webhook could not be noted; it is sent again");
                        return false;
                    }
                    sleep(NOTE_AGAIN).await;
                }
            }
        }
    }

    async fn note_once(&self, claimed: &Claimed, fate: &Fate) -> Result<bool, HistoryError> {
        match fate {
            Fate::Delivered => self.outbox.delivered(claimed).await,
            Fate::Later { wait, error } => self.outbox.postpone(claimed, *wait, error).await,
            Fate::Dead(error) => {
                // the letter first: what is written twice is one letter, what is forgotten is none
                self.dead_letters.died(processor::failure(claimed, error)).await?;
                self.outbox.give_up(claimed, error).await
            }
        }
    }

    async fn count(&self, destinations: &[Destination]) {
        let Ok(standing) = self.outbox.standing().await else { return count_failure("claim") };
        for destination in destinations {
            let found = standing.iter().find(|standing| standing.destination == destination.name);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let waiting = found.map_or(0.0, |standing| standing.waiting as f64);
            metrics::gauge!("living_map_webhook_waiting", "destination" => destination.name.clone()).set(waiting);
        }
    }

    async fn tidy(&self, destinations: &[Destination]) {
        let names: Vec<String> = destinations.iter().map(|destination| destination.name.clone()).collect();
        loop {
            match self.outbox.tidy(self.config.kept, &names, TIDY_BATCH).await {
                Ok(deleted) if deleted >= u64::from(TIDY_BATCH) => {}
                Ok(_) => return,
                Err(_) => return count_failure("tidy"),
            }
        }
    }
}
