//! The stream of experiences, by its durable consumer.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Batch, Opened, Source};
use crate::log::experiences::{Delivery, ExperienceConsumer};
use crate::log::{ExperienceStream, LogError};
use crate::model::Cursor;

/// Experiences of the stream.
pub struct StreamSource {
    experiences: ExperienceStream,
    consumer: Option<ExperienceConsumer>,
    created: Option<DateTime<Utc>>,
}

impl StreamSource {
    /// Those of `experiences`.
    #[must_use]
    pub const fn new(experiences: ExperienceStream) -> Self {
        Self { experiences, consumer: None, created: None }
    }
}

#[async_trait]
impl Source for StreamSource {
    async fn open(&mut self, fresh: bool, memory: TimeDelta) -> Result<Opened, LogError> {
        let consumer = self.experiences.open_consumer().await?;
        let position = consumer.position.clone();
        let another = self.created.is_some_and(|created| created != position.created);
        let past = if (fresh || another) && position.delivered > 0 {
            Some(self.experiences.read_delivered(&position, memory).await?)
        } else {
            None
        };
        self.created = Some(position.created);
        self.consumer = Some(consumer);
        Ok(Opened { another, past, settled: position.acked, handed_out: position.delivered })
    }

    async fn fetch(&mut self) -> Result<Batch, LogError> {
        let Some(consumer) = &self.consumer else { return Err(LogError::Unavailable("not open".to_owned())) };
        let deliveries = consumer.fetch(self.experiences.config()).await?;
        let again = deliveries.iter().filter(|delivery| delivery.attempts > 1).count() as u64;
        metrics::counter!("js_messages_redelivered_total").increment(again);
        Ok(Batch {
            last: deliveries.iter().map(|delivery| delivery.entry.cursor.seq).max().unwrap_or_default(),
            lag: deliveries.last().map(|delivery| delivery.pending).or(Some(0)),
            entries: deliveries.iter().map(|delivery| delivery.entry.clone()).collect(),
            deliveries,
        })
    }

    async fn in_progress(&self, batch: &Batch) {
        for delivery in &batch.deliveries {
            // without a connection it is delivered again, which does no harm
            if delivery.in_progress().await.is_err() {
                return;
            }
        }
    }

    async fn settle(&mut self, batch: Batch) {
        let mut acked = 0;
        for delivery in &batch.deliveries {
            acked += u64::from(Delivery::ack(delivery).await.is_ok());
        }
        metrics::counter!("js_messages_acked_total").increment(acked);
    }

    fn position(&self, _batch: &Batch) -> Option<Cursor> {
        None
    }

    fn kind(&self) -> &'static str {
        "jetstream"
    }
}
