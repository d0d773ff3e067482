//! `agent.event.*` and what else is said of agents.

use serde_json::{Map, Value};

use crate::model::{EntityType, Status};

use super::{About, update};
use crate::map::entity::Key;
use crate::map::fields::Field;
use crate::map::fold::{Assertion, Fold};
use crate::map::status;

pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>, kind: &str) {
    match kind {
        "created" => {
            if let Some(key) = ensure(fold, about, Assertion::Outright) {
                update(fold, key, EntityType::Agent, about.payload);
            }
        }
        "updated" => {
            if let Some(key) = ensure(fold, about, Assertion::Passing) {
                update(fold, key, EntityType::Agent, about.changes());
            }
        }
        "deleted" => {
            if let Some(key) = about.event.entity_id.as_deref().and_then(|id| fold.known(EntityType::Agent, id)) {
                fold.delete(key);
            }
        }
        "activated" | "deactivated" => {
            let active = kind == "activated";
            let assertion = if active { Assertion::Outright } else { Assertion::Passing };
            if let Some(key) = ensure(fold, about, assertion) {
                fold.set(key, Field::IsActive, Value::Bool(active));
                if active {
                    outcome(fold, key, true);
                }
            }
        }
        "status" => {
            let Some(status) = about.text("status").and_then(status::read) else { return };
            if let Some(key) = ensure(fold, about, Assertion::Outright) {
                presence(fold, key, status);
            }
        }
        "model_changed" => {
            if let Some(key) = ensure(fold, about, Assertion::Passing) {
                let model = ["new_model", "model"].iter().find_map(|name| about.changes().get(*name));
                let change = model.map(|model| ("model".to_owned(), model.clone()));
                fold.set_all(key, &change.into_iter().collect::<Map<String, Value>>());
            }
        }
        "tools_changed" | "prompt_changed" => {
            ensure(fold, about, Assertion::Passing);
        }
        "invocation" | "tool_call" => {
            alive(fold, about, None);
        }
        "reply_sent" => {
            alive(fold, about, Some(true));
        }
        "error" | "llm_error" | "tool_error" => {
            alive(fold, about, Some(false));
        }
        _ => {}
    }
}

/// `agents.<kind>`, `agent.reply.sent` and `agent.error`.
pub(super) fn runtime(fold: &mut Fold<'_>, about: About<'_>, kind: &str) {
    match kind {
        "invoke" | "telemetry" | "activity" => alive(fold, about, None),
        "reply" => alive(fold, about, Some(true)),
        "error" => alive(fold, about, Some(false)),
        _ => None,
    };
}

/// `memory.*` and `attachment.*`: a sign of life of the agent they name.
pub(super) fn busy(fold: &mut Fold<'_>, about: About<'_>) {
    alive(fold, about, None);
}

/// The event's agent.
pub(super) fn ensure(fold: &mut Fold<'_>, about: About<'_>, assertion: Assertion) -> Option<Key> {
    let names = about.names(EntityType::Agent, &["external_id"], false);
    if about.event.entity_type != Some(EntityType::Agent) {
        return None;
    }
    let key = fold.ensure(EntityType::Agent, &names, assertion)?;
    fold.hint(key, "microdao_id", about.get("microdao_id"));
    Some(key)
}

/// The agent did something; `success` when it is known how that went.
pub(super) fn alive(fold: &mut Fold<'_>, about: About<'_>, success: Option<bool>) -> Option<Key> {
    let key = ensure(fold, about, Assertion::Passing)?;
    fold.active(key);
    if let Some(success) = success {
        outcome(fold, key, success);
    }
    Some(key)
}

/// An agent is in error from a failure until its next success.
pub(super) fn outcome(fold: &mut Fold<'_>, key: Key, success: bool) {
    if let Some(agent) = fold.entity(key).filter(|agent| agent.failed == success) {
        agent.failed = !success;
        fold.pulse(key);
    }
}

/// An agent's status as somebody sees it.
pub(super) fn presence(fold: &mut Fold<'_>, key: Key, status: Status) {
    outcome(fold, key, status != Status::Error);
    if status != Status::Error {
        fold.set(key, Field::Status, Value::from(status.as_str()));
    }
    fold.active(key);
}
