//! What each source says about one entity, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{EntityType, Service};

use super::fields::{Field, service_rank};

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// An event: counts until a poll that began after it says otherwise.
    Event,
    /// An upstream's answer.
    Service(Service),
    /// An event that mentioned it in passing: counts while nobody says it outright.
    Hint,
}

impl Source {
    /// Smaller counts more.
    fn rank(self, kind: EntityType, field: Field) -> u8 {
        match self {
            Self::Event => 0,
            Self::Service(service) => service_rank(kind, field, service),
            Self::Hint => u8::MAX,
        }
    }
}

/// One value of one field from one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fact {
    pub(super) field: Field,
    pub(super) source: Source,
    rank: u8,
    /// Position of the event that said so; 0 for a service.
    pub(super) seq: u64,
    pub(super) value: Value,
}

/// All that is said about one entity, ordered by field and then by whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts(Vec<Fact>);

impl Facts {
    /// The value that counts; none when nobody says anything, or whoever counts says that there is nothing.
    pub(super) fn best(&self, field: Field) -> Option<&Value> {
        self.first(field).map(|fact| &fact.value).filter(|value| !value.is_null())
    }

    fn first(&self, field: Field) -> Option<&Fact> {
        let at = self.0.partition_point(|fact| fact.field < field);
        self.0.get(at).filter(|fact| fact.field == field)
    }

    pub(super) fn text(&self, field: Field) -> Option<&str> {
        self.best(field)?.as_str()
    }

    pub(super) fn count(&self, field: Field) -> Option<u64> {
        self.best(field)?.as_u64()
    }

    pub(super) fn number(&self, field: Field) -> Option<f64> {
        self.best(field)?.as_f64()
    }

    pub(super) fn flag(&self, field: Field) -> Option<bool> {
        self.best(field)?.as_bool()
    }

    /// What one source says.
    pub(super) fn get(&self, kind: EntityType, field: Field, source: Source) -> Option<&Fact> {
        let rank = source.rank(kind, field);
        let at = self.0.binary_search_by_key(&(field, rank), |fact| (fact.field, fact.rank)).ok()?;
        self.0.get(at)
    }

    /// What one service says, field by field.
    pub(super) fn of(&self, service: Service) -> impl Iterator<Item = &Fact> {
        self.0.iter().filter(move |fact| fact.source == Source::Service(service))
    }

    /// Whether any service says something about `field`.
    pub(super) fn has_service(&self, field: Field) -> bool {
        self.0.iter().any(|fact| fact.field == field && matches!(fact.source, Source::Service(_)))
    }

    /// Whether a poll of `service` may overrule an event about `field`: no service whose word counts more has one.
    /// Otherwise the value shown would become that other service's, which may be older than the event.
    pub(super) fn may_overrule(&self, kind: EntityType, field: Field, service: Service) -> bool {
        let own = service_rank(kind, field, service);
        !self.0.iter().any(|fact| {
            fact.field == field && matches!(fact.source, Source::Service(other) if other != service) && fact.rank < own
        })
    }

    /// Sets one source's value; whether that changed it.
    pub(super) fn set(&mut self, kind: EntityType, field: Field, source: Source, seq: u64, value: Value) -> bool {
        let rank = source.rank(kind, field);
        match self.0.binary_search_by_key(&(field, rank), |fact| (fact.field, fact.rank)) {
            Ok(at) => {
                let fact = &mut self.0[at];
                fact.seq = seq;
                let changed = fact.value != value;
                fact.value = value;
                changed
            }
            Err(at) => {
                self.0.insert(at, Fact { field, source, rank, seq, value });
                true
            }
        }
    }

    pub(super) fn remove(&mut self, field: Field, source: Source) {
        self.0.retain(|fact| fact.field != field || fact.source != source);
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Fact) -> bool) {
        self.0.retain(keep);
    }

    /// Takes over what `other` has and this has not; of two events the later one counts.
    pub(super) fn absorb(&mut self, other: Self) {
        for fact in other.0 {
            match self.0.binary_search_by_key(&(fact.field, fact.rank), |own| (own.field, own.rank)) {
                Ok(at) if self.0[at].seq < fact.seq => self.0[at] = fact,
                Ok(_) => {}
                Err(at) => self.0.insert(at, fact),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_come_first_and_services_in_the_order_of_the_table() {
        let mut facts = Facts::default();
        let mut say = |source, seq, value: &str| {
            facts.set(EntityType::Agent, Field::Name, source, seq, json!(value));
            facts.text(Field::Name).map(str::to_owned)
        };
        assert_eq!(say(Source::Hint, 1, "hint").as_deref(), Some("hint"));
        assert_eq!(say(Source::Service(Service::Usage), 0, "usage").as_deref(), Some("usage"));
        assert_eq!(say(Source::Service(Service::City), 0, "city").as_deref(), Some("city"));
        assert_eq!(say(Source::Service(Service::Agents), 0, "agents").as_deref(), Some("agents"));
        assert_eq!(say(Source::Event, 2, "event").as_deref(), Some("event"));
        assert!(!facts.may_overrule(EntityType::Agent, Field::Name, Service::City));
        assert!(facts.may_overrule(EntityType::Agent, Field::Name, Service::Agents));
    }
}
