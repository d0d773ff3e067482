//! One thing that happens: it changes the world and is told as one event.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::entities::{Agent, Amount, Condition, Load, Presence, Proposal};
use super::ledger::Counts;
use super::names;
use super::world::World;

/// What happens. Agents are named by id, since one may be gone by then; everything else stays, and is named by index.
#[derive(Debug, Clone)]
pub(super) enum Beat {
    /// Somebody wrote to an agent through the gateway.
    Received { agent: String, message: Uuid },
    /// A run of an agent began.
    Invoked { agent: String, run: Uuid },
    /// The agent called its model.
    Thought { agent: String, prompt: u64, completion: u64, latency_ms: u64 },
    /// The agent used a tool.
    ToolUsed { agent: String, tool: usize, ok: bool, latency_ms: u64 },
    /// The agent answered.
    Replied { agent: String, tokens: u64, latency_ms: u64 },
    /// The run ended.
    Finished { agent: String, run: Uuid, llm_calls: u64, tool_calls: u64, duration_ms: u64 },
    /// The run is accounted for.
    Accounted { agent: String, llm_calls: u64, tool_calls: u64, duration_ms: u64 },
    /// A message appeared in a microDAO's main channel, by an agent or by a person.
    Wrote { microdao: usize, agent: Option<String>, message: Uuid, chars: u64 },
    /// An agent came, went or was busy.
    Presence { agent: String, presence: Presence, action: &'static str },
    /// An agent failed.
    Failed { agent: String, error: usize },
    /// An agent got another model.
    Remodelled { agent: String, model: usize },
    /// An agent was made.
    Born { agent: Box<Agent> },
    /// An agent was removed.
    Gone { agent: String },
    /// A node measured itself.
    Measured { node: usize, load: Load, condition: Condition },
    /// A proposal was written.
    Proposed { dao: usize, proposal: usize, uuid: Uuid, serial: u64 },
    /// Its vote opened.
    VoteOpened { dao: usize, uuid: Uuid },
    /// A member voted.
    Voted { dao: usize, uuid: Uuid, vote: Uuid, member: usize, value: &'static str },
    /// Its vote closed.
    VoteClosed { dao: usize, uuid: Uuid, passed: bool },
    /// A DAO received or spent tokens.
    DaoPaid { dao: usize, token: usize, delta: Amount },
    /// Somebody joined a DAO.
    DaoJoined { dao: usize, user: Uuid, member: Uuid },
    /// A microDAO received or spent tokens.
    MicrodaoPaid { microdao: usize, delta: Amount },
    /// Somebody joined a microDAO.
    MicrodaoJoined { microdao: usize, user: Uuid, member: Uuid },
    /// Somebody left a microDAO.
    MicrodaoLeft { microdao: usize, member: Uuid },
    /// A quest of the city went on.
    QuestProgressed { quest: usize, progress: f64 },
    /// A document came in, was read, was remembered; somebody looked.
    Network { subject: String, entity: String, payload: Value },
}

/// An event as its publisher sends it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub subject: String,
    pub payload: Value,
    /// What the network envelope's idempotency key names; none for a flat payload.
    pub keyed: Option<String>,
}

impl Said {
    fn flat(subject: impl Into<String>, payload: Value) -> Self {
        Self { subject: subject.into(), payload, keyed: None }
    }

