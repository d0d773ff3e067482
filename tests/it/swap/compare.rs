//! Comparison of two answers, field by field.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::Value;

/// How an answer differs in one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only the old service has the field or item.
    Missing,
    /// The values differ.
    Changed,
    /// Only this service has the field or item.
    Added,
}

/// A field in which two answers differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// File with the recorded answer.
    pub file: String,
    /// Names of fields joined by dots, `[]` behind that of a list.
    pub path: String,
    pub kind: Kind,
    pub old: Value,
    pub ours: Value,
}

/// Collects the differences of the answer recorded in `file`.
pub struct Comparison<'a> {
    pub file: &'a str,
    pub found: Vec<Difference>,
}

impl Comparison<'_> {
    /// Compares a value. Lists of objects are compared by item, whatever their order; other lists as sets.
    pub fn compare(&mut self, path: &str, old: &Value, ours: &Value) {
        match (old, ours) {
            (Value::Object(old), Value::Object(ours)) => {
                for (name, value) in old {
                    match ours.get(name) {
                        Some(other) => self.compare(&joined(path, name), value, other),
                        None => self.add(&joined(path, name), Kind::Missing, value, &Value::Null),
                    }
                }
                for (name, value) in ours.iter().filter(|(name, _)| !old.contains_key(*name)) {
                    self.add(&joined(path, name), Kind::Added, &Value::Null, value);
                }
            }
            (Value::Array(old), Value::Array(ours)) if old.iter().chain(ours).all(Value::is_object) => {
                self.compare_items(&format!("{path}[]"), old, ours);
            }
            (Value::Array(old), Value::Array(ours)) => {
                let set = |list: &[Value]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
                if set(old) != set(ours) {
                    self.add(path, Kind::Changed, &old.clone().into(), &ours.clone().into());
                }
            }
            (old, ours) if is_same(old, ours) => {}
            (old, ours) => self.add(path, Kind::Changed, old, ours),
        }
    }

    fn compare_items(&mut self, path: &str, old: &[Value], ours: &[Value]) {
        let mut left: Vec<(&Value, BTreeSet<String>)> = ours.iter().map(|item| (item, identities(item))).collect();
        for item in old {
            let own = identities(item);
            match left.iter().position(|(_, names)| !names.is_disjoint(&own)) {
                Some(at) => self.compare(path, item, left.remove(at).0),
                None => self.add(path, Kind::Missing, item, &Value::Null),
            }
        }
        for (item, _) in left {
            self.add(path, Kind::Added, &Value::Null, item);
        }
    }

    fn add(&mut self, path: &str, kind: Kind, old: &Value, ours: &Value) {
        let (file, path) = (self.file.to_owned(), path.to_owned());
        self.found.push(Difference { file, path, kind, old: old.clone(), ours: ours.clone() });
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The names by which an item is the same in both answers: its ids and its label, or, of an event, its type and payload.
fn identities(item: &Value) -> BTreeSet<String> {
    if item.get("event_type").is_some() {
        return BTreeSet::from([format!("{} {}", item["event_type"], item["payload"])]);
    }
    let ids = ["id", "uuid", "dao_id", "node_id", "label"].map(|name| item[name].as_str());
    ids.into_iter().flatten().map(str::to_owned).collect()
}

/// Numbers are equal whatever their notation, times when they are the same moment.
fn is_same(old: &Value, ours: &Value) -> bool {
    let time = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok();
    old == ours
        || old.as_f64().is_some_and(|number| ours.as_f64() == Some(number))
        || time(old).is_some_and(|moment| time(ours) == Some(moment))
}
