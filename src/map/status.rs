//! The words for statuses.

use crate::model::Status;

/// The status that a publisher or an upstream means by a word; none for an unknown word.
pub(super) fn read(word: &str) -> Option<Status> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "active" | "busy" | "working" | "running" | "good" => Status::Active,
        "inactive" | "deactivated" | "disabled" | "archived" | "suspended" => Status::Inactive,
        "online" | "healthy" | "ok" | "ready" | "available" => Status::Online,
        "offline" | "down" | "unreachable" | "disconnected" => Status::Offline,
        "warning" | "warn" | "degraded" => Status::Warning,
        "error" | "critical" | "failed" | "unhealthy" => Status::Error,
        "idle" | "away" | "sleeping" | "paused" => Status::Idle,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_network_has_its_status() {
        for (words, status) in [
            (&["active", "busy", "good"][..], Status::Active),
            (&["online", "healthy"], Status::Online),
            (&["warn", "degraded", "WARNING"], Status::Warning),
            (&["critical", "error"], Status::Error),
            (&["offline"], Status::Offline),
            (&["idle"], Status::Idle),
            (&["inactive"], Status::Inactive),
        ] {
            for word in words {
                assert_eq!(read(word), Some(status), "{word}");
            }
        }
        assert_eq!(read("dancing"), None);
    }
}
