//! Reading strict JSON as normalized values, without `serde_json`'s implementation of [`Value`].

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::number::normal_float;

/// Reads a value, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of the deserializer.
pub fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Reader { flags: &Flags::default() }.deserialize(deserializer)
}

/// Reads a list of values, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of the deserializer; it is another value.
pub fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    match value(deserializer)? {
        Value::Array(values) => Ok(values),
        _ => Err(serde::de::Error::custom("expected a list")),
    }
}

/// Reads an object, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of the deserializer; it is another value.
pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match value(deserializer)? {
        Value::Object(map) => Ok(map),
        _ => Err(serde::de::Error::custom("expected an object")),
    }
}

/// Observations of a strict reading.
#[derive(Debug, Default)]
pub struct Flags {
    /// The value differs from the text.
    pub altered: Cell<bool>,
    /// There are floats, which may differ from their text.
    pub floats: Cell<bool>,
}

/// Reads strict JSON, and normalizes it.
pub fn read_strict(text: &[u8], flags: &Flags) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Reader { flags }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The text with U+FFFD in place of NUL.
pub fn without_nul(text: String, flags: &Flags) -> String {
    if !text.contains('\0') {
        return text;
    }
    flags.altered.set(true);
    text.replace('\0', "\u{fffd}")
}

/// The number as `jsonb` returns it.
pub fn normal_number(number: Number) -> Number {
    if number.is_f64() { number.as_f64().and_then(normal_float).unwrap_or(number) } else { number }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    flags: &'a Flags,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        self.flags.floats.set(true);
        Ok(normal_float(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(without_nul(value, self.flags)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.insert(without_nul(key, self.flags), value).is_some() {
                self.flags.altered.set(true);
            }
        }
        Ok(Value::Object(map))
    }
}
