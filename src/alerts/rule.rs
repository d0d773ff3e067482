//! One rule: its input, its kind and its condition.

use chrono::TimeDelta;
use serde_json::{Number, Value};

use crate::model::alert::{AlertSeverity, MeasuredCondition, Measurement};
use crate::model::subject::Pattern;
use crate::model::{EntityType, Event};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) severity: AlertSeverity,
    pub(super) title: String,
    pub(super) message: Option<String>,
    pub(super) input: Input,
    pub(super) kind: RuleKind,
    pub(super) condition: Condition,
    /// Time the condition must hold before the alert is raised.
    pub(super) hold: TimeDelta,
    /// Time the condition must not hold before the alert is cleared.
    pub(super) clear_hold: TimeDelta,
    /// Time without observations after which a group is dropped.
    pub(super) forget_after: TimeDelta,
}

/// The data that a rule is evaluated on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    Events { pattern: Pattern, filters: Vec<(String, Vec<Value>)>, group_by: Option<String> },
    Entities(EntityType),
    Upstreams,
    Journal,
    DeadLetters,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RuleKind {
    Threshold { field: String },
    Rate { window: TimeDelta },
    Absence { within: TimeDelta },
    State { field: String },
}

/// When an alert is due. `clear` is the bound that applies while the alert is raised.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Above {
        bound: f64,
        clear: f64,
    },
    Below {
        bound: f64,
        clear: f64,
    },
    Is(Vec<Value>),
    /// No event arrives.
    Absent,
}

impl Condition {
    /// Compares a value with the condition; `number` is the value as a number, if it is one.
    pub(super) fn holds(&self, value: &Value, number: Option<f64>, raised: bool) -> bool {
        match (self, number) {
            (Self::Above { bound, .. }, Some(number)) if !raised => number > *bound,
            (Self::Above { clear, .. }, Some(number)) => number > *clear,
            (Self::Below { bound, .. }, Some(number)) if !raised => number < *bound,
            (Self::Below { clear, .. }, Some(number)) => number < *clear,
            (Self::Is(values), _) => values.contains(value),
            (Self::Above { .. } | Self::Below { .. } | Self::Absent, _) => false,
        }
    }
}

impl Rule {
    /// Name of the field that is compared; none when events are counted.
    pub(super) fn field(&self) -> Option<&str> {
        match &self.kind {
            RuleKind::Threshold { field } | RuleKind::State { field } => Some(field),
            RuleKind::Rate { .. } | RuleKind::Absence { .. } => None,
        }
    }

    /// The comparison that raised an alert.
    pub(super) fn measurement(&self, value: &Value) -> Measurement {
        let (condition, bound) = match &self.condition {
            Condition::Above { bound, .. } => (MeasuredCondition::Above, Number::from_f64(*bound)),
            Condition::Below { bound, .. } => (MeasuredCondition::Below, Number::from_f64(*bound)),
            Condition::Is(_) => (MeasuredCondition::Is, None),
            Condition::Absent => (MeasuredCondition::Absent, None),
        };
        // the number of dead letters has no field
        let field = self.field().map(|field| if field.is_empty() { "dead_letters" } else { field }.to_owned());
        let seconds = u64::try_from(self.lookback().num_seconds()).ok().filter(|seconds| *seconds > 0);
        Measurement { field, value: value.clone(), condition, bound, window_seconds: seconds }.bounded()
    }

    /// Length of the time window that the rule looks back over; zero when only the latest value counts.
    pub(super) fn lookback(&self) -> TimeDelta {
        match self.kind {
            RuleKind::Rate { window } => window,
            RuleKind::Absence { within } => within,
            RuleKind::Threshold { .. } | RuleKind::State { .. } => TimeDelta::zero(),
        }
    }
}

/// A field of an event: `event_type`, `source`, `entity_id`, `trace_id`, or a path such as `payload.usage.cpu`. Null when the
/// event does not have it.
pub(super) fn event_field(event: &Event, field: &str) -> Value {
    let text = |text: Option<&String>| text.map_or(Value::Null, |text| Value::String(text.clone()));
    match field.split_once('.') {
        Some(("payload", path)) => value_at(&event.payload, path),
        _ => match field {
            "event_type" => Value::String(event.event_type.clone()),
            "source" => text(event.source_service.as_ref()),
            "entity_id" => text(event.entity_id.as_ref()),
            "trace_id" => text(event.trace_id.as_ref()),
            _ => Value::Null,
        },
    }
}

/// The value at a path of names separated by dots; null when there is none.
pub(super) fn value_at(value: &Value, path: &str) -> Value {
    path.split('.').try_fold(value, |value, name| value.get(name)).cloned().unwrap_or_default()
}
