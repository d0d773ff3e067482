//! The fold: the state of each agent, and the lessons that an experience completes.

use std::collections::HashMap;

use super::activity_rate::ActivityRate;
use super::agent_counts::{AgentCounts, Counted};
use super::baseline_rates::BaselineRates;
use super::case::Case;
use super::config::RuleConfig;
use super::dedup::Deduplicator;
use super::occurrences::OccurrenceWindow;
use super::rules::drift::LatencyHistory;
use super::rules::error_burst::Errors;
use super::rules::recovery::Burst;
use super::rules::shared::{AgentProblems, SharedCauses};
use super::rules::sibling::SiblingComparison;
use super::rules::{latency, silent};
use super::sample::{hash, is_sampled};
use crate::model::{Experience, NewLesson, Outcome};

/// Experiences between two sweeps for inactive agents.
const SWEEP_INTERVAL: u64 = 65_536;

/// Result of folding an experience.
#[derive(Debug, Clone, PartialEq)]
pub enum FoldResult {
    /// Counted; the lessons that it completes.
    Counted(Vec<NewLesson>),
    /// Counted before.
    Duplicate,
    /// Older than the window before the newest of its agent.
    Late,
}

/// State of one agent.
#[derive(Debug, Default)]
struct AgentState {
    /// Newest time by the producers' clocks.
    newest: i64,
    /// Log time of its last experience.
    last_seen: i64,
    /// The period of its last experience, as [`BaselineRates`] counts them.
    period: i64,
    rate: ActivityRate,
    counted: Counted,
    errors: Errors,
    silent: OccurrenceWindow,
    slow: OccurrenceWindow,
    burst: Option<Burst>,
    problems: AgentProblems,
    latencies: LatencyHistory,
}

/// State of all agents together.
#[derive(Debug, Default)]
struct Fleet {
    rates: BaselineRates,
    counts: AgentCounts,
    shared: SharedCauses,
    siblings: SiblingComparison,
}

/// The state of the learner. Its size is bounded by the number of agents: the state of each agent is bounded.
#[derive(Debug)]
pub struct Fold {
    config: RuleConfig,
    agents: HashMap<Box<str>, AgentState>,
    fleet: Fleet,
    dedup: Deduplicator,
    folded: u64,
    evicted: u64,
}

impl Fold {
    /// An empty fold.
    #[must_use]
    pub fn new(config: RuleConfig) -> Self {
        let (agents, fleet, dedup) = (HashMap::new(), Fleet::default(), Deduplicator::default());
        Self { config, agents, fleet, dedup, folded: 0, evicted: 0 }
    }

    /// The rules' settings.
    #[must_use]
    pub const fn config(&self) -> &RuleConfig {
        &self.config
    }

    /// Number of agents in the state.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Number of agents evicted because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Folds an experience that was logged at `logged` (unix milliseconds). A time of the producer's clock later than
    /// that counts as `logged`.
    pub fn fold(&mut self, experience: &Experience, logged: i64) -> FoldResult {
        self.folded += 1;
        if self.folded.is_multiple_of(SWEEP_INTERVAL) {
            self.sweep(logged);
        }
        let hash = hash(&experience.event_id);
        let at = experience.timestamp.timestamp_millis().min(logged);
        let case = Case { experience, at, logged, sampled: is_sampled(hash, self.config.sample_pct) };
        if !self.agents.contains_key(&*experience.agent_id) {
            self.make_room();
            let agent = AgentState { newest: at, ..AgentState::default() };
            self.agents.insert(experience.agent_id.as_str().into(), agent);
        }
        let Some(agent) = self.agents.get_mut(&*experience.agent_id) else { return FoldResult::Late };
        agent.last_seen = logged;
        if at < agent.newest - self.config.window_ms {
            return FoldResult::Late;
        }
        agent.newest = agent.newest.max(at);
        agent.rate.add(agent.newest, self.config.window_ms);
        self.fleet.rates.add(logged, &mut agent.period, &self.config);
        self.fleet.counts.add(experience, &mut agent.counted, logged, self.config.window_ms);
        let slow = latency::is_slow(case, &self.config);
        let calm = agent.burst.is_none() && agent.problems.is_empty();
        let plain = experience.outcome == Outcome::Ok && !slow && !case.sampled && calm;
        if plain || experience.outcome == Outcome::Other {
            // changes no count, so a duplicate does not matter
            return FoldResult::Counted(Vec::new());
        }
        if !self.dedup.insert(hash, logged, self.config.dedup_ttl_ms, self.config.max_ids) {
            return FoldResult::Duplicate;
        }
        let mut lessons = agent.apply(case, slow, &mut self.fleet, &self.config);
        if case.sampled {
            lessons.extend(self.fleet.siblings.add(case, &self.config));
        }
        FoldResult::Counted(lessons)
    }

    /// Drops agents whose state no longer matters.
    fn sweep(&mut self, now: i64) {
        let memory = self.config.memory_ms();
        self.agents.retain(|_, agent| now.saturating_sub(agent.last_seen) <= memory);
    }

