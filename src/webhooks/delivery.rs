//! Delivery of the messages in the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::DeliveryError;
use super::dispatcher::WebhookDispatcher;
use super::{count_failure, count_message, processor, target};
use crate::alerts::Destination;
use crate::history::HistoryError;
use crate::history::outbox::ClaimedMessage;

/// Concurrent requests to one destination.
const CONCURRENCY: usize = 4;
/// Wait between two attempts to record the result of a delivery.
const RECORD_RETRY: Duration = Duration::from_millis(200);
/// Messages deleted in one statement.
const DELETE_BATCH: u32 = 500;
/// Time allowed for recording a result, in addition to the request's timeout.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// Result of one attempt to deliver a message.
enum DeliveryResult {
    Delivered,
    Retry { wait: Duration, error: String },
    Dead(String),
}

impl WebhookDispatcher {
    /// Sends due messages until `stop`; then waits for the requests in flight.
    pub(super) async fn send(&self, stop: CancellationToken) {
        let in_flight = TaskTracker::new();
        let mut permits = HashMap::<String, Arc<Semaphore>>::new();
        let (mut failed, mut count_at, mut delete_at) = (false, Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            let destinations = self.destinations();
            permits.retain(|name, _| destinations.iter().any(|destination| destination.name == *name));
            let mut failure = None;
            for destination in destinations.iter() {
                let permits = permits.entry(destination.name.clone()).or_insert_with(|| {
                    // it may be new in the file
                    super::register(destination);
                    Arc::new(Semaphore::new(CONCURRENCY))
                });
                if let Err(error) = self.send_to(destination, permits, &in_flight).await {
                    count_failure("claim");
                    failure = Some(error);
                }
            }
            if Instant::now() >= count_at && failure.is_none() {
                count_at = Instant::now() + self.config.count_interval;
                self.count_waiting(&destinations).await;
            }
            if Instant::now() >= delete_at && failure.is_none() {
                delete_at = Instant::now() + self.config.tidy_interval;
                self.delete_expired(&destinations).await;
            }
            if let Some(error) = failure.as_ref().filter(|_| !failed) {
                self.journal.record("read", "webhooks", "", error);
                tracing::warn!(%error, "the webhook outbox cannot be read; retrying");
            }
            failed = failure.is_some();
            tokio::select! {
                () = self.queued.notified(), if !failed => {}
                () = sleep(self.config.interval) => {}
                () = stop.cancelled() => {}
            }
        }
        in_flight.close();
        in_flight.wait().await;
    }

    async fn send_to(
        &self,
        destination: &Destination,
        permits: &Arc<Semaphore>,
        in_flight: &TaskTracker,
    ) -> Result<(), HistoryError> {
        let free = u32::try_from(permits.available_permits()).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(());
        }
        for claimed in self.outbox.claim(&destination.name, self.claim_time(), free).await? {
            let Ok(permit) = Arc::clone(permits).try_acquire_owned() else { continue };
            let (dispatcher, destination) = (self.clone(), destination.clone());
            // a separate task: a request in flight is finished and recorded even if this replica loses the lease
            in_flight.spawn(async move { dispatcher.deliver(&destination, &claimed, permit).await });
        }
        Ok(())
    }

    /// Duration of a claim: no other replica sends the message meanwhile.
    fn claim_time(&self) -> Duration {
        self.config.timeout + RECORD_TIMEOUT
    }

    async fn deliver(&self, destination: &Destination, claimed: &ClaimedMessage, _permit: OwnedSemaphorePermit) {
        let until = Instant::now() + self.claim_time();
        let (name, attempts) = (&destination.name, self.config.retries.len() + 1);
        // each earlier attempt may have ended with its process, without a recorded result
        let outcome = if claimed.attempt as usize > attempts {
            Err(DeliveryError::new("the earlier attempts were interrupted"))
        } else {
            self.client.send(destination, claimed.message.id, &claimed.message.body).await
        };
        let result = match outcome {
            Ok(()) => DeliveryResult::Delivered,
            Err(DeliveryError { error, retry_after, gone }) => {
                self.journal.record("send", &target(name), &claimed.message.alert_id, &error);
                let earlier = (claimed.attempt as usize).saturating_sub(1);
                match self.config.retries.get(earlier).filter(|_| !gone) {
                    Some(wait) => DeliveryResult::Retry { wait: retry_after.unwrap_or_default().max(*wait), error },
                    None => DeliveryResult::Dead(error),
                }
            }
        };
        if !self.record(claimed, &result, until).await {
            return;
        }
        match &result {
            DeliveryResult::Delivered => count_message(name, "delivered"),
            DeliveryResult::Retry { error, .. } => {
                let attempt = claimed.attempt;
                tracing::debug!(destination = name, error, attempt, "a webhook message was not delivered; retrying");
                return;
            }
            DeliveryResult::Dead(error) => {
                count_message(name, "dead");
                tracing::warn!(destination = name, error, "a webhook message was not delivered; it is a dead letter");
            }
        }
        // the next message about the same alert is due now
        self.queued.notify_one();
    }

    /// Records a result while the claim lasts. False when it was not recorded.
    async fn record(&self, claimed: &ClaimedMessage, result: &DeliveryResult, until: Instant) -> bool {
        loop {
            match self.try_record(claimed, result).await {
                Ok(recorded) => return recorded,
                Err(error) => {
                    count_failure("note");
                    if Instant::now() + RECORD_RETRY >= until {
                        tracing::warn!(%error, "the result of a webhook delivery cannot be recorded; sending it again");
                        return false;
                    }
                    sleep(RECORD_RETRY).await;
                }
            }
        }
    }

    async fn try_record(&self, claimed: &ClaimedMessage, result: &DeliveryResult) -> Result<bool, HistoryError> {
        match result {
            DeliveryResult::Delivered => self.outbox.mark_delivered(claimed).await,
            DeliveryResult::Retry { wait, error } => self.outbox.postpone(claimed, *wait, error).await,
            DeliveryResult::Dead(error) => {
                // the dead letter first: writing it twice is harmless, losing it is not
                self.dead_letters.enqueue_dead(processor::failure(claimed, error)).await?;
                self.outbox.mark_dead(claimed, error).await
            }
        }
    }

    async fn count_waiting(&self, destinations: &[Destination]) {
        let Ok(queues) = self.outbox.backlog().await else { return count_failure("claim") };
        for destination in destinations {
            let queue = queues.iter().find(|queue| queue.destination == destination.name);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let waiting = queue.map_or(0.0, |queue| queue.waiting as f64);
            metrics::gauge!("living_map_webhook_waiting", "destination" => destination.name.clone()).set(waiting);
        }
    }

    async fn delete_expired(&self, destinations: &[Destination]) {
        let names: Vec<String> = destinations.iter().map(|destination| destination.name.clone()).collect();
        loop {
            match self.outbox.delete_old(self.config.kept, &names, DELETE_BATCH).await {
                Ok(deleted) if deleted >= u64::from(DELETE_BATCH) => {}
                Ok(_) => return,
                Err(_) => return count_failure("tidy"),
            }
        }
    }
}
