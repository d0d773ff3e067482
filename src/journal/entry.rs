//! One entry, without secrets.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::time;

/// Maximum characters of an entry's texts. An error may quote a whole response, which is not recorded.
const MAX_ERROR_CHARS: usize = 500;
const MAX_KEY_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 64;

/// Replaces removed text.
const HIDDEN: &str = "…";

/// The operation of an entry that is not a failure: fallback data is served from then on.
pub const RESCUE: &str = "rescue";

/// A failed operation, or the start of a fallback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01932f4e-0000-7000-8000-000000000000", "ts": "2026-01-19T12:00:00Z", "op": "read", "target": "agents",
    "key": "/agents", "error": "connection refused", "rescued": true,
}))]
pub struct Entry {
    /// Identifies the entry in all files that contain it. For files of the replaced service, which have no ids, it is
    /// derived from the line.
    #[serde(default)]
    pub id: Uuid,
    /// When the operation failed.
    pub ts: DateTime<Utc>,
    /// `read`, `write`, `delete`, `list`…; `rescue`: fallback data is served from then on.
    pub op: String,
    /// The component that failed: a service, `log`, `database`.
    pub target: String,
    /// The object of the operation: a path, a subject.
    #[serde(default)]
    pub key: String,
    /// The error.
    pub error: String,
    /// True if fallback data was served instead.
    #[serde(default)]
    pub rescued: bool,
}

impl Entry {
    /// An entry with the current time. Its texts are truncated and cleared of secrets.
    pub(super) fn new(op: &str, target: &str, key: &str, error: &str, rescued: bool) -> Self {
        Self {
            id: Uuid::now_v7(),
            ts: time::whole_micros(Utc::now()),
            op: clean(op, MAX_NAME_CHARS),
            target: clean(target, MAX_NAME_CHARS),
            key: clean(key, MAX_KEY_CHARS),
            error: clean(error, MAX_ERROR_CHARS),
            rescued,
        }
    }

    /// Parses a line of a file.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut entry: Self = serde_json::from_str(line).ok()?;
        if entry.id.is_nil() {
            entry.id = Uuid::new_v5(&Uuid::NAMESPACE_OID, line.trim().as_bytes());
        }
        Some(entry)
    }

    /// Returns false for `rescue` entries: the failure before them has its own entry.
    pub fn is_failure(&self) -> bool {
        self.op != RESCUE
    }
}

/// The text without secrets, truncated to `max_chars`.
fn clean(text: &str, max_chars: usize) -> String {
    // bounds the work on long texts, and leaves room for secrets that are removed before the final truncation
    let head: String = text.chars().take(max_chars * 4).collect();
    let clear = without_named_secrets(&without_userinfo(&head));
    if clear.chars().count() <= max_chars {
        return clear;
    }
    let mut cut: String = clear.chars().take(max_chars - 1).collect();
    cut.push_str(HIDDEN);
    cut
}

/// `scheme://user:password@host` without `user:password`.
fn without_userinfo(text: &str) -> String {
    let mut clear = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clear.push_str(before);
        clear.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c)).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clear.push_str(HIDDEN);
                &after[at..]
            }
            None => after,
        };
    }
    clear.push_str(rest);
    clear
}

/// `Bearer xyz`, `token=xyz`, `"password": "xyz"` and the like without the `xyz`.
fn without_named_secrets(text: &str) -> String {
    const NAMES: [&str; 8] = ["bearer", "token", "password", "passwd", "secret", "apikey", "api_key", "authorization"];
    let lower = text.to_ascii_lowercase();
    let mut clear = String::with_capacity(text.len());
    let mut from = 0;
    while let Some((at, name)) =
        NAMES.iter().filter_map(|name| Some((from + lower[from..].find(name)?, name))).min_by_key(|(at, _)| *at)
    {
        let behind = at + name.len();
        let between = text[behind..].find(|c: char| !" =:\"'".contains(c)).unwrap_or(text.len() - behind);
        let value = behind + between;
        // `bearer` precedes its value directly; other names need `=` or `:`, so that sentences are not changed
        let given = text[behind..value].contains(['=', ':']) || (*name == "bearer" && between > 0);
        clear.push_str(&text[from..value]);
        from = value;
        let named_next = NAMES.iter().any(|next| lower[value..].starts_with(next));
        if given && !named_next {
            let end = text[value..].find(|c: char| c.is_whitespace() || "&,;\"'})".contains(c));
            from = end.map_or(text.len(), |end| value + end);
            clear.push_str(HIDDEN);
        }
    }
    clear.push_str(&text[from..]);
    clear
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_from_an_entry() {
        for (text, clear) in [
            ("cannot reach postgres://me:hush@db:5432/x at all", "cannot reach postgres://…@db:5432/x at all"),
            ("nats://a:hu@sh@n1:4222,nats://b:hush@n2:4222", "nats://…@n1:4222,nats://…@n2:4222"),
            ("http://host/path?a=b@c is fine", "http://host/path?a=b@c is fine"),
            ("Authorization: Bearer hush, refused", "Authorization: Bearer …, refused"),
            ("/list?token=hush&limit=3", "/list?token=…&limit=3"),
            (r#"{"password": "hush", "user": "me"}"#, r#"{"password": "…", "user": "me"}"#),
            ("the token was refused", "the token was refused"),
        ] {
            assert_eq!(clean(text, 500), clear);
        }
    }

    #[test]
    fn texts_are_truncated_between_characters() {
        let entry = Entry::new("read", &"ї".repeat(100_000), "key", &"ї".repeat(100_000), false);
        assert_eq!((entry.target.chars().count(), entry.error.chars().count()), (64, 500));
        assert!(entry.error.ends_with(HIDDEN));
    }

    #[test]
    fn a_line_without_an_id_always_gets_the_same_one() {
        let line = r#"{"ts":"2026-01-19T12:00:00Z","op":"read","target":"dao","error":"no"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!(Entry::parse(line), Some(entry.clone()));
        assert!(!entry.id.is_nil() && !entry.rescued);
        assert_ne!(Entry::parse(&line.replace("dao", "city")).unwrap().id, entry.id);
        assert_eq!(Entry::parse("{\"ts\":"), None);
    }
}
