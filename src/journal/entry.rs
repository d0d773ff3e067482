//! One entry: what failed, and nothing that must not be told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::time;

/// Characters of an entry's texts at most: an error is told, not its whole answer.
const MAX_ERROR_CHARS: usize = 500;
const MAX_KEY_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 64;

/// Stands for what is left out.
const HIDDEN: &str = "…";

/// The name of the operation that is no failure: last good data stands in.
pub const RESCUE: &str = "rescue";

/// A failed operation, or a rescue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01932f4e-0000-7000-8000-000000000000", "ts": "2026-01-19T12:00:00Z", "op": "read", "target": "agents",
    "key": "/agents", "error": "connection refused", "rescued": true,
}))]
pub struct Entry {
    /// Names the entry in all files that hold it. Files of the service we replace have none; there it follows from the
    /// line.
    #[serde(default)]
    pub id: Uuid,
    /// When it happened.
    pub ts: DateTime<Utc>,
    /// `read`, `write`, `delete`, `list`…; `rescue` says that from then on last good data stands in.
    pub op: String,
    /// What was to do it: a service, `log`, `database`.
    pub target: String,
    /// What it was about: a path, a subject.
    #[serde(default)]
    pub key: String,
    /// Why it failed.
    pub error: String,
    /// Whether older data stood in for what was not to be had.
    #[serde(default)]
    pub rescued: bool,
}

impl Entry {
    /// An entry of now, its texts cut and cleared of secrets.
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

    /// Reads a line of a file.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut entry: Self = serde_json::from_str(line).ok()?;
        if entry.id.is_nil() {
            entry.id = Uuid::new_v5(&Uuid::NAMESPACE_OID, line.trim().as_bytes());
        }
        Some(entry)
    }

    /// Whether something failed: a rescue follows on a failure that is an entry of its own.
    pub fn is_failure(&self) -> bool {
        self.op != RESCUE
    }
}

/// The text, cut to `max_chars` and without what could let somebody in.
fn clean(text: &str, max_chars: usize) -> String {
    // long enough for the cut to fall behind what is hidden, and no longer: errors may quote whole answers
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
        // `bearer` is followed by its value; the others only where they are given one, and not in a sentence
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
    fn secrets_do_not_get_into_an_entry() {
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
    fn texts_are_cut_between_characters() {
        let entry = Entry::new("read", &"ї".repeat(100_000), "key", &"ї".repeat(100_000), false);
        assert_eq!((entry.target.chars().count(), entry.error.chars().count()), (64, 500));
        assert!(entry.error.ends_with(HIDDEN));
    }

    #[test]
    fn a_line_without_an_id_has_the_same_one_at_each_reading() {
        let line = r#"{"ts":"2026-01-19T12:00:00Z","op":"read","target":"dao","error":"no"}"#;
        let entry = Entry::read(line).unwrap();
        assert_eq!(Entry::read(line), Some(entry.clone()));
        assert!(!entry.id.is_nil() && !entry.rescued);
        assert_ne!(Entry::read(&line.replace("dao", "city")).unwrap().id, entry.id);
        assert_eq!(Entry::read("{\"ts\":"), None);
    }
}
