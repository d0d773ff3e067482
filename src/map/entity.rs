//! One entity: what is said about it, why it exists, what it is connected with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::layers::CurrentRun;
use crate::model::{EntityType, Service};

use super::facts::{Facts, Source};
use super::fields::Field;
use super::lessons::Lessons;
use super::names::{self, Name, NameKind};
use super::usage::{Counter, WINDOW_HOURS};
use super::view::Published;

/// How long an entity that only passing mentions speak of stays without a new one, and how long a node that is gone
/// stays as offline, in hours of the log: as long as the network keeps its events (7 days).
const FORGET_AFTER_HOURS: i64 = 7 * 24;
/// How long a node may be silent that is known by its metrics alone, in hours of the log, counted from the hour of the
/// last ones: after one to two hours it is offline.
const NODE_SILENT_HOURS: i64 = 2;

/// How long a run may be silent, in hours of the log, before it counts as over: its end was never said.
const RUN_SILENT_HOURS: i64 = 24;

/// Place of an entity in the map's slab; used again after the entity is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key(u32);

/// A set of services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Services(u8);

impl Services {
    const fn bit(service: Service) -> u8 {
        1 << service as u8
    }

    pub(super) const fn has(self, service: Service) -> bool {
        self.0 & Self::bit(service) != 0
    }

    pub(super) const fn insert(&mut self, service: Service) {
        self.0 |= Self::bit(service);
    }

    pub(super) const fn remove(&mut self, service: Service) {
        self.0 &= !Self::bit(service);
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The last event that says that an entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sign {
    pub(super) seq: u64,
    pub(super) hour: i64,
    /// Whether an event said so outright; a mention in passing (a message, a call) is forgotten after a time.
    pub(super) outright: bool,
}

/// When an entity was deleted. It is kept for a time so that polls that are older, and late events, do not bring it
/// back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Death {
    pub(super) seq: u64,
    pub(super) hour: i64,
}

/// How an entity is connected, seen from the one that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    AgentOf,
    NodeOf,
    ChannelOf,
    Governs,
    OrbitedBy,
}

/// A reference by name; resolved as soon as the name is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) link: Link,
    pub(super) name: Arc<str>,
    pub(super) target: Option<Key>,
}

/// A run of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) shown: CurrentRun,
    /// Hour of the log at which it was heard of last.
    pub(super) hour: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entity {
    pub(super) kind: EntityType,
    /// The canonical id, one of the names.
    pub(super) id: Arc<str>,
    pub(super) names: Vec<Name>,
    pub(super) facts: Facts,
    /// The upstreams that name it now.
    pub(super) named: Services,
    /// The upstreams that ever did.
    pub(super) ever: Services,
    pub(super) sign: Option<Sign>,
    pub(super) death: Option<Death>,
    /// Nodes: the log's hour since when nobody names it.
    pub(super) offline_since: Option<i64>,
    /// Its last sign of life by the producers' clocks; for a node, its last metrics.
    pub(super) last_active: Option<DateTime<Utc>>,
    /// Agents: whether its last outcome was an error.
    pub(super) failed: bool,
    /// Agents: the run it is busy with.
    pub(super) run: Option<Run>,
    /// Agents: what was learned of it.
    pub(super) lessons: Lessons,
    /// Agents and channels.
    pub(super) counter: Counter,
    /// DAOs: proposals known to be open by events, so that none is counted twice.
    pub(super) open_proposals: BTreeSet<String>,

    // below: made from the above, see `persist`
    #[serde(skip)]
    pub(super) references: Vec<Reference>,
    #[serde(skip)]
    pub(super) inbound: BTreeMap<Link, BTreeSet<Key>>,
    #[serde(skip)]
    pub(super) labels: Vec<String>,
    #[serde(skip)]
    pub(super) deadline: Option<i64>,
    #[serde(skip)]
    pub(super) published: Option<Published>,
}

