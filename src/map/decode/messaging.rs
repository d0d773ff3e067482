//! `messaging.message.created`, and the messages of agents: `message.<kind>.<agent>`.

use crate::map::names::{Name, NameKind};
use crate::map::usage::Counts;
use crate::model::EntityType;

use super::agent::activity;
use super::assertion::{Assertion, Certainty, Decoded, Operation};
use super::reader::EventReader;

/// `message.received`, `.processed` and `.sent`. A message counts for its channel when it is received and when it is
/// sent, and for the agent when the agent sent it.
pub(super) fn of_agent<'a>(reader: EventReader<'a>, kind: &str) -> Decoded<'a> {
    if !matches!(kind, "received" | "processed" | "sent") {
        return Decoded::Nothing;
    }
    let count_if = |counts: bool| counts.then_some(Operation::Count(Counts::MESSAGE));
    let agent = activity(reader, None).map(|agent| agent.with(count_if(kind == "sent")));
    let names = name(reader, EntityType::Channel, "channel_id");
    let channel = Assertion::exists(EntityType::Channel, names, Certainty::Mentioned)
        .with(reader.hint(EntityType::Channel, "microdao_id"))
        .with(count_if(kind != "processed"))
        .with([Operation::Activity]);
    Decoded::Entities(agent.into_iter().chain([channel]).collect())
}

pub(super) fn created(reader: EventReader<'_>) -> Decoded<'_> {
    let names = reader.names(EntityType::Channel, &[], false);
    let channel = Assertion::exists(EntityType::Channel, names, Certainty::Mentioned)
        .with(reader.hint(EntityType::Channel, "microdao_id"))
        .with([Operation::Count(Counts::MESSAGE), Operation::Activity]);
    let mut assertions = vec![channel];
    if reader.text("sender_type") == Some("agent") {
        let names = name(reader, EntityType::Agent, "sender_id");
        let sender = Assertion::exists(EntityType::Agent, names, Certainty::Mentioned);
        assertions.push(sender.with([Operation::Count(Counts::MESSAGE), Operation::Activity]));
    }
    Decoded::Entities(assertions)
}

fn name(reader: EventReader<'_>, kind: EntityType, field: &str) -> Vec<Name> {
    reader.id(field).and_then(|id| Name::read(kind, &id, NameKind::External)).into_iter().collect()
}
