//! Messages to be sent to webhooks. What is to be sent, and up to where of the log that was decided, are written in one
//! transaction; whoever sends claims a message first, for a time that the database's clock measures.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::HistoryError;
use crate::model::Cursor;

/// A message for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its name: the same message is there once.
    pub id: Uuid,
    /// The destination's name.
    pub destination: String,
    /// The alert that it is about: what is about one alert goes to one destination in order.
    pub alert_id: String,
    /// What is sent.
    pub body: String,
}

/// A message that is the caller's to send, until its claim is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The message.
    pub message: OutboxMessage,
    /// Which attempt it is, from 1: it names the claim.
    pub attempt: u32,
}

/// Up to where of the log it was decided what is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxPosition {
    /// The place.
    pub cursor: Cursor,
    /// What is known there, as JSON.
    pub state: String,
    /// Grows with each change: of two that decide at once, one is too late.
    pub version: i64,
    /// How long ago it was changed.
    pub age: Duration,
}

/// How a destination's messages are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxStanding {
    /// The destination's name.
    pub destination: String,
    /// Messages that wait to be sent.
    pub waiting: u64,
    /// When the one that waits longest came.
    pub oldest: DateTime<Utc>,
    /// Why the last attempt at one of them failed; none when none of them has failed.
    pub error: Option<String>,
}

/// The messages in the database. All methods may be called from any task; what is written is durable when the call returns.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Up to where it was decided; none before the first time.
    async fn position(&self) -> Result<Option<OutboxPosition>, HistoryError>;

    /// Takes in `messages` and moves the position, both or neither: false, and nothing is done, if its version is not
    /// `version` any more (0 where there is none yet). The version is one more then. A message that is there already
    /// stays as it is.
    async fn advance(
        &self,
        version: i64,
        cursor: Cursor,
        state: &str,
        messages: &[OutboxMessage],
    ) -> Result<bool, HistoryError>;

    /// Takes at most `limit` messages of a destination that are due and nobody's, for so long. Of several about one alert
    /// only the first one.
    async fn claim(&self, destination: &str, lasting: Duration, limit: u32) -> Result<Vec<Claimed>, HistoryError>;

    /// It was delivered. False if the claim is not the caller's any more; so with the following.
    async fn delivered(&self, claimed: &Claimed) -> Result<bool, HistoryError>;

    /// It was not, and is to be tried again after `wait`.
    async fn postpone(&self, claimed: &Claimed, wait: Duration, error: &str) -> Result<bool, HistoryError>;

    /// It was not, and will not be tried again from here.
    async fn give_up(&self, claimed: &Claimed, error: &str) -> Result<bool, HistoryError>;

    /// How many wait, by destination; those without any are not among them.
    async fn standing(&self) -> Result<Vec<OutboxStanding>, HistoryError>;

    /// Deletes at most `limit` messages that were delivered or given up so long ago, or have waited so long for a
    /// destination that is none of `destinations`; how many.
    async fn tidy(&self, kept: Duration, destinations: &[String], limit: u32) -> Result<u64, HistoryError>;
}
