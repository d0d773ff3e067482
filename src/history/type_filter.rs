//! A subject pattern as conditions that a database can check exactly, without using the wildcards of SQL: no character of a
//! subject (`%`, `_`, `[`, `\`…) can act as one.

use super::HistoryQuery;
use crate::model::subject::Pattern;

/// The condition on `event_type` that is equivalent to a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeFilter {
    /// Any event type.
    Any,
    /// This event type.
    Exactly(String),
    /// One of these: all stored event types that match, possibly none.
    OneOf(Vec<String>),
    /// All of these conditions.
    Shaped(Shape),
}

/// Conditions on an `event_type` as bytes and as tokens between dots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// From the first (inclusive) to the second (exclusive), in byte order: the prefix before the first wildcard.
    pub range: Option<(String, String)>,
    /// Number of dots, unless the range implies it.
    pub dots: Option<Dots>,
    /// Literal tokens behind the prefix, by index from 0.
    pub tokens: Vec<(usize, String)>,
}

/// A number of dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// Exactly this number.
    Exactly(i32),
    /// At least this number.
    AtLeast(i32),
}

impl Dots {
    /// The operator and the number that a number of dots is compared with.
    pub const fn condition(self) -> (&'static str, i32) {
        match self {
            Self::Exactly(dots) => (" = ", dots),
            Self::AtLeast(dots) => (" >= ", dots),
        }
    }
}

/// Maximum number of stored event types that are compared with a pattern: each is one step in an index. A table with more is
/// read row by row, which is slow only where hardly any row matches.
pub const MAX_TYPES: usize = 256;

/// Maximum number of event types whose rows are read separately, in the order of pages, and merged.
const MAX_PARTS: usize = 16;

impl TypeFilter {
    /// The condition of `pattern` where `stored` are all event types in the table.
    pub fn among(pattern: &Pattern, stored: Vec<String>) -> Self {
        let mut matching: Vec<String> = stored.into_iter().filter(|subject| pattern.matches(subject)).collect();
        match matching.len() {
            1 => Self::Exactly(matching.remove(0)),
            _ => Self::OneOf(matching),
        }
    }

    /// Queries whose merged results are the result of `query`. An index has the rows of one entity name or one event type in
    /// the order of pages, but not those of several: for these a database would sort all rows, or scan the table for few
    /// matches.
    pub fn parts(&self, query: &HistoryQuery) -> Vec<(HistoryQuery, Self)> {
        let by_name = query.by_name();
        match self {
            filter if !by_name.is_empty() => by_name.into_iter().map(|query| (query, filter.clone())).collect(),
            Self::OneOf(types) if (2..=MAX_PARTS).contains(&types.len()) => {
                types.iter().map(|only| (query.clone(), Self::Exactly(only.clone()))).collect()
            }
            filter => vec![(query.clone(), filter.clone())],
        }
    }

    /// True if no row can match.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::OneOf(types) if types.is_empty())
    }

    /// The condition of `pattern`.
    pub fn of(pattern: &Pattern) -> Self {
        if pattern.is_literal() {
            return Self::Exactly(pattern.as_str().to_owned());
        }
        let tokens: Vec<&str> = pattern.as_str().split('.').collect();
        let open = tokens.last() == Some(&">");
        let prefix = tokens.iter().take_while(|token| !matches!(**token, "*" | ">")).count();
        let only_prefix = open && prefix + 1 == tokens.len();
        if only_prefix && prefix == 0 {
            return Self::Any;
        }
        // a pattern is at most 256 bytes, so it has far fewer dots than an i32 can count
        let dots = i32::try_from(tokens.len() - 1).unwrap_or(i32::MAX);
        Self::Shaped(Shape {
            range: (prefix > 0).then(|| {
                let prefix = tokens[..prefix].join(".");
                // the byte after '.' is '/'
                (format!("{prefix}."), format!("{prefix}/"))
            }),
            dots: (!only_prefix).then_some(if open { Dots::AtLeast(dots) } else { Dots::Exactly(dots) }),
            tokens: tokens
                .iter()
                .enumerate()
                .skip(prefix)
                .filter(|(_, token)| !matches!(**token, "*" | ">"))
                .map(|(index, token)| (index, (*token).to_owned()))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pattern: &str) -> TypeFilter {
        TypeFilter::of(&pattern.parse().unwrap())
    }

    impl TypeFilter {
        /// The condition as a database evaluates it.
        fn accepts(&self, subject: &str) -> bool {
            let shape = match self {
                Self::Any => return true,
                Self::Exactly(only) => return only == subject,
                Self::OneOf(types) => return types.iter().any(|only| only == subject),
                Self::Shaped(shape) => shape,
            };
            let dots = i32::try_from(subject.matches('.').count()).unwrap();
            let tokens: Vec<&str> = subject.split('.').collect();
            shape.range.as_ref().is_none_or(|(from, to)| *from.as_str() <= *subject && *subject < *to.as_str())
                && match shape.dots {
                    None => true,
                    Some(Dots::Exactly(wanted)) => dots == wanted,
                    Some(Dots::AtLeast(wanted)) => dots >= wanted,
                }
                && shape.tokens.iter().all(|(index, token)| tokens.get(*index) == Some(&token.as_str()))
        }
    }

    #[test]
    fn common_patterns_use_the_index_alone() {
        assert_eq!(of(">"), TypeFilter::Any);
        assert_eq!(of("usage.llm"), TypeFilter::Exactly("usage.llm".into()));
        let usage = Shape { range: Some(("usage.".into(), "usage/".into())), ..Shape::default() };
        assert_eq!(of("usage.>"), TypeFilter::Shaped(usage));
    }

    proptest! {
        #[test]
        fn the_condition_is_equivalent_to_the_pattern(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "%", "_", "*"]), 1..5),
            open in any::<bool>(),
            subjects in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "%", "_"]), 1..6), 32),
        ) {
            let text = pattern.join(".") + if open { ".>" } else { "" };
            let pattern: Pattern = text.parse().unwrap();
            let filter = TypeFilter::of(&pattern);
            for subject in subjects {
                let subject = subject.join(".");
                prop_assert_eq!(filter.accepts(&subject), pattern.matches(&subject), "{} {}", text, subject);
                let among = TypeFilter::among(&pattern, vec![subject.clone()]);
                prop_assert_eq!(among.accepts(&subject), pattern.matches(&subject), "{} {}", text, subject);
            }
        }
    }
}
