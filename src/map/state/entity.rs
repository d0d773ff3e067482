//! One entity: its names, facts and references, and the reasons why it exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::map::fields::Field;
use crate::map::names::{self, Name, NameKind};
use crate::map::usage::WINDOW_HOURS;
use crate::model::layers::CurrentRun;
use crate::model::{EntityType, Service};

use super::counter::Counter;
use super::facts::{Facts, Origin};
use super::item::PublishedItem;
use super::lessons::OpenLessonKeys;
use super::slab::EntityKey;

/// Hours of the log after which an entity that was only mentioned is forgotten, and after which an offline node is: as
/// long as the network keeps its events (7 days).
const FORGET_AFTER_HOURS: i64 = 7 * 24;

/// Hours of the log without metrics after which a node that no upstream lists is offline. Counted from the hour of the
/// last metrics, so it takes one to two hours.
const NODE_TIMEOUT_HOURS: i64 = 2;

/// Hours of the log without an event of a run after which the run counts as ended.
const RUN_TIMEOUT_HOURS: i64 = 24;

/// A set of upstreams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::map) struct ServiceSet(u8);

impl ServiceSet {
    const fn bit(service: Service) -> u8 {
        1 << service as u8
    }

    pub(in crate::map) const fn contains(self, service: Service) -> bool {
        self.0 & Self::bit(service) != 0
    }

    const fn insert(&mut self, service: Service) {
        self.0 |= Self::bit(service);
    }

    pub(in crate::map) const fn remove(&mut self, service: Service) {
        self.0 &= !Self::bit(service);
    }

    pub(in crate::map) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::map) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The latest event that proves that an entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::map) struct LastSeen {
    pub(in crate::map) seq: u64,
    pub(in crate::map) hour: i64,
    /// `true` if any event stated the existence explicitly. An entity that was only mentioned (by a message, a call) is
    /// forgotten after [`FORGET_AFTER_HOURS`].
    pub(in crate::map) explicit: bool,
}

/// Record of a deletion, kept for [`WINDOW_HOURS`] so that older polls and late events do not restore the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::map) struct Tombstone {
    pub(in crate::map) seq: u64,
    pub(in crate::map) hour: i64,
}

/// Type of a reference, from the referring entity's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::map) enum Link {
    AgentOf,
    NodeOf,
    ChannelOf,
    Governs,
    OrbitedBy,
}

/// A reference by name; `target` is set as soon as an entity has that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::map) struct Reference {
    pub(in crate::map) link: Link,
    pub(in crate::map) name: Arc<str>,
    pub(in crate::map) target: Option<EntityKey>,
}

/// The current run of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::map) struct Run {
    pub(in crate::map) current: CurrentRun,
    /// Hour of the log of its latest event.
    pub(in crate::map) hour: i64,
}

/// Saved by position: the order of the fields is the saved format.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::map) struct Entity {
    pub(in crate::map) kind: EntityType,
    /// The canonical id, one of the names.
    pub(in crate::map) id: Arc<str>,
    pub(in crate::map) names: Vec<Name>,
    pub(in crate::map) facts: Facts,
    /// The upstreams that list it now.
    pub(in crate::map) listed_by: ServiceSet,
    /// The upstreams that ever listed it.
    pub(in crate::map) ever_listed_by: ServiceSet,
    pub(in crate::map) last_seen: Option<LastSeen>,
    pub(in crate::map) tombstone: Option<Tombstone>,
    /// Nodes: the log's hour in which it went offline.
    pub(in crate::map) offline_since: Option<i64>,
    /// Its latest activity by the producers' clocks; of a node, its latest metrics.
    pub(in crate::map) last_active: Option<DateTime<Utc>>,
    /// Agents: whether the latest outcome was a failure.
    pub(in crate::map) failed: bool,
    /// Agents: the current run.
    pub(in crate::map) run: Option<Run>,
    /// Agents: keys of the open lessons about it.
    pub(in crate::map) lessons: OpenLessonKeys,
    /// Agents and channels.
    pub(in crate::map) counter: Counter,
    /// DAOs: proposals that events opened, so that none is counted twice.
    pub(in crate::map) open_proposals: BTreeSet<String>,

    // derived from the fields above, see `persist`
    #[serde(skip)]
    pub(in crate::map) references: Vec<Reference>,
    #[serde(skip)]
    pub(in crate::map) inbound: BTreeMap<Link, BTreeSet<EntityKey>>,
    /// DAOs: the names by which it is matched with a planet.
    #[serde(skip)]
    pub(in crate::map) labels: Vec<String>,
    #[serde(skip)]
    pub(in crate::map) deadline: Option<i64>,
    #[serde(skip)]
    pub(in crate::map) published: Option<PublishedItem>,
}

