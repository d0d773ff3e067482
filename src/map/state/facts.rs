//! The facts about one entity: for each field, the value of each origin.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::map::fields::{Field, service_rank};
use crate::model::layers::Balance;
use crate::model::{EntityType, Service, json};

/// The token in which the city service reports a microDAO's balance (`balanceDcr`).
const CITY_TOKEN: &str = "DCR";

/// Origin of a fact. Saved states keep the names of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::map) enum Origin {
    /// An event: valid until a poll that began after it contradicts it.
    Event,
    /// An upstream's answer.
    Service(Service),
    /// An event about something else that mentioned the value: used while no other origin has one.
    Hint,
}

impl Origin {
    /// Rank by precedence; the smallest wins.
    fn rank(self, kind: EntityType, field: Field) -> u8 {
        match self {
            Self::Event => 0,
            Self::Service(service) => service_rank(kind, field, service),
            Self::Hint => u8::MAX,
        }
    }
}

/// The value of one field from one origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::map) struct Fact {
    pub(in crate::map) field: Field,
    pub(in crate::map) origin: Origin,
    rank: u8,
    /// Position of the event; 0 for a service.
    pub(in crate::map) seq: u64,
    #[serde(deserialize_with = "json::value")]
    pub(in crate::map) value: Value,
    /// The log's time of the event, in seconds since 1970; 0 for a service, and in states of version 3.
    #[serde(default)]
    pub(in crate::map) second: i64,
}

/// Position and time of an event in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::map) struct LogPosition {
    pub(in crate::map) seq: u64,
    /// Seconds since 1970.
    pub(in crate::map) second: i64,
}

/// All facts about one entity, ordered by field and then by rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::map) struct Facts(Vec<Fact>);

impl Facts {
    /// The value of the best-ranked origin; none when there is no fact or that origin states that there is no value.
    pub(in crate::map) fn best(&self, field: Field) -> Option<&Value> {
        self.first(field).map(|fact| &fact.value).filter(|value| !value.is_null())
    }

    fn first(&self, field: Field) -> Option<&Fact> {
        let at = self.0.partition_point(|fact| fact.field < field);
        self.0.get(at).filter(|fact| fact.field == field)
    }

    pub(in crate::map) fn text(&self, field: Field) -> Option<&str> {
        self.best(field)?.as_str()
    }

    pub(in crate::map) fn count(&self, field: Field) -> Option<u64> {
        self.best(field)?.as_u64()
    }

    pub(in crate::map) fn number(&self, field: Field) -> Option<f64> {
        self.best(field)?.as_f64()
    }

    pub(in crate::map) fn flag(&self, field: Field) -> Option<bool> {
        self.best(field)?.as_bool()
    }

    /// The token balances: those of the DAO or microDAO service, else the single figure of the city service.
    pub(in crate::map) fn balances(&self) -> Vec<Balance> {
        let Some(listed) = self.best(Field::Treasury).and_then(Value::as_array) else {
            let of_city = |balance: &str| Balance { token_symbol: CITY_TOKEN.to_owned(), balance: balance.to_owned() };
            return self.text(Field::Balance).map(of_city).into_iter().collect();
        };
        let balance = |item: &Value| {
            let text = |name: &str| item.get(name)?.as_str().map(str::to_owned);
            Some(Balance { token_symbol: text("token_symbol")?, balance: text("balance")? })
        };
        listed.iter().filter_map(balance).collect()
    }

    /// The fact of one origin.
    pub(in crate::map) fn get(&self, kind: EntityType, field: Field, origin: Origin) -> Option<&Fact> {
        let rank = origin.rank(kind, field);
        let at = self.0.binary_search_by_key(&(field, rank), |fact| (fact.field, fact.rank)).ok()?;
        self.0.get(at)
    }

    /// The facts of one service, by field.
    pub(in crate::map) fn of(&self, service: Service) -> impl Iterator<Item = &Fact> {
        self.0.iter().filter(move |fact| fact.origin == Origin::Service(service))
    }

