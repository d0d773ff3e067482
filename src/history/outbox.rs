//! Transactional outbox of webhook messages. Messages are written in one transaction with the checkpoint of the log position
//! that they follow from. A sender first claims a message, for a time that is measured by the database's clock.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Result;
use crate::model::Cursor;

/// A message for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Id; a message with the same id is stored once.
    pub id: Uuid,
    /// Name of the destination.
    pub destination: String,
    /// The alert that it is about. Messages about one alert are sent to a destination in order.
    pub alert_id: String,
    /// Request body.
    pub body: String,
}

/// A message that the caller may send until its claim expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMessage {
    /// The message.
    pub message: OutboxMessage,
    /// Number of the attempt, from 1; it identifies the claim.
    pub attempt: u32,
}

/// The log position up to which messages were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxCheckpoint {
    /// Position.
    pub cursor: Cursor,
    /// State of the notifications at this position, as JSON.
    pub state: String,
    /// Incremented by each update: of two concurrent updates, the second fails.
    pub version: i64,
    /// Time since the last update.
    pub age: Duration,
}

/// Waiting messages of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxBacklog {
    /// Name of the destination.
    pub destination: String,
    /// Number of waiting messages.
    pub waiting: u64,
    /// Creation time of the oldest one.
    pub oldest: DateTime<Utc>,
    /// Error of the last failed attempt at one of them; none when no attempt failed.
    pub error: Option<String>,
}

/// Outbox store. Methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The checkpoint; none before the first [`Outbox::advance`].
    async fn checkpoint(&self) -> Result<Option<OutboxCheckpoint>>;

    /// Inserts `messages` and updates the checkpoint in one transaction, which increments its version. Does nothing and
    /// returns false if the checkpoint's version is not `version` (0 for the first one). A message whose id exists is left
    /// unchanged.
    async fn advance(&self, version: i64, cursor: Cursor, state: &str, messages: &[OutboxMessage]) -> Result<bool>;

    /// Claims at most `limit` due, unclaimed messages of a destination for the duration `ttl`; of several about one alert
    /// only the first.
    async fn claim(&self, destination: &str, ttl: Duration, limit: u32) -> Result<Vec<ClaimedMessage>>;

    /// Marks a message as delivered. False if another attempt has claimed it since, as with the next two methods.
    async fn mark_delivered(&self, claimed: &ClaimedMessage) -> Result<bool>;

    /// Schedules the next attempt after `wait`.
    async fn postpone(&self, claimed: &ClaimedMessage, wait: Duration, error: &str) -> Result<bool>;

    /// Marks a message as failed for good.
    async fn mark_dead(&self, claimed: &ClaimedMessage, error: &str) -> Result<bool>;

    /// Waiting messages by destination; destinations without any are left out.
    async fn backlog(&self) -> Result<Vec<OutboxBacklog>>;

    /// Deletes at most `limit` messages that have not changed for `retention` and are delivered, dead, or for a destination
    /// that is not in `destinations`; returns the number deleted.
    async fn delete_old(&self, retention: Duration, destinations: &[String], limit: u32) -> Result<u64>;
}
