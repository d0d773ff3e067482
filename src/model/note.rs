//! Notes about an event: what was repaired, or could not be read, in what its publisher sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::entity::{UnknownName, wire_enum};

/// Notes of one kind that an event has at most; the last one counts the others.
const MAX_PER_KIND: usize = 4;

/// Longest location and longest original text of a note, in bytes; the rest is cut.
const MAX_LOCATION_BYTES: usize = 256;
const MAX_ORIGINAL_BYTES: usize = 128;

/// Field of a network envelope that holds the notes of its event. Only the server writes it.
pub const FIELD: &str = "living_map_notes";

wire_enum! {
    /// Kind of a note.
    NoteKind {
        /// A byte order mark was removed; text in UTF-16 was converted.
        ByteOrderMark = "byte_order_mark",
        /// NUL bytes after the end were removed.
        TrailingNul = "trailing_nul",
        /// `NaN` or an infinity became `null`.
        NotFinite = "not_finite",
        /// A number that no 64-bit integer or float holds became the nearest one that does.
        Number = "number",
        /// A control character in a string was sent without an escape; it is kept.
        ControlCharacter = "control_character",
        /// A NUL in a string became U+FFFD.
        Nul = "nul",
        /// Half of a surrogate pair became U+FFFD.
        Surrogate = "surrogate",
        /// Bytes that are not UTF-8 became U+FFFD.
        InvalidUtf8 = "invalid_utf8",
        /// A key was sent repeatedly; its last value is kept.
        DuplicateKey = "duplicate_key",
        /// The time could not be read; the event has the time of the log.
        Timestamp = "timestamp",
        /// The subject is longer than 1,024 bytes; its beginning is kept.
        Subject = "subject",
        /// The body is nested too deeply; the payload is `null`, and the bytes are kept.
        TooDeep = "too_deep",
        /// The body is not JSON; the payload is `null`, and the bytes are kept.
        NotJson = "not_json",
    }
}

impl NoteKind {
    /// Returns true if nothing of the body could be read.
    #[must_use]
    pub const fn is_unreadable(self) -> bool {
        matches!(self, Self::TooDeep | Self::NotJson)
    }
}

/// A note about an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"kind": "number", "at": "/payload/balance", "original": "1e400"}))]
pub struct Note {
    /// Kind.
    pub kind: NoteKind,
    /// Location in what was sent, a JSON pointer (RFC 6901); absent for the whole. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub at: Option<String>,
    /// Original text, or the error; at most 128 bytes. Bytes that are not text are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub original: Option<String>,
    /// Number of further places of this kind, which have no note of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub more: u32,
}

impl Note {
    fn to_value(&self) -> Value {
        let mut note = Map::from_iter([("kind".to_owned(), Value::from(self.kind.as_str()))]);
        for (name, text) in [("at", &self.at), ("original", &self.original)] {
            if let Some(text) = text {
                note.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if self.more > 0 {
            note.insert("more".to_owned(), Value::from(self.more));
        }
        Value::Object(note)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The notes of an event, a few of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// No notes.
    pub const NONE: Self = Self(Vec::new());

    /// Returns true if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The notes.
    pub fn iter(&self) -> std::slice::Iter<'_, Note> {
        self.0.iter()
    }

    /// Number of noted places by kind, of the kinds that occur.
    pub fn counts(&self) -> impl Iterator<Item = (NoteKind, u64)> {
        let places =
            |kind| self.0.iter().filter(|note| note.kind == kind).map(|note| u64::from(note.more) + 1).sum::<u64>();
        NoteKind::ALL.iter().map(move |kind| (*kind, places(*kind))).filter(|(_, places)| *places > 0)
    }

    /// Returns true if nothing of the body could be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.0.iter().any(|note| note.kind.is_unreadable())
    }

    /// Adds a note. `details` returns location (empty: the whole) and original text; it is called only if the note is kept.
    pub fn add(&mut self, kind: NoteKind, details: impl FnOnce() -> (String, String)) {
        let mut same = self.0.iter_mut().filter(|note| note.kind == kind);
        if let Some(last) = same.nth(MAX_PER_KIND - 1) {
            last.more = last.more.saturating_add(1);
            return;
        }
        let (at, original) = details();
        let kept = |text: String, max| Some(shortened(text, max)).filter(|text| !text.is_empty());
        self.0.push(Note {
            kind,
            at: kept(at, MAX_LOCATION_BYTES),
            original: kept(original, MAX_ORIGINAL_BYTES),
            more: 0,
        });
    }

    /// Adds the notes of `others`, which are about the same message.
    pub fn extend(&mut self, others: &Self) {
        for note in &others.0 {
            self.add(note.kind, || (note.at.clone().unwrap_or_default(), note.original.clone().unwrap_or_default()));
            if note.more > 0
                && let Some(last) = self.0.iter_mut().filter(|last| last.kind == note.kind).last()
            {
                last.more = last.more.saturating_add(note.more);
            }
        }
    }

    /// The notes as JSON; `None` if there are none.
    #[must_use]
    pub fn to_value(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.0.iter().map(Note::to_value).collect())
    }

