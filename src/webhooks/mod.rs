//! Alerts told to webhooks: each once when it is raised and once when it is cleared, signed as Standard Webhooks says.
//!
//! One server, by lease, follows the log with the alerts as the map folds them, and writes what each destination is to be
//! told into the outbox, in one transaction with its place in the log: of two servers that believe to lead, one is too
//! late. It is sent by whoever has claimed it in the database; a send under way goes on when the lease is lost, and its
//! claim keeps others from it. So nothing is lost, and nothing is sent twice unless a process, or its database, dies between
//! the send and the note of it: then it is sent again, under the same `webhook-id`.
//!
//! | metric | |
//! |---|---|
//! | `living_map_webhook_messages_total{destination,outcome}` | messages: `queued`, `refused` (too many wait), `delivered`, `dead` |
//! | `living_map_webhook_attempts_total{destination,outcome}` | requests: `delivered`, `failed`, `gone` |
//! | `living_map_webhook_duration_seconds{destination}` | histogram: from a request to its answer |
//! | `living_map_webhook_waiting{destination}` | gauge: messages that wait |
//! | `living_map_webhook_failures_total{step}` | what failed and is tried again: `follow`, `claim`, `note`, `tidy` |

mod client;
mod courier;
mod deliver;
mod desk;
mod processor;
mod signature;

pub use client::{Client, Rejection};
pub use courier::{WebhookDispatcher, WebhookDispatcherConfig};
pub use processor::{PROCESSOR, WebhookProcessor};

fn count_failure(step: &'static str) {
    metrics::counter!("living_map_webhook_failures_total", "step" => step).increment(1);
}

fn count_message(destination: &str, outcome: &'static str) {
    let destination = destination.to_owned();
    metrics::counter!("living_map_webhook_messages_total", "destination" => destination, "outcome" => outcome)
        .increment(1);
}

/// The name that the error journal has for a destination.
fn target(destination: &str) -> String {
    format!("webhook:{destination}")
}
