//! Lenient reading of upstreams' JSON: missing values and values of the wrong type are left out.

use metrics::counter;
use serde_json::{Map, Value};

use super::{AdapterError, ErrorKind};
use crate::model::envelope::MAX_NAME_BYTES;
use crate::model::{EntityType, Facts, Service};

/// A JSON object of a response.
pub(super) type Item = Map<String, Value>;

/// A text, or an integer as text: upstreams use both for ids.
pub(super) fn text(item: &Item, key: &str) -> Option<String> {
    match item.get(key)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A text that is short enough for a name.
pub(super) fn name(item: &Item, key: &str) -> Option<String> {
    text(item, key).filter(|name| name.len() <= MAX_NAME_BYTES)
}

pub(super) fn number(item: &Item, key: &str) -> Option<f64> {
    item.get(key)?.as_f64().filter(|number| number.is_finite())
}

/// A whole number of things; `3.0` counts as 3.
pub(super) fn count(item: &Item, key: &str) -> Option<u64> {
    let value = item.get(key)?;
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
        Some(number as u64)
    })
}

pub(super) fn flag(item: &Item, key: &str) -> Option<bool> {
    item.get(key)?.as_bool()
}

pub(super) fn object<'a>(item: &'a Item, key: &str) -> Option<&'a Item> {
    item.get(key)?.as_object()
}

pub(super) fn list<'a>(item: &'a Item, key: &str) -> Option<&'a [Value]> {
    item.get(key)?.as_array().map(Vec::as_slice)
}

/// A decimal amount as text, with all its digits.
fn decimal(item: &Item, key: &str) -> Option<String> {
    match item.get(key)? {
        Value::String(text) if text.trim().parse::<f64>().is_ok_and(f64::is_finite) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Balances `[{token_symbol, balance}]`, without their other fields.
pub(super) fn treasury(items: &[Value]) -> Value {
    items
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|item| {
            let (symbol, balance) = (name(item, "token_symbol")?, decimal(item, "balance")?);
            Some(Value::from_iter([("token_symbol", symbol), ("balance", balance)]))
        })
        .collect()
}

/// The response to a detail request; none when it failed, which is not a failure of the poll: the last known detail stays on
/// the map.
pub(super) fn detail(service: Service, answer: Result<Value, AdapterError>) -> Option<Value> {
    answer
        .inspect_err(|error| tracing::debug!(%service, %error, "a detail request failed; the last known detail stays"))
        .ok()
}

/// Builder of the fields of an entity.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Adds a field if there is a value.
    pub fn put(mut self, field: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
        self
    }

    /// Adds a text under its own name. An explicit `null` is kept: it states that there is no value.
    pub fn text(self, item: &Item, key: &str) -> Self {
        let null = item.get(key).filter(|value| value.is_null()).cloned();
        self.put(key, text(item, key).map(Value::String).or(null))
    }

    /// Adds a count under its own name.
    pub fn count(self, item: &Item, key: &str) -> Self {
        self.put(key, count(item, key))
    }

    /// Adds a boolean under its own name.
    pub fn flag(self, item: &Item, key: &str) -> Self {
        self.put(key, flag(item, key))
    }

    /// Adds a number under its own name.
    pub fn number(self, item: &Item, key: &str) -> Self {
        self.put(key, number(item, key))
    }

    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// The facts of the entity with these names, the preferred one first; none without a name.
    pub fn facts(self, kind: EntityType, names: impl IntoIterator<Item = Option<String>>) -> Option<Facts> {
        let mut names = names.into_iter().flatten();
        let preferred = names.next()?;
        let id = kind.prefixed(&preferred);
        let mut aliases = Vec::new();
        for alias in std::iter::once(preferred).chain(names) {
            if alias != id && !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        Some(Facts { kind, id, aliases, fields: self.0, partial: false })
    }
}

/// Reads every item of a list. Items without an id are skipped and counted.
///
/// # Errors
/// None of the items could be read: it is a list of something else.
pub(super) fn each<T>(
    service: Service,
    items: &[Value],
    read: impl Fn(&Item) -> Option<T>,
) -> Result<Vec<T>, ErrorKind> {
    let taken: Vec<T> = items.iter().filter_map(|item| read(item.as_object()?)).collect();
    let skipped = items.len() - taken.len();
    if skipped > 0 {
        counter!("living_map_upstream_skipped_items_total", "service" => service.as_str()).increment(skipped as u64);
        tracing::debug!(%service, skipped, "skipped items without an id in an upstream's response");
        if taken.is_empty() {
            return Err(ErrorKind::shape(format!("a list of items with ids, got {skipped} without")));
        }
    }
    Ok(taken)
}

/// The response as a list.
pub(super) fn as_list(answer: &Value) -> Result<&[Value], ErrorKind> {
    answer.as_array().map(Vec::as_slice).ok_or_else(|| ErrorKind::shape(format!("a list, got {}", kind_of(answer))))
}

/// The response as an object.
pub(super) fn as_object(answer: &Value) -> Result<&Item, ErrorKind> {
    answer.as_object().ok_or_else(|| ErrorKind::shape(format!("an object, got {}", kind_of(answer))))
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(value: Value) -> Item {
        match value {
            Value::Object(item) => item,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn wrong_types_are_left_out_and_null_is_kept() {
        let item = item(json!({"name": ["x"], "description": null, "model": "m", "members": "7", "agents": 3.0}));
        let fields = Fields::default()
            .text(&item, "name")
            .text(&item, "description")
            .text(&item, "model")
            .text(&item, "kind")
            .count(&item, "members")
            .count(&item, "agents");
        assert_eq!(Value::Object(fields.into_map()), json!({"description": null, "model": "m", "agents": 3}));
    }

    #[test]
    fn the_first_name_is_the_id_and_the_others_are_aliases() {
        let names = [None, Some("7".to_owned()), Some("microdao:7".to_owned()), Some("u".into()), Some("u".into())];
        let facts = Fields::default().facts(EntityType::Microdao, names).unwrap();
        assert_eq!((facts.id.as_str(), facts.aliases), ("microdao:7", vec!["7".to_owned(), "u".to_owned()]));
        assert_eq!(Fields::default().facts(EntityType::Dao, [None, None]), None);
    }

    #[test]
    fn balances_keep_their_digits() {
        let items = [
            json!({"token_symbol": "DCR", "balance": "513200.12345678", "contract_address": null}),
            json!({"token_symbol": "X", "balance": "much"}),
            json!({"balance": "1"}),
            json!({"token_symbol": "N", "balance": 5}),
        ];
        let expected =
            json!([{"token_symbol": "DCR", "balance": "513200.12345678"}, {"token_symbol": "N", "balance": "5"}]);
        assert_eq!(treasury(&items), expected);
    }

    #[test]
    fn a_bad_item_is_skipped_and_a_list_of_bad_items_is_an_error() {
        let read = |item: &Item| name(item, "id");
        let items = [json!({"id": 1}), json!({}), json!("x"), json!({"id": "a".repeat(1000)})];
        assert_eq!(each(Service::City, &items, read), Ok(vec!["1".to_owned()]));
        assert!(each(Service::City, &items[1..], read).is_err());
        assert_eq!(each(Service::City, &[], read), Ok(vec![]));
    }
}
