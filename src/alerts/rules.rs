//! The file of rules: its form, and what may be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value;

use super::destination::Described;
use crate::model::alert::AlertSeverity;
use crate::model::subject::Pattern;
use crate::model::{EntityType, Event};

/// The longest name of a rule, in bytes.
const MAX_NAME_BYTES: usize = 40;
/// The longest title and message, in bytes.
const MAX_TEXT_BYTES: usize = 300;
/// Hours without news after which a group is forgotten where the rule does not say.
const FORGET_HOURS: f64 = 24.0;
/// The longest time of any kind, in seconds.
const MAX_SECONDS: f64 = 7.0 * 86_400.0;

/// How much a file may ask for.
#[derive(Debug, Clone, Copy)]
pub struct RulesLimits {
    /// Rules. Default 100.
    pub max_rules: usize,
    /// Groups of each rule. Default 1,000.
    pub max_groups: usize,
    /// Webhooks. Default 20.
    pub max_webhooks: usize,
}

impl Default for RulesLimits {
    fn default() -> Self {
        Self { max_rules: 100, max_groups: 1_000, max_webhooks: 20 }
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// `rule` or `webhook` and its name, or its place in the file; none for the file as a whole.
    pub place: Option<String>,
    /// What is wrong; it names the field.
    pub problem: String,
}

impl RuleError {
    /// The file as a whole is wrong.
    pub(super) const fn of_file(problem: String) -> Self {
        Self { place: None, problem }
    }

