//! Parsing and validation of `[[rule]]` tables.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value;

use super::error::RuleError;
use super::name;
use super::rule::{Condition, Input, Rule, RuleKind};
use crate::model::subject::Pattern;

/// The longest title and message, in bytes.
const MAX_TEXT_BYTES: usize = 300;
/// Default of `forget_hours`.
const FORGET_HOURS: f64 = 24.0;
/// Upper limit of all durations, in seconds.
const MAX_SECONDS: f64 = 7.0 * 86_400.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
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

/// Parses the tables, and adds the names of the valid rules to `names`.
pub(super) fn parse(tables: Vec<toml::Value>, names: &mut BTreeSet<String>, errors: &mut Vec<RuleError>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let place = name::of_table(&table, index);
        let mut wrong = |problem: String| errors.push(RuleError::of_rule(&place, problem));
        match table.try_into::<RuleTable>() {
            Err(error) => wrong(error.to_string().trim().to_owned()),
            Ok(table) => match table.validate() {
                Err(problems) => problems.into_iter().for_each(wrong),
                Ok(rule) if !names.insert(rule.name.clone()) => wrong(name::DUPLICATE.to_owned()),
                Ok(rule) => rules.push(rule),
            },
        }
    }
    rules
}

/// The problems of one table.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// Adds a problem; none as the value.
    fn none<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        self.add(problem);
        None
    }

    fn seconds(&mut self, field: &str, value: Option<f64>, min: f64) -> Option<TimeDelta> {
        match value {
            #[expect(clippy::cast_possible_truncation, reason = "bounded")]
            Some(value) if (min..=MAX_SECONDS).contains(&value) => {
                Some(TimeDelta::milliseconds((value * 1_000.0) as i64))
            }
            Some(_) => self.none(format!("{field}: expected a number from {min} to {MAX_SECONDS}")),
            None => self.none(format!("{field}: is required")),
        }
    }
}

impl RuleTable {
    fn validate(self) -> Result<Rule, Vec<String>> {
        let mut problems = Problems::default();
        if let Err(problem) = name::check(&self.name) {
            problems.add(problem);
        }
        for (field, text) in [("title", Some(&self.title)), ("message", self.message.as_ref())] {
            if text.is_some_and(|text| !(1..=MAX_TEXT_BYTES).contains(&text.len())) {
                problems.add(format!("{field}: expected a text of 1 to {MAX_TEXT_BYTES} bytes"));
            }
        }
        let severity = self.severity.as_deref().unwrap_or("warning").parse();
        let severity = severity.map_err(|error: String| problems.add(format!("severity: {error}"))).ok();
        let hold = problems.seconds("for_seconds", self.for_seconds.or(Some(0.0)), 0.0);
        let clear_hold = problems.seconds("clear_for_seconds", self.clear_for_seconds.or(Some(0.0)), 0.0);
        let forget = self.forget_hours.unwrap_or(FORGET_HOURS) * 3_600.0;
        let forget = problems.seconds("forget_hours (as seconds)", Some(forget), 1.0);
        let kind = self.kind(&mut problems);
        let condition = self.condition(&mut problems);
        let input = self.input(&mut problems);
        match (severity, input, kind, condition, hold, clear_hold, forget) {
            (
                Some(severity),
                Some(input),
                Some(kind),
                Some(condition),
                Some(hold),
                Some(clear_hold),
                Some(forget_after),
            ) if problems.0.is_empty() => {
                let Self { name, title, message, .. } = self;
                Ok(Rule { name, severity, title, message, input, kind, condition, hold, clear_hold, forget_after })
            }
            _ => Err(problems.0),
        }
    }

    fn over(&self) -> &str {
        self.over.as_deref().unwrap_or("events")
    }

