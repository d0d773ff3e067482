//! The repairing parser: reads what is not strict JSON where its meaning is plain, and notes each repair.
//!
//! Its time is linear in the text. Its stack is bounded by the levels it accepts, and its notes by [`Notes`].

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Normal, Unreadable, number};
use crate::model::note::{NoteKind, Notes};

/// Bytes of the mark in front of a text in UTF-8.
pub fn mark_bytes(text: &[u8]) -> usize {
    if text.starts_with(&UTF8_MARK) { UTF8_MARK.len() } else { 0 }
}

/// The text without byte order mark and trailing NULs, in UTF-8 if it was UTF-16.
pub fn plain_text<'a>(text: &'a [u8], notes: &mut Notes) -> Cow<'a, [u8]> {
    let mark = |notes: &mut Notes, name: &str| notes.add(NoteKind::ByteOrderMark, || (String::new(), name.to_owned()));
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks(2).map(|pair| if let [a, b] = *pair { unit([a, b]) } else { 0xFFFD });
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes()
    };
    let text = match text {
        [0xFF, 0xFE, rest @ ..] => {
            mark(notes, "UTF-16LE");
            Cow::Owned(utf16(rest, u16::from_le_bytes))
        }
        [0xFE, 0xFF, rest @ ..] => {
            mark(notes, "UTF-16BE");
            Cow::Owned(utf16(rest, u16::from_be_bytes))
        }
        text => {
            let (utf8_mark, rest) = text.split_at(mark_bytes(text));
            if !utf8_mark.is_empty() {
                mark(notes, "UTF-8");
            }
            Cow::Borrowed(rest)
        }
    };
    let end = text.iter().rposition(|byte| !is_blank(*byte) && *byte != 0).map_or(0, |last| last + 1);
    let nuls = text[end..].iter().filter(|byte| !is_blank(**byte)).count();
    if nuls == 0 {
        return text;
    }
    notes.add(NoteKind::TrailingNul, || (String::new(), format!("{nuls} bytes")));
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

pub const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

const UTF8_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Reading of a number that is greater than every float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeyondRange {
    /// As the greatest float.
    Nearest,
    /// As a string with its digits.
    Digits,
}

/// Parses a text of at most `max_depth` levels and repairs it.
pub fn parse(text: &[u8], beyond_range: BeyondRange, max_depth: usize) -> Result<Normal, Unreadable> {
    let mut notes = Notes::default();
    let begin = mark_bytes(text);
    let text = plain_text(text, &mut notes);
    let parser = Parser { text: &text, at: 0, path: Vec::new(), notes, beyond_range, max_depth };
    parser.document().map_err(|error| error.at(begin))
}

/// A step of the path to a value.
enum Step {
    Key(String),
    Index(usize),
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    path: Vec<Step>,
    notes: Notes,
    beyond_range: BeyondRange,
    max_depth: usize,
}

