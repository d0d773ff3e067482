//! Evaluates rules on log entries, samples and time. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::group::{Group, Transition};
use super::message;
use super::rule::{Input, Rule, event_field};
use super::rules::Rules;
use crate::model::alert::{Alert, CLEARED, RAISED};
use crate::model::{LogEntry, NewEvent, envelope, subject};

/// Source of the alerts.
const SOURCE: &str = "living-map";

/// Characters of a group's name. A longer one is cut and gets a hash, so that it stays distinct.
const MAX_GROUP_CHARS: usize = 80;

/// An alert to raise or to clear.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertAction {
    /// The rule's name.
    pub rule: String,
    /// Raise; otherwise clear.
    pub raise: bool,
    key: String,
    payload: Value,
}

impl AlertAction {
    /// The event to append. The same action has the same idempotency key.
    ///
    /// # Errors
    /// Never in practice: subject and fields are valid.
    pub fn event(&self, now: DateTime<Utc>) -> Result<NewEvent, envelope::FieldError> {
        let event_type = if self.raise { RAISED } else { CLEARED };
        let event = json!({
            "event_type": event_type, "source": SOURCE, "idempotency_key": self.key, "payload": self.payload,
        });
        envelope::publish(event, now)
    }
}

/// The current value of a group, for rules whose input is not events.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The group's name.
    pub group: String,
    /// The entity it is about.
    pub entity_id: Option<String>,
    /// The value.
    pub value: Value,
}

/// The state of all rules.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<Rules>,
    /// The groups of each rule, by name.
    groups: Vec<BTreeMap<String, Group>>,
}

impl Engine {
    /// An engine without observations.
    #[must_use]
    pub fn new(rules: Arc<Rules>, now: DateTime<Utc>) -> Self {
        let groups = rules.all.iter().map(|rule| initial_groups(rule, now)).collect();
        Self { rules, groups }
    }

    /// Replaces the rules. Unchanged rules keep their state.
    pub fn replace_rules(&mut self, rules: Arc<Rules>, now: DateTime<Utc>) {
        let mut next = Self::new(rules, now);
        for (index, rule) in next.rules.all.iter().enumerate() {
            if let Some(before) = self.rules.all.iter().position(|before| before == rule) {
                next.groups[index] = std::mem::take(&mut self.groups[before]);
            }
        }
        *self = next;
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Adopts an active alert, so that it is not raised again but will be cleared. If its rule no longer exists, returns the
    /// action that clears it.
    pub fn adopt(&mut self, alert: &Alert, now: DateTime<Utc>) -> Option<AlertAction> {
        let name = alert.rule.as_ref().filter(|_| alert.source.as_deref() == Some(SOURCE))?;
        let group = alert.group.clone().unwrap_or_default();
        let Some(index) = self.rules.all.iter().position(|rule| rule.name == *name) else {
            let key = format!("alert:{}:{}:gone", alert.id, alert.raised_at.timestamp_micros());
            let payload = json!({"alert_id": alert.id, "rule": name});
            return Some(AlertAction { rule: name.clone(), raise: false, key, payload });
        };
        if !self.groups[index].get(&group).is_some_and(Group::is_raised) {
            let rule = &self.rules.all[index];
            let adopted = Group::adopted(rule, alert.entity_id.clone(), alert.raised_at, now);
            self.groups[index].insert(group, adopted);
        }
        None
    }

    /// Evaluates a log entry. Ignores alerts, and dead letters unless a rule's pattern names them.
    pub fn observe(&mut self, entry: &LogEntry) -> Vec<AlertAction> {
        let event = &entry.event;
        if event.event_type.starts_with("living_map.alert.") {
            return Vec::new();
        }
        let dead = subject::is_dead_letter(&event.event_type);
        let rules = Arc::clone(&self.rules);
        let mut actions = Vec::new();
        for (index, rule) in rules.all.iter().enumerate() {
            let Input::Events { pattern, filters, group_by } = &rule.input else { continue };
            let wanted = pattern.matches(&event.event_type)
                && dead == subject::is_dead_letter(pattern.as_str())
                && filters.iter().all(|(field, values)| values.contains(&event_field(event, field)));
            if !wanted {
                continue;
            }
            let name = match group_by {
                None => String::new(),
                Some(field) => match group_name(&event_field(event, field)) {
                    Some(name) => name,
                    None => continue,
                },
            };
            let value = rule.field().map_or(Value::Null, |field| event_field(event, field));
            // an event without the field is no observation
            if rule.field().is_some() && value.is_null() {
                continue;
            }
            let Some(group) = self.group(index, &name, event.entity_id.clone(), entry.logged_at) else { continue };
            group.observe(value, entry.logged_at);
            let transition = group.step(rule, entry.logged_at);
            actions.extend(transition.map(|transition| action(rule, &name, group, transition)));
        }
        actions
    }

    /// Sets the current values of a rule whose input is not events. The condition does not hold for groups without a sample.
    pub fn sample(&mut self, index: usize, samples: Vec<Sample>, now: DateTime<Utc>) {
        let rules = Arc::clone(&self.rules);
        let Some(rule) = rules.all.get(index) else { return };
        let mut sampled = BTreeSet::new();
        for Sample { group, entity_id, value } in samples {
            let Some(name) = group_name(&Value::String(group)) else { continue };
            let known = self.groups[index].contains_key(&name);
            if known || rule.condition.holds(&value, value.as_f64(), false) {
                if let Some(group) = self.group(index, &name, entity_id, now) {
                    group.value = value;
                    group.last_seen = now;
                }
                sampled.insert(name);
            }
        }
        for (name, group) in &mut self.groups[index] {
            if !sampled.contains(name) {
                group.value = Value::Null;
            }
        }
    }

    /// Evaluates all groups at `now`.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Vec<AlertAction> {
        let mut actions = Vec::new();
        for (rule, groups) in self.rules.all.iter().zip(&mut self.groups) {
            groups.retain(|name, group| {
                let forgotten = now - group.last_seen >= rule.forget_after && !name.is_empty();
                let transition = if forgotten { group.end() } else { group.step(rule, now) };
                actions.extend(transition.map(|transition| action(rule, name, group, transition)));
                let over = !matches!(rule.input, Input::Events { .. }) && group.is_idle();
                !forgotten && !over
            });
        }
        actions
    }