impl Entity {
    pub(super) fn new(kind: EntityType, id: Arc<str>) -> Self {
        Self {
            kind,
            id,
            names: Vec::new(),
            facts: Facts::default(),
            named: Services::default(),
            ever: Services::default(),
            sign: None,
            death: None,
            offline_since: None,
            last_active: None,
            failed: false,
            run: None,
            lessons: Lessons::default(),
            counter: Counter::default(),
            open_proposals: BTreeSet::new(),
            references: Vec::new(),
            inbound: BTreeMap::new(),
            labels: Vec::new(),
            deadline: None,
            published: None,
        }
    }

    /// Whether it is on the map.
    pub(super) fn visible(&self) -> bool {
        self.death.is_none() && (self.vouched() || self.sign.is_some() || self.offline_since.is_some())
    }

    /// Whether an upstream says that it exists. The usage service lists calls, also of agents that are no more: it
    /// counts only where the registry of agents never had a say.
    pub(super) fn vouched(&self) -> bool {
        let mut named = self.named;
        if self.ever.has(Service::Agents) {
            named.remove(Service::Usage);
        }
        !named.is_empty()
    }

    /// Whether nothing but the log remembers it, so that it can be forgotten.
    pub(super) fn forgettable(&self) -> bool {
        !self.visible() && self.death.is_none()
    }

    /// The hour of the log at which time alone changes something about it.
    pub(super) fn due(&self) -> Option<i64> {
        let unnamed = !self.vouched();
        let grave = self.death.filter(|_| self.named.is_empty()).map(|death| death.hour + WINDOW_HOURS);
        let offline = self.offline_since.map(|hour| hour + FORGET_AFTER_HOURS);
        let sign = self.sign.filter(|_| unnamed).and_then(|sign| match self.kind {
            EntityType::Node => Some(sign.hour + NODE_SILENT_HOURS),
            _ if sign.outright => None,
            _ => Some(sign.hour + FORGET_AFTER_HOURS),
        });
        let run = self.run.as_ref().map(|run| run.hour + RUN_SILENT_HOURS);
        [self.counter.due(), grave, offline, sign, run].into_iter().flatten().min()
    }

    /// Lets time pass; whether it is to be forgotten.
    pub(super) fn expire(&mut self, hour: i64) -> bool {
        self.counter.expire(hour);
        self.run.take_if(|run| run.hour + RUN_SILENT_HOURS <= hour);
        if let Some(death) = self.death {
            return self.named.is_empty() && death.hour + WINDOW_HOURS <= hour;
        }
        self.offline_since.take_if(|since| *since + FORGET_AFTER_HOURS <= hour);
        if let Some(sign) = self.sign.filter(|_| !self.vouched()) {
            if self.kind == EntityType::Node && sign.hour + NODE_SILENT_HOURS <= hour {
                self.sign = None;
                self.go_offline(hour);
            } else if self.kind != EntityType::Node && !sign.outright && sign.hour + FORGET_AFTER_HOURS <= hour {
                self.sign = None;
            }
        }
        self.forgettable()
    }

    /// An event says that it exists.
    pub(super) fn assert(&mut self, seq: u64, hour: i64, outright: bool) {
        let outright = outright || self.sign.is_some_and(|sign| sign.outright);
        self.sign = Some(Sign { seq, hour, outright });
        self.offline_since = None;
    }

    /// It was deleted: what events said about it is void, its names stay for a time.
    pub(super) fn die(&mut self, seq: u64, hour: i64) {
        self.death = Some(Death { seq, hour });
        self.sign = None;
        self.offline_since = None;
        self.failed = false;
        self.run = None;
        self.lessons = Lessons::default();
        self.open_proposals.clear();
        self.facts.retain(|fact| matches!(fact.source, Source::Service(_)));
    }

    /// An upstream names it.
    pub(super) fn name_by(&mut self, service: Service) {
        self.named.insert(service);
        self.ever.insert(service);
        if self.vouched() {
            self.offline_since = None;
        }
    }

