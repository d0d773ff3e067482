//! The state of the simulated network.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::DemoConfig;
use super::entities::{self, Agent, Dao, Microdao, Node, Presence, Quest, ToolUse};
use super::hourly_usage::{HourlyUsage, UsageCounts};
use super::names;

/// All entities of the network. Entities refer to each other by index; only agents are ever removed.
#[derive(Debug)]
pub(super) struct NetworkState {
    pub created_at: DateTime<Utc>,
    pub microdaos: Vec<Microdao>,
    pub daos: Vec<Dao>,
    pub nodes: Vec<Node>,
    pub quests: Vec<Quest>,
    agents: Vec<Agent>,
    by_id: HashMap<String, usize>,
    /// By agent id; includes deleted agents.
    pub usage: BTreeMap<String, HourlyUsage>,
    /// Messages sent by people.
    pub human_messages: HourlyUsage,
    pub tools: BTreeMap<&'static str, ToolUse>,
    pub events: u64,
}

impl NetworkState {
    pub fn new(config: &DemoConfig, now: DateTime<Utc>) -> Self {
        let rng = &mut StdRng::seed_from_u64(config.seed);
        let microdaos: Vec<_> = (0..config.microdaos.max(1)).map(|index| entities::microdao(index, rng)).collect();
        let daos: Vec<_> =
            (0..config.daos).map(|index| entities::dao(index, index % microdaos.len(), now, rng)).collect();
        let nodes =
            (0..config.nodes.max(1)).map(|index| entities::node(index, microdaos.len(), daos.len(), rng)).collect();
        let quests =
            names::QUESTS.iter().map(|(id, label)| Quest { id, label, progress: rng.random_range(0.0..0.6) }).collect();
        let mut state = Self {
            created_at: now,
            microdaos,
            daos,
            nodes,
            quests,
            agents: Vec::new(),
            by_id: HashMap::new(),
            usage: BTreeMap::new(),
            human_messages: HourlyUsage::default(),
            tools: BTreeMap::new(),
            events: 0,
        };
        for index in 0..config.agents.max(1) {
            let mut agent = state.new_agent(index, now - TimeDelta::days(rng.random_range(1..300)), rng);
            // every eighth agent is inactive
            agent.is_active = index % 8 != 7;
            if !agent.is_active {
                agent.presence = Presence::Offline;
            }
            state.seed_usage(&agent, now, rng);
            state.insert(agent);
        }
        state
    }

    /// A new agent, not yet inserted. Name and kind follow from `index`.
    pub fn new_agent(&self, index: usize, created_at: DateTime<Utc>, rng: &mut StdRng) -> Agent {
        let (slug, name, kind, description) = names::AGENTS[index % names::AGENTS.len()];
        let (slug, name) = names::numbered(index, names::AGENTS.len(), slug, name);
        Agent {
            uuid: entities::uuid(rng),
            id: format!("agent:{slug}"),
            name,
            kind,
            description,
            microdao: index % self.microdaos.len(),
            node: index % self.nodes.len(),
            model: rng.random_range(0..names::MODELS.len()),
            is_active: true,
            presence: Presence::Online,
            last_action: names::ACTIONS.choose(rng).copied().unwrap_or_default(),
            created_at,
            updated_at: created_at,
        }
    }

    /// Generates the usage of an agent before the start of the demo.
    fn seed_usage(&mut self, agent: &Agent, now: DateTime<Utc>, rng: &mut StdRng) {
        if !agent.is_active || rng.random_bool(0.2) {
            return;
        }
        let usage = self.usage.entry(agent.id.clone()).or_default();
        for hours_ago in (1..24).rev() {
            let invocations = rng.random_range(0..6);
            let calls = invocations * 2;
            let counts = UsageCounts {
                llm_calls: calls,
                prompt_tokens: calls * rng.random_range(200..600),
                completion_tokens: calls * rng.random_range(40..200),
                llm_latency_ms: calls * rng.random_range(300..1_500),
                invocations,
                invocations_ok: invocations,
                invocation_llm_calls: calls,
                messages: invocations,
                message_chars: invocations * 60,
                ..UsageCounts::default()
            };
            usage.add(now - TimeDelta::hours(hours_ago), counts);
        }
    }

    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.get(*self.by_id.get(id)?)
    }

    pub fn agent_mut(&mut self, id: &str) -> Option<&mut Agent> {
        self.agents.get_mut(*self.by_id.get(id)?)
    }

    pub fn insert(&mut self, agent: Agent) {
        self.by_id.insert(agent.id.clone(), self.agents.len());
        self.agents.push(agent);
    }

    pub fn remove(&mut self, id: &str) -> Option<Agent> {
        let index = self.by_id.remove(id)?;
        let agent = self.agents.swap_remove(index);
        if let Some(moved) = self.agents.get(index) {
            self.by_id.insert(moved.id.clone(), index);
        }
        Some(agent)
    }

    pub fn agents_of(&self, microdao: usize) -> usize {
        self.agents.iter().filter(|agent| agent.microdao == microdao).count()
    }

    pub fn agents_on(&self, node: usize) -> usize {
        self.agents.iter().filter(|agent| agent.node == node).count()
    }

    pub fn nodes_of(&self, dao: usize) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.dao == Some(dao))
    }

    pub fn count(&mut self, agent: &str, at: DateTime<Utc>, counts: UsageCounts) {
        self.usage.entry(agent.to_owned()).or_default().add(at, counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_network() {
        let config = DemoConfig { agents: 200, nodes: 30, microdaos: 10, daos: 8, ..DemoConfig::default() };
        let now = Utc::now();
        let state = |seed| format!("{:?}", NetworkState::new(&DemoConfig { seed, ..config.clone() }, now).agents());
        assert_eq!(state(1), state(1));
        assert_ne!(state(1), state(2));
    }

    #[test]
    fn names_are_unique_in_a_large_network() {
        let config = DemoConfig { agents: 500, nodes: 100, microdaos: 30, daos: 30, ..DemoConfig::default() };
        let state = NetworkState::new(&config, Utc::now());
        assert_eq!(state.by_id.len(), 500);
        let slugs: std::collections::HashSet<_> = state.daos.iter().map(|dao| &dao.slug).collect();
        assert_eq!(slugs.len(), 30);
    }

    #[test]
    fn removing_an_agent_keeps_the_index_of_the_others() {
        let mut state = NetworkState::new(&DemoConfig::default(), Utc::now());
        assert_eq!(state.remove("agent:alex").map(|agent| agent.id), Some("agent:alex".to_owned()));
        assert!(state.agent("agent:alex").is_none());
        for id in state.agents().iter().map(|agent| agent.id.clone()).collect::<Vec<_>>() {
            assert_eq!(state.agent(&id).map(|agent| &agent.id), Some(&id));
        }
    }
}
