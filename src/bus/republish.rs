//! Streams that publish again what they store (`republish` in their configuration).

use async_nats::jetstream::stream::Config;

use super::conflicts::all_streams;
use super::connection::Connection;
use super::error::StreamError;
use super::subjects::{covers, overlap};
use crate::model::subject::Pattern;

/// A stream that publishes each stored message again, with its stream and sequence in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republisher {
    /// Name of the stream.
    pub stream: String,
    /// Subjects of the stream.
    subjects: Vec<Pattern>,
    /// Those of its messages that are published again.
    source: Pattern,
    /// Subjects under which they are published.
    pub destination: Pattern,
}

impl Republisher {
    /// The stream, if it publishes whole messages again.
    fn of(stream: &Config) -> Option<Self> {
        let republish = stream.republish.as_ref().filter(|republish| !republish.headers_only)?;
        let source = if republish.source.is_empty() { ">" } else { &republish.source };
        Some(Self {
            stream: stream.name.clone(),
            subjects: stream.subjects.iter().filter_map(|subject| subject.parse().ok()).collect(),
            source: source.parse().ok()?,
            destination: subscription(&republish.destination).parse().ok()?,
        })
    }

    /// Returns true if a message of this subject is published again.
    #[must_use]
    pub fn republishes(&self, subject: &str) -> bool {
        self.source.matches(subject) && self.subjects.iter().any(|pattern| pattern.matches(subject))
    }

    /// Returns true if every message that `pattern` matches is published again.
    #[must_use]
    pub fn covers(&self, pattern: &Pattern) -> bool {
        covers(self.source.as_str(), pattern.as_str())
            && self.subjects.iter().any(|subject| covers(subject.as_str(), pattern.as_str()))
    }

    fn overlaps(&self, pattern: &Pattern) -> bool {
        overlap(self.source.as_str(), pattern.as_str())
            && self.subjects.iter().any(|subject| overlap(subject.as_str(), pattern.as_str()))
    }
}

/// The pattern that matches all subjects of a destination: `{{wildcard(1)}}`, `$1` and other mappings stand for any token.
fn subscription(destination: &str) -> String {
    let token =
        |token: &str| if token.contains("{{") || token.starts_with('$') { "*".to_owned() } else { token.into() };
    destination.split('.').map(token).collect::<Vec<String>>().join(".")
}

/// Streams that publish messages of `patterns` again.
///
/// # Errors
/// [`StreamError::Unavailable`].
pub async fn republishers(connection: &Connection, patterns: &[Pattern]) -> Result<Vec<Republisher>, StreamError> {
    let streams = all_streams(connection).await?;
    let wanted = |one: &Republisher| patterns.iter().any(|pattern| one.overlaps(pattern));
    Ok(streams.iter().filter_map(Republisher::of).filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::Republish;

    use super::*;

    fn stream(subjects: &[&str], source: &str, destination: &str) -> Config {
        let republish =
            Republish { source: source.to_owned(), destination: destination.to_owned(), headers_only: false };
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        Config { name: "STREAM_RAG".to_owned(), subjects, republish: Some(republish), ..Config::default() }
    }

    #[test]
    fn a_destination_with_mapped_tokens_becomes_a_pattern() {
        for (destination, pattern) in
            [("copy.>", "copy.>"), ("copy.{{wildcard(1)}}.{{partition(3,1)}}", "copy.*.*"), ("copy.$2.x", "copy.*.x")]
        {
            let republisher = Republisher::of(&stream(&["rag.>"], ">", destination)).unwrap();
            assert_eq!(republisher.destination.as_str(), pattern);
        }
    }

    #[test]
    fn only_stored_and_selected_subjects_are_published_again() {
        let republisher = Republisher::of(&stream(&["rag.>", "parser.>"], "rag.document.>", "copy.>")).unwrap();
        assert!(republisher.republishes("rag.document.x") && !republisher.republishes("rag.other"));
        assert!(republisher.covers(&"rag.document.*".parse().unwrap()));
        assert!(!republisher.covers(&"rag.>".parse().unwrap()) && republisher.overlaps(&"rag.>".parse().unwrap()));
        let all = Republisher::of(&stream(&["rag.>"], "", "copy.>")).unwrap();
        assert!(all.republishes("rag.x") && !all.republishes("parser.x"));
        let mut headers = stream(&["rag.>"], ">", "copy.>");
        headers.republish.as_mut().unwrap().headers_only = true;
        assert_eq!(Republisher::of(&headers), None);
    }
}
