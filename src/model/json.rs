//! Normalized JSON, which every part of the system can store.
//!
//! A database cannot store every JSON text. So that a replay from the database folds to the same map, a payload is
//! normalized once, when it is received:
//!
//! | in the text | kept as |
//! |---|---|
//! | NUL, lone surrogate, invalid UTF-8 | U+FFFD |
//! | a duplicate key | its last value |
//! | a number no 64-bit integer or float can hold (`1e400`) | its digits, as a string |
//! | an integral float from 1e16, `-0.0` | the integer, `0.0` (`PostgreSQL`'s `jsonb` writes them so) |

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A normalized value.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    /// The value.
    pub value: Value,
    /// `true` if the value differs from the text, so that the original must be kept.
    pub altered: bool,
}

/// Result of encoding plain data in memory: structs, text, numbers, lists, and maps whose keys are text.
///
/// # Panics
/// The data is of another kind. That is an error in this program, never in its input; stopping is better than storing or
/// sending something incomplete.
pub fn encoded<T>(result: serde_json::Result<T>) -> T {
    match result {
        Ok(encoded) => encoded,
        Err(error) => panic!("plain data is always encoded: {error}"),
    }
}

/// Parses and normalizes.
///
/// # Errors
/// Reason and location, for text that is not JSON even after repair, or that is nested deeper than 128 levels.
pub fn parse(text: &[u8]) -> Result<Normal, String> {
    if let Ok(normal) = parse_strict(text) {
        return Ok(normal);
    }
    let repaired = repair(&String::from_utf8_lossy(text));
    let normal = parse_strict(repaired.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Normal { altered: true, ..normal })
}

/// Normalizes a parsed value.
#[must_use]
pub fn normalise(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text, &Cell::new(false))),
        Value::Number(number) => Value::Number(normal_number(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(normalise).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, value)| (without_nul(key, &Cell::new(false)), normalise(value))).collect(),
        ),
        other => other,
    }
}

/// Approximate size of a value's JSON in bytes, without writing it.
#[must_use]
pub fn approximate_bytes(value: &Value) -> usize {
    /// Of a number, or of the punctuation around a value.
    const OTHERS: usize = 4;
    OTHERS
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(approximate_bytes).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + approximate_bytes(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => OTHERS,
        }
}

/// Bytes of an allocation besides its content.
const ALLOCATION: usize = 16;
/// Bytes of a node of an object's tree: eleven members, of which about six are used.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + ALLOCATION;
/// Bytes of a member of an object with many.
const MEMBER: usize = NODE / 6;

/// Approximate memory of a value, in bytes. It may be a hundred times its JSON: an object with one member takes a node.
#[must_use]
pub fn memory_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => ALLOCATION + text.capacity(),
            Value::Array(items) => {
                let unused = (items.capacity() - items.len()) * size_of::<Value>();
                ALLOCATION + unused + items.iter().map(memory_bytes).sum::<usize>()
            }
            Value::Object(members) => members_bytes(members),
        }
}

/// Approximate memory of an object's members, in bytes.
#[must_use]
pub fn members_bytes(members: &Map<String, Value>) -> usize {
    let nodes = if members.is_empty() { 0 } else { NODE + members.len().saturating_sub(6) * MEMBER };
    // the values are in the nodes
    let content =
        |(name, value): (&String, &Value)| ALLOCATION + name.capacity() + memory_bytes(value) - size_of::<Value>();
    nodes + members.iter().map(content).sum::<usize>()
}

/// Approximate memory of the value that a JSON text is parsed into, in bytes, without parsing it. See [`memory_bytes`].
#[must_use]
pub fn parsed_bytes(text: &[u8]) -> usize {
    let (mut bytes, mut in_string, mut escaped) = (size_of::<Value>() + text.len(), false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        bytes += match byte {
            b'"' => {
                in_string = true;
                ALLOCATION
            }
            // an array begins with room for four items, and doubles it
            b'[' => ALLOCATION + 4 * size_of::<Value>(),
            b',' => 2 * size_of::<Value>(),
            b'{' => NODE,
            b':' => MEMBER,
            _ => 0,
        };
    }
    bytes
}

fn parse_strict(text: &[u8]) -> serde_json::Result<Normal> {
    let altered = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Reader { altered: &altered }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Normal { value, altered: altered.get() })
}

fn without_nul(text: String, altered: &Cell<bool>) -> String {
    if !text.contains('\0') {
        return text;
    }
    altered.set(true);
    text.replace('\0', "\u{fffd}")
}

fn normal_number(number: Number) -> Number {
    if number.is_f64() { number.as_f64().and_then(normal_float).unwrap_or(number) } else { number }
}

