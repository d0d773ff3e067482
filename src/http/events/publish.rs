//! Appends the events of a request to the event log, with a result for each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::history::History;
use crate::http::error::Problem;
use crate::log::{EventLog, LogError};
use crate::model::envelope::{self, FieldError};
use crate::model::json::{Normal, Unreadable};
use crate::model::{Cursor, NewEvent, Notes, Traceparent};

/// First token of subjects that only the server publishes: an event there would be taken for an upstream's data.
const RESERVED_TOKEN: &str = "living_map";

/// Result of publishing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemStatus {
    /// Appended to the event log, durably.
    Accepted,
    /// Already in the event log or the history; nothing changed.
    Duplicate,
    /// Not appended; see `error`.
    Rejected,
}

impl ItemStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

/// Result of publishing one event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ItemResult {
    /// Index of the event in the request, from 0.
    pub index: usize,
    /// Result.
    pub status: ItemStatus,
    /// Id of the event, derived from `idempotency_key` or `event_id`; null if the event is invalid.
    pub id: Option<Uuid>,
    /// Position in the event log; for a duplicate the position of the first event, null if it is no longer known.
    #[schema(value_type = Option<String>)]
    pub cursor: Option<Cursor>,
    /// Reason for the rejection.
    pub error: Option<String>,
    /// Field that is invalid.
    #[schema(value_type = Option<String>)]
    pub field: Option<&'static str>,
    /// What was repaired in the event; absent where nothing was.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    #[schema(required = false)]
    pub notes: Notes,
}

impl ItemResult {
    fn rejected(index: usize, id: Option<Uuid>, field: Option<&'static str>, error: String) -> Self {
        let notes = Notes::NONE;
        Self { index, status: ItemStatus::Rejected, id, cursor: None, error: Some(error), field, notes }
    }

    fn stored(index: usize, status: ItemStatus, id: Uuid, cursor: Option<Cursor>) -> Self {
        Self { index, status, id: Some(id), cursor, error: None, field: None, notes: Notes::NONE }
    }
}

/// Appends the events that are valid and new.
///
/// # Errors
/// The log is unavailable and took none of them.
pub async fn publish(
    log: &dyn EventLog,
    history: &dyn History,
    parsed: Vec<Result<Normal, Unreadable>>,
    context: &RequestContext,
    limit: Duration,
) -> Result<Vec<ItemResult>, Problem> {
    let mut results: Vec<Option<ItemResult>> = Vec::with_capacity(parsed.len());
    let mut first_indexes: HashMap<Uuid, usize> = HashMap::new();
    let mut repeats: Vec<(usize, usize)> = Vec::new();
    let mut pending: Vec<Pending> = Vec::new();
    for (index, element) in parsed.into_iter().enumerate() {
        match parse(element, index, context) {
            Err(error) => {
                results.push(Some(ItemResult::rejected(index, None, Some(error.field), error.to_string())));
                continue;
            }
            Ok(event) => match first_indexes.entry(event.new.event.id) {
                Entry::Occupied(first) => repeats.push((index, *first.get())),
                Entry::Vacant(entry) => {
                    entry.insert(index);
                    pending.push(event);
                }
            },
        }
        results.push(None);
    }

    let pending = without_duplicates(history, pending, &mut results, limit).await;
    append(log, pending, &mut results).await?;
    for (index, first) in repeats {
        results[index] = results[first].clone().map(|result| match result.status {
            ItemStatus::Rejected => ItemResult { index, ..result },
            ItemStatus::Accepted | ItemStatus::Duplicate => {
                ItemResult { index, status: ItemStatus::Duplicate, ..result }
            }
        });
    }
    Ok(results.into_iter().flatten().collect())
}

/// Form of the events in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Network envelopes, or `CloudEvents` that are recognized by their attributes.
    Any,
    /// `CloudEvents`.
    CloudEvents,
}

/// Form of the request's events; its time and trace, for events that have none.
pub struct RequestContext {
    pub now: DateTime<Utc>,
    pub trace: Option<Traceparent>,
    pub form: Form,
}

/// An event that is not appended yet.
struct Pending {
    index: usize,
    /// Field of the request that has the event type.
    type_field: &'static str,
    new: NewEvent,
}

