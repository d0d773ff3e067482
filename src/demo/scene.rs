//! Short stories that happen in a network, planned whole and told beat by beat.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;
use uuid::Uuid;

use super::beat::Beat;
use super::entities::{Amount, Condition, Load, Presence};
use super::names;
use super::world::World;

/// A story under way.
#[derive(Debug)]
pub(super) struct Scene {
    /// Whom no other trouble may befall meanwhile.
    pub about: Option<About>,
    pub beats: VecDeque<Beat>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    Node(usize),
    Agent(String),
}

/// Names for things that happen, which repeat neither in a run nor from run to run: a log that keeps the last run would
/// take them for the same things.
#[derive(Debug)]
pub(super) struct Ids {
    run: Uuid,
    given: u64,
}

impl Ids {
    pub const fn new(run: Uuid) -> Self {
        Self { run, given: 0 }
    }

    pub fn next(&mut self) -> Uuid {
        self.given += 1;
        Uuid::new_v5(&self.run, &self.given.to_be_bytes())
    }
}

/// What a new story is made from.
pub(super) struct Plan<'a> {
    pub world: &'a World,
    pub rng: &'a mut StdRng,
    pub ids: &'a mut Ids,
    /// Stories under way.
    pub scenes: &'a [Scene],
    /// How many agents there should be.
    pub agents: usize,
    /// How many agents there have been.
    pub born: &'a mut usize,
}

