//! Answers of upstreams.

use serde_json::Value;

use crate::map::context::FoldContext;
use crate::map::decode::poll::{PollPart, PolledEntity};
use crate::map::fields::Field;
use crate::map::state::facts::{LogPosition, Origin};
use crate::map::state::slab::EntityKey;
use crate::map::usage::{Counts, Figures};
use crate::model::change;
use crate::model::{EntityType, Service};

/// A poll of an upstream.
#[derive(Clone, Copy)]
struct Poll {
    service: Service,
    /// Position of the log when it began.
    mark: u64,
}

impl FoldContext<'_> {
    /// Applies a part of an answer; false when more parts follow.
    pub(super) fn apply_poll(&mut self, part: PollPart) -> bool {
        let poll = Poll { service: part.service, mark: part.mark };
        // a mark precedes its answer in the log, and an answer older than the latest one is stale
        let is_stale = self.state.marks.get(&poll.service).is_some_and(|last| *last > poll.mark);
        if poll.mark >= self.seq || is_stale {
            return true;
        }
        let mut has_content = false;
        for name in part.gone {
            has_content |= poll.remove_listing(self, &name).is_some();
        }
        for entity in part.entities {
            has_content |= poll.apply_entity(self, entity).is_some();
        }
        if let Some(update) = part.city {
            has_content |= !update.is_empty();
            let shown = self.state.options.compatibility;
            let before = self.state.city.fields(shown);
            self.state.city.update(update);
            self.city_patch.extend(change::diff(&before, &self.state.city.fields(shown)));
        }
        if let Some((calls, counted)) = part.total_calls {
            let figures = Figures { llm_calls: Some(calls), ..Figures::default() };
            let before = self.state.call_source();
            self.state.network_usage.rebase(figures, counted, poll.mark, self.hour);
            self.call_source_changed(before);
            has_content = true;
        }
        if has_content {
            self.state.marks.insert(poll.service, poll.mark);
        }
        !part.has_more
    }
}

impl Poll {
    fn remove_listing(self, fold: &mut FoldContext<'_>, name: &str) -> Option<()> {
        let key = *fold.state.index.names.get(name)?;
        let hour = fold.hour;
        fold.entity(key)?.remove_listing(self.service, self.mark, hour);
        fold.identity_changed(key);
        Some(())
    }

    fn apply_entity(self, fold: &mut FoldContext<'_>, polled: PolledEntity) -> Option<()> {
        let target = fold.state.resolve_names(&polled.names).target;
        let known = target.and_then(|key| fold.state.entities.get(key));
        let restore = match known.and_then(|entity| entity.tombstone.map(|tombstone| (entity, tombstone))) {
            Some((_, tombstone)) if self.mark < tombstone.seq => return None,
            Some((entity, _)) => entity.is_restored_by(self.service),
            None => false,
        };
        let key = fold.claim(polled.kind, &polled.names, restore)?;
        fold.entity(key)?.add_listing(self.service);
        for (field, value) in polled.fields {
            self.set(fold, key, field, value);
        }
        if let Some((figures, counted)) = polled.usage {
            self.set_usage(fold, key, figures, counted);
        }
        fold.identity_changed(key);
        Some(())
    }

    /// Sets the service's value, and discards an older event's if the service may overrule it.
    fn set(self, fold: &mut FoldContext<'_>, key: EntityKey, field: Field, value: Value) {
        let Some(entity) = fold.entity(key) else { return };
        let origin = Origin::Service(self.service);
        if value.is_null() {
            entity.facts.remove(field, origin);
        } else {
            entity.facts.set(entity.kind, field, origin, LogPosition::default(), value);
        }
        let outdated = entity.facts.get(entity.kind, field, Origin::Event).is_some_and(|fact| fact.seq <= self.mark);
        if outdated && entity.facts.may_overrule(entity.kind, field, self.service) {
            entity.facts.remove(field, Origin::Event);
        }
    }

    fn set_usage(self, fold: &mut FoldContext<'_>, key: EntityKey, figures: Figures, counted: Counts) {
        let hour = fold.hour;
        let Some(agent) = fold.entity(key).filter(|entity| entity.kind == EntityType::Agent) else { return };
        if self.service == Service::Usage && agent.counter.base_mark().is_none_or(|mark| mark <= self.mark) {
            agent.counter.rebase(figures, counted, self.mark, hour);
        }
    }
}
