//! Normalized JSON, which every part of the system can store, and the reading of what is not strict JSON.
//!
//! A database cannot store every JSON text, and publishers send more than JSON. So that a replay from the database folds to
//! the same map, a body is normalized once, when it is received, by one function for all ways in ([`parse`]). Strict text
//! takes a fast path; everything else is repaired where its meaning is plain, and each repair is noted ([`NoteKind`]):
//!
//! | in the text | kept as | note |
//! |---|---|---|
//! | a byte order mark, UTF-16 with one | the text after it, in UTF-8 | `byte_order_mark` |
//! | NULs after the end | nothing | `trailing_nul` |
//! | `NaN`, `Infinity`, `-Infinity` (`nan`, `inf` in any case) | `null` | `not_finite` |
//! | a number that no 64-bit integer or float holds (`1e400`, `0.1234567890123456789`) | the nearest number | `number` |
//! | a control character in a string | itself | `control_character` |
//! | NUL in a string | U+FFFD | `nul` |
//! | half of a surrogate pair | U+FFFD | `surrogate` |
//! | bytes in a string that are not UTF-8 | U+FFFD | `invalid_utf8` |
//! | a duplicate key | its last value | `duplicate_key` |
//! | more than 128 levels in a payload | `null` beside the bytes | `too_deep` |
//! | anything else | `null` beside the bytes | `not_json` |
//!
//! An integral float from 1e16 is kept as the integer, and `-0.0` as `0.0`, as `PostgreSQL`'s `jsonb` writes them. This is
//! not noted: the number is the same.
//!
//! `serde_json` is built with `raw_value`, which replaces an object with a key of its own by the text in it when it reads a
//! [`Value`]. So a [`Value`] is never read by `serde_json`'s implementation, but by [`parse`], [`parse_strict`], and the
//! functions for `#[serde(deserialize_with)]`: [`value`], [`values`], [`object`].

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::note::{NoteKind, Notes};
pub use elements::SplitError;
use number::normal_float;
use repair::BeyondRange;

mod elements;
mod number;
mod repair;

/// Levels of arrays and objects in a payload, or in another field of an envelope, at most.
///
/// Most readers of JSON have such a limit; that of `serde_json` is 127.
pub const MAX_DEPTH: usize = 128;

/// Levels of a whole body: a payload in its envelope.
const MAX_BODY_DEPTH: usize = MAX_DEPTH + 1;

/// A normalized value.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    /// The value.
    pub value: Value,
    /// Repairs. If there are any, the value differs from the text, so that the original must be kept.
    pub notes: Notes,
}

impl From<Value> for Normal {
    /// Normalizes a value of this program, which needs no notes.
    fn from(value: Value) -> Self {
        Self { value: normalise(value), notes: Notes::NONE }
    }
}

/// The reason why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON, even after repair.
    #[error("not JSON: expected {expected} at byte {offset}")]
    NotJson {
        /// The syntax element that was expected.
        expected: &'static str,
        /// Its offset in bytes.
        offset: usize,
    },
    /// It is nested too deeply.
    #[error("nested too deeply: more than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Offset in bytes of the level that is too deep.
        offset: usize,
    },
}

impl Unreadable {
    /// Offset of the problem, in bytes of the text.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::NotJson { offset, .. } | Self::TooDeep { offset } => *offset,
        }
    }

    /// The same problem in a longer text, in which this one begins at `begin`.
    #[must_use]
    pub const fn at(self, begin: usize) -> Self {
        match self {
            Self::NotJson { expected, offset } => Self::NotJson { expected, offset: begin + offset },
            Self::TooDeep { offset } => Self::TooDeep { offset: begin + offset },
        }
    }

    /// The notes of an event with this body.
    #[must_use]
    pub fn notes(&self) -> Notes {
        let kind = match self {
            Self::NotJson { .. } => NoteKind::NotJson,
            Self::TooDeep { .. } => NoteKind::TooDeep,
        };
        let mut notes = Notes::default();
        notes.add(kind, || (String::new(), self.to_string()));
        notes
    }
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

