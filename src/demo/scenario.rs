//! Scenarios: short sequences of related events, planned as a whole and played one event at a time.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;
use uuid::Uuid;

use super::entities::{Amount, Condition, Load, Presence};
use super::event::{AgentEvent, DaoEvent, MicrodaoEvent, NetworkEvent, RunEvent, ScheduledEvent};
use super::names;
use super::network_state::NetworkState;

/// The remaining events of a scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    /// The entity with an incident; no other incident may affect it meanwhile.
    pub incident: Option<Target>,
    pub events: VecDeque<ScheduledEvent>,
}

impl Scenario {
    fn of<E: Into<ScheduledEvent>>(events: impl IntoIterator<Item = E>) -> Self {
        Self { incident: None, events: events.into_iter().map(Into::into).collect() }
    }

    fn incident<E: Into<ScheduledEvent>>(target: Target, events: impl IntoIterator<Item = E>) -> Self {
        Self { incident: Some(target), ..Self::of(events) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Node(usize),
    Agent(String),
}

/// Generates ids of events that are unique within a run and between runs: a log that still holds the last run would
/// treat repeated ids as duplicates.
#[derive(Debug)]
pub(super) struct IdGenerator {
    run: Uuid,
    generated: u64,
}

impl IdGenerator {
    pub const fn new(run: Uuid) -> Self {
        Self { run, generated: 0 }
    }

    pub fn next(&mut self) -> Uuid {
        self.generated += 1;
        Uuid::new_v5(&self.run, &self.generated.to_be_bytes())
    }
}

/// Plans new scenarios.
pub(super) struct ScenarioPlanner<'a> {
    pub state: &'a NetworkState,
    pub rng: &'a mut StdRng,
    pub ids: &'a mut IdGenerator,
    /// Active scenarios.
    pub scenarios: &'a [Scenario],
    /// Target number of agents.
    pub agents: usize,
    /// Number of agents created so far.
    pub created: &'a mut usize,
}

impl ScenarioPlanner<'_> {
    /// Plans a scenario; none when the drawn kind is not possible at the moment.
    pub fn plan(&mut self) -> Option<Scenario> {
        let scenario = match self.rng.random_range(0..100) {
            0..34 => self.conversation(),
            34..72 => Some(self.measurement()),
            72..78 => self.document(),
            78..83 => Some(self.membership()),
            83..87 => Some(self.payment()),
            87..90 => self.vote(),
            90..93 => self.agent_incident(),
            93..95 => self.node_incident(),
            95..98 => self.agent_change(),
            _ => Some(self.quest()),
        };
        scenario.filter(|scenario| !scenario.events.is_empty())
    }

    fn active_agent(&mut self) -> Option<String> {
        // few agents are inactive, so a few draws find another
        (0..8).find_map(|_| {
            let agent = self.state.agents().choose(self.rng)?;
            agent.is_active.then(|| agent.id.clone())
        })
    }

    fn has_incident(&self, target: &Target) -> bool {
        self.scenarios.iter().any(|scenario| scenario.incident.as_ref() == Some(target))
    }

    fn incidents(&self, filter: impl Fn(&Target) -> bool) -> usize {
        self.scenarios.iter().filter_map(|scenario| scenario.incident.as_ref()).filter(|target| filter(target)).count()
    }

    fn conversation(&mut self) -> Option<Scenario> {
        let agent = self.active_agent()?;
        let microdao = self.state.agent(&agent)?.microdao;
        let run = self.ids.next();
        let (message, chars) = (self.ids.next(), self.rng.random_range(10..200));
        let mut events: Vec<ScheduledEvent> = vec![
            MicrodaoEvent::MessagePosted { microdao, agent: None, message, chars }.into(),
            RunEvent::MessageReceived { agent: agent.clone(), message: self.ids.next() }.into(),
            RunEvent::Started { agent: agent.clone(), run }.into(),
        ];
        let (llm_calls, tool_calls) = (self.rng.random_range(1..=4), self.rng.random_range(0..=2));
        let (mut tokens, mut duration_ms) = (0, 20);
        for call in 0..llm_calls {
            let (prompt, completion) = (self.rng.random_range(120..1_800), self.rng.random_range(20..600));
            let latency_ms = 200 + completion * self.rng.random_range(2..5);
            tokens += prompt + completion;
            duration_ms += latency_ms;
            events.push(RunEvent::LlmCalled { agent: agent.clone(), prompt, completion, latency_ms }.into());
            if call < tool_calls {
                let (tool, ok) = (self.rng.random_range(0..names::TOOLS.len()), self.rng.random_bool(0.93));
                let latency_ms = self.rng.random_range(40..900);
                duration_ms += latency_ms;
                events.push(RunEvent::ToolCalled { agent: agent.clone(), tool, ok, latency_ms }.into());
            }
        }
        let tool_calls = tool_calls.min(llm_calls);
        let message = self.ids.next();
        let chars = self.rng.random_range(20..400);
        events.extend([
            RunEvent::Replied { agent: agent.clone(), tokens, latency_ms: duration_ms }.into(),
            MicrodaoEvent::MessagePosted { microdao, agent: Some(agent.clone()), message, chars }.into(),
            RunEvent::Finished { agent: agent.clone(), run, llm_calls, tool_calls, duration_ms }.into(),
            RunEvent::UsageRecorded { agent, llm_calls, tool_calls, duration_ms }.into(),
        ]);
        Some(Scenario::of(events))
    }

