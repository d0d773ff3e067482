//! The answers of a server, to be compared with those of another one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::process::Process;

/// Answers of a server that depend on what is stored, and not on who serves it or when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// The log's end.
    pub cursor: String,
    /// The four layers there.
    pub layers: Value,
    /// A cursor behind which the log has events.
    pub past_cursor: String,
    /// The four layers there.
    pub past_layers: Value,
    /// The first page of history with its total.
    pub history: Value,
    pub lessons: Value,
    /// Dead letters, without what a retry changes.
    pub dead_letters: Value,
    pub alerts: Value,
    pub saved_snapshots: Value,
}

impl Recorded {
    /// Answers of `server`; none while it is not ready.
    pub async fn of(server: &Process, past_cursor: &str) -> Option<Self> {
        let snapshot = get(server, "/living-map/snapshot").await?;
        let past = get(server, &format!("/living-map/snapshot?at={past_cursor}")).await?;
        let mut dead_letters = get(server, "/living-map/dead-letters?limit=100").await?["items"].take();
        for letter in dead_letters.as_array_mut()? {
            letter.as_object_mut()?.retain(|field, _| {
                ["id", "subject", "processor", "origin_cursor", "error", "first_failed_at"].contains(&field.as_str())
            });
        }
        // saved at each stop: only those at or before the past moment are the same for good
        let saved = get(server, "/living-map/snapshots?limit=100").await?["items"].take();
        let position = |cursor: &str| cursor.rsplit('.').next().and_then(|text| text.parse::<u64>().ok());
        let before = |item: &Value| item["cursor"].as_str().and_then(position) <= position(past_cursor);
        Some(Self {
            cursor: snapshot["meta"]["cursor"].as_str()?.to_owned(),
            layers: snapshot["layers"].clone(),
            past_cursor: past_cursor.to_owned(),
            past_layers: past["layers"].clone(),
            history: get(server, "/living-map/history?limit=50").await?,
            lessons: get(server, "/living-map/lessons?limit=100").await?["items"].take(),
            dead_letters,
            alerts: get(server, "/living-map/alerts").await?["items"].take(),
            saved_snapshots: saved.as_array()?.iter().filter(|item| before(item)).cloned().collect(),
        })
    }
}

/// A JSON answer; none while there is none.
pub async fn get(server: &Process, path: &str) -> Option<Value> {
    let answer = reqwest::get(server.url(path)).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}