    /// An upstream whose poll began at `mark` does not name it any more.
    pub(super) fn withdraw(&mut self, service: Service, mark: u64, hour: i64) {
        self.named.remove(service);
        let outdated = self.sign.is_none_or(|sign| sign.seq <= mark);
        if service == Service::Usage {
            self.counter.drop_base();
        }
        if self.kind == EntityType::Node && !self.vouched() && outdated {
            // known by its metrics or as a satellite: a machine that is away is news, so it stays, as offline
            if service == Service::Space || self.ever.has(Service::Space) || self.sign.is_some() {
                self.sign = None;
                self.go_offline(hour);
                return;
            }
        }
        self.facts.retain(|fact| fact.source != Source::Service(service));
        if authority(self.kind) == Some(service) && self.death.is_none() && outdated {
            self.sign = None;
            if !self.vouched() {
                self.die(mark, hour);
            }
        }
    }

    /// Of a node that is away its names are known, its measurements are not.
    fn go_offline(&mut self, hour: i64) {
        self.offline_since = Some(hour);
        self.facts.retain(|fact| matches!(fact.field, Field::Name | Field::MicrodaoId));
    }

    /// The slug in force: names that were slugs before it are former ones.
    fn slug_name(&self) -> Option<String> {
        names::prefixed(self.kind, self.facts.text(Field::Slug)?)
    }

    /// The name that is the canonical id by rights. The present id stays as long as no name is better.
    pub(super) fn best_name(&self) -> Option<Arc<str>> {
        let slug = self.slug_name();
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

    /// Whether another entity may have this name, since this one does not go by it any more.
    pub(super) fn gives_up(&self, name: &str) -> bool {
        let former = |slug: String| {
            slug != name && self.names.iter().any(|own| own.kind == NameKind::Slug && *own.text == *name)
        };
        !self.visible() || (self.names.len() > 1 && self.slug_name().is_some_and(former))
    }

    pub(super) fn uuids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().filter(|name| name.kind == NameKind::Uuid).map(|name| &name.text)
    }

    /// Number of entities connected to it.
    pub(super) fn inbound_count(&self, link: Link) -> u64 {
        self.inbound.get(&link).map_or(0, |keys| keys.len() as u64)
    }

    /// The target of its reference of this sort, if it has one: resolved or by name.
    pub(super) fn reference(&self, link: Link) -> Option<&Reference> {
        self.references.iter().find(|reference| reference.link == link)
    }
}

/// The service whose full list decides which entities of a type there are.
pub(super) const fn authority(kind: EntityType) -> Option<Service> {
    match kind {
        EntityType::Agent => Some(Service::Agents),
        EntityType::Microdao => Some(Service::Microdao),
        EntityType::Dao => Some(Service::Dao),
        _ => None,
    }
}

/// The entities, each at its place.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Slab {
    slots: Vec<Option<Box<Entity>>>,
    free: Vec<Key>,
}

impl Slab {
    pub(super) fn get(&self, key: Key) -> Option<&Entity> {
        self.slots.get(key.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entity> {
        self.slots.get_mut(key.0 as usize)?.as_deref_mut()
    }

    /// Takes in an entity; none when there are as many as a key can tell apart.
    pub(super) fn insert(&mut self, entity: Entity) -> Option<Key> {
        if let Some(key) = self.free.pop() {
            *self.slots.get_mut(key.0 as usize)? = Some(Box::new(entity));
            return Some(key);
        }
        let key = Key(u32::try_from(self.slots.len()).ok()?);
        self.slots.push(Some(Box::new(entity)));
        Some(key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Box<Entity>> {
        let entity = self.slots.get_mut(key.0 as usize)?.take()?;
        self.free.push(key);
        Some(entity)
    }

    /// Places in use.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Entity)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| Some((Key(u32::try_from(at).ok()?), slot.as_deref()?)))
    }
}