impl Entity {
    pub(in crate::map) fn new(kind: EntityType, id: Arc<str>) -> Self {
        Self {
            kind,
            id,
            names: Vec::new(),
            facts: Facts::default(),
            listed_by: ServiceSet::default(),
            ever_listed_by: ServiceSet::default(),
            last_seen: None,
            tombstone: None,
            offline_since: None,
            last_active: None,
            failed: false,
            run: None,
            lessons: OpenLessonKeys::default(),
            counter: Counter::default(),
            open_proposals: BTreeSet::new(),
            references: Vec::new(),
            inbound: BTreeMap::new(),
            labels: Vec::new(),
            deadline: None,
            published: None,
        }
    }

    /// Returns `true` if it is on the map.
    pub(in crate::map) fn is_visible(&self) -> bool {
        self.tombstone.is_none() && (self.is_listed() || self.last_seen.is_some() || self.offline_since.is_some())
    }

    /// Returns `true` if an upstream lists it. The usage service also lists agents that no longer exist: it does not
    /// count once the agent registry has listed the agent.
    pub(in crate::map) fn is_listed(&self) -> bool {
        let mut listed_by = self.listed_by;
        if self.ever_listed_by.contains(Service::Agents) {
            listed_by.remove(Service::Usage);
        }
        !listed_by.is_empty()
    }

    /// Returns `true` if there is no reason left to keep it.
    pub(in crate::map) fn is_forgettable(&self) -> bool {
        !self.is_visible() && self.tombstone.is_none()
    }

    /// The next hour of the log at which [`Self::expire`] changes something.
    pub(in crate::map) fn next_deadline(&self) -> Option<i64> {
        let unlisted = !self.is_listed();
        let tombstone = self.tombstone.filter(|_| self.listed_by.is_empty()).map(|stone| stone.hour + WINDOW_HOURS);
        let offline = self.offline_since.map(|hour| hour + FORGET_AFTER_HOURS);
        let last_seen = self.last_seen.filter(|_| unlisted).and_then(|seen| match self.kind {
            EntityType::Node => Some(seen.hour + NODE_TIMEOUT_HOURS),
            _ if seen.explicit => None,
            _ => Some(seen.hour + FORGET_AFTER_HOURS),
        });
        let run = self.run.as_ref().map(|run| run.hour + RUN_TIMEOUT_HOURS);
        [self.counter.next_deadline(), tombstone, offline, last_seen, run].into_iter().flatten().min()
    }

    /// Removes what has expired by `hour`; returns whether the entity itself is to be forgotten.
    pub(in crate::map) fn expire(&mut self, hour: i64) -> bool {
        self.counter.expire(hour);
        self.run.take_if(|run| run.hour + RUN_TIMEOUT_HOURS <= hour);
        if let Some(tombstone) = self.tombstone {
            return self.listed_by.is_empty() && tombstone.hour + WINDOW_HOURS <= hour;
        }
        self.offline_since.take_if(|since| *since + FORGET_AFTER_HOURS <= hour);
        if let Some(seen) = self.last_seen.filter(|_| !self.is_listed()) {
            if self.kind == EntityType::Node && seen.hour + NODE_TIMEOUT_HOURS <= hour {
                self.last_seen = None;
                self.go_offline(hour);
            } else if self.kind != EntityType::Node && !seen.explicit && seen.hour + FORGET_AFTER_HOURS <= hour {
                self.last_seen = None;
            }
        }
        self.is_forgettable()
    }

    /// Records an event that proves its existence.
    pub(in crate::map) fn mark_seen(&mut self, seq: u64, hour: i64, explicit: bool) {
        let explicit = explicit || self.last_seen.is_some_and(|seen| seen.explicit);
        self.last_seen = Some(LastSeen { seq, hour, explicit });
        self.offline_since = None;
    }

    /// Deletes it: discards the facts of events, keeps its names and a tombstone.
    pub(in crate::map) fn delete(&mut self, seq: u64, hour: i64) {
        self.tombstone = Some(Tombstone { seq, hour });
        self.last_seen = None;
        self.offline_since = None;
        self.failed = false;
        self.run = None;
        self.lessons = OpenLessonKeys::default();
        self.open_proposals.clear();
        self.facts.retain(|fact| matches!(fact.origin, Origin::Service(_)));
    }

