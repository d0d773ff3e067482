//! What each family of subjects means for the map. Unknown subjects and odd payloads mean nothing.

mod agent;
mod alert;
mod city;
mod dao;
mod lesson;
mod messaging;
mod microdao;
mod node;
mod run;
mod sync;
mod usage;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::model::subject::is_dead_letter;
use crate::model::{EntityType, Event};

use super::alerts::Said;
use super::entity::Key;
use super::fields::{self, Field};
use super::fold::Fold;
use super::names::{self, Name, NameKind};
use super::view;

/// Folds one event. False when it is one part of a poll and more parts follow.
pub(super) fn event(fold: &mut Fold<'_>, event: &Event) -> bool {
    let Some(payload) = event.payload.as_object() else { return true };
    if is_dead_letter(&event.event_type) {
        return true;
    }
    let about = About { event, payload };
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    match tokens.as_slice() {
        ["dao", "event", kind] => dao::event(fold, about, kind),
        ["microdao", "event", kind] => microdao::event(fold, about, kind),
        ["node", "metrics", ..] => node::metrics(fold, about),
        ["agent", "event", kind] => agent::event(fold, about, kind),
        ["agent", "reply", "sent"] => agent::runtime(fold, about, "reply"),
        ["agent", "lesson", "v1"] => lesson::event(fold, about),
        ["agent", "error"] => agent::runtime(fold, about, "error"),
        ["agents", "runs", kind] | ["agent", "run", kind] => run::event(fold, about, kind, None),
        ["agent", "run", kind, rest @ ..] => run::event(fold, about, kind, Some(&rest.join("."))),
        ["agents", kind] => agent::runtime(fold, about, kind),
        ["usage", "llm", "increment"] => usage::increment(fold, about),
        ["usage", "llm", ..] => usage::llm(fold, about),
        ["usage", "agent" | "agent_run" | "tool", ..] => usage::work(fold, about),
        ["messaging", "message", "created"] => messaging::created(fold, about),
        ["message", kind, ..] => messaging::of_agent(fold, about, kind),
        ["memory" | "attachment", ..] => agent::busy(fold, about),
        ["city", "event", ..] => city::event(fold, about),
        ["ops" | "living_map", "alert", ..] => {
            if let Some(said) = alert::read(about, &tokens, fold.time) {
                fold.hear_of_alerts(said);
            }
        }
        ["living_map", "sync", service] => return sync::answer(fold, service, payload),
        _ => {}
    }
    true
}

/// What an event says of alerts, at the producer's `time`.
pub(super) fn of_alerts(event: &Event, time: DateTime<Utc>) -> Option<Said> {
    let payload = event.payload.as_object().filter(|_| !is_dead_letter(&event.event_type))?;
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    alert::read(About { event, payload }, &tokens, time)
}

/// An event with its payload as an object.
#[derive(Clone, Copy)]
struct About<'a> {
    event: &'a Event,
    payload: &'a Map<String, Value>,
}

impl<'a> About<'a> {
    fn get(self, name: &str) -> Option<&'a Value> {
        self.payload.get(name)
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    fn id(self, name: &str) -> Option<String> {
        names::raw_id(self.get(name)?)
    }

    fn number(self, name: &str) -> Option<f64> {
        fields::number(self.get(name)?)
    }

    fn count(self, name: &str) -> Option<u64> {
        fields::count(self.get(name)?)
    }

    fn is_true(self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    /// The names by which the event calls its entity, if that is of this type: what the envelope and the family's
    /// field say, then further ids and the slug.
    fn names(self, kind: EntityType, ids: &[&str], slug: bool) -> Vec<Name> {
        let own = self.event.entity_id.clone().filter(|_| self.event.entity_type == Some(kind));
        let ids = ids.iter().filter_map(|name| self.id(name)).map(|id| (id, NameKind::External));
        let slug = self.id("slug").filter(|_| slug).map(|slug| (slug, NameKind::Slug));
        let mut found: Vec<Name> = Vec::new();
        // the slug first: `entity_id` may be made from it, and then it is known for what it is
        for (raw, taken_for) in slug.into_iter().chain(own.map(|id| (id, NameKind::External))).chain(ids) {
            if let Some(name) =
                Name::read(kind, &raw, taken_for).filter(|name| !found.iter().any(|n| n.text == name.text))
            {
                found.push(name);
            }
        }
        found
    }

    /// What an `updated` event changes: its `changes`, or its own fields where it has none.
    fn changes(self) -> &'a Map<String, Value> {
        self.get("changes").and_then(Value::as_object).unwrap_or(self.payload)
    }
}

/// Takes over an `updated` event's changes, a new slug as a name too.
fn update(fold: &mut Fold<'_>, key: Key, kind: EntityType, changes: &Map<String, Value>) {
    fold.set_all(key, changes);
    let slug = changes.get("slug").and_then(names::raw_id).and_then(|slug| Name::read(kind, &slug, NameKind::Slug));
    let id = fold.entity(key).map(|entity| entity.id.clone());
    if let (Some(slug), Some(id)) = (slug, id) {
        let own = Name { text: id, kind: NameKind::External };
        fold.claim(kind, &[own, slug], false);
    }
}

/// One more or one less of what a field counts. Less of an unknown number stays unknown.
fn step(fold: &mut Fold<'_>, key: Key, field: Field, more: bool) {
    let Some(now) = fold.entity(key).map(|entity| entity.facts.count(field)) else { return };
    let next = if more { Some(now.unwrap_or(0).saturating_add(1)) } else { now.map(|count| count.saturating_sub(1)) };
    if let Some(next) = next {
        fold.set(key, field, Value::from(next));
    }
}

/// `treasury_updated{token_symbol, new_balance}`: the other tokens stay as they are shown.
fn treasury_updated(fold: &mut Fold<'_>, key: Key, about: About<'_>) {
    let (Some(token), Some(balance)) = (about.text("token_symbol"), about.get("new_balance")) else { return };
    let Some(entity) = fold.entity(key) else { return };
    let kind = entity.kind;
    let mut tokens: Vec<Value> = view::balances(entity).into_iter().map(|token| json!(token)).collect();
    // of a token that is listed twice the last one counts
    tokens.push(json!({"token_symbol": token, "balance": balance}));
    if let Some((field, tokens)) = fields::read(kind, "treasury", &Value::Array(tokens)) {
        fold.set(key, field, tokens);
    }
}
