//! Decisions of operators about alerts, appended to the event log so that every replica's map has them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::Problem;
use super::fields::Fields;
use super::requester::Requester;
use super::state::AppState;
use crate::log::LogError;
use crate::model::{envelope, time};

/// Maximum length of a name or id in a decision, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Maximum length of a note, in bytes.
pub const MAX_NOTE_BYTES: usize = 400;

/// Name of the operator who decides: that of the token, without one the body's `by`.
///
/// # Errors
/// 422: `by` is not a string of the permitted length.
pub fn decided_by(requester: &Requester, fields: &Fields) -> Result<Option<String>, Problem> {
    let by = fields.text("by", MAX_NAME_BYTES)?;
    Ok(requester.name().or(by))
}

/// Appends a decision to the event log, then waits until the map shows it, for `catch_up_timeout` at most.
///
/// # Errors
/// The log did not take the event.
pub async fn append(state: &AppState, event_type: &str, payload: Value, now: DateTime<Utc>) -> Result<(), Problem> {
    let event = json!({
        "event_type": event_type, "source": "living-map", "timestamp": time::text(now), "payload": payload,
    });
    let new = envelope::publish(event, now).map_err(Problem::internal)?;
    let outcome = state.log.append(vec![new]).await.pop();
    let outcome = outcome.unwrap_or_else(|| Err(LogError::Unavailable("the log returned no result".to_owned())));
    let appended = outcome.map_err(|error| state.problem(error))?;
    if let Some(cursor) = appended.cursor {
        // the event is durable; a map that lags behind shows it later
        let _ = tokio::time::timeout(state.config.catch_up_timeout, state.live.folded(cursor)).await;
    }
    Ok(())
}
