//! Texts for people, in the languages of the page: events as sentences, and numbers with units.
//!
//! The page has the same rules in TypeScript (`web/app/src/words`, `web/app/src/i18n`). `tests/vectors/sentences.json` has
//! cases for both.

mod numbers;
mod sentence;
mod template;

use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};

pub use numbers::{Unit, measured, plural, unit_of};
pub use sentence::{EventContent, Part, Sentence, sentence_of, short};

/// A language of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    En,
    /// Ukrainian.
    Uk,
}

impl Language {
    /// Its ISO 639-1 code, which is its key in the table of sentences.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Uk => "uk",
        }
    }

    /// The language of a POSIX locale such as `uk_UA.UTF-8`; none for a language without texts.
    #[must_use]
    pub fn of_locale(locale: &str) -> Option<Self> {
        locale.split(['_', '.', '@', '-']).next().unwrap_or_default().to_ascii_lowercase().parse().ok()
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        [Self::En, Self::Uk]
            .into_iter()
            .find(|language| language.code() == code)
            .ok_or_else(|| "expected en or uk".to_owned())
    }
}

/// The language of texts, and the time zone of their times.
#[derive(Debug, Clone, Copy)]
pub struct Locale {
    /// The language.
    pub language: Language,
    /// Converts a time to the local one.
    pub local: fn(DateTime<Utc>) -> NaiveDateTime,
}

impl Locale {
    /// English texts with times in UTC, as in texts that servers write.
    pub const ENGLISH: Self = Self { language: Language::En, local: |time| time.naive_utc() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_has_a_language() {
        for (locale, language) in [
            ("uk_UA.UTF-8", Some(Language::Uk)),
            ("uk", Some(Language::Uk)),
            ("en_GB@euro", Some(Language::En)),
            ("C.UTF-8", None),
            ("", None),
            ("ukulele", None),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }
}
