//! `living-map alerts test`: sends a test message to a webhook.

use std::path::Path;

use anyhow::Context;
use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::settings::{rule_file, rules_limits};
use crate::config;
use crate::model::time;
use crate::webhooks::WebhookClient;

/// Sends a signed message of the type `living_map.webhook.test` to the webhook `name` of a file.
///
/// # Errors
/// The file is wrong, has no such webhook, or the message was not taken.
pub async fn test_webhook(path: &Path, name: &str, settings: config::Alerts) -> anyhow::Result<()> {
    let status = rule_file(path, rules_limits(&settings))?.status();
    let destinations = status.borrow().destinations.clone();
    let destination = destinations.iter().find(|destination| destination.name == name);
    let destination = destination.with_context(|| format!("{}: there is no webhook '{name}'", path.display()))?;
    let body = json!({"type": "living_map.webhook.test", "timestamp": time::text(Utc::now()), "data": {}});
    let client = WebhookClient::new(settings.webhook_timeout).context("webhooks cannot be sent")?;
    let sent = client.send(destination, Uuid::new_v4(), &body.to_string()).await;
    sent.with_context(|| format!("webhook {name} did not take the message"))
}