    fn kind(&self, problems: &mut Problems) -> Option<RuleKind> {
        let field = self.field.clone();
        match (self.kind.as_str(), self.over()) {
            ("rate", "events" | "journal") => {
                problems.seconds("window_seconds", self.window_seconds, 1.0).map(|window| RuleKind::Rate { window })
            }
            ("absence", "events") => {
                problems.seconds("within_seconds", self.within_seconds, 1.0).map(|within| RuleKind::Absence { within })
            }
            ("threshold", "dead_letters") => Some(RuleKind::Threshold { field: String::new() }),
            ("threshold", "sources") => Some(RuleKind::Threshold { field: "age_seconds".to_owned() }),
            ("state", "sources") => Some(RuleKind::State { field: "status".to_owned() }),
            ("state", "entities") => Some(RuleKind::State { field: field.unwrap_or_else(|| "status".to_owned()) }),
            ("threshold" | "state", "events" | "entities") if field.is_none() => problems.none("field: is required"),
            ("threshold", "events" | "entities") => field.map(|field| RuleKind::Threshold { field }),
            ("state", "events") => field.map(|field| RuleKind::State { field }),
            (kind, over) => problems.none(format!(
                "kind: '{kind}' over '{over}' is not supported; expected threshold (events, entities, sources, \
                 dead_letters), state (events, entities, sources), rate (events, journal) or absence (events)"
            )),
        }
    }

    fn condition(&self, problems: &mut Problems) -> Option<Condition> {
        let condition = match (self.kind.as_str(), self.above, self.below, self.is.clone()) {
            ("absence", None, None, None) => Some(Condition::Absent),
            ("state", None, None, Some(Value::Array(values))) if !values.is_empty() => Some(Condition::Is(values)),
            ("state", None, None, Some(value)) if !value.is_array() => Some(Condition::Is(vec![value])),
            ("threshold" | "rate", Some(bound), None, None) => {
                Some(Condition::Above { bound, clear: self.clear.unwrap_or(bound) })
            }
            ("threshold" | "rate", None, Some(bound), None) => {
                Some(Condition::Below { bound, clear: self.clear.unwrap_or(bound) })
            }
            ("absence", ..) => problems.none("above, below, is: not allowed with kind absence"),
            ("state", ..) => problems.none("is: expected a value or a list of values, and neither above nor below"),
            _ => problems.none("above, below: expected exactly one of the two, and no is"),
        };
        match condition {
            Some(Condition::Above { bound, clear }) if clear > bound => {
                problems.add("clear: expected at most the value of above");
            }
            Some(Condition::Below { bound, clear }) if clear < bound => {
                problems.add("clear: expected at least the value of below");
            }
            _ => {}
        }
        condition
    }

    fn input(&self, problems: &mut Problems) -> Option<Input> {
        match self.over() {
            "events" => self.events(problems),
            "entities" => match self.entity_type.as_deref().map(str::parse) {
                Some(Ok(kind)) => Some(Input::Entities(kind)),
                Some(Err(error)) => problems.none(format!("entity_type: {error}")),
                None => problems.none("entity_type: is required"),
            },
            "sources" => Some(Input::Upstreams),
            "journal" => Some(Input::Journal),
            "dead_letters" => Some(Input::DeadLetters),
            _ => problems.none("over: expected events, entities, sources, journal or dead_letters"),
        }
    }

    fn events(&self, problems: &mut Problems) -> Option<Input> {
        let pattern = match self.events.as_deref().map(str::parse::<Pattern>) {
            Some(Ok(pattern)) => pattern,
            Some(Err(error)) => return problems.none(format!("events: {error}")),
            None => return problems.none("events: is required"),
        };
        let values = |value| if let Value::Array(values) = value { values } else { vec![value] };
        let filters = self.filters.clone().unwrap_or_default().into_iter();
        let filters: Vec<_> = filters.map(|(field, value)| (field, values(value))).collect();
        for field in filters.iter().map(|(field, _)| field).chain(&self.group_by).chain(&self.field) {
            if !is_event_field(field) {
                problems.add(format!("{field}: expected event_type, source, entity_id, trace_id or payload.<path>"));
            }
        }
        Some(Input::Events { pattern, filters, group_by: self.group_by.clone() })
    }
}

fn is_event_field(field: &str) -> bool {
    matches!(field, "event_type" | "source" | "entity_id" | "trace_id")
        || field.strip_prefix("payload.").is_some_and(|path| path.split('.').all(|name| !name.is_empty()))
}
