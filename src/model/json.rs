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
//! `serde_json` is built with `raw_value`, which replaces an object with one reserved key by the text in it when it reads a
//! [`Value`]. So a [`Value`] is never read by `serde_json`'s implementation, but by [`parse`], [`parse_strict`], and the
//! functions for `#[serde(deserialize_with)]`: [`value`], [`values`], [`object`].

use std::borrow::Cow;

use serde_json::Value;

use super::note::{NoteKind, Notes};
pub use elements::SplitError;
use repair::BeyondRange;
pub use size::{approximate_bytes, depth, members_bytes, memory_bytes, parsed_bytes};
use strict::{Flags, normal_number, read_strict, without_nul};
pub use strict::{object, value, values};

mod elements;
mod number;
mod repair;
mod size;
mod strict;

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
        _ => repair::parse(text, BeyondRange::Nearest, MAX_BODY_DEPTH),
    }
}

/// Like [`parse`], for a text that becomes a payload as a whole: the envelope around it adds a level.
///
/// # Errors
/// As [`parse`].
pub fn parse_payload(text: &[u8]) -> Result<Normal, Unreadable> {
    let normal = parse(text)?;
    // a shorter text cannot be nested as deeply
    if text.len() > 2 * MAX_DEPTH && depth(&normal.value) > MAX_DEPTH {
        return repair::parse(text, BeyondRange::Nearest, MAX_DEPTH);
    }
    Ok(normal)
}

/// Parses JSON from a column of the database, which another service may have written. Numbers beyond every float are kept as
/// their digits, as strings: rows have always been read so, and this server writes no such number.
///
/// # Errors
/// As [`parse`].
pub fn parse_stored(text: &[u8]) -> Result<Value, Unreadable> {
    read_strict(text, &Flags::default())
        .or_else(|_| repair::parse(text, BeyondRange::Digits, MAX_BODY_DEPTH).map(|normal| normal.value))
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

#[cfg(test)]
mod tests;
