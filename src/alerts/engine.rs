//! Rules over entries, samples and time. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::group::{Group, Turn};
use super::rules::{Over, Rule, Rules, field_of};
use crate::model::alert::{Alert, CLEARED, RAISED};
use crate::model::{LogEntry, NewEvent, envelope, subject};

/// Who raises the alerts.
const SOURCE: &str = "living-map";

/// Characters of a group's name; a longer one is cut, and told apart by a hash.
const MAX_GROUP_CHARS: usize = 80;

/// An alert that is to be raised or cleared.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The rule's name.
    pub rule: String,
    /// Whether it is raised; else it is cleared.
    pub raised: bool,
    key: String,
    payload: Value,
}

impl Effect {
    /// The event that says so. The same decision has the same key.
    ///
    /// # Errors
    /// Never in practice: subject and fields are valid.
    pub fn event(&self, now: DateTime<Utc>) -> Result<NewEvent, envelope::FieldError> {
        let event_type = if self.raised { RAISED } else { CLEARED };
        let event = json!({
            "event_type": event_type, "source": SOURCE, "idempotency_key": self.key, "payload": self.payload,
        });
        envelope::publish(event, now)
    }
}

/// What the rules know.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<Rules>,
    /// The groups of each rule, by name.
    groups: Vec<BTreeMap<String, Group>>,
}

impl Engine {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(rules: Arc<Rules>, now: DateTime<Utc>) -> Self {
        let groups = rules.all.iter().map(|rule| first_groups(rule, now)).collect();
        Self { rules, groups }
    }

    /// The same with other rules. Those that are as they were know what they knew.
    #[must_use]
    pub fn with_rules(mut self, rules: Arc<Rules>, now: DateTime<Utc>) -> Self {
        let mut next = Self::new(rules, now);
        for (index, rule) in next.rules.all.iter().enumerate() {
            if let Some(before) = self.rules.all.iter().position(|before| before == rule) {
                next.groups[index] = std::mem::take(&mut self.groups[before]);
            }
        }
        next
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Takes over an alert that is active: it is not raised again, and cleared when it is over. Of a rule that is there no
    /// more it is over now.
    pub fn adopt(&mut self, alert: &Alert, now: DateTime<Utc>) -> Option<Effect> {
        let name = alert.rule.as_ref().filter(|_| alert.source.as_deref() == Some(SOURCE))?;
        let group = alert.group.clone().unwrap_or_default();
        let Some(index) = self.rules.all.iter().position(|rule| rule.name == *name) else {
            let key = format!("alert:{}:{}:gone", alert.id, alert.raised_at.timestamp_micros());
            return Some(Effect {
                rule: name.clone(),
                raised: false,
                key,
                payload: json!({"alert_id": alert.id, "rule": name}),
            });
        };
        let known = self.groups[index].get(&group).is_some_and(Group::is_raised);
        if !known {
            let rule = &self.rules.all[index];
            let adopted = Group::adopted(rule, alert.entity_id.clone(), alert.raised_at, now);
            self.groups[index].insert(group, adopted);
        }
        None
    }

    /// An entry of the log. Alerts themselves, and dead letters unless they are asked for, are none of what is looked at.
    pub fn observe(&mut self, entry: &LogEntry) -> Vec<Effect> {
        let event = &entry.event;
        if event.event_type.starts_with("living_map.alert.") {
            return Vec::new();
        }
        let dead = subject::is_dead_letter(&event.event_type);
        let rules = Arc::clone(&self.rules);
        let mut effects = Vec::new();
        for (index, rule) in rules.all.iter().enumerate() {
            let Over::Events { pattern, filters, group_by } = &rule.over else { continue };
            let wanted = pattern.matches(&event.event_type)
                && dead == subject::is_dead_letter(pattern.as_str())
                && filters.iter().all(|(field, values)| values.contains(&field_of(event, field)));
            if !wanted {
                continue;
            }
            let group = match group_by {
                None => String::new(),
                Some(field) => match name_of(&field_of(event, field)) {
                    Some(name) => name,
                    None => continue,
                },
            };
            let value = rule.field().map_or(Value::Null, |field| field_of(event, field));
            // an event that does not say it says nothing
            if rule.field().is_some() && value.is_null() {
                continue;
            }
            let Some(known) = self.group(index, &group, event.entity_id.clone(), entry.logged_at) else { continue };
            known.hear(value, entry.logged_at);
            let turn = known.step(rule, entry.logged_at);
            effects.extend(turn.map(|turn| effect(rule, &group, known, turn)));
        }
        effects
    }

    /// What there is now, of a rule over something else than events: by group, with its entity. Groups that are not among
    /// them are well.
    pub fn sample(&mut self, index: usize, samples: Vec<(String, Option<String>, Value)>, now: DateTime<Utc>) {
        let rules = Arc::clone(&self.rules);
        let Some(rule) = rules.all.get(index) else { return };
        let mut there = BTreeSet::new();
        for (name, entity_id, value) in samples {
            let Some(name) = name_of(&Value::String(name)) else { continue };
            let known = self.groups[index].contains_key(&name);
            if known || rule.test.is_wrong(&value, value.as_f64(), false) {
                if let Some(group) = self.group(index, &name, entity_id, now) {
                    group.value = value;
                    group.heard = now;
                }
                there.insert(name);
            }
        }
        for (name, group) in &mut self.groups[index] {
            if !there.contains(name) {
                group.value = Value::Null;
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (rule, groups) in self.rules.all.iter().zip(&mut self.groups) {
            groups.retain(|name, group| {
                let forgotten = now - group.heard >= rule.forget && !name.is_empty();
                let turn = if forgotten { group.end() } else { group.step(rule, now) };
                effects.extend(turn.map(|turn| effect(rule, name, group, turn)));
                let over = !matches!(rule.over, Over::Events { .. }) && group.is_idle();
                !forgotten && !over
            });
        }
        effects
    }

    /// A group, made if there is room for one more.
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

/// The one group of a rule over events without groups is there from the beginning: what never comes is missed, too.
fn first_groups(rule: &Rule, now: DateTime<Utc>) -> BTreeMap<String, Group> {
    match rule.over {
        Over::Events { group_by: None, .. } => BTreeMap::from([(String::new(), Group::new(rule, None, now))]),
        _ => BTreeMap::new(),
    }
}

fn name_of(value: &Value) -> Option<String> {
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

fn effect(rule: &Rule, name: &str, group: &Group, turn: Turn) -> Effect {
    let id = if name.is_empty() { rule.name.clone() } else { format!("{}:{name}", rule.name) };
    let (raised, since) = match turn {
        Turn::Raised(since) => (true, since),
        Turn::Cleared(since) => (false, since),
    };
    let state = if raised { "raised" } else { "cleared" };
    let key = format!("alert:{id}:{}:{state}", since.timestamp_micros());
    let fill = |text: &str| {
        let value = match &group.value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            value => value.to_string(),
        };
        text.replace("{rule}", &rule.name).replace("{group}", name).replace("{value}", &value)
    };
    let mut payload = json!({"alert_id": id, "rule": rule.name, "group": name, "value": group.value});
    if raised {
        payload["severity"] = json!(rule.severity);
        payload["title"] = json!(fill(&rule.title));
        payload["message"] = json!(rule.message.as_deref().map(fill));
        payload["entity_id"] = json!(group.entity_id);
    }
    Effect { rule: rule.name.clone(), raised, key, payload }
}
