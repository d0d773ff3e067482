//! `dao.event.*`.

use crate::map::fields::Field;
use crate::map::names;
use crate::model::EntityType;

use super::assertion::{Assertion, Certainty, Operation};
use super::reader::{EventReader, update};

pub(super) fn event<'a>(reader: EventReader<'a>, kind: &str) -> Option<Assertion<'a>> {
    // the slug in a proposal's event is the proposal's, not the DAO's
    let of_proposal = kind.starts_with("proposal_") || kind == "vote_cast";
    let ids: &[&str] = if of_proposal { &["dao_id"] } else { &["dao_id", "id"] };
    let names = reader.names(EntityType::Dao, ids, !of_proposal);
    if kind == "deleted" {
        return Some(Assertion::deleted(names));
    }
    if kind == "created" {
        let update = update(EntityType::Dao, reader.payload);
        return Some(Assertion::exists(EntityType::Dao, names, Certainty::Explicit).with(update));
    }
    let slug = reader.hint(EntityType::Dao, "slug").filter(|_| !of_proposal);
    let hints = slug.into_iter().chain(reader.hint(EntityType::Dao, "microdao_id"));
    let assertion = Assertion::exists(EntityType::Dao, names, Certainty::Mentioned).with(hints);
    Some(match kind {
        "updated" => assertion.with(update(EntityType::Dao, reader.changes())),
        "member_added" => assertion.with([Operation::Step { field: Field::Members, up: true }]),
        "member_removed" => assertion.with([Operation::Step { field: Field::Members, up: false }]),
        "treasury_updated" => assertion.with(token_balance(reader)),
        "proposal_created" | "proposal_activated" | "proposal_closed" | "vote_cast" => {
            assertion.with(proposal(reader, kind))
        }
        _ => return None,
    })
}

/// `treasury_updated{token_symbol, new_balance}`.
pub(super) fn token_balance(reader: EventReader<'_>) -> Option<Operation<'_>> {
    Some(Operation::TokenBalance { token: reader.text("token_symbol")?, balance: reader.get("new_balance")? })
}

/// A proposal is open for votes from its activation until it is closed.
fn proposal<'a>(reader: EventReader<'a>, kind: &str) -> Option<Operation<'a>> {
    let id = reader.get("proposal_id").and_then(names::raw_id)?;
    match kind {
        "proposal_activated" => Some(Operation::OpenProposal(id)),
        "proposal_created" if reader.text("status") == Some("active") => Some(Operation::OpenProposal(id)),
        "proposal_closed" => Some(Operation::CloseProposal(id)),
        _ => None,
    }
}