    /// Gets or creates a group. None when the rule has its maximum of groups.
    fn group(&mut self, index: usize, name: &str, entity_id: Option<String>, now: DateTime<Utc>) -> Option<&mut Group> {
        let (rule, groups) = (&self.rules.all[index], &mut self.groups[index]);
        if !groups.contains_key(name) {
            if groups.len() >= self.rules.max_groups {
                let rule = rule.name.clone();
                metrics::counter!("living_map_alert_groups_refused_total", "rule" => rule).increment(1);
                return None;
            }
            groups.insert(name.to_owned(), Group::new(rule, entity_id, now));
        }
        groups.get_mut(name)
    }
}

/// A rule over ungrouped events has its one group from the start, so that the absence of all events is noticed too.
fn initial_groups(rule: &Rule, now: DateTime<Utc>) -> BTreeMap<String, Group> {
    match rule.input {
        Input::Events { group_by: None, .. } => BTreeMap::from([(String::new(), Group::new(rule, None, now))]),
        _ => BTreeMap::new(),
    }
}

fn group_name(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    if text.chars().count() <= MAX_GROUP_CHARS {
        return Some(text);
    }
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string();
    Some(format!("{}~{}", text.chars().take(MAX_GROUP_CHARS - 10).collect::<String>(), &hash[..8]))
}

fn action(rule: &Rule, name: &str, group: &Group, transition: Transition) -> AlertAction {
    let id = if name.is_empty() { rule.name.clone() } else { format!("{}:{name}", rule.name) };
    let (raise, since) = match transition {
        Transition::Raised(since) => (true, since),
        Transition::Cleared(since) => (false, since),
    };
    let state = if raise { "raised" } else { "cleared" };
    let key = format!("alert:{id}:{}:{state}", since.timestamp_micros());
    let fill = |text: &str| message::fill(text, rule, name, &group.value);
    let mut payload = json!({"alert_id": id, "rule": rule.name, "group": name, "value": group.value});
    if raise {
        payload["severity"] = json!(rule.severity);
        payload["title"] = json!(fill(&rule.title));
        payload["message"] = json!(rule.message.as_deref().map(fill));
        payload["entity_id"] = json!(group.entity_id);
        payload["measurement"] = json!(rule.measurement(&group.value));
    }
    AlertAction { rule: rule.name.clone(), raise, key, payload }
}