    /// Some nodes report metrics, each slightly different from the last ones.
    fn measurement(&mut self) -> Scenario {
        let mut events = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let node = self.rng.random_range(0..self.state.nodes.len());
            if !self.has_incident(&Target::Node(node)) {
                let load = self.drifted(self.state.nodes[node].load, 58.0);
                events.push(NetworkEvent::NodeMeasured { node, load, condition: Condition::Healthy });
            }
        }
        Scenario::of(events)
    }

    /// A step of a random walk that returns to normal values.
    fn drifted(&mut self, load: Load, temperature: f64) -> Load {
        let mut step =
            |value: f64, home: f64, stride: f64| value + (home - value) * 0.15 + self.rng.random_range(-stride..stride);
        let mut share = |value, home| rounded(step(value, home, 0.08).clamp(0.01, 0.99), 3);
        let (cpu, gpu, ram) = (share(load.cpu, 0.45), share(load.gpu, 0.5), share(load.ram, 0.55));
        Load {
            cpu,
            gpu,
            ram,
            disk: load.disk,
            net_in: rounded(step(load.net_in, 320.0, 60.0).max(1.0), 1),
            net_out: rounded(step(load.net_out, 280.0, 60.0).max(1.0), 1),
            temperature: rounded(step(load.temperature, temperature, 1.5).clamp(25.0, 99.0), 1),
            latency_ms: rounded(step(load.latency_ms, 12.0, 2.0).max(0.5), 1),
        }
    }

    /// A node gets hot, sometimes fails, and cools down.
    fn node_incident(&mut self) -> Option<Scenario> {
        if self.incidents(|target| matches!(target, Target::Node(_))) >= (self.state.nodes.len() / 10).max(1) {
            return None;
        }
        let node = self.rng.random_range(0..self.state.nodes.len());
        let target = Target::Node(node);
        if self.has_incident(&target) {
            return None;
        }
        let fails = self.rng.random_bool(0.3);
        let mut load = self.state.nodes[node].load;
        let mut events = Vec::new();
        for (temperature, busy, condition) in [
            (78.0, 0.9, Condition::Warm),
            (86.0, 0.95, Condition::Warm),
            (94.0, 0.98, Condition::Critical),
            (96.0, 0.99, Condition::Critical),
            (97.0, 0.0, Condition::Offline),
            (60.0, 0.2, Condition::Offline),
            (84.0, 0.85, Condition::Warm),
            (70.0, 0.6, Condition::Healthy),
            (60.0, 0.5, Condition::Healthy),
        ] {
            if condition == Condition::Offline && !fails {
                continue;
            }
            load = Load { gpu: busy, cpu: busy * 0.8, temperature, ..self.drifted(load, temperature) };
            load.cpu = rounded(load.cpu, 3);
            events.push(NetworkEvent::NodeMeasured { node, load, condition });
        }
        Some(Scenario::incident(target, events))
    }

    /// An agent fails, sometimes several times, and recovers.
    fn agent_incident(&mut self) -> Option<Scenario> {
        if self.incidents(|target| matches!(target, Target::Agent(_))) >= (self.state.agents().len() / 20).max(1) {
            return None;
        }
        let agent = self.active_agent()?;
        let target = Target::Agent(agent.clone());
        if self.has_incident(&target) {
            return None;
        }
        let error = self.rng.random_range(0..names::ERRORS.len());
        let failures = 0..self.rng.random_range(1..=3);
        let mut events: Vec<_> = failures.map(|_| AgentEvent::Failed { agent: agent.clone(), error }).collect();
        let action = names::ACTIONS.choose(self.rng)?;
        events.push(AgentEvent::PresenceChanged { agent, presence: Presence::Online, action });
        Some(Scenario::incident(target, events))
    }

    /// An agent is created, deleted, gets another model, or goes offline for a while.
    fn agent_change(&mut self) -> Option<Scenario> {
        let (number, tolerance) = (self.state.agents().len(), (self.agents / 10).max(1));
        let events = match self.rng.random_range(0..10) {
            0..3 if number < self.agents + tolerance => {
                let agent = self.state.new_agent(*self.created, self.state.created_at, self.rng);
                *self.created += 1;
                vec![AgentEvent::Created { agent: Box::new(agent) }]
            }
            3..5 if number > self.agents.saturating_sub(tolerance).max(1) => {
                vec![AgentEvent::Deleted { agent: self.active_agent()? }]
            }
            5..7 => {
                let model = self.rng.random_range(0..names::MODELS.len());
                vec![AgentEvent::ModelChanged { agent: self.active_agent()?, model }]
            }
            _ => {
                let agent = self.active_agent()?;
                let action = names::ACTIONS.choose(self.rng)?;
                vec![
                    AgentEvent::PresenceChanged { agent: agent.clone(), presence: Presence::Offline, action },
                    AgentEvent::PresenceChanged { agent, presence: Presence::Online, action },
                ]
            }
        };
        Some(Scenario::of(events))
    }

    fn any_dao(&mut self) -> Option<usize> {
        let number = self.state.daos.len();
        (number > 0).then(|| self.rng.random_range(0..number))
    }

    fn any_microdao(&mut self) -> usize {
        self.rng.random_range(0..self.state.microdaos.len())
    }

    fn vote(&mut self) -> Option<Scenario> {
        let dao = self.any_dao()?;
        let (proposal, uuid) = (self.rng.random_range(0..names::PROPOSALS.len()), self.ids.next());
        let mut events = vec![
            DaoEvent::ProposalCreated { dao, proposal, uuid, serial: self.ids.generated },
            DaoEvent::VoteOpened { dao, uuid },
        ];
        let mut yes = 0;
        let votes = self.rng.random_range(2..=6);
        for member in 0..votes {
            let value = *["yes", "yes", "no", "abstain"].choose(self.rng)?;
            yes += usize::from(value == "yes");
            events.push(DaoEvent::VoteCast { dao, uuid, vote: self.ids.next(), member, value });
        }
        events.push(DaoEvent::VoteClosed { dao, uuid, passed: yes * 2 > votes });
        Some(Scenario::of(events))
    }

    fn payment(&mut self) -> Scenario {
        let delta = Amount(self.rng.random_range(-400..600) * Amount::UNIT + self.rng.random_range(0..Amount::UNIT));
        let event: ScheduledEvent = match self.any_dao() {
            Some(dao) if self.rng.random_bool(0.5) => {
                DaoEvent::TreasuryChanged { dao, token: self.rng.random_range(0..2), delta }.into()
            }
            _ => MicrodaoEvent::TreasuryChanged { microdao: self.any_microdao(), delta }.into(),
        };
        Scenario::of([event])
    }

    fn membership(&mut self) -> Scenario {
        let microdao = self.any_microdao();
        let (user, member) = (self.ids.next(), self.ids.next());
        let few = self.state.microdaos[microdao].members.len() < 30;
        let event: ScheduledEvent = match self.any_dao() {
            Some(dao) if self.state.daos[dao].members.len() < 40 && self.rng.random_bool(0.3) => {
                DaoEvent::MemberJoined { dao, user, member }.into()
            }
            _ if few && self.rng.random_bool(0.6) => MicrodaoEvent::MemberJoined { microdao, user, member }.into(),
            _ => MicrodaoEvent::MemberLeft { microdao, member }.into(),
        };
        Scenario::of([event])
    }

    /// A document is uploaded, parsed, and stored in an agent's memory.
    fn document(&mut self) -> Option<Scenario> {
        let agent = self.active_agent()?;
        let document = self.ids.next().to_string();
        let kind = *["pdf", "image", "audio"].choose(self.rng)?;
        let other = |subject: String, payload| NetworkEvent::Other { subject, entity: document.clone(), payload };
        Some(Scenario::of([
            other(format!("attachment.created.{kind}"), json!({"attachment_id": document, "type": kind})),
            other(format!("attachment.parsed.{kind}"), json!({"attachment_id": document, "pages": 3})),
            other(format!("memory.store.{agent}"), json!({"agent_id": agent, "document_id": document, "chunks": 12})),
            other("audit.action.memory".to_owned(), json!({"action": "store", "actor": agent})),
            other("ops.health.memory".to_owned(), json!({"service": "memory", "status": "ok"})),
        ]))
    }

    fn quest(&mut self) -> Scenario {
        let quest = self.rng.random_range(0..self.state.quests.len());
        let before = self.state.quests[quest].progress;
        // a finished quest starts again
        let progress = if before >= 1.0 { 0.0 } else { rounded((before + 0.1).min(1.0), 2) };
        Scenario::of([NetworkEvent::QuestProgressed { quest, progress }])
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
