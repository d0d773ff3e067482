//! Search words, and the words of a lesson, normalized in the same way for both databases: runs of letters and digits, lower
//! case.

use crate::model::Lesson;

/// Maximum number of words in a query; further ones are ignored.
const MAX_WORDS: usize = 32;
/// Maximum length of a word in bytes; it is cut there.
const MAX_WORD_BYTES: usize = 64;

/// Words of a full-text query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchWords {
    words: Vec<String>,
    all: bool,
}

impl SearchWords {
    /// A query for lessons with all words of a text; none if it has no words.
    #[must_use]
    pub fn all(text: &str) -> Option<Self> {
        Self::of(text, true)
    }

    /// A query for lessons with any word of a text; none if it has no words.
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

    /// The query as a `tsquery` of `PostgreSQL`. A word also matches all words that begin with it.
    pub(in crate::history) fn to_tsquery(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("{word}:*")).collect();
        words.join(if self.all { " & " } else { " | " })
    }

    /// The query in the syntax of FTS5.
    pub(in crate::history) fn to_fts5(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("\"{word}\"*")).collect();
        words.join(if self.all { " AND " } else { " OR " })
    }
}

/// The words by which a lesson is found.
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
        let words = SearchWords::all("Rate-limit_429 | 'x' & (y:*) \"z\" rate").unwrap();
        assert_eq!(words.to_tsquery(), "429:* & limit:* & rate:* & x:* & y:* & z:*");
        assert_eq!(SearchWords::any("b a").unwrap().to_fts5(), "\"a\"* OR \"b\"*");
        assert_eq!(SearchWords::all(" - _ ' "), None);
    }
}
