//! The usage service: usage of agents in the last 24 hours.
//!
//! Its summary has the network's total of model calls, and the 20 agents with most invocations. The figures of these agents
//! are sums over invocations, and do not add up to the total, which is a sum over model calls. So each agent's figures are
//! from the summary filtered by the agent, which is over model calls too; the top list only decides who is requested first.
//! A summary filtered by agent counts the messages of all agents (the service does not apply the filter to them), so an
//! agent's messages are known from the top list only.
//!
//! Metric: `living_map_usage_agents_deferred_total`, agents left to the next polls by
//! [`AdaptersConfig::usage_agents_per_poll`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use metrics::counter;
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
    agents_per_poll: usize,
    turn: Mutex<Turn>,
}

/// The agents that were requested since all of them were.
#[derive(Debug, Default)]
struct Turn {
    requested: BTreeSet<String>,
}

/// The service's summary.
struct Summary {
    llm_calls: u64,
    /// The busiest first.
    top: Vec<TopAgent>,
}

/// An agent of the top list.
struct TopAgent {
    /// With the type's prefix.
    id: String,
    /// As the service has it.
    name: String,
    messages: Option<u64>,
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
            agents_per_poll: config.usage_agents_per_poll.max(1),
            turn: Mutex::default(),
        }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const SUMMARY: Call<'_> = Call::main(PATH).query(&[PERIOD]);
        let answer = self.client.get(SUMMARY, context.deadline).await?;
        let Summary { llm_calls, top } = summary(&answer).map_err(|kind| self.client.error(SUMMARY, kind))?;
        let agents: BTreeSet<&String> = context.agent_ids.iter().chain(top.iter().map(|agent| &agent.id)).collect();
        let requested = self.poll_some(&agents, &top, context.deadline).await;
        let entities = requested.into_iter().filter_map(|(id, usage)| {
            let usage = usage?;
            let messages = top.iter().find(|agent| agent.id == id).and_then(|agent| agent.messages);
            AgentUsage { messages: messages.or(usage.messages), ..usage }.facts(id)
        });
        let layer = Fields::default().put("total_llm_calls_24h", Some(llm_calls)).into_map();
        let layers = vec![(Layer::Agents, layer)];
        Ok(Answer { service: Service::Usage, entities: entities.collect(), complete: vec![], layers })
    }

    /// Requests as many agents as one poll may. The results are in the order of the requests and end where the deadline
    /// passed; none for an agent whose request failed.
    async fn poll_some(
        &self,
        agents: &BTreeSet<&String>,
        top: &[TopAgent],
        deadline: Instant,
    ) -> Vec<(String, Option<AgentUsage>)> {
        let next = self.turn.lock().unwrap_or_else(PoisonError::into_inner).next(agents, top, self.agents_per_poll);
        counter!("living_map_usage_agents_deferred_total").increment((agents.len() - next.len()) as u64);
        let answers: Vec<(String, Option<AgentUsage>)> = futures::stream::iter(next)
            .map(|id| {
                let name =
                    top.iter().find(|agent| agent.id == id).map_or_else(|| id.clone(), |agent| agent.name.clone());
                self.poll_agent(id, name, deadline)
            })
            .buffered(self.concurrency)
            // an agent whose request timed out counts as requested: starting with it again would delay all others in each poll
            .take_while(|(_, answer)| std::future::ready(!matches!(answer, Err(ErrorKind::DeadlinePassed))))
            .map(|(id, answer)| (id, answer.ok()))
            .collect()
            .await;
        let requested = answers.iter().map(|(id, _)| id);
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).record(agents, requested);
        answers
    }

    async fn poll_agent(&self, id: String, name: String, deadline: Instant) -> (String, Result<AgentUsage, ErrorKind>) {
        let query = [("agent_id", name.as_str()), PERIOD];
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

impl Turn {
    /// The agents to request next, at most `limit`: first those that wait for their turn, the busiest first.
    fn next(&self, agents: &BTreeSet<&String>, top: &[TopAgent], limit: usize) -> Vec<String> {
        let ranks: HashMap<&String, usize> = top.iter().enumerate().map(|(rank, agent)| (&agent.id, rank)).collect();
        let mut order: Vec<&String> = agents.iter().copied().collect();
        let rank = |id: &String| ranks.get(id).copied().unwrap_or(usize::MAX);
        order.sort_by_key(|id| (self.requested.contains(*id), rank(id)));
        order.into_iter().take(limit).cloned().collect()
    }

    /// Records requests. The turn ends when all `agents` were requested; agents requested twice are in the next one already.
    fn record<'a>(&mut self, agents: &BTreeSet<&String>, requested: impl Iterator<Item = &'a String>) {
        let mut twice = BTreeSet::new();
        for id in requested {
            if !self.requested.insert(id.clone()) {
                twice.insert(id.clone());
            }
        }
        self.requested.retain(|id| agents.contains(id));
        if self.requested.len() == agents.len() {
            self.requested = twice;
        }
    }
}

fn summary(answer: &Value) -> Result<Summary, ErrorKind> {
    let answer = read::as_object(answer)?;
    let llm_calls = read::object(answer, "summary")
        .and_then(|summary| read::count(summary, "llm_calls_total"))
        .ok_or_else(|| ErrorKind::shape("summary.llm_calls_total, a number"))?;
    let top = read::each(Service::Usage, read::list(answer, "agents").unwrap_or_default(), |item| {
        let name = read::name(item, "agent_id")?;
        Some(TopAgent { id: EntityType::Agent.prefixed(&name), name, messages: read::count(item, "messages_sent") })
    })?;
    Ok(Summary { llm_calls, top })
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