fn parse(element: Result<Normal, Unreadable>, index: usize, context: &RequestContext) -> Result<Pending, FieldError> {
    let normal = element.map_err(|error| FieldError { field: "event", problem: error.to_string() })?;
    let (type_field, mut new) = if context.form == Form::CloudEvents || envelope::is_cloud_event(&normal.value) {
        ("type", envelope::publish_cloud_event(normal, context.now)?)
    } else {
        ("event_type", envelope::publish(normal, context.now)?)
    };
    if let Some(trace) = context.trace {
        new.event.traced(trace);
    }
    if new.event.event_type.split('.').next() == Some(RESERVED_TOKEN) {
        let problem = format!("subjects under '{RESERVED_TOKEN}.' are reserved for the server");
        return Err(FieldError { field: type_field, problem });
    }
    Ok(Pending { index, type_field, new })
}

/// Removes events that the history already contains and gives them their result. The log itself detects duplicates only
/// within the last minutes. Waits for the history for `limit` at most, so that an unavailable database does not block a
/// log that works.
async fn without_duplicates(
    history: &dyn History,
    pending: Vec<Pending>,
    results: &mut [Option<ItemResult>],
    limit: Duration,
) -> Vec<Pending> {
    if pending.is_empty() {
        return pending;
    }
    let ids: Vec<Uuid> = pending.iter().map(|event| event.new.event.id).collect();
    // an event appended twice without this check is still stored once: the history has a unique key
    let known = match timeout(limit, history.positions(&ids)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => {
            tracing::debug!(%error, "history unavailable, not checking published events for duplicates");
            HashMap::new()
        }
        Err(_) => {
            tracing::debug!("history did not respond in time, not checking published events for duplicates");
            HashMap::new()
        }
    };
    let mut unknown = Vec::with_capacity(pending.len());
    for event in pending {
        let (index, id) = (event.index, event.new.event.id);
        match known.get(&id) {
            Some(cursor) => results[index] = Some(ItemResult::stored(index, ItemStatus::Duplicate, id, *cursor)),
            None => unknown.push(event),
        }
    }
    unknown
}

async fn append(log: &dyn EventLog, pending: Vec<Pending>, results: &mut [Option<ItemResult>]) -> Result<(), Problem> {
    if pending.is_empty() {
        return Ok(());
    }
    let split = |Pending { index, type_field, new }| ((index, type_field, new.event.id, new.event.notes.clone()), new);
    let (sent, events): (Vec<_>, Vec<_>) = pending.into_iter().map(split).unzip();
    let mut unavailable = None;
    let mut any_appended = false;
    for ((index, type_field, id, notes), appended) in sent.into_iter().zip(log.append(events).await) {
        results[index] = Some(match appended {
            Ok(appended) => {
                any_appended = true;
                let status = if appended.duplicate { ItemStatus::Duplicate } else { ItemStatus::Accepted };
                ItemResult { notes, ..ItemResult::stored(index, status, id, appended.cursor) }
            }
            Err(error) => {
                let (field, reason) = rejection_of(&error, type_field);
                if is_transient(&error) {
                    unavailable = Some(error);
                }
                ItemResult::rejected(index, Some(id), field, reason)
            }
        });
    }
    match unavailable {
        Some(error) if !any_appended => Err(Problem::from(error)),
        Some(error) => {
            tracing::warn!(%error, "the log took only some events of a request");
            Ok(())
        }
        None => Ok(()),
    }
}

/// Whether the same event may succeed later.
const fn is_transient(error: &LogError) -> bool {
    match error {
        LogError::Unavailable(_) | LogError::Denied(_) | LogError::Truncated { .. } | LogError::EpochChanged(_) => true,
        LogError::NotRecorded(_) | LogError::TooLarge { .. } | LogError::Refused(_) => false,
    }
}

/// Field and reason of a failed append, as reported to the sender.
fn rejection_of(error: &LogError, type_field: &'static str) -> (Option<&'static str>, String) {
    match error {
        LogError::NotRecorded(_) | LogError::Denied(_) => (Some(type_field), format!("{type_field}: {error}")),
        LogError::TooLarge { .. } => (Some("payload"), format!("payload: {error}")),
        LogError::Refused(_) => {
            // the database's message is for the log only
            tracing::warn!(%error, "the log rejected a published event");
            (None, "the database of the event log cannot store this event".to_owned())
        }
        LogError::Unavailable(_) | LogError::Truncated { .. } | LogError::EpochChanged(_) => {
            (None, "the event log is unavailable; send this event again".to_owned())
        }
    }
}