    pub(super) fn of_webhook(name: &str, problem: String) -> Self {
        Self { place: Some(format!("webhook {name}")), problem }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// Rules that can be followed.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) all: Vec<Rule>,
    pub(super) max_groups: usize,
    pub(super) webhooks: Vec<Described>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) severity: AlertSeverity,
    pub(super) title: String,
    pub(super) message: Option<String>,
    pub(super) over: Over,
    pub(super) kind: Kind,
    pub(super) test: Test,
    /// How long it must be wrong before the alert is raised.
    pub(super) hold: TimeDelta,
    /// And right before it is cleared.
    pub(super) clear_hold: TimeDelta,
    /// After how long without news a group is forgotten.
    pub(super) forget: TimeDelta,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Over {
    Events { pattern: Pattern, filters: Vec<(String, Vec<Value>)>, group_by: Option<String> },
    Entities(EntityType),
    Sources,
    Journal,
    DeadLetters,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Threshold { field: String },
    Rate { window: TimeDelta },
    Absence { within: TimeDelta },
    State { field: String },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Above {
        bound: f64,
        clear: f64,
    },
    Below {
        bound: f64,
        clear: f64,
    },
    Is(Vec<Value>),
    /// Silence is what is wrong.
    Absent,
}

impl Test {
    /// Of an alert that is raised the other bound decides.
    pub(super) fn is_wrong(&self, value: &Value, number: Option<f64>, raised: bool) -> bool {
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
    /// The field of an event that it looks at.
    pub(super) fn field(&self) -> Option<&str> {
        match &self.kind {
            Kind::Threshold { field } | Kind::State { field } => Some(field),
            Kind::Rate { .. } | Kind::Absence { .. } => None,
        }
    }

    /// How far back it looks.
    pub(super) fn span(&self) -> TimeDelta {
        match self.kind {
            Kind::Rate { window: span } | Kind::Absence { within: span } => span,
            Kind::Threshold { .. } | Kind::State { .. } => TimeDelta::zero(),
        }
    }
}

/// A value of an event, by `event_type`, `source`, `entity_id`, `trace_id`, or a path such as `payload.usage.cpu`.
pub(super) fn field_of(event: &Event, field: &str) -> Value {
    let text = |text: Option<&String>| text.map_or(Value::Null, |text| Value::String(text.clone()));
    match field.split_once('.') {
        Some(("payload", path)) => path_of(&event.payload, path),
        _ => match field {
            "event_type" => Value::String(event.event_type.clone()),
            "source" => text(event.source_service.as_ref()),
            "entity_id" => text(event.entity_id.as_ref()),
            "trace_id" => text(event.trace_id.as_ref()),
            _ => Value::Null,
        },
    }
}

pub(super) fn path_of(value: &Value, path: &str) -> Value {
    path.split('.').try_fold(value, |value, name| value.get(name)).cloned().unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    over: Option<String>,
    kind: String,
    severity: Option<String>,
    title: String,
    message: Option<String>,
    events: Option<String>,
    #[serde(rename = "where")]
    filters: Option<BTreeMap<String, Value>>,
    group_by: Option<String>,
    entity_type: Option<String>,
    field: Option<String>,
    is: Option<Value>,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    window_seconds: Option<f64>,
    within_seconds: Option<f64>,
    for_seconds: Option<f64>,
    clear_for_seconds: Option<f64>,
    forget_hours: Option<f64>,
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str, limits: RulesLimits) -> Result<Self, Vec<RuleError>> {
        let whole = |problem: String| vec![RuleError::of_file(problem)];
        let mut file: toml::Table = toml::from_str(text).map_err(|error| whole(error.to_string().trim().to_owned()))?;
        let mut tables = |name: &str| match file.remove(name) {
            None => Ok(Vec::new()),
            Some(toml::Value::Array(tables)) => Ok(tables),
            Some(_) => Err(whole(format!("{name}: expected [[{name}]] tables"))),
        };
        let (rules, webhooks) = (tables("rule")?, tables("webhook")?);
        if let Some(name) = file.keys().next() {
            return Err(whole(format!("{name}: is not known; expected [[rule]] and [[webhook]] tables")));
        }
        if webhooks.len() > limits.max_webhooks {
            return Err(whole(format!(
                "there are {} webhooks; at most {} (ALERT_MAX_WEBHOOKS)",
                webhooks.len(),
                limits.max_webhooks
            )));
        }
        if rules.len() > limits.max_rules {
            return Err(whole(format!(
                "there are {} rules; at most {} (ALERT_MAX_RULES)",
                rules.len(),
                limits.max_rules
            )));
        }
        let (mut all, mut errors, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, rule) in rules.into_iter().enumerate() {
            let named = rule.get("name").and_then(toml::Value::as_str).map(str::to_owned);
            let place = named.unwrap_or_else(|| format!("{}", index + 1));
            let mut wrong = |problem: String| {
                errors.push(RuleError { place: Some(format!("rule {place}")), problem });
            };
            match rule.try_into::<Written>() {
                Err(error) => wrong(error.to_string().trim().to_owned()),
                Ok(written) => match written.read() {
                    Err(problems) => problems.into_iter().for_each(wrong),
                    Ok(rule) if !names.insert(rule.name.clone()) => wrong("name: is there twice".to_owned()),
                    Ok(rule) => all.push(rule),
                },
            }
        }
        let webhooks = Described::parse(webhooks, &names, &mut errors);
        if errors.is_empty() { Ok(Self { all, max_groups: limits.max_groups, webhooks }) } else { Err(errors) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether one of them is over dead letters.
    #[must_use]
    pub fn count_dead_letters(&self) -> bool {
        self.all.iter().any(|rule| rule.over == Over::DeadLetters)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Written {
    fn read(self) -> Result<Rule, Vec<String>> {
        let mut problems = Vec::new();
        let mut note = |problem: String| problems.push(problem);
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) || !is_name(&self.name) {
            note(format!("name: expected 1 to {MAX_NAME_BYTES} of a-z, 0-9, '-' and '_'"));
        }
        for (field, text) in [("title", Some(&self.title)), ("message", self.message.as_ref())] {
            if text.is_some_and(|text| !(1..=MAX_TEXT_BYTES).contains(&text.len())) {
                note(format!("{field}: expected a text of 1 to {MAX_TEXT_BYTES} bytes"));
            }
        }
        let severity = self.severity.as_deref().unwrap_or("warning").parse();
        let severity = severity.map_err(|error: String| note(format!("severity: {error}"))).ok();
        let mut seconds = |field: &str, value: Option<f64>, least: f64, otherwise: Option<f64>| {
            match value.or(otherwise) {
                #[expect(clippy::cast_possible_truncation, reason = "bounded")]
                Some(value) if (least..=MAX_SECONDS).contains(&value) => {
                    return Some(TimeDelta::milliseconds((value * 1_000.0) as i64));
                }
                Some(_) => note(format!("{field}: expected a number from {least} to {MAX_SECONDS}")),
                None => note(format!("{field}: is required")),
            }
            None
        };
        let hold = seconds("for_seconds", self.for_seconds, 0.0, Some(0.0));
        let clear_hold = seconds("clear_for_seconds", self.clear_for_seconds, 0.0, Some(0.0));
        let forget = self.forget_hours.unwrap_or(FORGET_HOURS) * 3_600.0;
        let forget = seconds("forget_hours (as seconds)", Some(forget), 1.0, None);
        let over_name = self.over.as_deref().unwrap_or("events");
        let field = self.field.clone();
        let kind = match (self.kind.as_str(), over_name) {
            ("rate", "events" | "journal") => {
                seconds("window_seconds", self.window_seconds, 1.0, None).map(|window| Kind::Rate { window })
            }
            ("absence", "events") => {
                seconds("within_seconds", self.within_seconds, 1.0, None).map(|within| Kind::Absence { within })
            }
            ("threshold", "dead_letters") => Some(Kind::Threshold { field: String::new() }),
            ("threshold", "sources") => Some(Kind::Threshold { field: "age_seconds".to_owned() }),
            ("state", "sources") => Some(Kind::State { field: "status".to_owned() }),
            ("state", "entities") => Some(Kind::State { field: field.unwrap_or_else(|| "status".to_owned()) }),
            ("threshold" | "state", "events" | "entities") if field.is_none() => {
                note("field: is required".to_owned());
                None
            }
            ("threshold", "events" | "entities") => field.map(|field| Kind::Threshold { field }),
            ("state", "events") => field.map(|field| Kind::State { field }),
            (kind, over) => {
                note(format!(
                    "kind: '{kind}' over '{over}' is none; there are threshold (events, entities, sources, dead_letters), \
                     state (events, entities, sources), rate (events, journal), absence (events)"
                ));
                None
            }
        };
        let test = match (self.kind.as_str(), self.above, self.below, self.is.clone()) {
            ("absence", None, None, None) => Some(Test::Absent),
            ("state", None, None, Some(Value::Array(values))) if !values.is_empty() => Some(Test::Is(values)),
            ("state", None, None, Some(value)) if !value.is_array() => Some(Test::Is(vec![value])),
            ("threshold" | "rate", Some(bound), None, None) => {
                Some(Test::Above { bound, clear: self.clear.unwrap_or(bound) })
            }
            ("threshold" | "rate", None, Some(bound), None) => {
                Some(Test::Below { bound, clear: self.clear.unwrap_or(bound) })
            }
            ("absence", ..) => {
                note("above, below, is: an absence has none of them".to_owned());
                None
            }
            ("state", ..) => {
                note("is: expected a value or a list of values, and neither above nor below".to_owned());
                None
            }
            _ => {
                note("above, below: expected one of the two, and no is".to_owned());
                None
            }
        };
        match test {
            Some(Test::Above { bound, clear }) if clear > bound => note("clear: expected at most 'above'".to_owned()),
            Some(Test::Below { bound, clear }) if clear < bound => note("clear: expected at least 'below'".to_owned()),
            _ => {}
        }
        let over = match over_name {
            "events" => match self.events.as_deref().map(str::parse::<Pattern>) {
                Some(Ok(pattern)) => {
                    let values = |value| if let Value::Array(values) = value { values } else { vec![value] };
                    let filters =
                        self.filters.unwrap_or_default().into_iter().map(|(field, value)| (field, values(value)));
                    let filters: Vec<_> = filters.collect();
                    for field in filters.iter().map(|(field, _)| field).chain(&self.group_by).chain(&self.field) {
                        if !is_field(field) {
                            note(format!(
                                "{field}: expected event_type, source, entity_id, trace_id or payload.<path>"
                            ));
                        }
                    }
                    Some(Over::Events { pattern, filters, group_by: self.group_by.clone() })
                }
                Some(Err(error)) => {
                    note(format!("events: {error}"));
                    None
                }
                None => {
                    note("events: is required".to_owned());
                    None
                }
            },
            "entities" => match self.entity_type.as_deref().map(str::parse) {
                Some(Ok(kind)) => Some(Over::Entities(kind)),
                Some(Err(error)) => {
                    note(format!("entity_type: {error}"));
                    None
                }
                None => {
                    note("entity_type: is required".to_owned());
                    None
                }
            },
            "sources" => Some(Over::Sources),
            "journal" => Some(Over::Journal),
            "dead_letters" => Some(Over::DeadLetters),
            _ => {
                note("over: expected one of events entities sources journal dead_letters".to_owned());
                None
            }
        };
        match (severity, over, kind, test, hold, clear_hold, forget) {
            (Some(severity), Some(over), Some(kind), Some(test), Some(hold), Some(clear_hold), Some(forget))
                if problems.is_empty() =>
            {
                let Self { name, title, message, .. } = self;
                Ok(Rule { name, severity, title, message, over, kind, test, hold, clear_hold, forget })
            }
            _ => Err(problems),
        }
    }
}

/// Whether it is made of what names are made of.
pub(super) fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

fn is_field(field: &str) -> bool {
    matches!(field, "event_type" | "source" | "entity_id" | "trace_id")
        || field.strip_prefix("payload.").is_some_and(|path| path.split('.').all(|name| !name.is_empty()))
}
