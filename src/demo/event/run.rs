//! Events of a run: an agent answers a message.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::message::{PublishedMessage, with_offset};
use crate::demo::entities::Presence;
use crate::demo::hourly_usage::UsageCounts;
use crate::demo::names;
use crate::demo::network_state::NetworkState;

#[derive(Debug, Clone)]
pub(in crate::demo) enum RunEvent {
    /// The gateway received a message for an agent.
    MessageReceived { agent: String, message: Uuid },
    /// The run started.
    Started { agent: String, run: Uuid },
    /// The agent called its model.
    LlmCalled { agent: String, prompt: u64, completion: u64, latency_ms: u64 },
    /// The agent called a tool.
    ToolCalled { agent: String, tool: usize, ok: bool, latency_ms: u64 },
    /// The agent answered.
    Replied { agent: String, tokens: u64, latency_ms: u64 },
    /// The run ended.
    Finished { agent: String, run: Uuid, llm_calls: u64, tool_calls: u64, duration_ms: u64 },
    /// The usage service recorded the run.
    UsageRecorded { agent: String, llm_calls: u64, tool_calls: u64, duration_ms: u64 },
}

impl RunEvent {
    pub(super) fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        match self {
            Self::MessageReceived { agent, message } => {
                state.agent(&agent)?;
                let payload = json!({"message_id": message, "agent_id": agent, "channel": "gateway"});
                Some(PublishedMessage::enveloped(format!("message.received.{agent}"), message.to_string(), payload))
            }
            Self::Started { agent, run } => {
                state.agent_mut(&agent)?.presence = Presence::Busy;
                let payload = json!({"run_id": run, "agent_id": agent, "trigger": "message", "ts": with_offset(now)});
                Some(PublishedMessage::flat("agents.invoke", payload))
            }
            Self::LlmCalled { agent, prompt, completion, latency_ms } => {
                llm_called(state, &agent, (prompt, completion), latency_ms, now)
            }
            Self::ToolCalled { agent, tool, ok, latency_ms } => tool_called(state, &agent, tool, ok, latency_ms, now),
            Self::Replied { agent, tokens, latency_ms } => {
                state.agent(&agent)?;
                let payload = json!({"agent_id": agent, "tokens_used": tokens, "latency_ms": latency_ms,
                    "ts": with_offset(now)});
                Some(PublishedMessage::flat("agents.reply", payload))
            }
            Self::Finished { agent, run, llm_calls, tool_calls, duration_ms } => {
                state.agent_mut(&agent)?.presence = Presence::Online;
                let payload = json!({"run_id": run, "agent_id": agent, "success": true, "duration_ms": duration_ms,
                    "llm_calls": llm_calls, "tool_calls": tool_calls});
                Some(PublishedMessage::enveloped(format!("agent.run.completed.{agent}"), run.to_string(), payload))
            }
            Self::UsageRecorded { agent, llm_calls, tool_calls, duration_ms } => {
                usage_recorded(state, &agent, (llm_calls, tool_calls), duration_ms, now)
            }
        }
    }
}

fn llm_called(
    state: &mut NetworkState,
    agent: &str,
    (prompt, completion): (u64, u64),
    latency_ms: u64,
    now: DateTime<Utc>,
) -> Option<PublishedMessage> {
    let (model, provider) = names::MODELS[state.agent(agent)?.model];
    let microdao = &state.microdaos[state.agent(agent)?.microdao].id;
    let payload = json!({
        "timestamp": with_offset(now), "actor_id": agent, "agent_id": agent, "microdao_id": microdao,
        "model": model, "provider": provider, "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt + completion, "latency_ms": latency_ms, "success": true, "error": null,
    });
    let counts = UsageCounts {
        llm_calls: 1,
        prompt_tokens: prompt,
        completion_tokens: completion,
        llm_latency_ms: latency_ms,
        ..UsageCounts::default()
    };
    state.count(agent, now, counts);
    Some(PublishedMessage::flat("usage.llm", payload))
}

fn tool_called(
    state: &mut NetworkState,
    agent: &str,
    tool: usize,
    ok: bool,
    latency_ms: u64,
    now: DateTime<Utc>,
) -> Option<PublishedMessage> {
    state.agent(agent)?;
    let (id, name) = names::TOOLS[tool];
    let usage = state.tools.entry(id).or_default();
    usage.name = name;
    usage.calls += 1;
    usage.calls_ok += u64::from(ok);
    usage.latency_ms += latency_ms;
    let counts = UsageCounts {
        tool_calls: 1,
        tool_calls_ok: u64::from(ok),
        tool_latency_ms: latency_ms,
        ..UsageCounts::default()
    };
    state.count(agent, now, counts);
    let payload = json!({"agent_id": agent, "tool_id": id, "tool_name": name, "success": ok, "latency_ms": latency_ms,
        "timestamp": with_offset(now)});
    Some(PublishedMessage::flat("usage.tool", payload))
}

fn usage_recorded(
    state: &mut NetworkState,
    agent: &str,
    (llm_calls, tool_calls): (u64, u64),
    duration_ms: u64,
    now: DateTime<Utc>,
) -> Option<PublishedMessage> {
    let channel = state.microdaos[state.agent(agent)?.microdao].channel.clone();
    let counts = UsageCounts {
        invocations: 1,
        invocations_ok: 1,
        invocation_llm_calls: llm_calls,
        invocation_tool_calls: tool_calls,
        ..UsageCounts::default()
    };
    state.count(agent, now, counts);
    let payload = json!({"agent_id": agent, "channel_id": channel, "trigger": "message", "duration_ms": duration_ms,
        "llm_calls": llm_calls, "tool_calls": tool_calls, "success": true, "timestamp": with_offset(now)});
    Some(PublishedMessage::flat("usage.agent", payload))
}
