//! `living-map alerts`: checks a file of alert rules, and sends a test message to one of its webhooks.

use std::path::Path;

use anyhow::Context;
use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::settings::AlertSettings;
use crate::alerts::open_rules;
use crate::model::time;
use crate::webhooks::WebhookClient;

/// Reads a file of alert rules; returns the numbers of rules and of webhooks.
///
/// # Errors
/// All errors of the file.
pub fn check_rules(path: &Path, settings: &AlertSettings) -> anyhow::Result<(usize, usize)> {
    let status = open_rules(path, settings.rules.limits)?.status();
    let status = status.borrow();
    Ok((status.rules.len(), status.destinations.len()))
}

/// Sends a signed message of the type `living_map.webhook.test` to the webhook `name` of a file.
///
/// # Errors
/// The file is invalid or has no such webhook, or the webhook rejected the message.
pub async fn test_webhook(path: &Path, name: &str, settings: AlertSettings) -> anyhow::Result<()> {
    let status = open_rules(path, settings.rules.limits)?.status();
    let destinations = status.borrow().destinations.clone();
    let destination = destinations.iter().find(|destination| destination.name == name);
    let destination = destination.with_context(|| format!("{}: there is no webhook '{name}'", path.display()))?;
    let body = json!({"type": "living_map.webhook.test", "timestamp": time::text(Utc::now()), "data": {}});
    let client = WebhookClient::new(&settings.webhooks).context("webhooks cannot be sent")?;
    let sent = client.send(destination, Uuid::new_v4(), &body.to_string()).await;
    sent.with_context(|| format!("webhook {name} did not accept the message"))
}