    /// Limits the positions that it contains to `seq`.
    pub(in crate::map) fn limit_positions(&mut self, seq: u64) {
        self.facts.limit_positions(seq);
        self.counter.limit_positions(seq);
        if let Some(seen) = &mut self.last_seen {
            seen.seq = seen.seq.min(seq);
        }
        if let Some(tombstone) = &mut self.tombstone {
            tombstone.seq = tombstone.seq.min(seq);
        }
    }

    /// Records that an upstream lists it.
    pub(in crate::map) fn add_listing(&mut self, service: Service) {
        self.listed_by.insert(service);
        self.ever_listed_by.insert(service);
        if self.is_listed() {
            self.offline_since = None;
        }
    }

    /// Records that an upstream, whose poll began at `mark`, does not list it any more.
    pub(in crate::map) fn remove_listing(&mut self, service: Service, mark: u64, hour: i64) {
        self.listed_by.remove(service);
        let outdated = self.last_seen.is_none_or(|seen| seen.seq <= mark);
        if service == Service::Usage {
            self.counter.drop_base();
        }
        if self.kind == EntityType::Node && !self.is_listed() && outdated {
            // known by its metrics or as a satellite: that a machine disappeared is shown, as offline
            let known_machine = service == Service::Space || self.ever_listed_by.contains(Service::Space);
            if known_machine || self.last_seen.is_some() {
                self.last_seen = None;
                self.go_offline(hour);
                return;
            }
        }
        self.facts.retain(|fact| fact.origin != Origin::Service(service));
        if registry_of(self.kind) == Some(service) && self.tombstone.is_none() && outdated {
            self.last_seen = None;
            if !self.is_listed() {
                self.delete(mark, hour);
            }
        }
    }

    /// Returns `true` if a listing by `service`, in a poll that began after the deletion, restores the entity: the
    /// registry of its type does, another upstream only when it did not list it all along.
    pub(in crate::map) fn is_restored_by(&self, service: Service) -> bool {
        registry_of(self.kind) == Some(service) || (service != Service::Usage && !self.listed_by.contains(service))
    }

    /// Keeps the names of an offline node and discards its measurements.
    fn go_offline(&mut self, hour: i64) {
        self.offline_since = Some(hour);
        self.facts.retain(|fact| matches!(fact.field, Field::Name | Field::MicrodaoId));
    }

    /// The slug in force; other slugs among the names are former ones.
    fn current_slug(&self) -> Option<String> {
        names::prefixed(self.kind, self.facts.text(Field::Slug)?)
    }

    /// The name that ranks best as canonical id. Among equals the present id stays.
    pub(in crate::map) fn best_name(&self) -> Option<Arc<str>> {
        let slug = self.current_slug();
        let rank = |name: &Name| match name.kind {
            NameKind::Slug if slug.as_deref().is_some_and(|slug| slug != &*name.text) => 3,
            NameKind::Slug if self.kind == EntityType::Dao => 0,
            NameKind::External if self.kind == EntityType::Dao => 1,
            NameKind::External => 0,
            NameKind::Slug => 1,
            NameKind::Uuid => 2,
        };
        let best = self.names.iter().min_by_key(|name| (rank(name), name.text != self.id))?;
        Some(Arc::clone(&best.text))
    }

    /// Returns `true` if another entity may take over this name: this one is gone, or the name is a former slug.
    pub(in crate::map) fn releases(&self, name: &str) -> bool {
        let is_former = |slug: String| {
            slug != name && self.names.iter().any(|own| own.kind == NameKind::Slug && *own.text == *name)
        };
        !self.is_visible() || (self.names.len() > 1 && self.current_slug().is_some_and(is_former))
    }

    pub(in crate::map) fn uuids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().filter(|name| name.kind == NameKind::Uuid).map(|name| &name.text)
    }

    /// Number of entities that refer to it by `link`.
    pub(in crate::map) fn inbound_count(&self, link: Link) -> u64 {
        self.inbound.get(&link).map_or(0, |keys| keys.len() as u64)
    }

    /// Its first reference of this type.
    pub(in crate::map) fn reference(&self, link: Link) -> Option<&Reference> {
        self.references.iter().find(|reference| reference.link == link)
    }
}

/// The upstream whose full list decides which entities of a type exist.
pub(in crate::map) const fn registry_of(kind: EntityType) -> Option<Service> {
    match kind {
        EntityType::Agent => Some(Service::Agents),
        EntityType::Microdao => Some(Service::Microdao),
        EntityType::Dao => Some(Service::Dao),
        _ => None,
    }
}
