//! The decoded content of an event.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::map::fields::Field;
use crate::map::names::Name;
use crate::map::usage::Counts;
use crate::model::{Alert, EntityType, Silence, Status};

use super::poll::PollPart;

/// The content of one event.
#[derive(Debug)]
pub(in crate::map) enum Decoded<'a> {
    /// The event has no meaning for the map.
    Nothing,
    /// An assertion about one entity: most events.
    Entity(Assertion<'a>),
    /// Assertions about several entities, in the order in which they apply.
    Entities(Vec<Assertion<'a>>),
    /// Calls of language models, counted for the network and for the agent that the event names.
    ModelUsage {
        counts: Counts,
        agent: Option<Assertion<'a>>,
    },
    Alert(AlertOperation),
    Poll(PollPart),
}

impl<'a> From<Option<Assertion<'a>>> for Decoded<'a> {
    fn from(assertion: Option<Assertion<'a>>) -> Self {
        assertion.map_or(Self::Nothing, Self::from)
    }
}

impl<'a> From<Assertion<'a>> for Decoded<'a> {
    fn from(assertion: Assertion<'a>) -> Self {
        Self::Entity(assertion)
    }
}

/// Statements of an event about one entity.
#[derive(Debug)]
pub(in crate::map) struct Assertion<'a> {
    pub(in crate::map) entity: EntitySelector,
    /// In the order in which they apply.
    pub(in crate::map) operations: Vec<Operation<'a>>,
}

impl<'a> Assertion<'a> {
    /// That an entity with these names exists.
    pub(super) fn exists(kind: EntityType, names: Vec<Name>, certainty: Certainty) -> Self {
        Self { entity: EntitySelector::Named { kind, names, certainty }, operations: Vec::new() }
    }

    /// That an entity with any of these names was deleted.
    pub(super) fn deleted(names: Vec<Name>) -> Self {
        Self { entity: EntitySelector::Known(names), operations: vec![Operation::Delete] }
    }

    /// Adds operations.
    pub(super) fn with(mut self, operations: impl IntoIterator<Item = Operation<'a>>) -> Self {
        self.operations.extend(operations);
        self
    }
}

/// The entity that an assertion is about; the identity stage resolves it.
#[derive(Debug)]
pub(in crate::map) enum EntitySelector {
    /// The entity with these names; added to the map when it is unknown.
    Named { kind: EntityType, names: Vec<Name>, certainty: Certainty },
    /// The first of these names that an entity on the map has; nothing is added.
    Known(Vec<Name>),
    /// The agent of the first of these runs whose agent is known.
    AgentOfRun(Vec<String>),
}

/// Strength of the assertion that an entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::map) enum Certainty {
    /// The entity is mentioned: enough to add an unknown one for a time, not to restore a deleted one.
    Mentioned,
    /// The event is a statement about the entity itself.
    Explicit,
}

/// One change to an entity.
#[derive(Debug)]
pub(in crate::map) enum Operation<'a> {
    /// A field has this value.
    Set(Field, Value),
    /// A field is mentioned with this value, not normalized yet; used while no other origin has a value.
    Hint(Field, &'a Value),
    /// A slug of the entity, as another name.
    AddSlug(Name),
    Delete,
    /// The entity was active at the event's time.
    Activity,
    Count(Counts),
    /// An agent succeeded or failed: it is in error from a failure until the next success.
    Outcome {
        success: bool,
    },
    /// A counting field grew or shrank by one.
    Step {
        field: Field,
        up: bool,
    },
    /// The balance of one token; other tokens keep theirs.
    TokenBalance {
        token: &'a str,
        balance: &'a Value,
    },
    OpenProposal(String),
    CloseProposal(String),
    Metrics(Metrics),
    /// A run started; it may have several ids, the first one is shown.
    StartRun {
        ids: Vec<String>,
    },
    /// A run progressed, to a fraction of 1 or a percentage.
    ProgressRun {
        ids: Vec<String>,
        progress: Option<f64>,
    },
    /// A run ended; without ids, the current one.
    EndRun {
        ids: Vec<String>,
    },
    /// A lesson about an agent was opened or closed, and may have replaced another one.
    Lesson {
        key: &'a str,
        open: bool,
        supersedes: Option<&'a str>,
    },
}

/// Metrics of a node, which also prove activity; ignored when the node sent newer ones before.
#[derive(Debug)]
pub(in crate::map) struct Metrics {
    pub(in crate::map) fields: Vec<(Field, Value)>,
    pub(in crate::map) status: Option<Status>,
}

/// A change to the alerts and silences.
#[derive(Debug)]
pub(in crate::map) enum AlertOperation {
    /// Raise an alert, until it is cleared or `ttl` has passed.
    Raise {
        alert: Box<Alert>,
        ttl: Option<TimeDelta>,
    },
    Clear {
        id: String,
    },
    Acknowledge {
        id: String,
        by: String,
        note: Option<String>,
        at: DateTime<Utc>,
    },
    Silence(Silence),
    Unsilence {
        id: String,
    },
}
