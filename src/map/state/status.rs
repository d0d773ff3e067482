//! The status of an entity, derived from its facts and recent events.

use crate::map::fields::Field;
use crate::map::status;
use crate::model::{Compatibility, Status};

use super::entity::Entity;
use super::facts::Origin;

fn read(entity: &Entity, field: Field) -> Option<Status> {
    entity.facts.text(field).and_then(status::read)
}

fn is_deactivated(entity: &Entity) -> bool {
    entity.facts.flag(Field::IsActive) == Some(false)
}

/// In order of precedence: deactivated in the registry, a failure without a later success, a run in progress, presence
/// (reported by an event or the city). Without any of them the prototype showed an agent as online if its record says that it
/// is active.
pub(in crate::map) fn of_agent(entity: &Entity, compatibility: Compatibility) -> Status {
    if is_deactivated(entity) {
        Status::Inactive
    } else if entity.failed {
        Status::Error
    } else if entity.run.is_some() {
        Status::Active
    } else {
        read(entity, Field::Status).unwrap_or_else(|| unreported(entity, compatibility))
    }
}

/// The status of an agent whose presence nothing reports.
fn unreported(agent: &Entity, compatibility: Compatibility) -> Status {
    let heard_of = agent.last_active.is_some();
    match compatibility {
        Compatibility::None => Status::Active,
        Compatibility::Prototype if heard_of || agent.facts.flag(Field::IsActive) == Some(true) => Status::Online,
        Compatibility::Prototype => Status::Offline,
    }
}

/// Offline when no upstream lists it and it sends no metrics; else the reported status; else online.
pub(in crate::map) fn of_node(entity: &Entity) -> Status {
    if entity.offline_since.is_some() && entity.last_seen.is_none() && !entity.is_listed() {
        return Status::Offline;
    }
    read(entity, Field::Status).unwrap_or(Status::Online)
}

/// Deactivated by the DAO service, else its health as the space service reports it.
pub(in crate::map) fn of_dao(entity: &Entity) -> Status {
    if is_deactivated(entity) {
        return Status::Inactive;
    }
    read(entity, Field::Health).unwrap_or(Status::Active)
}

pub(in crate::map) fn of_microdao(entity: &Entity) -> Status {
    if is_deactivated(entity) { Status::Inactive } else { Status::Active }
}

/// Returns `true` if metrics alone prove that a node is online: nothing reports its status, or it is reported offline.
/// A service that reports `warn` knows more than metrics do.
pub(in crate::map) fn metrics_imply_online(node: &Entity) -> bool {
    let by_event = node.facts.get(node.kind, Field::Status, Origin::Event).is_some();
    of_node(node) == Status::Offline || (!by_event && !node.facts.has_service(Field::Status))
}
