//! The simulated usage service, with the quirks of the real one: it lists at most 20 agents, the breakdowns ignore the
//! agent filter, and an agent's summary counts the messages of all agents.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::demo::SharedState;
use crate::demo::hourly_usage::UsageCounts;
use crate::demo::names;
use crate::demo::network_state::NetworkState;

/// Agents in the breakdown.
const TOP: usize = 20;

/// The longest period that the real service accepts, in hours.
const MAX_PERIOD_HOURS: i64 = 720;

pub(super) fn routes() -> Router<SharedState> {
    Router::new().route("/internal/usage/summary", get(summary))
}

#[derive(Deserialize)]
struct SummaryQuery {
    #[serde(default = "default_period")]
    period_hours: i64,
    agent_id: Option<String>,
    microdao_id: Option<String>,
}

const fn default_period() -> i64 {
    24
}

async fn summary(State(state): State<SharedState>, Query(query): Query<SummaryQuery>) -> Response {
    if !(1..=MAX_PERIOD_HOURS).contains(&query.period_hours) {
        return out_of_range(query.period_hours);
    }
    let (now, state) = (Utc::now(), state.lock());
    let period = |id: &str| state.usage.get(id).map(|usage| usage.sum(now, query.period_hours)).unwrap_or_default();
    let mut by_agent: Vec<(&String, UsageCounts)> = state
        .usage
        .keys()
        .filter(|id| is_in(&state, id, query.microdao_id.as_deref()))
        .map(|id| (id, period(id)))
        .collect();
    let mut everybody = if query.microdao_id.is_none() {
        state.human_messages.sum(now, query.period_hours)
    } else {
        UsageCounts::default()
    };
    for (_, counts) in &by_agent {
        everybody += *counts;
    }
    let one = query.agent_id.as_deref().map(|id| UsageCounts {
        messages: everybody.messages,
        message_chars: everybody.message_chars,
        ..period(id)
    });
    by_agent.retain(|(_, counts)| counts.invocations > 0);
    by_agent.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.invocations));
    by_agent.truncate(TOP);
    let body = json!({
        "summary": totals(&query, one.unwrap_or(everybody), now),
        "models": models(&state, now, query.period_hours),
        "agents": by_agent.iter().map(|(id, counts)| agent(id, counts)).collect::<Value>(),
        "tools": tools(&state),
    });
    Json(body).into_response()
}

fn is_in(state: &NetworkState, agent: &str, microdao: Option<&str>) -> bool {
    microdao.is_none_or(|wanted| state.agent(agent).is_some_and(|agent| state.microdaos[agent.microdao].id == wanted))
}

fn totals(query: &SummaryQuery, counts: UsageCounts, now: DateTime<Utc>) -> Value {
    let start = now - TimeDelta::hours(query.period_hours);
    let naive = |at: DateTime<Utc>| at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    json!({
        "period_start": naive(start),
        "period_end": naive(now),
        "microdao_id": query.microdao_id,
        "agent_id": query.agent_id,
        "llm_calls_total": counts.llm_calls,
        "llm_tokens_total": counts.tokens(),
        "llm_tokens_prompt": counts.prompt_tokens,
        "llm_tokens_completion": counts.completion_tokens,
        "llm_latency_avg_ms": mean(counts.llm_latency_ms, counts.llm_calls),
        "tool_calls_total": counts.tool_calls,
        "tool_calls_success": counts.tool_calls_ok,
        "tool_calls_failed": counts.tool_calls - counts.tool_calls_ok,
        "tool_latency_avg_ms": mean(counts.tool_latency_ms, counts.tool_calls),
        "agent_invocations_total": counts.invocations,
        "agent_invocations_success": counts.invocations_ok,
        "agent_invocations_failed": counts.invocations - counts.invocations_ok,
        "messages_sent": counts.messages,
        "messages_total_length": counts.message_chars,
    })
}

fn agent(id: &str, counts: &UsageCounts) -> Value {
    json!({
        "agent_id": id,
        "invocations": counts.invocations,
        "llm_calls": counts.invocation_llm_calls,
        "tool_calls": counts.invocation_tool_calls,
        "messages_sent": counts.messages,
        "total_tokens": counts.tokens(),
    })
}

/// Usage by the current model of each agent.
fn models(state: &NetworkState, now: DateTime<Utc>, hours: i64) -> Value {
    let mut by_model = vec![UsageCounts::default(); names::MODELS.len()];
    for (id, usage) in &state.usage {
        if let Some(agent) = state.agent(id) {
            by_model[agent.model] += usage.sum(now, hours);
        }
    }
    let used = names::MODELS.iter().zip(by_model).filter(|(_, counts)| counts.llm_calls > 0);
    used.map(|((model, provider), counts)| {
        json!({"model": model, "provider": provider, "calls": counts.llm_calls, "tokens": counts.tokens(),
            "avg_latency_ms": mean(counts.llm_latency_ms, counts.llm_calls)})
    })
    .collect()
}

fn tools(state: &NetworkState) -> Value {
    let rows = state.tools.iter().map(|(id, used)| {
        json!({"tool_id": id, "tool_name": used.name, "calls": used.calls,
            "success_rate": mean(used.calls_ok, used.calls), "avg_latency_ms": mean(used.latency_ms, used.calls)})
    });
    rows.collect()
}

#[expect(clippy::cast_precision_loss, reason = "sums far below 2^53")]
fn mean(sum: u64, number: u64) -> f64 {
    if number == 0 { 0.0 } else { sum as f64 / number as f64 }
}

fn out_of_range(hours: i64) -> Response {
    let (kind, bound, limit) =
        if hours < 1 { ("greater_than_equal", "ge", 1) } else { ("less_than_equal", "le", MAX_PERIOD_HOURS) };
    let problem = json!({
        "type": kind,
        "loc": ["query", "period_hours"],
        "msg": format!("Input should be {} than or equal to {limit}", if hours < 1 { "greater" } else { "less" }),
        "input": hours.to_string(),
        "ctx": {bound: limit},
        "url": format!("https://errors.pydantic.dev/2.5/v/{kind}"),
    });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": [problem]}))).into_response()
}
