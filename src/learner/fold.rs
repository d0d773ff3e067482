//! The fold: what is remembered of each agent, and which lessons an experience completes.

use std::collections::HashMap;

use super::config::RuleConfig;
use super::exposure::{Counted, Exposure};
use super::rules::drift::Baseline;
use super::rules::error_burst::Errors;
use super::rules::recovery::Burst;
use super::rules::shared::{Shared, Troubles};
use super::rules::sibling::Siblings;
use super::rules::{Case, latency, silent};
use super::sample::{hash, is_sampled};
use super::seen::Seen;
use super::usual::{Pace, Usual};
use super::window::Tally;
use crate::model::{Experience, NewLesson, Outcome};

/// Every so many experiences those agents are dropped that were not heard of for too long.
const SWEEP: u64 = 65_536;

/// What became of an experience.
#[derive(Debug, Clone, PartialEq)]
pub enum Folded {
    /// It was counted; the lessons it completes.
    Counted(Vec<NewLesson>),
    /// It was counted before.
    Duplicate,
    /// It is older than the window before the newest of its agent.
    Late,
}

/// What is remembered of one agent.
#[derive(Debug, Default)]
struct Agent {
    /// The newest time, by the producers' clocks.
    newest: i64,
    /// When the log took its last experience.
    heard: i64,
    /// In which period that was, as [`Usual`] counts them.
    period: i64,
    pace: Pace,
    counted: Counted,
    errors: Errors,
    silent: Tally,
    slow: Tally,
    burst: Option<Burst>,
    troubles: Troubles,
    baseline: Baseline,
}

/// What is remembered of all of them together.
#[derive(Debug, Default)]
struct Fleet {
    usual: Usual,
    exposure: Exposure,
    shared: Shared,
    siblings: Siblings,
}

/// The learner's memory. Bounded by the agents in it: of each agent only so many marks are kept.
#[derive(Debug)]
pub struct Fold {
    config: RuleConfig,
    agents: HashMap<Box<str>, Agent>,
    fleet: Fleet,
    seen: Seen,
    folded: u64,
    evicted: u64,
}

impl Fold {
    /// An empty one.
    #[must_use]
    pub fn new(config: RuleConfig) -> Self {
        let (agents, fleet, seen) = (HashMap::new(), Fleet::default(), Seen::default());
        Self { config, agents, fleet, seen, folded: 0, evicted: 0 }
    }

    /// The rules' settings.
    #[must_use]
    pub const fn config(&self) -> &RuleConfig {
        &self.config
    }

    /// How many agents are remembered.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// How many were dropped because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes in an experience that the log took at `logged` (unix milliseconds). A producer's clock that runs ahead is taken
    /// for the log's.
    pub fn fold(&mut self, experience: &Experience, logged: i64) -> Folded {
        self.folded += 1;
        if self.folded.is_multiple_of(SWEEP) {
            self.sweep(logged);
        }
        let hash = hash(&experience.event_id);
        let at = experience.timestamp.timestamp_millis().min(logged);
        let case = Case { experience, at, logged, sampled: is_sampled(hash, self.config.sample_pct) };
        if !self.agents.contains_key(&*experience.agent_id) {
            self.make_room();
            let agent = Agent { newest: at, ..Agent::default() };
            self.agents.insert(experience.agent_id.as_str().into(), agent);
        }
        let Some(agent) = self.agents.get_mut(&*experience.agent_id) else { return Folded::Late };
        agent.heard = logged;
        if at < agent.newest - self.config.window_ms {
            return Folded::Late;
        }
        agent.newest = agent.newest.max(at);
        agent.pace.add(agent.newest, self.config.window_ms);
        self.fleet.usual.add(logged, &mut agent.period, &self.config);
        self.fleet.exposure.add(experience, &mut agent.counted, logged, self.config.window_ms);
        let slow = latency::is_slow(case, &self.config);
        let calm = agent.burst.is_none() && agent.troubles.is_empty();
        let plain = experience.outcome == Outcome::Ok && !slow && !case.sampled && calm;
        if plain || experience.outcome == Outcome::Other {
            // nothing that is counted: that it came twice does not matter
            return Folded::Counted(Vec::new());
        }
        if !self.seen.insert(hash, logged, self.config.dedup_ttl_ms, self.config.max_ids) {
            return Folded::Duplicate;
        }
        let mut lessons = agent.take(case, slow, &mut self.fleet, &self.config);
        if case.sampled {
            lessons.extend(self.fleet.siblings.add(case, &self.config));
        }
        Folded::Counted(lessons)
    }

    /// Drops agents of whom nothing matters any more.
    fn sweep(&mut self, now: i64) {
        let memory = self.config.memory_ms();
        self.agents.retain(|_, agent| now.saturating_sub(agent.heard) <= memory);
    }

    /// Drops the eighth that was not heard of for longest, when there are too many.
    fn make_room(&mut self) {
        let max = self.config.max_agents.max(1);
        if self.agents.len() < max {
            return;
        }
        let mut heard: Vec<i64> = self.agents.values().map(|agent| agent.heard).collect();
        let place = (max / 8).min(heard.len() - 1);
        let (_, limit, _) = heard.select_nth_unstable(place);
        let limit = *limit;
        let before = self.agents.len();
        self.agents.retain(|_, agent| agent.heard > limit);
        self.evicted += (before - self.agents.len()) as u64;
    }
}

