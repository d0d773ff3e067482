//! `messaging.message.created`.

use crate::model::EntityType;

use super::About;
use crate::map::fold::{Assertion, Fold};
use crate::map::names::{Name, NameKind};
use crate::map::usage::Counts;

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
