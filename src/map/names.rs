//! Normalized names of entities.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::model::EntityType;

/// Longest name without its type's prefix, in bytes; a longer one is ignored.
const MAX_NAME_BYTES: usize = 256;

/// Kind of a name. Saved states keep the names of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NameKind {
    /// An `external_id`, a number, or any other name.
    External,
    /// A slug.
    Slug,
    /// A uuid: entities with different uuids are different.
    Uuid,
}

/// A name with its type's prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) kind: NameKind,
}

impl Name {
    /// Normalizes a name. `assumed` is its kind unless it is a uuid.
    pub(super) fn read(kind: EntityType, raw: &str, assumed: NameKind) -> Option<Self> {
        let text = prefixed(kind, raw)?;
        let name_kind = if is_uuid(own_part(&text)) { NameKind::Uuid } else { assumed };
        Some(Self { text: text.into(), kind: name_kind })
    }

    /// Normalizes all names of one entity, the slug last, without duplicates.
    pub(super) fn read_all<'a>(
        kind: EntityType,
        raw: impl Iterator<Item = &'a str>,
        slug: Option<&'a str>,
    ) -> Vec<Self> {
        let slug_name = slug.and_then(|slug| prefixed(kind, slug));
        let mut found: Vec<Self> = Vec::new();
        for raw in raw.chain(slug) {
            let Some(mut name) = Self::read(kind, raw, NameKind::External) else { continue };
            if name.kind == NameKind::External && slug_name.as_deref() == Some(&*name.text) {
                name.kind = NameKind::Slug;
            }
            if !found.iter().any(|known| known.text == name.text) {
                found.push(name);
            }
        }
        found
    }
}

/// The name with its type's prefix, a uuid in lower case; none for an empty or too long name.
pub(super) fn prefixed(kind: EntityType, raw: &str) -> Option<String> {
    let raw = raw.trim();
    let bare_prefix = raw.strip_suffix(':') == Some(kind.as_str());
    let text = kind.prefixed(raw);
    let own = own_part(&text);
    if bare_prefix || own.trim().is_empty() || own.len() > MAX_NAME_BYTES {
        return None;
    }
    if is_uuid(own) && own.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(text.to_ascii_lowercase());
    }
    Some(text)
}

/// The name without its type's prefix.
pub(super) fn own_part(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, own)| own)
}

/// An id in a payload: a string or an integer.
pub(super) fn raw_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() && text.len() <= 2 * MAX_NAME_BYTES => {
            Some(text.trim().to_owned())
        }
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn is_uuid(own: &str) -> bool {
    const HYPHENATED: usize = 36;
    own.len() == HYPHENATED && Uuid::try_parse(own).is_ok()
}

/// A display name in the form of a slug: `Aurora Circle` becomes `aurora-circle`.
pub(super) fn slugified(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_alphanumeric() {
            slug.extend(c.to_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    if slug.ends_with('-') {
        slug.pop();
    }
    slug
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_get_a_prefix_and_uuids_are_detected() {
        let uuid = "AFD7AE6D-1111-4111-8111-111111111111";
        let name = Name::read(EntityType::Agent, uuid, NameKind::Slug).unwrap();
        assert_eq!((&*name.text, name.kind), ("agent:afd7ae6d-1111-4111-8111-111111111111", NameKind::Uuid));
        assert_eq!(prefixed(EntityType::Dao, " dao:3 ").as_deref(), Some("dao:3"));
        for nothing in ["", " ", "agent: ", &"x".repeat(257)] {
            assert_eq!(prefixed(EntityType::Agent, nothing), None, "{nothing:?}");
        }
        assert_eq!(raw_id(&json!(3)).as_deref(), Some("3"));
        assert_eq!(raw_id(&json!(3.5)), None);
    }

    #[test]
    fn slugs_of_display_names() {
        for (name, slug) in
            [("Aurora Circle", "aurora-circle"), ("  DAO — #1!", "dao-1"), ("Київ Сад", "київ-сад"), ("!", "")]
        {
            assert_eq!(slugified(name), slug);
        }
    }
}
