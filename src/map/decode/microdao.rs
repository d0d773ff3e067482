//! `microdao.event.*`.

use crate::map::fields::Field;
use crate::model::EntityType;

use super::assertion::{Assertion, Certainty, Operation};
use super::dao::token_balance;
use super::reader::{EventReader, update};

pub(super) fn event<'a>(reader: EventReader<'a>, kind: &str) -> Option<Assertion<'a>> {
    let names = reader.names(EntityType::Microdao, &["microdao_id", "external_id", "id"], true);
    if kind == "deleted" {
        return Some(Assertion::deleted(names));
    }
    if kind == "created" {
        let update = update(EntityType::Microdao, reader.payload);
        return Some(Assertion::exists(EntityType::Microdao, names, Certainty::Explicit).with(update));
    }
    let slug = reader.hint(EntityType::Microdao, "slug");
    let assertion = Assertion::exists(EntityType::Microdao, names, Certainty::Mentioned).with(slug);
    Some(match kind {
        "updated" => assertion.with(update(EntityType::Microdao, reader.changes())),
        "member_added" => assertion.with([Operation::Step { field: Field::Members, up: true }]),
        "member_removed" => assertion.with([Operation::Step { field: Field::Members, up: false }]),
        "treasury_updated" => assertion.with(token_balance(reader)),
        "member_role_updated" | "settings_updated" => assertion,
        _ => return None,
    })
}