impl Plan<'_> {
    /// The next story; none when this kind has no place right now.
    pub fn scene(&mut self) -> Option<Scene> {
        let scene = match self.rng.random_range(0..100) {
            0..34 => self.conversation(),
            34..72 => Some(self.measurement()),
            72..78 => self.reading(),
            78..83 => Some(self.membership()),
            83..87 => Some(self.payment()),
            87..90 => self.vote(),
            90..93 => self.agent_in_trouble(),
            93..95 => self.node_in_trouble(),
            95..98 => self.coming_and_going(),
            _ => Some(self.quest()),
        };
        scene.filter(|scene| !scene.beats.is_empty())
    }

    fn active_agent(&mut self) -> Option<String> {
        // few agents are inactive, so a few draws find another
        (0..8).find_map(|_| {
            let agent = self.world.agents().choose(self.rng)?;
            agent.is_active.then(|| agent.id.clone())
        })
    }

    fn is_in_trouble(&self, about: &About) -> bool {
        self.scenes.iter().any(|scene| scene.about.as_ref() == Some(about))
    }

    fn troubles(&self, of: impl Fn(&About) -> bool) -> usize {
        self.scenes.iter().filter_map(|scene| scene.about.as_ref()).filter(|about| of(about)).count()
    }

    fn conversation(&mut self) -> Option<Scene> {
        let agent = self.active_agent()?;
        let microdao = self.world.agent(&agent)?.microdao;
        let run = self.ids.next();
        let mut beats = VecDeque::from([
            Beat::Wrote { microdao, agent: None, message: self.ids.next(), chars: self.rng.random_range(10..200) },
            Beat::Received { agent: agent.clone(), message: self.ids.next() },
            Beat::Invoked { agent: agent.clone(), run },
        ]);
        let (llm_calls, tool_calls) = (self.rng.random_range(1..=4), self.rng.random_range(0..=2));
        let (mut tokens, mut duration_ms) = (0, 20);
        for call in 0..llm_calls {
            let (prompt, completion) = (self.rng.random_range(120..1_800), self.rng.random_range(20..600));
            let latency_ms = 200 + completion * self.rng.random_range(2..5);
            tokens += prompt + completion;
            duration_ms += latency_ms;
            beats.push_back(Beat::Thought { agent: agent.clone(), prompt, completion, latency_ms });
            if call < tool_calls {
                let (tool, ok) = (self.rng.random_range(0..names::TOOLS.len()), self.rng.random_bool(0.93));
                let latency_ms = self.rng.random_range(40..900);
                duration_ms += latency_ms;
                beats.push_back(Beat::ToolUsed { agent: agent.clone(), tool, ok, latency_ms });
            }
        }
        let tool_calls = tool_calls.min(llm_calls);
        let message = self.ids.next();
        beats.extend([
            Beat::Replied { agent: agent.clone(), tokens, latency_ms: duration_ms },
            Beat::Wrote { microdao, agent: Some(agent.clone()), message, chars: self.rng.random_range(20..400) },
            Beat::Finished { agent: agent.clone(), run, llm_calls, tool_calls, duration_ms },
            Beat::Accounted { agent, llm_calls, tool_calls, duration_ms },
        ]);
        Some(Scene { about: None, beats })
    }

    /// Some nodes report what they measure, each a little away from last time.
    fn measurement(&mut self) -> Scene {
        let mut beats = VecDeque::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let node = self.rng.random_range(0..self.world.nodes.len());
            if !self.is_in_trouble(&About::Node(node)) {
                let load = self.drifted(self.world.nodes[node].load, 58.0);
                beats.push_back(Beat::Measured { node, load, condition: Condition::Healthy });
            }
        }
        Scene { about: None, beats }
    }

    /// A step of a walk that is drawn back to ordinary values.
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

    /// A node gets hot, sometimes too hot, and cools down.
    fn node_in_trouble(&mut self) -> Option<Scene> {
        if self.troubles(|about| matches!(about, About::Node(_))) >= (self.world.nodes.len() / 10).max(1) {
            return None;
        }
        let node = self.rng.random_range(0..self.world.nodes.len());
        let about = About::Node(node);
        if self.is_in_trouble(&about) {
            return None;
        }
        let fails = self.rng.random_bool(0.3);
        let mut load = self.world.nodes[node].load;
        let mut beats = VecDeque::new();
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
            beats.push_back(Beat::Measured { node, load, condition });
        }
        Some(Scene { about: Some(about), beats })
    }

    /// An agent fails, sometimes again, and is back.
    fn agent_in_trouble(&mut self) -> Option<Scene> {
        if self.troubles(|about| matches!(about, About::Agent(_))) >= (self.world.agents().len() / 20).max(1) {
            return None;
        }
        let agent = self.active_agent()?;
        let about = About::Agent(agent.clone());
        if self.is_in_trouble(&about) {
            return None;
        }
        let error = self.rng.random_range(0..names::ERRORS.len());
        let mut beats: VecDeque<_> =
            (0..self.rng.random_range(1..=3)).map(|_| Beat::Failed { agent: agent.clone(), error }).collect();
        let action = names::ACTIONS.choose(self.rng)?;
        beats.push_back(Beat::Presence { agent, presence: Presence::Online, action });
        Some(Scene { about: Some(about), beats })
    }

    /// Agents are made, removed, changed, and rest.
    fn coming_and_going(&mut self) -> Option<Scene> {
        let (number, some) = (self.world.agents().len(), (self.agents / 10).max(1));
        let beats = match self.rng.random_range(0..10) {
            0..3 if number < self.agents + some => {
                let agent = self.world.new_agent(*self.born, self.world.born, self.rng);
                *self.born += 1;
                VecDeque::from([Beat::Born { agent: Box::new(agent) }])
            }
            3..5 if number > self.agents.saturating_sub(some).max(1) => {
                VecDeque::from([Beat::Gone { agent: self.active_agent()? }])
            }
            5..7 => {
                let model = self.rng.random_range(0..names::MODELS.len());
                VecDeque::from([Beat::Remodelled { agent: self.active_agent()?, model }])
            }
            _ => {
                let agent = self.active_agent()?;
                let action = names::ACTIONS.choose(self.rng)?;
                VecDeque::from([
                    Beat::Presence { agent: agent.clone(), presence: Presence::Offline, action },
                    Beat::Presence { agent, presence: Presence::Online, action },
                ])
            }
        };
        Some(Scene { about: None, beats })
    }

    fn any_dao(&mut self) -> Option<usize> {
        let number = self.world.daos.len();
        (number > 0).then(|| self.rng.random_range(0..number))
    }

    fn any_microdao(&mut self) -> usize {
        self.rng.random_range(0..self.world.microdaos.len())
    }

    fn vote(&mut self) -> Option<Scene> {
        let dao = self.any_dao()?;
        let (proposal, uuid) = (self.rng.random_range(0..names::PROPOSALS.len()), self.ids.next());
        let mut beats = VecDeque::from([
            Beat::Proposed { dao, proposal, uuid, serial: self.ids.given },
            Beat::VoteOpened { dao, uuid },
        ]);
        let mut yes = 0;
        let votes = self.rng.random_range(2..=6);
        for member in 0..votes {
            let value = *["yes", "yes", "no", "abstain"].choose(self.rng)?;
            yes += usize::from(value == "yes");
            beats.push_back(Beat::Voted { dao, uuid, vote: self.ids.next(), member, value });
        }
        beats.push_back(Beat::VoteClosed { dao, uuid, passed: yes * 2 > votes });
        Some(Scene { about: None, beats })
    }

    fn payment(&mut self) -> Scene {
        let delta = Amount(self.rng.random_range(-400..600) * Amount::UNIT + self.rng.random_range(0..Amount::UNIT));
        let beat = match self.any_dao() {
            Some(dao) if self.rng.random_bool(0.5) => Beat::DaoPaid { dao, token: self.rng.random_range(0..2), delta },
            _ => Beat::MicrodaoPaid { microdao: self.any_microdao(), delta },
        };
        Scene { about: None, beats: VecDeque::from([beat]) }
    }

    fn membership(&mut self) -> Scene {
        let microdao = self.any_microdao();
        let (user, member) = (self.ids.next(), self.ids.next());
        let few = self.world.microdaos[microdao].members.len() < 30;
        let beat = match self.any_dao() {
            Some(dao) if self.world.daos[dao].members.len() < 40 && self.rng.random_bool(0.3) => {
                Beat::DaoJoined { dao, user, member }
            }
            _ if few && self.rng.random_bool(0.6) => Beat::MicrodaoJoined { microdao, user, member },
            _ => Beat::MicrodaoLeft { microdao, member },
        };
        Scene { about: None, beats: VecDeque::from([beat]) }
    }

    /// A document comes in and ends in an agent's memory.
    fn reading(&mut self) -> Option<Scene> {
        let agent = self.active_agent()?;
        let document = self.ids.next().to_string();
        let kind = *["pdf", "image", "audio"].choose(self.rng)?;
        let told = |subject: String, payload| Beat::Network { subject, entity: document.clone(), payload };
        let beats = VecDeque::from([
            told(format!("attachment.created.{kind}"), json!({"attachment_id": document, "type": kind})),
            told(format!("attachment.parsed.{kind}"), json!({"attachment_id": document, "pages": 3})),
            told(format!("memory.store.{agent}"), json!({"agent_id": agent, "document_id": document, "chunks": 12})),
            told("audit.action.memory".to_owned(), json!({"action": "store", "actor": agent})),
            told("ops.health.memory".to_owned(), json!({"service": "memory", "status": "ok"})),
        ]);
        Some(Scene { about: None, beats })
    }

    fn quest(&mut self) -> Scene {
        let quest = self.rng.random_range(0..self.world.quests.len());
        let before = self.world.quests[quest].progress;
        // a finished quest begins anew
        let progress = if before >= 1.0 { 0.0 } else { rounded((before + 0.1).min(1.0), 2) };
        Scene { about: None, beats: VecDeque::from([Beat::QuestProgressed { quest, progress }]) }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
