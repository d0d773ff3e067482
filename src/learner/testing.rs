//! Experiences for the tests of this module.

use serde_json::Map;

use super::case::Case;
use crate::model::{Experience, Outcome};

/// An experience of `agent:a`, `seconds` after 1970.
pub fn experience(outcome: Outcome, seconds: i64) -> Experience {
    Experience {
        event_id: format!("{outcome}-{seconds}"),
        agent_id: "agent:a".into(),
        task: Some("answer".into()),
        outcome,
        latency_ms: Some(800.0),
        error_class: outcome.is_failure().then(|| "refused".into()),
        error_message: None,
        model: Some("m1".into()),
        provider: None,
        tool: None,
        trace_id: None,
        timestamp: chrono::DateTime::from_timestamp(seconds, 0).unwrap(),
        version: 1,
        more: Map::new(),
    }
}

pub fn case(experience: &Experience) -> Case<'_> {
    let at = experience.timestamp.timestamp_millis();
    Case { experience, at, logged: at, sampled: true }
}
