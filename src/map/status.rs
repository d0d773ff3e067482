//! The closed set of statuses: which words mean which, and whose word counts.

use crate::model::Status;

use super::entity::Entity;
use super::facts::Source;
use super::fields::Field;

/// What publishers and upstreams call a status; none for words nobody is known to use.
pub(super) fn read(word: &str) -> Option<Status> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "active" | "busy" | "working" | "running" | "good" => Status::Active,
        "inactive" | "deactivated" | "disabled" | "archived" | "suspended" => Status::Inactive,
        "online" | "healthy" | "ok" | "ready" | "available" => Status::Online,
        "offline" | "down" | "unreachable" | "disconnected" => Status::Offline,
        "warning" | "warn" | "degraded" => Status::Warning,
        "error" | "critical" | "failed" | "unhealthy" => Status::Error,
        "idle" | "away" | "sleeping" | "paused" => Status::Idle,
        _ => return None,
    })
}

fn said(entity: &Entity, field: Field) -> Option<Status> {
    entity.facts.text(field).and_then(read)
}

fn switched_off(entity: &Entity) -> bool {
    entity.facts.flag(Field::IsActive) == Some(false)
}

/// Switched off in the registry, then a failure that no success followed, then a run under way, then presence (an
/// event's or the city's).
pub(super) fn of_agent(entity: &Entity) -> Status {
    if switched_off(entity) {
        Status::Inactive
    } else if entity.failed {
        Status::Error
    } else if entity.run.is_some() {
        Status::Active
    } else {
        said(entity, Field::Status).unwrap_or(Status::Active)
    }
}

/// Offline when nobody names it and it is silent; else what is said; else a node that is named or measures is online.
pub(super) fn of_node(entity: &Entity) -> Status {
    if entity.offline_since.is_some() && entity.sign.is_none() && !entity.vouched() {
        return Status::Offline;
    }
    said(entity, Field::Status).unwrap_or(Status::Online)
}

/// Switched off by the DAO service, then its health as the space service sees it.
pub(super) fn of_dao(entity: &Entity) -> Status {
    if switched_off(entity) {
        return Status::Inactive;
    }
    said(entity, Field::Health).unwrap_or(Status::Active)
}

pub(super) fn of_microdao(entity: &Entity) -> Status {
    if switched_off(entity) { Status::Inactive } else { Status::Active }
}

/// Whether metrics of a node are news about its status: nobody says one, or what is said is that it is away. A service
/// that says `warn` knows more than metrics do.
pub(super) fn metrics_tell(entity: &Entity) -> bool {
    let by_event = entity.facts.get(entity.kind, Field::Status, Source::Event).is_some();
    of_node(entity) == Status::Offline || (!by_event && !entity.facts.has_service(Field::Status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_network_has_its_status() {
        for (words, status) in [
            (&["active", "busy", "good"][..], Status::Active),
            (&["online", "healthy"], Status::Online),
            (&["warn", "degraded", "WARNING"], Status::Warning),
            (&["critical", "error"], Status::Error),
            (&["offline"], Status::Offline),
            (&["idle"], Status::Idle),
            (&["inactive"], Status::Inactive),
        ] {
            for word in words {
                assert_eq!(read(word), Some(status), "{word}");
            }
        }
        assert_eq!(read("dancing"), None);
    }
}
