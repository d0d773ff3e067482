//! Alerts and silences.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::map::context::FoldContext;
use crate::map::decode::assertion::AlertOperation;
use crate::map::state::alerts::Alerts;
use crate::model::{Alert, AlertChange};

impl FoldContext<'_> {
    pub(super) fn apply_alert(&mut self, operation: AlertOperation) {
        let changes = apply(&mut self.state.alerts, operation, self.state.logged_at);
        self.alerts_changed(changes);
    }

    /// Records changes; clients get the whole list of alerts.
    pub(super) fn alerts_changed(&mut self, changes: Vec<AlertChange>) {
        if !changes.is_empty() {
            self.alerts.extend(changes);
            let list: Vec<&Alert> = self.state.alerts.list().collect();
            self.city_patch.insert("alerts".to_owned(), json!(list));
        }
    }
}

/// Applies an operation at the log's time.
pub(in crate::map) fn apply(
    alerts: &mut Alerts,
    operation: AlertOperation,
    logged_at: DateTime<Utc>,
) -> Vec<AlertChange> {
    match operation {
        AlertOperation::Raise { alert, ttl } => {
            let ends_at = ttl.and_then(|ttl| logged_at.checked_add_signed(ttl));
            alerts.raise(*alert, ends_at)
        }
        AlertOperation::Clear { id } => alerts.clear(&id).into_iter().collect(),
        AlertOperation::Acknowledge { id, by, note, at } => alerts.acknowledge(&id, by, note, at).into_iter().collect(),
        // a silence that is over already
        AlertOperation::Silence(silence) if silence.until <= logged_at => Vec::new(),
        AlertOperation::Silence(silence) => alerts.silence(silence),
        AlertOperation::Unsilence { id } => alerts.unsilence(&id),
    }
}
