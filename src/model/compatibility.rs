//! Compatibility with the service that this one replaces: its names of services.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::envelope::family_service;
use super::event::Event;
use super::source::Service;

/// The service whose fields and names clients expect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    /// This one
    #[default]
    None,
    /// The Python prototype: its fields and names as well, and pages of any origin may read its routes
    Prototype,
}

/// First tokens of the subjects that other services publish. The prototype derived the name of a row's source from them.
const FAMILIES: [&str; 9] = ["agent", "agents", "city", "dao", "messaging", "microdao", "node", "space", "usage"];

/// End of every service's name in the prototype's rows.
const SUFFIX: &str = "-service";

impl Compatibility {
    /// Returns true for the prototype's fields and names.
    #[must_use]
    pub const fn is_prototype(self) -> bool {
        matches!(self, Self::Prototype)
    }

    /// Name of the value in settings and responses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Prototype => "prototype",
        }
    }

    /// Name of an upstream in `meta.source_services`.
    #[must_use]
    pub const fn upstream_name(self, service: Service) -> &'static str {
        match (self, service) {
            (Self::Prototype, Service::Agents) => "agents-service",
            (Self::Prototype, Service::Microdao) => "microdao-service",
            (Self::Prototype, Service::Dao) => "dao-service",
            (Self::Prototype, Service::Usage) => "usage-engine",
            (Self::Prototype, Service::City) => "city-service",
            (Self::Prototype, Service::Space) => "space-service",
            // the prototype had no others
            (_, service) => service.as_str(),
        }
    }

    /// Name under which the source of an event is stored. A name that the publisher stated is stored as stated.
    #[must_use]
    pub fn stored_source(self, event: &Event) -> Option<Cow<'_, str>> {
        let source = event.source_service.as_deref()?;
        let prototype =
            prototype_source(&event.event_type).filter(|_| self.is_prototype() && is_derived(event, source));
        Some(prototype.map_or(Cow::Borrowed(source), Cow::Owned))
    }
}

/// Returns true if the source is the one that is derived from the subject.
fn is_derived(event: &Event, source: &str) -> bool {
    family_service(&event.event_type) == Some(source)
}

/// Name that the prototype gave the source of events of this type.
fn prototype_source(event_type: &str) -> Option<String> {
    let family = event_type.split('.').next()?;
    FAMILIES.contains(&family).then(|| format!("{family}{SUFFIX}"))
}

/// The source of an event that was stored with the name `stored`, whichever value of [`Compatibility`] was in force.
#[must_use]
pub fn source_of_stored(event_type: &str, stored: String) -> String {
    match family_service(event_type) {
        Some(derived) if prototype_source(event_type).is_some_and(|prototype| prototype == stored) => {
            derived.to_owned()
        }
        _ => stored,
    }
}

/// All names under which the source `name` may be stored: `name` first, then those that mean the same.
#[must_use]
pub fn stored_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    for family in FAMILIES {
        let prototype = format!("{family}{SUFFIX}");
        let Some(derived) = family_service(family) else { continue };
        let other = if name == derived {
            prototype
        } else if name == prototype {
            derived.to_owned()
        } else {
            continue;
        };
        if !names.contains(&other) {
            names.push(other);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::model::envelope;

    fn event(event: serde_json::Value) -> Event {
        envelope::publish(event, DateTime::UNIX_EPOCH).unwrap().event
    }

    /// Names as recorded from the prototype, see `tests/fixtures/living-map-service/asis/history.json`.
    #[test]
    fn a_derived_source_is_stored_under_the_recorded_name_and_read_back() {
        for (event_type, own, recorded) in [
            ("usage.agent.invocation", Some("usage"), Some("usage-service")),
            ("agent.event.reply_sent", Some("agents"), Some("agent-service")),
            ("agents.reply", Some("agents"), Some("agents-service")),
            ("messaging.message.created", Some("messaging"), Some("messaging-service")),
            ("city.event.agent_joined", Some("city"), Some("city-service")),
            ("node.metrics.update", Some("nodes"), Some("node-service")),
            ("dao.event.created", Some("dao"), Some("dao-service")),
            ("microdao.event.created", Some("microdao"), Some("microdao-service")),
            ("living_map.alert.raised", Some("living_map"), Some("living_map")),
            ("task.created", None, None),
        ] {
            let event = event(json!({"event_type": event_type}));
            assert_eq!(event.source_service.as_deref(), own);
            assert_eq!(Compatibility::None.stored_source(&event).as_deref(), own);
            let stored = Compatibility::Prototype.stored_source(&event);
            assert_eq!(stored.as_deref(), recorded, "{event_type}");
            let read = stored.map(|stored| source_of_stored(event_type, stored.into_owned()));
            assert_eq!(read.as_deref(), own, "{event_type}");
            assert_eq!(own.map(|own| source_of_stored(event_type, own.to_owned())).as_deref(), own);
        }
    }

    #[test]
    fn a_stated_source_is_stored_as_stated() {
        let event = event(json!({"event_type": "agent.event.status", "source": "gateway"}));
        for compatibility in [Compatibility::None, Compatibility::Prototype] {
            assert_eq!(compatibility.stored_source(&event).as_deref(), Some("gateway"));
        }
        assert_eq!(source_of_stored("agent.event.status", "gateway".to_owned()), "gateway");
        assert_eq!(source_of_stored("dao.event.created", "agent-service".to_owned()), "agent-service");
    }

    #[test]
    fn a_source_is_found_under_all_its_names() {
        assert_eq!(stored_names("agents"), ["agents", "agent-service", "agents-service"]);
        assert_eq!(stored_names("agent-service"), ["agent-service", "agents"]);
        assert_eq!(stored_names("nodes"), ["nodes", "node-service"]);
        assert_eq!(stored_names("gateway"), ["gateway"]);
    }
}
