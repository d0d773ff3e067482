//! Facts stated by events, and counters.

use serde_json::{Value, json};

use crate::map::context::FoldContext;
use crate::map::fields::{self, Field};
use crate::map::names::{Name, NameKind};
use crate::map::state::facts::Origin;
use crate::map::state::slab::EntityKey;
use crate::map::usage::Counts;

/// Most open proposals that are remembered for one DAO.
const MAX_OPEN_PROPOSALS: usize = 256;

impl FoldContext<'_> {
    /// Sets a field to the value that the event states.
    pub(super) fn set(&mut self, key: EntityKey, field: Field, value: Value) {
        let at = self.position();
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        let kind = entity.kind;
        if entity.facts.set(kind, field, Origin::Event, at, value) {
            self.field_changed(key, field);
        }
    }

    /// Sets a field to the value that the event mentions; the first hint stays.
    pub(super) fn hint(&mut self, key: EntityKey, field: Field, value: &Value) {
        let at = self.position();
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        let kind = entity.kind;
        if entity.facts.get(kind, field, Origin::Hint).is_some() {
            return;
        }
        let Some(value) = fields::read_field(kind, field, value).filter(|value| !value.is_null()) else { return };
        if entity.facts.set(kind, field, Origin::Hint, at, value) {
            self.field_changed(key, field);
        }
    }

    fn field_changed(&mut self, key: EntityKey, field: Field) {
        match field {
            Field::MicrodaoId | Field::Orbits => self.relink.push(key),
            Field::Name | Field::Slug => self.rename(key),
            _ => {}
        }
        if field.is_live() {
            self.live_fields_changed(key);
        } else {
            self.item_changed(key);
        }
    }

    /// Adds a slug to the names of an entity, which may merge it with another one.
    pub(super) fn add_slug(&mut self, key: EntityKey, slug: Name) {
        let Some(entity) = self.state.entities.get(key) else { return };
        let (kind, own) = (entity.kind, Name { text: entity.id.clone(), kind: NameKind::External });
        self.claim(kind, &[own, slug], false);
    }

    pub(super) fn delete(&mut self, key: EntityKey) {
        let (seq, hour) = (self.seq, self.hour);
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.delete(seq, hour);
        self.identity_changed(key);
    }

    /// Records activity. The producers' clocks may run backwards; the latest time stays.
    pub(super) fn activity(&mut self, key: EntityKey) {
        let time = self.time;
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.last_active = entity.last_active.max(Some(time));
        self.live_fields_changed(key);
    }

    /// Adds to the counts of the last 24 hours.
    pub(super) fn count(&mut self, key: EntityKey, counts: Counts) {
        let hour = self.hour;
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.counter.add(hour, counts);
        self.live_fields_changed(key);
    }

    /// Increments or decrements a counting field. An unknown number stays unknown: the events before the log's first are not
    /// in it.
    pub(super) fn step(&mut self, key: EntityKey, field: Field, up: bool) {
        let Some(count) = self.entity(key).and_then(|entity| entity.facts.count(field)) else { return };
        let next = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        self.set(key, field, Value::from(next));
    }

    /// Sets the balance of one token; other tokens keep the balances that are shown.
    pub(super) fn set_token_balance(&mut self, key: EntityKey, token: &str, balance: &Value) {
        let Some(entity) = self.entity(key) else { return };
        let kind = entity.kind;
        let mut tokens: Vec<Value> = entity.facts.balances().into_iter().map(|token| json!(token)).collect();
        // if a token is listed twice, the last balance counts
        tokens.push(json!({"token_symbol": token, "balance": balance}));
        if let Some(tokens) = fields::read_field(kind, Field::Treasury, &Value::Array(tokens)) {
            self.set(key, Field::Treasury, tokens);
        }
    }

    /// Counts a proposal once, however often it is reported as open.
    pub(super) fn open_proposal(&mut self, key: EntityKey, id: String) {
        let Some(dao) = self.entity(key) else { return };
        if dao.open_proposals.len() >= MAX_OPEN_PROPOSALS {
            dao.open_proposals.pop_first();
        }
        if dao.open_proposals.insert(id) {
            self.step(key, Field::ActiveProposals, true);
        }
    }

    pub(super) fn close_proposal(&mut self, key: EntityKey, id: &str) {
        let Some(dao) = self.entity(key) else { return };
        dao.open_proposals.remove(id);
        self.step(key, Field::ActiveProposals, false);
    }
}
