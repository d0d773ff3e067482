//! Words to look for, and the words of a lesson, in one form for both databases: runs of letters and digits, lower case.

use crate::model::Lesson;

/// More words of one question say nothing more.
const MAX_WORDS: usize = 32;
/// Bytes of one word that count.
const MAX_WORD_BYTES: usize = 64;

/// Words to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    words: Vec<String>,
    all: bool,
}

impl Words {
    /// All of the words of a text must be there; none when it has no words.
    #[must_use]
    pub fn all(text: &str) -> Option<Self> {
        Self::of(text, true)
    }

    /// Any of them.
    #[must_use]
    pub fn any(text: &str) -> Option<Self> {
        Self::of(text, false)
    }

    fn of(text: &str, all: bool) -> Option<Self> {
        let mut words: Vec<String> = split(text).take(MAX_WORDS).collect();
        words.sort_unstable();
        words.dedup();
        (!words.is_empty()).then_some(Self { words, all })
    }

    /// As a `tsquery` of `PostgreSQL`. Each word stands for all that begin with it.
    pub(in crate::history) fn to_tsquery(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("{word}:*")).collect();
        words.join(if self.all { " & " } else { " | " })
    }

    /// As a query of FTS5.
    pub(in crate::history) fn to_fts5(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("\"{word}\"*")).collect();
        words.join(if self.all { " AND " } else { " OR " })
    }
}

/// What a lesson is found by.
pub(in crate::history) fn of_lesson(lesson: &Lesson) -> String {
    let Lesson { title, text, rule, signature, agent_id, .. } = lesson;
    let all = [title, text, rule, signature, agent_id.as_ref().unwrap_or(title)].map(|text| split(text));
    all.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn split(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..word.floor_char_boundary(MAX_WORD_BYTES)].to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_and_digits_reach_a_database() {
        let words = Words::all("Rate-limit_429 | 'x' & (y:*) \"z\" rate").unwrap();
        assert_eq!(words.to_tsquery(), "429:* & limit:* & rate:* & x:* & y:* & z:*");
        assert_eq!(Words::any("b a").unwrap().to_fts5(), "\"a\"* OR \"b\"*");
        assert_eq!(Words::all(" - _ ' "), None);
    }
}
