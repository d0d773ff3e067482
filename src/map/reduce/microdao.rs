//! `microdao.event.*`.

use crate::model::EntityType;

use super::{About, step, treasury_updated, update};
use crate::map::entity::Key;
use crate::map::fields::Field;
use crate::map::fold::{Assertion, Fold};
use crate::map::names::Name;

pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>, kind: &str) {
    let called = about.names(EntityType::Microdao, &["microdao_id", "external_id", "id"], true);
    match kind {
        "created" => {
            if let Some(key) = fold.ensure(EntityType::Microdao, &called, Assertion::Outright) {
                update(fold, key, EntityType::Microdao, about.payload);
            }
        }
        "updated" => {
            if let Some(key) = ensure(fold, about, &called) {
                update(fold, key, EntityType::Microdao, about.changes());
            }
        }
        "deleted" => {
            if let Some(key) = called.iter().find_map(|name| fold.known(EntityType::Microdao, &name.text)) {
                fold.delete(key);
            }
        }
        "member_added" | "member_removed" => {
            if let Some(key) = ensure(fold, about, &called) {
                step(fold, key, Field::Members, kind == "member_added");
            }
        }
        "treasury_updated" => {
            if let Some(key) = ensure(fold, about, &called) {
                treasury_updated(fold, key, about);
            }
        }
        "member_role_updated" | "settings_updated" => {
            ensure(fold, about, &called);
        }
        _ => {}
    }
}

fn ensure(fold: &mut Fold<'_>, about: About<'_>, called: &[Name]) -> Option<Key> {
    let key = fold.ensure(EntityType::Microdao, called, Assertion::Passing)?;
    fold.hint(key, "slug", about.get("slug"));
    Some(key)
}
