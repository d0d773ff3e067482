//! The active alerts and silences: bounded, and part of the state, so that every replica and every replay has the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::alert::{Alert, AlertChange, AlertState, Silence};

/// Most active alerts. One more replaces the least urgent one if that is less urgent, else it is dropped: a longer list
/// helps nobody, and each change sends the whole list.
const MAX_ACTIVE: usize = 64;

/// Most silences; one more is dropped. Not a setting, because all replicas must fold alike.
pub const MAX_SILENCES: usize = 256;

/// The active alerts and the silences. Saved maps and the webhooks' state both contain it: its fields keep names and
/// order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::map) struct Alerts {
    /// By id.
    active: BTreeMap<String, Active>,
    /// By id.
    silences: BTreeMap<String, Silence>,
    /// The earliest time at which an alert or a silence ends.
    next_end: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Active {
    alert: Alert,
    ends_at: Option<DateTime<Utc>>,
}

impl Alerts {
    /// Raises an alert, until `ends_at` if given. An unchanged active alert is only extended.
    pub(in crate::map) fn raise(&mut self, mut alert: Alert, ends_at: Option<DateTime<Utc>>) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        if let Some(Active { alert: known, .. }) = self.active.get(&alert.id) {
            alert.raised_at = known.raised_at;
            alert.acknowledged_by.clone_from(&known.acknowledged_by);
            alert.acknowledged_at = known.acknowledged_at;
            alert.note.clone_from(&known.note);
        } else if self.active.len() >= MAX_ACTIVE {
            let least = self.active.values().min_by_key(|active| (active.alert.severity, active.alert.raised_at));
            let Some(least) = least.filter(|least| least.alert.severity < alert.severity) else { return changes };
            let id = least.alert.id.clone();
            changes.extend(self.clear(&id));
        }
        alert.silenced_until = self.silenced_until(&alert);
        let before = self.active.insert(alert.id.clone(), Active { alert: alert.clone(), ends_at });
        self.update_next_end();
        if before.is_none_or(|before| before.alert != alert) {
            changes.push(AlertChange { state: AlertState::Raised, alert });
        }
        changes
    }

    /// Clears an alert.
    pub(in crate::map) fn clear(&mut self, id: &str) -> Option<AlertChange> {
        let Active { alert, .. } = self.active.remove(id)?;
        self.update_next_end();
        Some(AlertChange { state: AlertState::Cleared, alert })
    }

    /// Acknowledges an alert.
    pub(in crate::map) fn acknowledge(
        &mut self,
        id: &str,
        by: String,
        note: Option<String>,
        at: DateTime<Utc>,
    ) -> Option<AlertChange> {
        let alert = &mut self.active.get_mut(id)?.alert;
        if alert.acknowledged_by.as_ref() == Some(&by) && alert.note == note {
            return None;
        }
        alert.acknowledged_by = Some(by);
        alert.acknowledged_at = Some(at);
        alert.note = note;
        Some(AlertChange { state: AlertState::Raised, alert: alert.clone() })
    }

    /// Adds a silence, which applies to active and future alerts.
    pub(in crate::map) fn silence(&mut self, silence: Silence) -> Vec<AlertChange> {
        if self.silences.len() >= MAX_SILENCES && !self.silences.contains_key(&silence.id) {
            return Vec::new();
        }
        self.silences.insert(silence.id.clone(), silence);
        self.silences_changed()
    }

    /// Removes a silence.
    pub(in crate::map) fn unsilence(&mut self, id: &str) -> Vec<AlertChange> {
        if self.silences.remove(id).is_none() { Vec::new() } else { self.silences_changed() }
    }

    /// Clears the alerts and removes the silences that end by `now`.
    pub(in crate::map) fn expire(&mut self, now: DateTime<Utc>) -> Vec<AlertChange> {
        if self.next_end.is_none_or(|end| end > now) {
            return Vec::new();
        }
        let is_over = |active: &Active| active.ends_at.is_some_and(|end| end <= now);
        let ids: Vec<String> =
            self.active.iter().filter(|(_, active)| is_over(active)).map(|(id, _)| id.clone()).collect();
        let mut changes: Vec<AlertChange> = ids.iter().filter_map(|id| self.clear(id)).collect();
        self.silences.retain(|_, silence| silence.until > now);
        changes.extend(self.silences_changed());
        changes
    }

    /// Recomputes until when each active alert is silenced.
    fn silences_changed(&mut self) -> Vec<AlertChange> {
        let until: Vec<_> = self.active.values().map(|active| self.silenced_until(&active.alert)).collect();
        let mut changes = Vec::new();
        for (Active { alert, .. }, until) in self.active.values_mut().zip(until) {
            if alert.silenced_until != until {
                alert.silenced_until = until;
                changes.push(AlertChange { state: AlertState::Raised, alert: alert.clone() });
            }
        }
        self.update_next_end();
        changes
    }

    fn silenced_until(&self, alert: &Alert) -> Option<DateTime<Utc>> {
        self.silences.values().filter(|silence| silence.covers(alert)).map(|silence| silence.until).max()
    }

    fn update_next_end(&mut self) {
        let alerts = self.active.values().filter_map(|active| active.ends_at);
        self.next_end = alerts.chain(self.silences.values().map(|silence| silence.until)).min();
    }

    /// The silences, ordered by id.
    pub(in crate::map) fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// The active alerts, ordered by id.
    pub(in crate::map) fn list(&self) -> impl Iterator<Item = &Alert> {
        self.active.values().map(|active| &active.alert)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::alert::AlertSeverity;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn alert(id: &str, severity: AlertSeverity, raised_at: DateTime<Utc>) -> Alert {
        Alert {
            id: id.into(),
            severity,
            title: "t".into(),
            message: None,
            source: None,
            entity_id: None,
            raised_at,
            rule: None,
            group: None,
            acknowledged_by: None,
            acknowledged_at: None,
            note: None,
            silenced_until: None,
            measurement: None,
        }
    }

    fn ids(alerts: &Alerts) -> Vec<&str> {
        alerts.list().map(|alert| alert.id.as_str()).collect()
    }

    #[test]
    fn raising_an_active_alert_only_extends_it() {
        let mut alerts = Alerts::default();
        assert_eq!(alerts.raise(alert("a", AlertSeverity::Info, at(1)), Some(at(10))).len(), 1);
        assert_eq!(alerts.raise(alert("a", AlertSeverity::Info, at(5)), Some(at(20))), []);
        assert_eq!(alerts.expire(at(19)), []);
        let worse = alerts.raise(alert("a", AlertSeverity::Critical, at(6)), Some(at(20)));
        assert_eq!(worse[0].alert, alert("a", AlertSeverity::Critical, at(1)), "the first time stays");
        let ended = alerts.expire(at(20));
        assert_eq!((ended.len(), ended[0].state, ids(&alerts).len()), (1, AlertState::Cleared, 0));
        assert_eq!(alerts.clear("a"), None);
    }

    #[test]
    fn a_flood_is_bounded_and_urgent_alerts_have_precedence() {
        let mut alerts = Alerts::default();
        for number in 0..10_000 {
            alerts.raise(alert(&format!("flood-{number:05}"), AlertSeverity::Warning, at(number)), None);
        }
        assert_eq!(alerts.active.len(), MAX_ACTIVE);
        let changes = alerts.raise(alert("urgent", AlertSeverity::Critical, at(1)), None);
        assert_eq!(changes.len(), 2);
        assert_eq!((changes[0].state, changes[0].alert.id.as_str()), (AlertState::Cleared, "flood-00000"));
        assert_eq!(alerts.active.len(), MAX_ACTIVE);
        assert_eq!(alerts.raise(alert("more", AlertSeverity::Info, at(1)), None), []);
    }
}
