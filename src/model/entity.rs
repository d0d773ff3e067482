//! Entity types, layers and statuses, with their wire names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A value outside a closed set of wire names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}")]
pub struct UnknownName {
    /// The accepted names, separated by spaces.
    pub expected: &'static str,
}

macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $wire:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The names of all values, in declaration order.
            pub const NAMES: &'static [&'static str] = &[$($wire),+];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($wire => Ok(Self::$variant),)+
                    _ => Err(UnknownName { expected: concat!($($wire, " "),+).trim_ascii_end() }),
                }
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// Type of an entity.
    EntityType {
        /// The city itself.
        City = "city",
        /// The space itself.
        Space = "space",
        /// A machine.
        Node = "node",
        /// An agent.
        Agent = "agent",
        /// A DAO, a planet of the space layer.
        Dao = "dao",
        /// A microDAO.
        Microdao = "microdao",
        /// A messaging channel.
        Channel = "channel",
    }
}

wire_enum! {
    /// One of the four layers of the map.
    Layer {
        /// MicroDAOs and channels.
        City = "city",
        /// DAOs, with nodes in their orbits.
        Space = "space",
        /// Machines.
        Nodes = "nodes",
        /// Agents.
        Agents = "agents",
    }
}

wire_enum! {
    /// Status of an entity.
    Status {
        /// In use; its presence is unknown.
        Active = "active",
        /// Deactivated by its owner.
        Inactive = "inactive",
        /// Present and healthy.
        Online = "online",
        /// Unreachable.
        Offline = "offline",
        /// Degraded.
        Warning = "warning",
        /// Failing.
        Error = "error",
        /// Present, not working.
        Idle = "idle",
    }
}

impl EntityType {
    /// The home layer of entities of this type. [`Layer::Space`] also lists nodes.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::City | Self::Microdao | Self::Channel => Layer::City,
            Self::Space | Self::Dao => Layer::Space,
            Self::Node => Layer::Nodes,
            Self::Agent => Layer::Agents,
        }
    }

    /// The type in an id's prefix (`agent:sofia`), if it has one.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        let (prefix, rest) = id.split_once(':')?;
        if rest.is_empty() { None } else { prefix.parse().ok() }
    }

    /// `id` with this type's prefix: `agent` + `sofia` is `agent:sofia`, and `agent:sofia` stays.
    #[must_use]
    pub fn prefixed(self, id: &str) -> String {
        if Self::of_id(id) == Some(self) { id.to_owned() } else { format!("{self}:{id}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_errors_list_the_names() {
        for &kind in EntityType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "daos".parse::<EntityType>().unwrap_err();
        assert_eq!(error.to_string(), "expected one of city space node agent dao microdao channel");
    }

    #[test]
    fn a_dao_prefix_is_not_found_inside_a_microdao_prefix() {
        assert_eq!(EntityType::of_id("microdao:7"), Some(EntityType::Microdao));
        assert_eq!(EntityType::of_id("dao:7"), Some(EntityType::Dao));
        assert_eq!(EntityType::of_id("agent:"), None);
        assert_eq!(EntityType::Agent.prefixed("sofia"), "agent:sofia");
        assert_eq!(EntityType::Agent.prefixed("agent:sofia"), "agent:sofia");
    }
}