    /// Parses the form of [`Notes::to_value`]. `None` for anything else, and for more than the server writes: anybody can
    /// send the field to NATS.
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        let notes = Self::deserialize(value).ok()?;
        let fits = |text: &Option<String>, max| text.as_ref().is_none_or(|text| (1..=max).contains(&text.len()));
        let count = |kind| notes.0.iter().filter(|note| note.kind == kind).count();
        let valid = !notes.is_empty()
            && notes.0.len() <= NoteKind::ALL.len() * MAX_PER_KIND
            && notes.0.iter().all(|note| {
                fits(&note.at, MAX_LOCATION_BYTES)
                    && fits(&note.original, MAX_ORIGINAL_BYTES)
                    && count(note.kind) <= MAX_PER_KIND
            });
        (valid && notes.to_value().as_ref() == Some(value)).then_some(notes)
    }
}

impl<'a> IntoIterator for &'a Notes {
    type Item = &'a Note;
    type IntoIter = std::slice::Iter<'a, Note>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Note { kind, at, original, more }) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            write!(f, "{kind}")?;
            if let Some(at) = at {
                write!(f, " at {at}")?;
            }
            if let Some(original) = original {
                write!(f, ": {original}")?;
            }
            if *more > 0 {
                write!(f, " (and {more} more)")?;
            }
        }
        Ok(())
    }
}

/// At most `max` bytes of a text, with an ellipsis where it is cut.
fn shortened(mut text: String, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len()));
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(notes: &mut Notes, kind: NoteKind, at: &str, original: &str) {
        notes.add(kind, || (at.to_owned(), original.to_owned()));
    }

    #[test]
    fn notes_are_bounded_and_count_the_rest() {
        let mut notes = Notes::default();
        for index in 0..1_000 {
            add(&mut notes, NoteKind::NotFinite, &format!("/{index}"), &"ї".repeat(500));
        }
        add(&mut notes, NoteKind::Timestamp, "/ts", "soon");
        assert_eq!(notes.0.len(), MAX_PER_KIND + 1);
        assert_eq!(notes.0[MAX_PER_KIND - 1].more, 996);
        assert!(notes.iter().all(|note| note.original.as_ref().unwrap().len() <= MAX_ORIGINAL_BYTES));
        assert_eq!(notes.counts().collect::<Vec<_>>(), [(NoteKind::NotFinite, 1_000), (NoteKind::Timestamp, 1)]);
        let value = notes.to_value().unwrap();
        assert_eq!(serde_json::to_value(&notes).unwrap(), value);
        assert_eq!(Notes::of_value(&value), Some(notes.clone()));
        let mut both = notes.clone();
        both.extend(&notes);
        assert_eq!(both.counts().collect::<Vec<_>>(), [(NoteKind::NotFinite, 2_000), (NoteKind::Timestamp, 2)]);
    }

    #[test]
    fn other_values_are_not_notes() {
        let long = "x".repeat(MAX_ORIGINAL_BYTES + 1);
        for value in [
            json!(null),
            json!([]),
            json!([1]),
            json!([{"kind": "nan"}]),
            json!([{"kind": "number", "original": long}]),
            json!([{"kind": "number", "unknown": 1}]),
            json!(vec![json!({"kind": "number"}); 5]),
        ] {
            assert_eq!(Notes::of_value(&value), None, "{value}");
        }
        assert_eq!(Notes::NONE.to_value(), None);
    }

    #[test]
    fn notes_are_readable_in_one_line() {
        let mut notes = Notes::default();
        add(&mut notes, NoteKind::Number, "/payload/a", "1e400");
        add(&mut notes, NoteKind::ByteOrderMark, "", "");
        assert_eq!(notes.to_string(), "number at /payload/a: 1e400; byte_order_mark");
    }
}
