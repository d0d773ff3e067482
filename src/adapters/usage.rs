//! The usage service: usage of agents in the last 24 hours.
//!
//! Its summary lists only the 20 agents with most invocations, so the others are requested one by one, some in each poll.
//! A summary filtered by agent counts the messages of all agents (the service does not apply the filter to them), so an
//! agent's messages are known from the top list only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, AdaptersConfig, ErrorKind, PollContext};
use crate::model::{Answer, EntityType, Facts, Layer, Service};

const PATH: &[&str] = &["internal", "usage", "summary"];
const PERIOD: (&str, &str) = ("period_hours", "24");

#[derive(Debug)]
pub(super) struct Usage {
    client: UpstreamClient,
    concurrency: usize,
    calls_per_round: usize,
    rounds: Mutex<Rounds>,
}

/// State kept between polls.
#[derive(Debug, Default)]
struct Rounds {
    /// The agent requested last.
    last: Option<String>,
    /// Response times by agent, which only the requests for one agent have, not the top list.
    response_ms: BTreeMap<String, f64>,
}

/// One agent's last 24 hours; unknown values are none.
#[derive(Debug, Clone, Default, PartialEq)]
struct AgentUsage {
    llm_calls: Option<u64>,
    tokens: Option<u64>,
    messages: Option<u64>,
    response_ms: Option<f64>,
}

impl Usage {
    pub fn new(config: &AdaptersConfig, client: UpstreamClient) -> Self {
        Self {
            client,
            concurrency: config.concurrency.max(1),
            calls_per_round: config.usage_calls_per_round,
            rounds: Mutex::default(),
        }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const SUMMARY: Call<'_> = Call::main(PATH).query(&[PERIOD]);
        let answer = self.client.get(SUMMARY, context.deadline).await?;
        let (total, mut usages) = summary(&answer).map_err(|kind| self.client.error(SUMMARY, kind))?;

        let agents: BTreeSet<String> = context.agent_ids.iter().chain(usages.keys()).cloned().collect();
        let requested = self.poll_some(&agents, context.deadline).await;
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, _)) = requested.last() {
            rounds.last = Some(last.clone());
        }
        for (id, usage) in requested {
            let Some(usage) = usage else { continue };
            match usage.response_ms {
                Some(response_ms) => rounds.response_ms.insert(id.clone(), response_ms),
                None => rounds.response_ms.remove(&id),
            };
            usages.entry(id).or_insert(usage);
        }
        rounds.response_ms.retain(|id, _| agents.contains(id));
        for (id, usage) in &mut usages {
            usage.response_ms = rounds.response_ms.get(id).copied().filter(|_| usage.llm_calls != Some(0));
        }
        drop(rounds);

        let entities = usages.into_iter().filter_map(|(id, usage)| usage.facts(id)).collect();
        let layer = Fields::default().put("total_llm_calls_24h", Some(total)).into_map();
        Ok(Answer { service: Service::Usage, entities, complete: vec![], layers: vec![(Layer::Agents, layer)] })
    }

    /// Requests as many agents as one poll may, starting after the last one of the poll before, in a circle. The results are
    /// in the order of the requests and end where the deadline passed; none for an agent whose request failed.
    async fn poll_some(&self, agents: &BTreeSet<String>, deadline: Instant) -> Vec<(String, Option<AgentUsage>)> {
        let last = self.rounds.lock().unwrap_or_else(PoisonError::into_inner).last.clone().unwrap_or_default();
        let next: Vec<String> = agents
            .iter()
            .filter(|id| **id > last)
            .chain(agents.iter().filter(|id| **id <= last))
            .take(self.calls_per_round)
            .cloned()
            .collect();
        futures::stream::iter(next)
            .map(|id| self.poll_agent(id, deadline))
            .buffered(self.concurrency)
            // an agent whose request timed out counts as requested: starting with it again would delay all others in each poll
            .take_while(|(_, answer)| std::future::ready(!matches!(answer, Err(ErrorKind::DeadlinePassed))))
            .map(|(id, answer)| (id, answer.ok()))
            .collect()
            .await
    }

    async fn poll_agent(&self, id: String, deadline: Instant) -> (String, Result<AgentUsage, ErrorKind>) {
        let query = [("agent_id", id.as_str()), PERIOD];
        let answer = self.client.get(Call::detail(PATH).query(&query), deadline).await;
        let usage = answer
            .map_err(|error| {
                tracing::debug!(service = %Service::Usage, %error, "a detail request failed; the detail is left out");
                error.kind
            })
            .and_then(|answer| filtered(&answer));
        (id, usage)
    }
}

/// The total of calls, and the top list by agent.
fn summary(answer: &Value) -> Result<(u64, BTreeMap<String, AgentUsage>), ErrorKind> {
    let answer = read::as_object(answer)?;
    let total = read::object(answer, "summary")
        .and_then(|summary| read::count(summary, "llm_calls_total"))
        .ok_or_else(|| ErrorKind::shape("summary.llm_calls_total, a number"))?;
    let top = read::each(Service::Usage, read::list(answer, "agents").unwrap_or_default(), |item| {
        let usage = AgentUsage {
            llm_calls: read::count(item, "llm_calls"),
            tokens: read::count(item, "total_tokens"),
            messages: read::count(item, "messages_sent"),
            response_ms: None,
        };
        Some((EntityType::Agent.prefixed(&read::name(item, "agent_id")?), usage))
    })?;
    Ok((total, top.into_iter().collect()))
}

fn filtered(answer: &Value) -> Result<AgentUsage, ErrorKind> {
    let summary = answer.get("summary").and_then(Value::as_object).ok_or_else(|| ErrorKind::shape("a summary"))?;
    let llm_calls = read::count(summary, "llm_calls_total");
    Ok(AgentUsage {
        llm_calls,
        tokens: read::count(summary, "llm_tokens_total"),
        // the messages of all agents, see above: only zero is certain for this agent
        messages: read::count(summary, "messages_sent").filter(|messages| *messages == 0),
        // without calls there is no mean, and the service reports 0
        response_ms: read::number(summary, "llm_latency_avg_ms").filter(|_| llm_calls.is_some_and(|calls| calls > 0)),
    })
}

impl AgentUsage {
    fn facts(self, id: String) -> Option<Facts> {
        let usage: Item = Fields::default()
            .put("llm_calls_24h", self.llm_calls)
            .put("tokens_24h", self.tokens)
            .put("messages_24h", self.messages)
            .put("avg_response_time_ms", self.response_ms)
            .into_map();
        Fields::default().put("usage", Some(usage)).facts(EntityType::Agent, [Some(id)])
    }
}
