//! `messaging.message.created`, and what agents receive and send: `message.<kind>.<agent>`.

use crate::model::EntityType;

use super::About;
use crate::map::fold::{Assertion, Fold};
use crate::map::names::{Name, NameKind};
use crate::map::usage::Counts;

/// `message.received`, `.processed` and `.sent`. A message counts in its channel when it comes and when it goes, and for
/// its agent when it is the agent's own.
pub(super) fn of_agent(fold: &mut Fold<'_>, about: About<'_>, kind: &str) {
    let message = Counts { messages: 1, ..Counts::default() };
    if !matches!(kind, "received" | "processed" | "sent") {
        return;
    }
    if let Some(key) = super::agent::alive(fold, about, None)
        && kind == "sent"
    {
        fold.count(key, message);
    }
    let channel = about.id("channel_id").and_then(|id| Name::read(EntityType::Channel, &id, NameKind::External));
    if let Some(key) = fold.ensure(EntityType::Channel, channel.as_slice(), Assertion::Passing) {
        fold.hint(key, "microdao_id", about.get("microdao_id"));
        if kind != "processed" {
            fold.count(key, message);
        }
        fold.active(key);
    }
}

pub(super) fn created(fold: &mut Fold<'_>, about: About<'_>) {
    let message = Counts { messages: 1, ..Counts::default() };
    let channel = about.names(EntityType::Channel, &[], false);
    if let Some(key) = fold.ensure(EntityType::Channel, &channel, Assertion::Passing) {
        fold.hint(key, "microdao_id", about.get("microdao_id"));
        fold.count(key, message);
        fold.active(key);
    }
    if about.text("sender_type") != Some("agent") {
        return;
    }
    let sender = about.id("sender_id").and_then(|id| Name::read(EntityType::Agent, &id, NameKind::External));
    if let Some(key) = fold.ensure(EntityType::Agent, sender.as_slice(), Assertion::Passing) {
        fold.count(key, message);
        fold.active(key);
    }
}