    /// Returns `true` if any service has a fact about `field`.
    pub(in crate::map) fn has_service(&self, field: Field) -> bool {
        self.0.iter().any(|fact| fact.field == field && matches!(fact.origin, Origin::Service(_)))
    }

    /// Returns `true` if a poll of `service` may discard an event's fact about `field`: no service of better rank has a
    /// fact. Otherwise the value shown would become that other service's, which may be older than the event.
    pub(in crate::map) fn may_overrule(&self, kind: EntityType, field: Field, service: Service) -> bool {
        let own = service_rank(kind, field, service);
        !self.0.iter().any(|fact| {
            fact.field == field && matches!(fact.origin, Origin::Service(other) if other != service) && fact.rank < own
        })
    }

    /// Sets the value of one origin; returns whether that changed it. `at` is the event's, zero for a service.
    pub(in crate::map) fn set(
        &mut self,
        kind: EntityType,
        field: Field,
        origin: Origin,
        at: LogPosition,
        value: Value,
    ) -> bool {
        let LogPosition { seq, second } = at;
        let rank = origin.rank(kind, field);
        match self.0.binary_search_by_key(&(field, rank), |fact| (fact.field, fact.rank)) {
            Ok(at) => {
                let fact = &mut self.0[at];
                (fact.seq, fact.second) = (seq, second);
                let changed = fact.value != value;
                fact.value = value;
                changed
            }
            Err(at) => {
                self.0.insert(at, Fact { field, origin, rank, seq, value, second });
                true
            }
        }
    }

    pub(in crate::map) fn remove(&mut self, field: Field, origin: Origin) {
        self.0.retain(|fact| fact.field != field || fact.origin != origin);
    }

    /// Limits the positions of the facts to `seq`.
    pub(in crate::map) fn limit_positions(&mut self, seq: u64) {
        for fact in &mut self.0 {
            fact.seq = fact.seq.min(seq);
        }
    }

    pub(in crate::map) fn retain(&mut self, keep: impl FnMut(&Fact) -> bool) {
        self.0.retain(keep);
    }

    /// Adds the facts of a merged entity. Of two facts of the same field and rank the later event's stays.
    pub(in crate::map) fn merge(&mut self, other: Self) {
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
    fn origins_rank_by_the_table_of_precedence() {
        let mut facts = Facts::default();
        let mut set = |origin, seq, value: &str| {
            let at = LogPosition { seq, second: 0 };
            facts.set(EntityType::Agent, Field::Name, origin, at, json!(value));
            facts.text(Field::Name).map(str::to_owned)
        };
        assert_eq!(set(Origin::Hint, 1, "hint").as_deref(), Some("hint"));
        assert_eq!(set(Origin::Service(Service::Usage), 0, "usage").as_deref(), Some("usage"));
        assert_eq!(set(Origin::Service(Service::City), 0, "city").as_deref(), Some("city"));
        assert_eq!(set(Origin::Service(Service::Agents), 0, "agents").as_deref(), Some("agents"));
        assert_eq!(set(Origin::Event, 2, "event").as_deref(), Some("event"));
        assert!(!facts.may_overrule(EntityType::Agent, Field::Name, Service::City));
        assert!(facts.may_overrule(EntityType::Agent, Field::Name, Service::Agents));
    }

    /// Such a fact has no time of its event.
    #[test]
    fn a_fact_saved_in_version_3_loads() {
        let saved = rmp_serde::to_vec(&(Field::Cpu, Origin::Event, 0_u8, 7_u64, json!(0.9))).unwrap();
        let fact: Fact = rmp_serde::from_slice(&saved).unwrap();
        let value = json!(0.9);
        assert_eq!(fact, Fact { field: Field::Cpu, origin: Origin::Event, rank: 0, seq: 7, value, second: 0 });
    }
}