    /// Evicts the least recently seen eighth of the agents when there are too many.
    fn make_room(&mut self) {
        let max = self.config.max_agents.max(1);
        if self.agents.len() < max {
            return;
        }
        let mut last_seen: Vec<i64> = self.agents.values().map(|agent| agent.last_seen).collect();
        let index = (max / 8).min(last_seen.len() - 1);
        let (_, limit, _) = last_seen.select_nth_unstable(index);
        let limit = *limit;
        let before = self.agents.len();
        self.agents.retain(|_, agent| agent.last_seen > limit);
        self.evicted += (before - self.agents.len()) as u64;
    }
}

impl AgentState {
    /// Applies an experience. `slow`: it is a slow answer. Returns the lessons that it completes.
    fn apply(&mut self, case: Case<'_>, slow: bool, fleet: &mut Fleet, config: &RuleConfig) -> Vec<NewLesson> {
        let Fleet { rates, counts, shared, .. } = fleet;
        let experiences = self.rate.in_window(self.newest, config.window_ms);
        if !self.problems.is_empty() {
            let is_good = case.experience.outcome == Outcome::Ok && !slow;
            shared.observe(&mut self.problems, is_good, case, config);
        }
        let (mut lessons, mut bursts) = (Vec::new(), Vec::new());
        match case.experience.outcome {
            Outcome::Error | Outcome::Timeout => {
                let lesson = self.errors.add(case, experiences, rates, config);
                match (&mut self.burst, &lesson) {
                    (Some(burst), _) => burst.fail(case),
                    (None, Some(lesson)) => self.burst = Some(Burst::new(lesson, case)),
                    (None, None) => {}
                }
                bursts.extend(lesson);
            }
            Outcome::Silent => bursts.extend(silent::add(&mut self.silent, case, experiences, rates, config)),
            Outcome::Ok => {
                let began = self.burst.as_ref().map_or(case.at, Burst::began);
                if let Some(lesson) = self.burst.as_mut().and_then(|burst| burst.succeed(case, config)) {
                    self.burst = None;
                    self.errors.clear();
                    lessons.extend(shared.recovered(lesson, began, config));
                }
                if case.sampled {
                    lessons.extend(self.latencies.add(case, config));
                }
            }
            Outcome::Other => {}
        }
        if slow {
            bursts.extend(latency::add(&mut self.slow, case, experiences, rates, config));
        }
        for burst in bursts {
            lessons.extend(shared.join(burst, &mut self.problems, case, (rates, counts), config));
        }
        lessons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::experience;

    fn keys(result: &FoldResult) -> Vec<&str> {
        match result {
            FoldResult::Counted(lessons) => lessons.iter().map(|lesson| &*lesson.lesson_key).collect(),
            FoldResult::Duplicate | FoldResult::Late => vec![],
        }
    }

    fn fold(fold: &mut Fold, experience: &Experience) -> FoldResult {
        fold.fold(experience, experience.timestamp.timestamp_millis())
    }

    #[test]
    fn equal_experiences_give_equal_keys_and_duplicates_count_once() {
        let run = || {
            let mut state = Fold::new(RuleConfig::default());
            let mut found = Vec::new();
            for n in 0..3 {
                let failure = experience(Outcome::Error, 1_000 + n * 10);
                found.extend(keys(&fold(&mut state, &failure)).into_iter().map(str::to_owned));
                assert_eq!(fold(&mut state, &failure), FoldResult::Duplicate);
            }
            found
        };
        assert_eq!(run().len(), 1);
        assert_eq!(run(), run());
    }

    #[test]
    fn each_burst_and_each_recovery_is_a_lesson() {
        let mut state = Fold::new(RuleConfig::default());
        let mut rules = Vec::new();
        for (outcome, from) in [(Outcome::Error, 0), (Outcome::Ok, 100), (Outcome::Error, 4_000), (Outcome::Ok, 4_100)]
        {
            for n in 0..3 {
                if let FoldResult::Counted(lessons) = fold(&mut state, &experience(outcome, from + n)) {
                    rules.extend(lessons.into_iter().map(|lesson| lesson.rule));
                }
            }
        }
        assert_eq!(rules, ["error_burst", "recovery", "error_burst", "recovery"]);
    }

    /// Late experiences are not counted; a time in the future counts as the log's time.
    #[test]
    fn late_experiences_and_clocks_running_ahead() {
        let mut state = Fold::new(RuleConfig::default());
        assert_eq!(fold(&mut state, &experience(Outcome::Error, 10_000)), FoldResult::Counted(vec![]));
        assert_eq!(state.fold(&experience(Outcome::Error, 8_199), 10_001_000), FoldResult::Late);
        assert_eq!(state.fold(&experience(Outcome::Error, 8_300), 10_001_000), FoldResult::Counted(vec![]));
        let ahead = experience(Outcome::Error, 900_000_000);
        assert_eq!(keys(&state.fold(&ahead, 10_002_000)).len(), 1);
        assert_eq!(state.fold(&experience(Outcome::Error, 10_003), 10_003_000), FoldResult::Counted(vec![]));
    }

    #[test]
    fn agents_and_remembered_ids_are_bounded() {
        let mut state = Fold::new(RuleConfig { max_agents: 100, max_ids: 50, ..RuleConfig::default() });
        for n in 0..2_000 {
            let mut failure = experience(Outcome::Error, n);
            failure.agent_id = format!("agent:{n}");
            fold(&mut state, &failure);
            assert!(state.agents() <= 100);
        }
        assert!(state.evicted() > 1_000 && state.dedup.len() <= 50);
    }
}
