//! Keys of lessons: learning the same lesson again gives the same key.

use uuid::Uuid;

/// Namespace of lesson keys (UUID v5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6c65_7373_6f6e);

/// Key of a lesson of `rule` about `agent` (none: all agents) with `signature`, for the window in which it began.
/// Windows are counted from 1970, so that they do not depend on the start of the learner.
#[must_use]
pub fn lesson_key(agent: Option<&str>, rule: &str, signature: &str, began_ms: i64, window_ms: i64) -> String {
    let window = began_ms.div_euclid(window_ms.max(1)).saturating_mul(window_ms);
    // the unit separator does not occur in names
    let name = format!("{}\u{1f}{rule}\u{1f}{signature}\u{1f}{window}", agent.unwrap_or("*"));
    format!("{rule}-{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()).simple())
}

/// Key of a later version of the lesson `root`.
#[must_use]
pub fn version_key(root: &str, version: u32) -> String {
    format!("{root}.{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_all_parts_and_the_window() {
        let key = lesson_key(Some("agent:a"), "error_burst", "timeout", 1_800_000, 1_800_000);
        assert_eq!(key, lesson_key(Some("agent:a"), "error_burst", "timeout", 3_599_999, 1_800_000));
        for (agent, rule, signature, at) in [
            (Some("agent:b"), "error_burst", "timeout", 1_800_000),
            (None, "error_burst", "timeout", 1_800_000),
            (Some("agent:a"), "drift", "timeout", 1_800_000),
            (Some("agent:a"), "error_burst", "refused", 1_800_000),
            (Some("agent:a"), "error_burst", "timeout", 3_600_000),
            (Some("agent:a"), "error_burst", "timeout", 1_799_999),
        ] {
            assert_ne!(key, lesson_key(agent, rule, signature, at, 1_800_000));
        }
    }
}
