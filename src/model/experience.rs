//! Experiences: one task of an agent and its outcome.
//!
//! The wire form is versioned; its JSON Schema is `openapi/experience.schema.json`. Fields are added, never renamed;
//! readers keep unknown fields.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::str::FromStr;
use utoipa::{PartialSchema, ToSchema};

use super::entity::{UnknownName, wire_enum};
use super::json::encoded;

/// Subject of experiences, followed by the agent's id.
pub const SUBJECT_PREFIX: &str = "agent.experience.v1.";

/// The version of the wire form that this build writes.
pub const VERSION: u32 = 1;

wire_enum! {
    /// Outcome of a task.
    Outcome {
        /// The task was completed.
        Ok = "ok",
        /// The task failed.
        Error = "error",
        /// No answer was given, by choice (the agent's policy is SILENT) or because it was impossible.
        Silent = "silent",
        /// The task was abandoned after its time limit.
        Timeout = "timeout",
        /// An outcome unknown to this build.
        Other = "other",
    }
}

impl Outcome {
    /// Returns `true` if it is a failure or a timeout.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Timeout)
    }
}

/// One experience. Unknown fields are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "event_id": "0f8f7f1f-5f10-4d4e-9d4e-5b0d7c0e3c43", "agent_id": "agent:sofia", "task": "answer_question",
    "outcome": "error", "latency_ms": 5210.0, "error_class": "rate_limited", "error_message": "429 from the provider",
    "model": "gpt-4.1-mini", "provider": "openai", "tool": null, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "timestamp": "2026-01-19T12:00:00Z", "version": 1,
}))]
pub struct Experience {
    /// Identity: of two experiences with the same id the second is not counted.
    pub event_id: String,
    /// The agent, `agent:…`.
    pub agent_id: String,
    /// The task or route.
    pub task: Option<String>,
    /// Outcome.
    pub outcome: Outcome,
    /// Duration in milliseconds.
    pub latency_ms: Option<f64>,
    /// Class of the failure, a short name from a small set.
    pub error_class: Option<String>,
    /// Message of the failure.
    pub error_message: Option<String>,
    /// The language model that was used.
    pub model: Option<String>,
    /// Provider of that model.
    pub provider: Option<String>,
    /// The tool that was used.
    pub tool: Option<String>,
    /// Trace id.
    pub trace_id: Option<String>,
    /// Time of the experience.
    pub timestamp: DateTime<Utc>,
    /// Version of this form.
    #[serde(default = "version")]
    pub version: u32,
    /// Unknown fields.
    #[serde(flatten, deserialize_with = "super::json::object")]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

const fn version() -> u32 {
    VERSION
}

/// The JSON Schema (2020-12) of an experience for publishers, pretty-printed; deterministic.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = encoded(serde_json::to_value(Experience::schema()));
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!("Experience"));
        schema.insert("required".into(), json!(["event_id", "agent_id", "outcome", "timestamp"]));
        schema.insert("additionalProperties".into(), json!(true));
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let mut outcome = encoded(serde_json::to_value(Outcome::schema()));
            // only this server writes it, for unknown outcomes
            if let Some(Value::Array(values)) = outcome.get_mut("enum") {
                values.retain(|value| value != Outcome::Other.as_str());
            }
            outcome["description"] = json!("How it went");
            properties.insert("outcome".into(), outcome);
        }
    }
    format!("{schema:#}\n")
}
