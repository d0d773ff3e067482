//! What an agent lived through once: one task, and how it went.
//!
//! Its wire form is versioned and its JSON Schema is `openapi/experience.schema.json`. Fields are added, never renamed;
//! what a reader does not know it keeps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::str::FromStr;
use utoipa::{PartialSchema, ToSchema};

use super::entity::{UnknownName, wire_enum};

/// Experiences have this subject and the agent's id behind it.
pub const SUBJECT_PREFIX: &str = "agent.experience.v1.";

/// The version of the wire form that this build writes.
pub const VERSION: u32 = 1;

wire_enum! {
    /// How it went.
    Outcome {
        /// It was done.
        Ok = "ok",
        /// It failed.
        Error = "error",
        /// No answer was given: by choice (the agent's policy is SILENT), or because it could not.
        Silent = "silent",
        /// It was given up after too long.
        Timeout = "timeout",
        /// What this build does not know.
        Other = "other",
    }
}

impl Outcome {
    /// Whether it failed, by itself or by time.
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
    /// Says which experiences are the same: of two with one id the second is not counted.
    pub event_id: String,
    /// The agent, `agent:…`.
    pub agent_id: String,
    /// What it was doing: a task or a route.
    pub task: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// What sort of failure it was, a short name from a small set.
    pub error_class: Option<String>,
    /// What the failure said.
    pub error_message: Option<String>,
    /// The language model that was used.
    pub model: Option<String>,
    /// Who runs that model.
    pub provider: Option<String>,
    /// The tool that was used.
    pub tool: Option<String>,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// Version of this form.
    #[serde(default = "version")]
    pub version: u32,
    /// What else was said.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

const fn version() -> u32 {
    VERSION
}

/// The JSON Schema (2020-12) of an experience as publishers are asked to send it, pretty-printed, the same at each call.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = serde_json::to_value(Experience::schema()).unwrap_or_default();
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!("Experience"));
        schema.insert("required".into(), json!(["event_id", "agent_id", "outcome", "timestamp"]));
        schema.insert("additionalProperties".into(), json!(true));
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let mut outcome = serde_json::to_value(Outcome::schema()).unwrap_or_default();
            // what this server writes of others' words is nothing to send
            if let Some(Value::Array(values)) = outcome.get_mut("enum") {
                values.retain(|value| value != Outcome::Other.as_str());
            }
            outcome["description"] = json!("How it went");
            properties.insert("outcome".into(), outcome);
        }
    }
    format!("{schema:#}\n")
}
