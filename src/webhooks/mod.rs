//! Sends alerts to webhooks: one message when an alert is raised and one when it is cleared, signed according to Standard
//! Webhooks.
//!
//! The leader follows the log, folds the alerts as the map does, and writes the messages for each destination to the outbox, in
//! one transaction with its checkpoint; of two replicas that both believe to lead, the slower one's transaction fails.
//! A replica that has claimed a message in the database sends it. A request in flight continues when the lease is lost, and its
//! claim keeps other replicas from sending the same message. So no message is lost, and none is sent twice unless the process or
//! the database stops between the request and the record of its result; then it is sent again with the same `webhook-id`.
//!
//! | metric | |
//! |---|---|
//! | `living_map_webhook_messages_total{destination,outcome}` | messages: `queued`, `refused` (the queue is full), `delivered`, `dead` |
//! | `living_map_webhook_attempts_total{destination,outcome}` | requests: `delivered`, `failed`, `gone` |
//! | `living_map_webhook_duration_seconds{destination}` | histogram: time from a request to its response |
//! | `living_map_webhook_waiting{destination}` | gauge: messages waiting |
//! | `living_map_webhook_failures_total{step}` | failed steps, which are retried: `follow`, `claim`, `note`, `tidy`; `restore` (unreadable saved state) |

mod client;
mod config;
mod delivery;
mod dispatcher;
mod notification_state;
mod processor;
mod signature;
mod start;

pub use client::{DeliveryError, WebhookClient};
pub use config::WebhookDispatcherConfig;
pub use dispatcher::WebhookDispatcher;
pub use processor::{PROCESSOR, WebhookProcessor};
pub use start::{WebhookHandles, Webhooks};

use crate::alerts::Destination;
use crate::instruments::{Instrument, register_with};

/// Metrics of each destination.
const OF_DESTINATION: &[Instrument] = &[
    Instrument::counter("living_map_webhook_messages_total")
        .labels(&[("outcome", &["queued", "refused", "delivered", "dead"])]),
    Instrument::counter("living_map_webhook_attempts_total").labels(&[("outcome", &["delivered", "failed", "gone"])]),
    Instrument::histogram("living_map_webhook_duration_seconds"),
    Instrument::gauge("living_map_webhook_waiting"),
];

/// Registers the metrics of a destination.
fn register(destination: &Destination) {
    register_with(OF_DESTINATION, &[("destination", &destination.name)]);
}

fn count_failure(step: &'static str) {
    metrics::counter!("living_map_webhook_failures_total", "step" => step).increment(1);
}

fn count_message(destination: &str, outcome: &'static str) {
    let destination = destination.to_owned();
    metrics::counter!("living_map_webhook_messages_total", "destination" => destination, "outcome" => outcome)
        .increment(1);
}

/// Target name of a destination in the error journal.
fn target(destination: &str) -> String {
    format!("webhook:{destination}")
}
