use serde_json::json;

use super::*;

fn version(number: u32, superseded_by: Option<u32>) -> Lesson {
    let lesson = json!({
        "lesson_key": format!("k.{number}"), "root_key": "k.1", "agent_id": null, "rule": "r", "signature": "s",
        "status": "active", "version": number, "severity": "low", "title": "t", "text": "t", "evidence": [],
        "occurrences": 1, "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z",
        "replay_count": 0, "helped": 0, "not_helped": 0, "retirement_proposed": false, "reason": null,
        "superseded_by": superseded_by.map(|next| format!("k.{next}")), "superseded_at": null,
        "ts": "2026-01-01T00:00:00Z",
    });
    serde_json::from_value(lesson).unwrap()
}

fn numbers(versions: Vec<Lesson>) -> Vec<u32> {
    version_chain(versions).iter().map(|lesson| lesson.version).collect()
}

#[test]
fn a_chain_goes_from_the_first_to_the_latest_version() {
    assert_eq!(numbers(vec![version(3, None), version(1, Some(2)), version(2, Some(3))]), [1, 2, 3]);
    assert_eq!(numbers(vec![]), [] as [u32; 0]);
}

#[test]
fn a_cyclic_chain_ends() {
    assert_eq!(numbers(vec![version(1, Some(2)), version(2, Some(1))]), [1, 2]);
    assert_eq!(numbers(vec![version(1, Some(1))]), [1]);
    assert_eq!(numbers(vec![version(1, Some(9)), version(2, None)]), [1], "a link to a missing version");
}
