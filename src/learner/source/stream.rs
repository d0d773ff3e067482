//! The JetStream stream of experiences, read through its durable consumer.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{ExperienceBatch, Opened, Source};
use crate::log::experiences::{Delivery, ExperienceConsumer};
use crate::log::{ExperienceStream, LogError};
use crate::model::Cursor;

/// Reads the stream of experiences.
pub struct StreamSource {
    experiences: ExperienceStream,
    consumer: Option<ExperienceConsumer>,
    created: Option<DateTime<Utc>>,
}

impl StreamSource {
    /// A source of `experiences`.
    #[must_use]
    pub const fn new(experiences: ExperienceStream) -> Self {
        Self { experiences, consumer: None, created: None }
    }
}

#[async_trait]
impl Source for StreamSource {
    async fn open(&mut self, fresh: bool, lookback: TimeDelta) -> Result<Opened, LogError> {
        let consumer = self.experiences.open_consumer().await?;
        let position = consumer.position.clone();
        let replaced = self.created.is_some_and(|created| created != position.created);
        let past = if (fresh || replaced) && position.delivered > 0 {
            Some(self.experiences.read_delivered(&position, lookback).await?)
        } else {
            None
        };
        self.created = Some(position.created);
        self.consumer = Some(consumer);
        Ok(Opened { replaced, past, committed: position.acked, delivered: position.delivered })
    }

    async fn fetch(&mut self) -> Result<ExperienceBatch, LogError> {
        let Some(consumer) = &self.consumer else { return Err(LogError::Unavailable("not open".to_owned())) };
        let deliveries = consumer.fetch(self.experiences.config()).await?;
        let redelivered = deliveries.iter().filter(|delivery| delivery.attempts > 1).count() as u64;
        metrics::counter!("js_messages_redelivered_total").increment(redelivered);
        Ok(ExperienceBatch {
            last: deliveries.iter().map(|delivery| delivery.entry.cursor.seq).max().unwrap_or_default(),
            lag: deliveries.last().map(|delivery| delivery.pending).or(Some(0)),
            entries: deliveries.iter().map(|delivery| delivery.entry.clone()).collect(),
            deliveries,
        })
    }

    async fn in_progress(&self, batch: &ExperienceBatch) {
        for delivery in &batch.deliveries {
            // without a connection the batch is delivered again, which is harmless
            if delivery.in_progress().await.is_err() {
                return;
            }
        }
    }

    async fn commit(&mut self, batch: ExperienceBatch) {
        let mut acked = 0;
        for delivery in &batch.deliveries {
            acked += u64::from(Delivery::ack(delivery).await.is_ok());
        }
        metrics::counter!("js_messages_acked_total").increment(acked);
    }

    fn position(&self, _batch: &ExperienceBatch) -> Option<Cursor> {
        None
    }

    fn kind(&self) -> &'static str {
        "jetstream"
    }
}
