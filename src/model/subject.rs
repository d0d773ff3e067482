//! NATS subjects and patterns over them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Longest subject, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// Subjects of the map's events; NATS patterns.
pub const MAP_SUBJECTS: &[&str] = &[
    "city.event.>",
    "dao.event.>",
    "microdao.event.>",
    "node.metrics.>",
    "agent.event.>",
    "usage.llm",
    "usage.llm.>",
    "usage.agent",
    "usage.agent.>",
    "usage.tool",
    "usage.tool.>",
    "usage.agent_run",
    "usage.agent_run.>",
    "messaging.message.created",
    "messaging.message.created.dlq",
    "agents.>",
    "agent.reply.sent",
    "agent.reply.sent.dlq",
    "agent.error",
    "agent.error.dlq",
    "agent.lesson.v1",
    "agent.lesson.v1.dlq",
    "config.updated.>",
    "policy.updated.>",
    "prompt.updated.>",
    "living_map.>",
];

/// The network's other subjects; each family has its own stream.
pub const NETWORK_SUBJECTS: &[&str] =
    &["message.>", "attachment.>", "agent.run.>", "memory.>", "audit.>", "ops.>", "agent.experience.v1.>"];

/// Returns `true` if messages of this subject are dead letters. They are recorded and have no effect on the map,
/// otherwise a failed event would reappear as if it had just happened.
#[must_use]
pub fn is_dead_letter(subject: &str) -> bool {
    subject.rsplit_once('.').is_some_and(|(_, last)| last == "dlq")
}

/// Subject of a dead letter whose own subject no stream would record.
pub const OTHER_DEAD_LETTERS: &str = "living_map.dlq";

/// Subject of the dead letters of `subject`.
#[must_use]
pub fn dead_letter(subject: &str) -> String {
    let dead = format!("{subject}.dlq");
    if validate(&dead).is_ok() { dead } else { OTHER_DEAD_LETTERS.to_owned() }
}

/// Beginning of the subjects under which the log stores messages of the bridge: the message's own subject follows. The log cannot
/// have that subject itself, since another stream has it.
pub const BRIDGED: &str = "living_map.bridged.";

/// Other spelling of the wildcard `>`.
const REST: &str = "**";

/// Reason for rejecting a subject or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// Empty.
    #[error("a subject must not be empty")]
    Empty,
    /// Longer than [`MAX_SUBJECT_BYTES`].
    #[error("a subject must be at most {MAX_SUBJECT_BYTES} bytes")]
    TooLong,
    /// Two dots in a row, or a dot at either end.
    #[error("a subject must not have empty tokens")]
    EmptyToken,
    /// Contains whitespace or control characters.
    #[error("a subject must not contain blanks or control characters")]
    Blank,
    /// `*` or `>` where it is not allowed.
    #[error(
        "wildcards are not allowed in a subject; in a pattern, '*' stands for one whole token and '>' or '**' for the rest"
    )]
    Wildcard,
    /// Reserved by NATS.
    #[error("subjects that begin with '$' or '_INBOX' belong to the message system")]
    Reserved,
    /// Reserved for messages of the bridge.
    #[error("subjects that begin with '{BRIDGED}' are those of the bridge; expected the original subject")]
    Bridged,
}

/// Checks the subject of one event.
///
/// # Errors
/// The reason, as shown to the sender.
pub fn validate(subject: &str) -> Result<(), InvalidSubject> {
    if subject.starts_with(BRIDGED) {
        return Err(InvalidSubject::Bridged);
    }
    check(subject, false)
}

fn check(subject: &str, wildcards: bool) -> Result<(), InvalidSubject> {
    if subject.is_empty() {
        return Err(InvalidSubject::Empty);
    }
    if subject.len() > MAX_SUBJECT_BYTES {
        return Err(InvalidSubject::TooLong);
    }
    if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(InvalidSubject::Blank);
    }
    if subject.starts_with('$') || subject.starts_with("_INBOX") {
        return Err(InvalidSubject::Reserved);
    }
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        match token {
            "" => return Err(InvalidSubject::EmptyToken),
            "*" if wildcards => {}
            ">" if wildcards && tokens.peek().is_none() => {}
            token if token.contains(['*', '>']) => return Err(InvalidSubject::Wildcard),
            _ => {}
        }
    }
    Ok(())
}