/// The number that `jsonb` returns for `float`; none for a float that JSON cannot represent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are checked before")]
fn normal_float(float: f64) -> Option<Number> {
    const FROM: f64 = 1e16;
    if float == 0.0 {
        Number::from_f64(0.0)
    } else if (FROM..18_446_744_073_709_551_615.0).contains(&float) {
        Some(Number::from(float as u64))
    } else if (-9_223_372_036_854_775_808.0..=-FROM).contains(&float) {
        Some(Number::from(float as i64))
    } else {
        Number::from_f64(float)
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    altered: &'a Cell<bool>,
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
        Ok(normal_float(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(without_nul(value, self.altered)))
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
            if map.insert(without_nul(key, self.altered), value).is_some() {
                self.altered.set(true);
            }
        }
        Ok(Value::Object(map))
    }
}

/// Repairs text that `serde_json` rejects and that can be normalized: lone surrogates, numbers out of range.
fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_string = false;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '\\' if in_string => repair_escape(rest, &mut out),
            '-' | '0'..='9' if !in_string => repair_number(rest, &mut out),
            c => {
                in_string ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

fn repair_escape(rest: &str, out: &mut String) -> usize {
    let unit = |text: &str| text.strip_prefix("\\u")?.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    match unit(rest) {
        Some(0xD800..=0xDBFF) if matches!(rest.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) => copy(rest, 12, out),
        Some(0xD800..=0xDFFF) => {
            out.push('\u{fffd}');
            6
        }
        _ => {
            let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
            copy(rest, 1 + escaped, out)
        }
    }
}

fn repair_number(rest: &str, out: &mut String) -> usize {
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-')).unwrap_or(rest.len());
    let digits = &rest[..end];
    if digits.parse::<f64>().is_ok_and(f64::is_infinite) {
        out.push('"');
        out.push_str(digits);
        out.push('"');
    } else {
        out.push_str(digits);
    }
    end
}

fn copy(rest: &str, bytes: usize, out: &mut String) -> usize {
    out.push_str(&rest[..bytes]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a\"\\\\,:{}\\[\\]\u{e4}\n]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 200, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map("[a-c\",:]{0,3}", inner, 0..20)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_memory_of_a_text_covers_that_of_its_value(value in any_value()) {
            let text = value.to_string();
            let parsed: Value = serde_json::from_str(&text).unwrap();
            let (estimated, memory) = (parsed_bytes(text.as_bytes()), memory_bytes(&parsed));
            prop_assert!(estimated >= memory, "{estimated} for {memory} bytes: {text}");
        }
    }

    #[test]
    fn small_objects_take_far_more_memory_than_their_text() {
        let hostile = format!("[{}{{\"\":0}}]", "{\"\":0},".repeat(9_999));
        assert!(parsed_bytes(hostile.as_bytes()) > hostile.len() * 80);
        let text = serde_json::to_string(&"{[,:]}\\\"".repeat(1_000)).unwrap();
        assert!(parsed_bytes(text.as_bytes()) < text.len() + 100, "punctuation in a string takes nothing");
    }

    #[test]
    fn content_that_a_database_cannot_store_is_replaced() {
        for (text, value) in [
            (&br#"{"a":"x\u0000y"}"#[..], json!({"a": "x\u{fffd}y"})),
            (br#"{"a\u0000":1}"#, json!({"a\u{fffd}": 1})),
            (br#"["\ud800","\udc00x","\ud83d\ude00"]"#, json!(["\u{fffd}", "\u{fffd}x", "😀"])),
            (b"\"\xff\"", json!("\u{fffd}")),
            (br#"{"a":1,"a":2}"#, json!({"a": 2})),
            (br#"{"a":1e400,"b":-1e999,"c":"1e400"}"#, json!({"a": "1e400", "b": "-1e999", "c": "1e400"})),
        ] {
            assert_eq!(parse(text), Ok(Normal { value, altered: true }), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_in_the_form_of_jsonb() {
        for (text, value) in [
            ("1e16", "10000000000000000"),
            ("-0.0", "0.0"),
            ("1.0", "1.0"),
            ("1e20", "1e+20"),
            ("-1e16", "-10000000000000000"),
        ] {
            let normal = parse(text.as_bytes()).unwrap();
            assert_eq!((normal.value.to_string().as_str(), normal.altered), (value, false), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_rejected() {
        let deep = "[".repeat(100_000);
        for text in [&b""[..], b"{", b"nul", b"{\"a\":\"\\u12\"}", b"1 2", b"\\", deep.as_bytes()] {
            assert!(parse(text).is_err(), "{}", text[..text.len().min(20)].escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_rejected_or_normalized_stably(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(normal) = parse(&text) {
                let again = parse(normal.value.to_string().as_bytes()).unwrap();
                prop_assert_eq!(again, Normal { value: normal.value.clone(), altered: false });
                prop_assert_eq!(normalise(normal.value.clone()), normal.value);
            }
        }
    }
}