/// Parses, repairs and normalizes.
///
/// # Errors
/// Reason and offset, for text that is not JSON even after repair, or that is nested too deeply.
pub fn parse(text: &[u8]) -> Result<Normal, Unreadable> {
    let flags = Flags::default();
    match read_strict(text, &flags) {
        Ok(value) if !flags.altered.get() && (!flags.floats.get() || number::all_held(text)) => {
            Ok(Normal { value, notes: Notes::NONE })
        }
        _ => repair::parse(text, BeyondRange::Nearest),
    }
}

/// Parses JSON from a column of the database, which another service may have written. Numbers beyond every float are kept as
/// their digits, as strings: rows have always been read so, and this server writes no such number.
///
/// # Errors
/// As [`parse`].
pub fn parse_stored(text: &[u8]) -> Result<Value, Unreadable> {
    read_strict(text, &Flags::default())
        .or_else(|_| repair::parse(text, BeyondRange::Digits).map(|normal| normal.value))
}

/// Parses strict JSON, for requests whose sender should correct them, and for documents of programs.
///
/// # Errors
/// Reason and location, for text that is not JSON, or is nested deeper than 127 levels.
pub fn parse_strict(text: &[u8]) -> serde_json::Result<Value> {
    read_strict(text, &Flags::default())
}

/// The elements of a list, or the single value, in the text of a body.
#[derive(Debug)]
pub struct Elements<'a> {
    text: Cow<'a, [u8]>,
    /// Bytes before `text` in the body.
    begin: usize,
    ranges: Vec<std::ops::Range<usize>>,
    is_list: bool,
    notes: Notes,
}

impl<'a> Elements<'a> {
    /// Finds the elements, at most `max`, without parsing them.
    ///
    /// # Errors
    /// There are more, or the text begins with a bracket, and the end of an element or of the list cannot be found.
    pub fn of(text: &'a [u8], max: usize) -> Result<Self, SplitError> {
        let mut notes = Notes::default();
        let begin = repair::mark_bytes(text);
        let text = repair::plain_text(text, &mut notes);
        let list = elements::split(&text, max).map_err(|error| match error {
            SplitError::Unreadable(error) => SplitError::Unreadable(error.at(begin)),
            SplitError::TooMany(_) => error,
        })?;
        let is_list = list.is_some();
        let whole = 0..text.len();
        Ok(Self { text, begin, ranges: list.unwrap_or_else(|| vec![whole]), is_list, notes })
    }

    /// Returns false for a single value.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        self.is_list
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns true for an empty list.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The elements, each parsed by [`parse`]. Offsets are those in the whole text; what was repaired around the elements is
    /// noted for each.
    pub fn parsed(&self) -> impl ExactSizeIterator<Item = Result<Normal, Unreadable>> {
        self.ranges.iter().map(|range| {
            let mut normal = parse(&self.text[range.clone()]).map_err(|error| error.at(self.begin + range.start))?;
            normal.notes.extend(&self.notes);
            Ok(normal)
        })
    }
}

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

/// Normalizes a parsed value.
#[must_use]
pub fn normalise(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text, &Flags::default())),
        Value::Number(number) => Value::Number(normal_number(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(normalise).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, value)| (without_nul(key, &Flags::default()), normalise(value))).collect(),
        ),
        other => other,
    }
}

/// The text of a value for a note: a string as it is, anything else as JSON. Of a long value only the beginning, or nothing.
#[must_use]
pub fn shown(value: &Value) -> String {
    /// More than a note keeps.
    const MAX_BYTES: usize = 256;
    match value {
        Value::String(text) => text[..text.floor_char_boundary(MAX_BYTES)].to_owned(),
        Value::Array(_) | Value::Object(_) if approximate_bytes(value) > MAX_BYTES => "…".to_owned(),
        other => other.to_string(),
    }
}

/// Levels of arrays and objects in a value.
#[must_use]
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
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

/// Observations of a strict reading.
#[derive(Debug, Default)]
struct Flags {
    /// The value differs from the text.
    altered: Cell<bool>,
    /// There are floats, which may differ from their text.
    floats: Cell<bool>,
}

fn read_strict(text: &[u8], flags: &Flags) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Reader { flags }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn without_nul(text: String, flags: &Flags) -> String {
    if !text.contains('\0') {
        return text;
    }
    flags.altered.set(true);
    text.replace('\0', "\u{fffd}")
}

fn normal_number(number: Number) -> Number {
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

#[cfg(test)]
mod tests;
