//! `dao.event.*`.

use crate::model::EntityType;

use super::{About, step, treasury_updated, update};
use crate::map::entity::Key;
use crate::map::fields::Field;
use crate::map::fold::{Assertion, Fold};
use crate::map::names::{self, Name};

/// Most proposals of one DAO that are remembered as open by events.
const MAX_OPEN_PROPOSALS: usize = 256;

pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>, kind: &str) {
    // the slug of a proposal's event is the proposal's, not the DAO's
    let of_proposal = kind.starts_with("proposal_") || kind == "vote_cast";
    let ids: &[&str] = if of_proposal { &["dao_id"] } else { &["dao_id", "id"] };
    let called = about.names(EntityType::Dao, ids, !of_proposal);
    match kind {
        "created" => {
            if let Some(key) = fold.ensure(EntityType::Dao, &called, Assertion::Outright) {
                update(fold, key, EntityType::Dao, about.payload);
            }
        }
        "updated" => {
            if let Some(key) = ensure(fold, about, &called, of_proposal) {
                update(fold, key, EntityType::Dao, about.changes());
            }
        }
        "deleted" => {
            if let Some(key) = called.iter().find_map(|name| fold.known(EntityType::Dao, &name.text)) {
                fold.delete(key);
            }
        }
        "member_added" | "member_removed" => {
            if let Some(key) = ensure(fold, about, &called, of_proposal) {
                step(fold, key, Field::Members, kind == "member_added");
            }
        }
        "treasury_updated" => {
            if let Some(key) = ensure(fold, about, &called, of_proposal) {
                treasury_updated(fold, key, about);
            }
        }
        "proposal_created" | "proposal_activated" | "proposal_closed" | "vote_cast" => {
            if let Some(key) = ensure(fold, about, &called, of_proposal) {
                proposal(fold, key, about, kind);
            }
        }
        _ => {}
    }
}

fn ensure(fold: &mut Fold<'_>, about: About<'_>, called: &[Name], of_proposal: bool) -> Option<Key> {
    let key = fold.ensure(EntityType::Dao, called, Assertion::Passing)?;
    if !of_proposal {
        fold.hint(key, "slug", about.get("slug"));
    }
    fold.hint(key, "microdao_id", about.get("microdao_id"));
    Some(key)
}

/// Proposals open for votes: each counts once, however often it is said to be active.
fn proposal(fold: &mut Fold<'_>, key: Key, about: About<'_>, kind: &str) {
    let Some(id) = about.get("proposal_id").and_then(names::raw_id) else { return };
    let opens = kind == "proposal_activated" || (kind == "proposal_created" && about.text("status") == Some("active"));
    let Some(dao) = fold.entity(key) else { return };
    if opens {
        if dao.open_proposals.len() >= MAX_OPEN_PROPOSALS {
            dao.open_proposals.pop_first();
        }
        if dao.open_proposals.insert(id) {
            step(fold, key, Field::ActiveProposals, true);
        }
    } else if kind == "proposal_closed" {
        dao.open_proposals.remove(&id);
        step(fold, key, Field::ActiveProposals, false);
    }
}