impl Agent {
    fn take(&mut self, case: Case<'_>, slow: bool, fleet: &mut Fleet, config: &RuleConfig) -> Vec<NewLesson> {
        let Fleet { usual, exposure, shared, .. } = fleet;
        let pace = self.pace.in_window(self.newest, config.window_ms);
        if !self.troubles.is_empty() {
            let is_good = case.experience.outcome == Outcome::Ok && !slow;
            shared.hear(&mut self.troubles, is_good, case, config);
        }
        let (mut lessons, mut bursts) = (Vec::new(), Vec::new());
        match case.experience.outcome {
            Outcome::Error | Outcome::Timeout => {
                let lesson = self.errors.add(case, pace, usual, config);
                match (&mut self.burst, &lesson) {
                    (Some(burst), _) => burst.fail(case),
                    (None, Some(lesson)) => self.burst = Some(Burst::of(lesson, case)),
                    (None, None) => {}
                }
                bursts.extend(lesson);
            }
            Outcome::Silent => bursts.extend(silent::add(&mut self.silent, case, pace, usual, config)),
            Outcome::Ok => {
                let began = self.burst.as_ref().map_or(case.at, Burst::began);
                if let Some(lesson) = self.burst.as_mut().and_then(|burst| burst.succeed(case, config)) {
                    self.burst = None;
                    self.errors.clear();
                    lessons.extend(shared.recovered(lesson, began, config));
                }
                if case.sampled {
                    lessons.extend(self.baseline.add(case, config));
                }
            }
            Outcome::Other => {}
        }
        if slow {
            bursts.extend(latency::add(&mut self.slow, case, pace, usual, config));
        }
        for burst in bursts {
            lessons.extend(shared.join(burst, &mut self.troubles, case, (usual, exposure), config));
        }
        lessons
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::testing::experience;
    use super::*;

    fn keys(folded: &Folded) -> Vec<&str> {
        match folded {
            Folded::Counted(lessons) => lessons.iter().map(|lesson| &*lesson.lesson_key).collect(),
            Folded::Duplicate | Folded::Late => vec![],
        }
    }

    fn fold(fold: &mut Fold, experience: &Experience) -> Folded {
        fold.fold(experience, experience.timestamp.timestamp_millis())
    }

    #[test]
    fn the_same_experiences_give_the_same_keys_and_one_that_comes_twice_counts_once() {
        let run = || {
            let mut memory = Fold::new(RuleConfig::default());
            let mut found = Vec::new();
            for n in 0..3 {
                let failure = experience(Outcome::Error, 1_000 + n * 10);
                found.extend(keys(&fold(&mut memory, &failure)).into_iter().map(str::to_owned));
                assert_eq!(fold(&mut memory, &failure), Folded::Duplicate);
            }
            found
        };
        assert_eq!(run().len(), 1);
        assert_eq!(run(), run());
    }

    #[test]
    fn a_burst_and_its_end_and_the_next_burst_are_three_lessons() {
        let mut memory = Fold::new(RuleConfig::default());
        let mut rules = Vec::new();
        for (outcome, from) in [(Outcome::Error, 0), (Outcome::Ok, 100), (Outcome::Error, 4_000), (Outcome::Ok, 4_100)]
        {
            for n in 0..3 {
                if let Folded::Counted(lessons) = fold(&mut memory, &experience(outcome, from + n)) {
                    rules.extend(lessons.into_iter().map(|lesson| lesson.rule));
                }
            }
        }
        assert_eq!(rules, ["error_burst", "recovery", "error_burst", "recovery"]);
    }

    #[test]
    fn what_is_late_is_not_counted_and_a_clock_that_runs_ahead_is_the_logs() {
        let mut memory = Fold::new(RuleConfig::default());
        assert_eq!(fold(&mut memory, &experience(Outcome::Error, 10_000)), Folded::Counted(vec![]));
        assert_eq!(memory.fold(&experience(Outcome::Error, 8_199), 10_001_000), Folded::Late);
        assert_eq!(memory.fold(&experience(Outcome::Error, 8_300), 10_001_000), Folded::Counted(vec![]));
        let ahead = experience(Outcome::Error, 900_000_000);
        assert_eq!(keys(&memory.fold(&ahead, 10_002_000)).len(), 1);
        assert_eq!(memory.fold(&experience(Outcome::Error, 10_003), 10_003_000), Folded::Counted(vec![]));
    }

    #[test]
    fn memory_is_bounded_by_the_agents_and_those_are_bounded() {
        let mut memory = Fold::new(RuleConfig { max_agents: 100, max_ids: 50, ..RuleConfig::default() });
        for n in 0..2_000 {
            let mut failure = experience(Outcome::Error, n);
            failure.agent_id = format!("agent:{n}");
            fold(&mut memory, &failure);
            assert!(memory.agents() <= 100);
        }
        assert!(memory.evicted() > 1_000 && memory.seen.len() <= 50);
    }
}