/// A subject with NATS wildcards: `*` matches one token, `>` one or more tokens at the end. `**` is read as `>`, which shells and
/// URLs require to be quoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if it has no wildcard and so matches only itself.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.split('.').any(|token| token == "*" || token == ">")
    }

    /// Returns `true` if it matches `subject`.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let mut tokens = subject.split('.');
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

/// Value parser of a setting: a pattern of subjects to record, without the blanks around it. A wildcard as the first token is
/// rejected: the stream would also record requests to `JetStream`, and its acknowledgements would arrive in place of the
/// answers.
///
/// # Errors
/// Description of the expected value.
pub fn recorded_pattern(text: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text.trim().parse().map_err(|error: InvalidSubject| error.to_string())?;
    if pattern.as_str().starts_with(['*', '>']) {
        return Err("expected a pattern that begins with a name, such as task.>".to_owned());
    }
    Ok(pattern)
}

/// Value parser of a setting: a subject to publish to, without wildcards.
///
/// # Errors
/// Description of the expected value.
pub fn literal_subject(text: &str) -> Result<Pattern, String> {
    Some(recorded_pattern(text)?)
        .filter(Pattern::is_literal)
        .ok_or_else(|| "expected a subject without wildcards, such as agent.lesson.v1".to_owned())
}

impl FromStr for Pattern {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = match text.strip_suffix(REST) {
            Some(beginning) if beginning.is_empty() || beginning.ends_with('.') => Cow::Owned(format!("{beginning}>")),
            _ => Cow::Borrowed(text),
        };
        check(&text, true).map(|()| Self(text.into_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_subjects_are_rejected() {
        use InvalidSubject as E;
        for (subject, error) in [
            ("", E::Empty),
            ("a..b", E::EmptyToken),
            (".a", E::EmptyToken),
            ("a.", E::EmptyToken),
            ("a b", E::Blank),
            ("a\r\nPUB", E::Blank),
            ("a\u{0}", E::Blank),
            ("a.*", E::Wildcard),
            ("a.>", E::Wildcard),
            ("a.b*", E::Wildcard),
            ("$JS.API", E::Reserved),
            ("_INBOX.x", E::Reserved),
            ("living_map.bridged.agent.event.x", E::Bridged),
        ] {
            assert_eq!(validate(subject), Err(error), "{subject:?}");
        }
        assert_eq!(validate(&"a".repeat(257)), Err(E::TooLong));
        assert_eq!(validate("agent.event.created"), Ok(()));
    }

    #[test]
    fn patterns_match_as_nats_does() {
        let matches = |pattern: &str, subject| pattern.parse::<Pattern>().unwrap().matches(subject);
        assert!(matches("usage.>", "usage.llm.increment"));
        assert!(!matches("usage.>", "usage"));
        assert!(matches("dao.event.*", "dao.event.created"));
        assert!(!matches("dao.event.*", "dao.event.a.b"));
        assert!(!matches("dao.event.*", "microdao.event.created"));
        assert!(matches(">", "a"));
        assert!("a.>.b".parse::<Pattern>().is_err());
        assert!("a.b>".parse::<Pattern>().is_err());
    }

    #[test]
    fn two_asterisks_are_read_as_the_wildcard_for_the_rest() {
        for (text, pattern) in [("**", ">"), ("usage.**", "usage.>"), ("a.*.**", "a.*.>"), ("a.>", "a.>")] {
            assert_eq!(text.parse::<Pattern>().unwrap().as_str(), pattern);
        }
        for text in ["a.**.b", "a**", "a.b**", "***", "a.***", "**.a", ".**", "a..**"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        assert!(validate("a.**").is_err());
    }

    #[test]
    fn the_subject_lists_are_valid_patterns() {
        for subject in MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS) {
            assert!(subject.parse::<Pattern>().is_ok(), "{subject}");
        }
    }
}
