//! Splits an array into its elements without parsing them.

use std::ops::Range;

use super::repair::is_blank;
use super::{MAX_BODY_DEPTH, Unreadable};

/// The reason why an array cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The end of an element or of the array cannot be found.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It has more elements than the limit.
    #[error("more than {0} elements")]
    TooMany(usize),
}

/// The ranges of the elements of an array, of which at most `max`; none if the text is another value.
///
/// An element ends at a comma or bracket outside of strings and nested values. Its content is not checked, except that
/// brackets match.
///
/// # Errors
/// The array does not end, something follows it, or it has too many elements.
pub fn split(text: &[u8], max: usize) -> Result<Option<Vec<Range<usize>>>, SplitError> {
    let begin = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    if text.get(begin) != Some(&b'[') {
        return Ok(None);
    }
    let mut scanner = Scanner { text, at: begin + 1, open: Vec::new(), deeper: 0 };
    let mut elements = Vec::new();
    loop {
        let element = scanner.element()?;
        let is_last = text[element.end] == b']';
        if text[element.clone()].iter().all(|byte| is_blank(*byte)) {
            if is_last && elements.is_empty() {
                break;
            }
            return Err(Unreadable::NotJson { expected: "a value", offset: element.end }.into());
        }
        if elements.len() == max {
            return Err(SplitError::TooMany(max));
        }
        elements.push(element);
        if is_last {
            break;
        }
    }
    match text[scanner.at..].iter().position(|byte| !is_blank(*byte)) {
        None => Ok(Some(elements)),
        Some(more) => Err(Unreadable::NotJson { expected: "the end", offset: scanner.at + more }.into()),
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Closing brackets of the open values, down to the depth of a readable element.
    open: Vec<u8>,
    /// Number of open values below them.
    deeper: usize,
}

impl Scanner<'_> {
    /// The range up to the comma or bracket that ends an element; continues after it.
    fn element(&mut self) -> Result<Range<usize>, Unreadable> {
        let begin = self.at;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.skip_string()?,
                b'[' | b'{' => self.enter(if *byte == b'[' { b']' } else { b'}' }),
                b',' | b']' if self.open.is_empty() => {
                    self.at += 1;
                    return Ok(begin..self.at - 1);
                }
                b']' | b'}' => self.leave(*byte)?,
                _ => {}
            }
            self.at += 1;
        }
        Err(Unreadable::NotJson { expected: "',' or ']'", offset: self.at })
    }

    fn enter(&mut self, closing: u8) {
        if self.open.len() < MAX_BODY_DEPTH {
            self.open.push(closing);
        } else {
            self.deeper += 1;
        }
    }

    fn leave(&mut self, closing: u8) -> Result<(), Unreadable> {
        if self.deeper > 0 {
            self.deeper -= 1;
            return Ok(());
        }
        if self.open.pop() == Some(closing) {
            return Ok(());
        }
        let expected = if closing == b']' { "'}' or ','" } else { "']' or ','" };
        Err(Unreadable::NotJson { expected, offset: self.at })
    }

    /// Skips to the closing quote of a string.
    fn skip_string(&mut self) -> Result<(), Unreadable> {
        let begin = self.at;
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        Err(Unreadable::NotJson { expected: "the end of the string", offset: begin })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        let ranges = split(text.as_bytes(), 100).unwrap().unwrap();
        ranges.into_iter().map(|range| text[range].trim()).collect()
    }

    #[test]
    fn elements_end_outside_of_strings_and_nested_values() {
        assert_eq!(
            parts(" [ 1 , \"a,]\\\"\" , [2,[3]], {\"x\":[4,5]} ] "),
            ["1", "\"a,]\\\"\"", "[2,[3]]", "{\"x\":[4,5]}"]
        );
        assert_eq!(parts("[]"), Vec::<&str>::new());
        assert_eq!(parts("[tru, NaN, {\"a\" 1}]"), ["tru", "NaN", "{\"a\" 1}"]);
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        assert_eq!(parts(&format!("[{deep},2]")), [&deep, "2"]);
        assert_eq!(split(b"{}", 1), Ok(None));
        assert_eq!(split(b" ", 1), Ok(None));
    }

    #[test]
    fn an_array_without_an_end_is_an_error_with_its_offset() {
        for (text, offset) in [
            (&b"["[..], 1),
            (b"[1", 2),
            (b"[1,]", 3),
            (b"[,1]", 1),
            (b"[1,,2]", 3),
            (b"[1] 2", 4),
            (b"[\"a]", 1),
            (b"[\"a\\", 1),
            (b"[{\"a\":1],2]", 7),
            (b"[[}]", 2),
        ] {
            let Err(SplitError::Unreadable(error)) = split(text, 9) else { panic!("{}", text.escape_ascii()) };
            assert_eq!(error.offset(), offset, "{}", text.escape_ascii());
        }
        assert_eq!(split(b"[1,2,3]", 2), Err(SplitError::TooMany(2)));
        assert!(split(&vec![b'['; 1 << 20], 9).is_err());
    }

    proptest! {
        #[test]
        fn a_serialized_array_is_split_into_its_elements(texts in proptest::collection::vec(".{0,12}", 0..6)) {
            let values: Vec<Value> = texts.iter().map(|text| json!({text: [text, {"x": text}]})).collect();
            let text = Value::from(values.clone()).to_string();
            let split: Vec<Value> = parts(&text).into_iter().map(|part| serde_json::from_str(part).unwrap()).collect();
            prop_assert_eq!(split, values);
        }
    }
}
