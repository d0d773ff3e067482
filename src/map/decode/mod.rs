//! Decodes events into assertions, without access to the state.
//!
//! One file for each family of subjects. Unknown subjects and payloads without the expected fields have no meaning.

mod agent;
pub(super) mod alert;
pub(super) mod assertion;
mod city;
mod dao;
mod lesson;
mod messaging;
mod microdao;
mod node;
pub(super) mod poll;
mod reader;
mod run;
mod usage;

use chrono::{DateTime, Utc};

use crate::model::Event;
use crate::model::subject::is_dead_letter;

use assertion::{AlertOperation, Decoded};
use reader::EventReader;

/// Decodes an event. `time` is the producer's, at most the log's.
pub(super) fn event(event: &Event, time: DateTime<Utc>) -> Decoded<'_> {
    let Some(reader) = EventReader::new(event).filter(|_| !is_dead_letter(&event.event_type)) else {
        return Decoded::Nothing;
    };
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    match tokens.as_slice() {
        ["dao", "event", kind] => dao::event(reader, kind).into(),
        ["microdao", "event", kind] => microdao::event(reader, kind).into(),
        ["node", "metrics", ..] => node::metrics(reader).into(),
        ["agent", "event", kind] => agent::event(reader, kind).into(),
        ["agent", "reply", "sent"] => agent::runtime(reader, "reply").into(),
        ["agent", "lesson", "v1"] => lesson::event(reader).into(),
        ["agent", "error"] => agent::runtime(reader, "error").into(),
        ["agents", "runs", kind] | ["agent", "run", kind] => run::event(reader, kind, None).into(),
        ["agent", "run", kind, rest @ ..] => run::event(reader, kind, Some(&rest.join("."))).into(),
        ["agents", kind] => agent::runtime(reader, kind).into(),
        ["usage", "llm", "increment"] => usage::increment(reader),
        ["usage", "llm", ..] => usage::llm(reader),
        ["usage", "agent" | "agent_run" | "tool", ..] => usage::work(reader).into(),
        ["messaging", "message", "created"] => messaging::created(reader),
        ["message", kind, ..] => messaging::of_agent(reader, kind),
        ["memory" | "attachment", ..] => agent::activity(reader, None).into(),
        ["city", "event", ..] => city::event(reader).into(),
        ["ops" | "living_map", "alert", ..] => {
            alert::read(reader, &tokens, time).map_or(Decoded::Nothing, Decoded::Alert)
        }
        ["living_map", "sync", service] => poll::part(service, reader.payload).map_or(Decoded::Nothing, Decoded::Poll),
        _ => Decoded::Nothing,
    }
}

/// Decodes an event about alerts, as [`event`] does; none for any other event.
pub(super) fn alert_operation(event: &Event, time: DateTime<Utc>) -> Option<AlertOperation> {
    let reader = EventReader::new(event).filter(|_| !is_dead_letter(&event.event_type))?;
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    alert::read(reader, &tokens, time)
}
