//! Subject patterns and stream filters.
//!
//! Input: a pattern, a newline, a subject, a newline, and the query string of a stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::model::subject::{self, Pattern};
use living_map::stream::StreamOptions;
use url::form_urlencoded;

/// Wildcards by the definition of NATS, token by token.
fn matches_by_definition(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, subject @ ..]) => matches_by_definition(pattern, subject),
        ([wanted, pattern @ ..], [token, subject @ ..]) => wanted == token && matches_by_definition(pattern, subject),
        _ => false,
    }
}

fn patterns(text: &str, subject: &str) {
    let Ok(pattern) = text.parse::<Pattern>() else {
        assert!(subject::validate(text).is_err(), "a valid subject is also a pattern: {text:?}");
        return;
    };
    // `**` is another way to write a last `>`
    let canonical = match text.strip_suffix("**") {
        Some(before) if before.is_empty() || before.ends_with('.') => format!("{before}>"),
        _ => text.to_owned(),
    };
    assert_eq!(pattern.to_string(), canonical);
    // the log's own names of bridged subjects cannot be published
    if !text.starts_with(subject::BRIDGED) {
        assert_eq!(pattern.is_literal(), subject::validate(text).is_ok(), "{text:?}");
    }
    if subject::validate(subject).is_ok() {
        let words = |text| str::split(text, '.').collect::<Vec<_>>();
        let expected = matches_by_definition(&words(&canonical), &words(subject));
        assert_eq!(pattern.matches(subject), expected, "{text:?} {subject:?}");
    }
    if pattern.is_literal() {
        assert!(pattern.matches(text) && (text == subject || !pattern.matches(subject)));
    }
}

/// Equivalent query string.
fn to_query(options: &StreamOptions) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for cursor in options.cursor.iter() {
        query.append_pair("cursor", &cursor.to_string());
    }
    for layer in options.layers.to_vec() {
        query.append_pair("layers", &layer.to_string());
    }
    for pattern in &options.types {
        query.append_pair("types", pattern.as_str());
    }
    for entity in &options.entities {
        query.append_pair("entity", entity);
    }
    query.append_pair("snapshot", if options.snapshot { "true" } else { "false" });
    query.finish()
}

fn options(query: &str) {
    match StreamOptions::from_query(query) {
        Ok(options) => {
            let query_again = to_query(&options);
            assert_eq!(StreamOptions::from_query(&query_again).as_ref(), Ok(&options), "{query:?} {query_again:?}");
        }
        Err(error) => {
            let given = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == error.parameter);
            assert!(given, "{query:?}: {error} about an absent parameter");
            assert!(!error.expected.is_empty());
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    patterns(line(), line());
    options(line());
});