    fn network(subject: impl Into<String>, entity: impl Into<String>, payload: Value) -> Self {
        Self { subject: subject.into(), payload, keyed: Some(entity.into()) }
    }
}

/// With an offset, as most publishers write it.
fn ts(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(chrono::SecondsFormat::Micros, false)
}

/// Without one, as the microdao and dao services write it.
fn naive(now: DateTime<Utc>) -> String {
    now.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

impl Beat {
    /// Lets it happen at `now`; none when what it is about is gone.
    pub fn perform(self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        let said = match self {
            Self::Received { .. }
            | Self::Invoked { .. }
            | Self::Thought { .. }
            | Self::ToolUsed { .. }
            | Self::Replied { .. }
            | Self::Finished { .. }
            | Self::Accounted { .. } => self.of_run(world, now),
            Self::Presence { .. }
            | Self::Failed { .. }
            | Self::Remodelled { .. }
            | Self::Born { .. }
            | Self::Gone { .. } => self.of_agent(world, now),
            Self::Proposed { .. }
            | Self::VoteOpened { .. }
            | Self::Voted { .. }
            | Self::VoteClosed { .. }
            | Self::DaoPaid { .. }
            | Self::DaoJoined { .. } => self.of_dao(world, now),
            _ => self.of_the_rest(world, now),
        };
        if said.is_some() {
            world.events += 1;
        }
        said
    }

    fn of_run(self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        let once = Counts::default();
        match self {
            Self::Received { agent, message } => {
                world.agent(&agent)?;
                let payload = json!({"message_id": message, "agent_id": agent, "channel": "gateway"});
                Some(Said::network(format!("message.received.{agent}"), message.to_string(), payload))
            }
            Self::Invoked { agent, run } => {
                world.agent_mut(&agent)?.presence = Presence::Busy;
                let payload = json!({"run_id": run, "agent_id": agent, "trigger": "message", "ts": ts(now)});
                Some(Said::flat("agents.invoke", payload))
            }
            Self::Thought { agent, prompt, completion, latency_ms } => {
                let (model, provider) = names::MODELS[world.agent(&agent)?.model];
                let microdao = &world.microdaos[world.agent(&agent)?.microdao].id;
                let payload = json!({
                    "timestamp": ts(now), "actor_id": agent, "agent_id": agent, "microdao_id": microdao,
                    "model": model, "provider": provider, "prompt_tokens": prompt, "completion_tokens": completion,
                    "total_tokens": prompt + completion, "latency_ms": latency_ms, "success": true, "error": null,
                });
                let counts = Counts {
                    llm_calls: 1,
                    prompt_tokens: prompt,
                    completion_tokens: completion,
                    llm_latency_ms: latency_ms,
                    ..once
                };
                world.count(&agent, now, counts);
                Some(Said::flat("usage.llm", payload))
            }
            Self::ToolUsed { agent, tool, ok, latency_ms } => {
                world.agent(&agent)?;
                let (id, name) = names::TOOLS[tool];
                let used = world.tools.entry(id).or_default();
                used.name = name;
                used.calls += 1;
                used.calls_ok += u64::from(ok);
                used.latency_ms += latency_ms;
                let counts =
                    Counts { tool_calls: 1, tool_calls_ok: u64::from(ok), tool_latency_ms: latency_ms, ..once };
                world.count(&agent, now, counts);
                let payload = json!({"agent_id": agent, "tool_id": id, "tool_name": name, "success": ok,
                    "latency_ms": latency_ms, "timestamp": ts(now)});
                Some(Said::flat("usage.tool", payload))
            }
            Self::Replied { agent, tokens, latency_ms } => {
                world.agent(&agent)?;
                let payload =
                    json!({"agent_id": agent, "tokens_used": tokens, "latency_ms": latency_ms, "ts": ts(now)});
                Some(Said::flat("agents.reply", payload))
            }
            Self::Finished { agent, run, llm_calls, tool_calls, duration_ms } => {
                world.agent_mut(&agent)?.presence = Presence::Online;
                let payload = json!({"run_id": run, "agent_id": agent, "success": true, "duration_ms": duration_ms,
                    "llm_calls": llm_calls, "tool_calls": tool_calls});
                Some(Said::network(format!("agent.run.completed.{agent}"), run.to_string(), payload))
            }
            Self::Accounted { agent, llm_calls, tool_calls, duration_ms } => {
                let channel = world.microdaos[world.agent(&agent)?.microdao].channel.clone();
                let counts = Counts {
                    invocations: 1,
                    invocations_ok: 1,
                    invocation_llm_calls: llm_calls,
                    invocation_tool_calls: tool_calls,
                    ..once
                };
                world.count(&agent, now, counts);
                let payload = json!({"agent_id": agent, "channel_id": channel, "trigger": "message",
                    "duration_ms": duration_ms, "llm_calls": llm_calls, "tool_calls": tool_calls, "success": true,
                    "timestamp": ts(now)});
                Some(Said::flat("usage.agent", payload))
            }
            _ => None,
        }
    }

    fn of_agent(self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        match self {
            Self::Presence { agent, presence, action } => {
                let changed = world.agent_mut(&agent)?;
                changed.presence = presence;
                changed.last_action = action;
                let payload = json!({"agent_id": agent, "status": presence.as_str(), "ts": ts(now)});
                Some(Said::flat("agent.event.status", payload))
            }
            Self::Failed { agent, error } => {
                world.agent_mut(&agent)?.presence = Presence::Offline;
                let (kind, message) = names::ERRORS[error];
                let payload = json!({"agent_id": agent, "error_type": kind, "error_message": message, "ts": ts(now)});
                Some(Said::flat("agent.event.error", payload))
            }
            Self::Remodelled { agent, model } => {
                let changed = world.agent_mut(&agent)?;
                changed.model = model;
                changed.updated_at = now;
                let payload = json!({"agent_id": agent, "model": names::MODELS[model].0, "ts": ts(now)});
                Some(Said::flat("agent.event.model_changed", payload))
            }
            Self::Born { agent } => {
                let agent = Agent { created_at: now, updated_at: now, ..*agent };
                let payload = json!({
                    "agent_id": agent.id, "name": agent.name, "kind": agent.kind, "is_active": true,
                    "model": names::MODELS[agent.model].0, "microdao_id": world.microdaos[agent.microdao].uuid,
                    "description": agent.description, "ts": ts(now),
                });
                world.insert(agent);
                Some(Said::flat("agent.event.created", payload))
            }
            Self::Gone { agent } => {
                // several may have been about to go
                if world.agents().len() <= 1 {
                    return None;
                }
                world.remove(&agent)?;
                Some(Said::flat("agent.event.deleted", json!({"agent_id": agent, "ts": ts(now)})))
            }
            _ => None,
        }
    }

    fn of_dao(self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        match self {
            Self::Proposed { dao, proposal, uuid, serial } => {
                let (slug, title) = names::PROPOSALS[proposal];
                let slug = format!("{slug}-{serial}");
                let dao = &mut world.daos[dao];
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "slug": slug, "title": title,
                    "status": "draft", "actor_id": dao.members[0], "ts": naive(now)});
                dao.proposals.push(Proposal { uuid, slug, title, status: "draft", created_at: now });
                Some(Said::flat("dao.event.proposal_created", payload))
            }
            Self::VoteOpened { dao, uuid } => {
                let proposal = world.daos[dao].proposals.iter_mut().find(|proposal| proposal.uuid == uuid)?;
                proposal.status = "active";
                let slug = proposal.slug.clone();
                let payload =
                    json!({"dao_id": world.daos[dao].uuid, "proposal_id": uuid, "slug": slug, "ts": naive(now)});
                Some(Said::flat("dao.event.proposal_activated", payload))
            }
            Self::Voted { dao, uuid, vote, member, value } => {
                let dao = &world.daos[dao];
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "vote_id": vote,
                    "voter_user_id": dao.members[member % dao.members.len()], "vote_value": value,
                    "weight": "10.00000000", "ts": naive(now)});
                Some(Said::flat("dao.event.vote_cast", payload))
            }
            Self::VoteClosed { dao, uuid, passed } => {
                let dao = &mut world.daos[dao];
                let proposal = dao.proposals.iter_mut().find(|proposal| proposal.uuid == uuid)?;
                proposal.status = if passed { "passed" } else { "rejected" };
                let payload = json!({"dao_id": dao.uuid, "proposal_id": uuid, "slug": proposal.slug,
                    "final_status": proposal.status, "is_passed": passed, "quorum_reached": true, "ts": naive(now)});
                // the last few are enough to look at
                let closed = dao.proposals.iter().position(|old| !matches!(old.status, "draft" | "active"));
                if let Some(oldest) = closed.filter(|_| dao.proposals.len() > 20) {
                    dao.proposals.remove(oldest);
                }
                Some(Said::flat("dao.event.proposal_closed", payload))
            }
            Self::DaoPaid { dao, token, delta } => {
                let dao = &mut world.daos[dao];
                let (symbol, _, balance) = &mut dao.treasury[token];
                balance.0 = (balance.0 + delta.0).max(0);
                let payload = json!({"dao_id": dao.uuid, "slug": dao.slug, "token_symbol": symbol,
                    "delta": delta.to_string(), "new_balance": balance.to_string(), "ts": naive(now)});
                Some(Said::flat("dao.event.treasury_updated", payload))
            }
            Self::DaoJoined { dao, user, member } => {
                let dao = &mut world.daos[dao];
                dao.members.push(user);
                let payload = json!({"dao_id": dao.uuid, "slug": dao.slug, "member_id": member, "user_id": user,
                    "role": "member", "ts": naive(now)});
                Some(Said::flat("dao.event.member_added", payload))
            }
            _ => None,
        }
    }

    fn of_the_rest(self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        match self {
            Self::Wrote { microdao, agent, message, chars } => {
                let counts = Counts { messages: 1, message_chars: chars, ..Counts::default() };
                match &agent {
                    Some(agent) => {
                        world.agent(agent)?;
                        world.count(agent, now, counts);
                    }
                    None => world.human_messages.add(now, counts),
                }
                let microdao = &world.microdaos[microdao];
                let kind = if agent.is_some() { "agent" } else { "human" };
                let sender = agent.unwrap_or_else(|| format!("user:{}", microdao.members[0]));
                let payload = json!({
                    "message_id": message, "channel_id": microdao.channel, "microdao_id": microdao.id,
                    "sender_id": sender, "sender_type": kind, "matrix_event_id": format!("${message}:city"),
                    "created_at": ts(now),
                });
                Some(Said::flat("messaging.message.created", payload))
            }
            Self::Measured { node, load, condition } => {
                let agents = world.agents_on(node);
                let node = &mut world.nodes[node];
                node.load = load;
                node.condition = condition;
                let payload = json!({
                    "node_id": node.id, "cpu": load.cpu, "gpu": load.gpu, "ram": load.ram, "disk": load.disk,
                    "net_in": load.net_in, "net_out": load.net_out, "temperature": load.temperature,
                    "latency_ms": load.latency_ms, "agents": agents, "status": condition.as_space(),
                    "uptime_seconds": (now - world.born).num_seconds(), "ts": ts(now),
                });
                Some(Said::flat(format!("node.metrics.{}", node.id.replace(':', "-")), payload))
            }
            Self::MicrodaoPaid { microdao, delta } => {
                let microdao = &mut world.microdaos[microdao];
                microdao.balance.0 = (microdao.balance.0 + delta.0).max(0);
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "token_symbol": "DCR",
                    "delta": delta.to_string(), "new_balance": microdao.balance.to_string(),
                    "actor_id": microdao.members[0], "ts": naive(now)});
                Some(Said::flat("microdao.event.treasury_updated", payload))
            }
            Self::MicrodaoJoined { microdao, user, member } => {
                let microdao = &mut world.microdaos[microdao];
                microdao.members.push(user);
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "member_id": member,
                    "user_id": user, "role": "member", "actor_id": microdao.members[0], "ts": naive(now)});
                Some(Said::flat("microdao.event.member_added", payload))
            }
            Self::MicrodaoLeft { microdao, member } => {
                let microdao = &mut world.microdaos[microdao];
                // the founder stays
                let user = if microdao.members.len() > 1 { microdao.members.pop()? } else { return None };
                let payload = json!({"microdao_id": microdao.uuid, "slug": microdao.slug, "member_id": member,
                    "user_id": user, "role": "member", "actor_id": microdao.members[0], "ts": naive(now)});
                Some(Said::flat("microdao.event.member_removed", payload))
            }
            Self::QuestProgressed { quest, progress } => {
                let quest = &mut world.quests[quest];
                quest.progress = progress;
                let payload = json!({"quest_id": quest.id, "label": quest.label, "progress": progress, "ts": ts(now)});
                Some(Said::flat("city.event.quest_progress", payload))
            }
            Self::Network { subject, entity, payload } => Some(Said::network(subject, entity, payload)),
            _ => None,
        }
    }
}
