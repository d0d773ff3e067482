//! `agent.event.*`, and the other subjects about what agents do.

use serde_json::Value;

use crate::map::fields::{self, Field};
use crate::map::names::{Name, NameKind};
use crate::map::status;
use crate::model::{EntityType, Status};

use super::assertion::{Assertion, Certainty, Operation};
use super::reader::{EventReader, update};

pub(super) fn event<'a>(reader: EventReader<'a>, kind: &str) -> Option<Assertion<'a>> {
    match kind {
        "created" => Some(exists(reader, Certainty::Explicit)?.with(update(EntityType::Agent, reader.payload))),
        "updated" => Some(exists(reader, Certainty::Mentioned)?.with(update(EntityType::Agent, reader.changes()))),
        "deleted" => {
            let name = Name::read(EntityType::Agent, reader.event.entity_id.as_deref()?, NameKind::External)?;
            Some(Assertion::deleted(vec![name]))
        }
        "activated" => {
            let active = [Operation::Set(Field::IsActive, Value::Bool(true)), Operation::Outcome { success: true }];
            Some(exists(reader, Certainty::Explicit)?.with(active))
        }
        "deactivated" => {
            let inactive = Operation::Set(Field::IsActive, Value::Bool(false));
            Some(exists(reader, Certainty::Mentioned)?.with([inactive]))
        }
        "status" => {
            let status = reader.text("status").and_then(status::read)?;
            Some(exists(reader, Certainty::Explicit)?.with(presence(status)))
        }
        "model_changed" => {
            let model = ["new_model", "model"].iter().find_map(|name| reader.changes().get(*name));
            let model = model.and_then(|model| fields::read(EntityType::Agent, "model", model));
            let change = model.map(|(field, value)| Operation::Set(field, value));
            Some(exists(reader, Certainty::Mentioned)?.with(change))
        }
        "tools_changed" | "prompt_changed" => exists(reader, Certainty::Mentioned),
        "invocation" | "tool_call" => activity(reader, None),
        "reply_sent" => activity(reader, Some(true)),
        "error" | "llm_error" | "tool_error" => activity(reader, Some(false)),
        _ => None,
    }
}

/// `agents.<kind>`, `agent.reply.sent` and `agent.error`.
pub(super) fn runtime<'a>(reader: EventReader<'a>, kind: &str) -> Option<Assertion<'a>> {
    match kind {
        "invoke" | "telemetry" | "activity" => activity(reader, None),
        "reply" => activity(reader, Some(true)),
        "error" => activity(reader, Some(false)),
        _ => None,
    }
}

/// That the event's agent exists; none when the event is not about an agent.
pub(super) fn exists(reader: EventReader<'_>, certainty: Certainty) -> Option<Assertion<'_>> {
    if reader.event.entity_type != Some(EntityType::Agent) {
        return None;
    }
    let names = reader.names(EntityType::Agent, &["external_id"], false);
    let microdao = reader.hint(EntityType::Agent, "microdao_id");
    Some(Assertion::exists(EntityType::Agent, names, certainty).with(microdao))
}

/// That the event's agent was active, and the outcome if it is known.
pub(super) fn activity(reader: EventReader<'_>, success: Option<bool>) -> Option<Assertion<'_>> {
    let outcome = success.map(|success| Operation::Outcome { success });
    Some(exists(reader, Certainty::Mentioned)?.with([Operation::Activity].into_iter().chain(outcome)))
}

/// An agent's status as another service observes it.
pub(super) fn presence<'a>(status: Status) -> impl Iterator<Item = Operation<'a>> {
    let success = status != Status::Error;
    let set = success.then(|| Operation::Set(Field::Status, Value::from(status.as_str())));
    [Operation::Outcome { success }].into_iter().chain(set).chain([Operation::Activity])
}