impl Parser<'_> {
    fn document(mut self) -> Result<Normal, Unreadable> {
        let value = self.value()?;
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(self.expected("the end"));
        }
        Ok(Normal { value, notes: self.notes })
    }

    const fn expected(&self, expected: &'static str) -> Unreadable {
        Unreadable::NotJson { expected, offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn note(&mut self, kind: NoteKind, original: impl FnOnce() -> String) {
        let path = &self.path;
        self.notes.add(kind, || (pointer(path), original()));
    }

    fn value(&mut self) -> Result<Value, Unreadable> {
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Unreadable>) -> Result<Value, Unreadable> {
        if self.path.len() >= self.max_depth {
            return Err(Unreadable::TooDeep { offset: self.at });
        }
        self.at += 1;
        read(self)
    }

    fn object(&mut self) -> Result<Value, Unreadable> {
        let mut map = Map::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key"));
            }
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("':'"));
            }
            self.at += 1;
            self.path.push(Step::Key(key.clone()));
            let value = self.value()?;
            if let Some(first) = map.insert(key, value) {
                self.note(NoteKind::DuplicateKey, || super::shown(&first));
            }
            self.path.pop();
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(map));
                }
                _ => return Err(self.expected("',' or '}'")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, Unreadable> {
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.path.push(Step::Index(items.len()));
            items.push(self.value()?);
            self.path.pop();
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.expected("',' or ']'")),
            }
        }
    }

    fn string(&mut self) -> Result<String, Unreadable> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            self.push_plain(plain, &mut out);
            match self.peek() {
                None => return Err(self.expected("the end of a string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(0) => {
                    self.note(NoteKind::Nul, || "\\0".to_owned());
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.at += 1;
                }
                Some(control) => {
                    self.note(NoteKind::ControlCharacter, || control.escape_ascii().to_string());
                    out.push(char::from(control));
                    self.at += 1;
                }
            }
        }
    }

    /// Appends the next `bytes` bytes, which contain no quote, escape or control character.
    fn push_plain(&mut self, bytes: usize, out: &mut String) {
        for chunk in self.text[self.at..self.at + bytes].utf8_chunks() {
            out.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.note(NoteKind::InvalidUtf8, || chunk.invalid().escape_ascii().to_string());
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.at += bytes;
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Unreadable> {
        let plain = match self.text.get(self.at + 1) {
            Some(b'u') => return self.unicode_escape(out),
            Some(escaped @ (b'"' | b'\\' | b'/')) => char::from(*escaped),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.expected("an escape")),
        };
        out.push(plain);
        self.at += 2;
        Ok(())
    }

    fn unicode_escape(&mut self, out: &mut String) -> Result<(), Unreadable> {
        let unit = self.unit(self.at).ok_or_else(|| self.expected("an escape"))?;
        let (unit, length) = match (unit, self.unit(self.at + 6)) {
            (high @ 0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                (0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(low) - 0xDC00), 12)
            }
            (unit, _) => (u32::from(unit), 6),
        };
        let replaced = match unit {
            0 => Some(NoteKind::Nul),
            0xD800..=0xDFFF => Some(NoteKind::Surrogate),
            _ => None,
        };
        if let Some(kind) = replaced {
            self.note(kind, || format!("\\u{unit:04x}"));
        }
        out.push(char::from_u32(unit).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
        self.at += length;
        Ok(())
    }

    /// The UTF-16 unit of the escape at `at`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?))
    }

    fn number(&mut self) -> Result<Value, Unreadable> {
        if self.text[self.at] == b'-' && !self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            return self.word();
        }
        let token = number::token(&self.text[self.at..]);
        let parsed = if is_json_number(token) { number::parse(token) } else { None };
        let (number, is_held) = parsed.ok_or_else(|| self.expected("a number"))?;
        if !is_held {
            self.note(NoteKind::Number, || token.to_owned());
        }
        self.at += token.len();
        if self.beyond_range == BeyondRange::Digits && token.parse().is_ok_and(f64::is_infinite) {
            return Ok(Value::String(token.to_owned()));
        }
        Ok(Value::Number(number))
    }

    /// `null`, `true`, `false`, and the names that other languages have for floats that JSON lacks.
    fn word(&mut self) -> Result<Value, Unreadable> {
        let rest = &self.text[self.at..];
        let sign = rest.iter().take_while(|byte| **byte == b'-').count().min(1);
        let length = rest[sign..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let word = &rest[..sign + length];
        let value = match word {
            b"null" => Value::Null,
            b"true" => Value::Bool(true),
            b"false" => Value::Bool(false),
            _ => {
                let name = &word[sign..];
                if !["nan", "inf", "infinity"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
                    return Err(self.expected("a value"));
                }
                let original = word.escape_ascii().to_string();
                self.note(NoteKind::NotFinite, || original);
                Value::Null
            }
        };
        self.at += word.len();
        Ok(value)
    }
}

/// Checks a number, of which only the characters are known, against the grammar of JSON.
fn is_json_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, power) =
        token.split_once(['e', 'E']).map_or((token, None), |(mantissa, power)| (mantissa, Some(power)));
    let (whole, fraction) =
        mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && power.is_none_or(|power| digits(power.strip_prefix(['+', '-']).unwrap_or(power)))
}

/// The JSON pointer of a path.
fn pointer(path: &[Step]) -> String {
    let mut pointer = String::new();
    for step in path {
        pointer.push('/');
        match step {
            Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => {
                // writing to a string cannot fail
                let _ = write!(pointer, "{index}");
            }
        }
    }
    pointer
}
