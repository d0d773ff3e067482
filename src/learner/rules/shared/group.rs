//! The agents with one problem, and the detection of their common cause.

use std::collections::{HashMap, HashSet};

use super::affected::AffectedAgent;
use super::lesson::cause_lesson;
use super::{Case, Problem, RuleConfig};
use crate::learner::agent_counts::AgentCounts;
use crate::learner::baseline_rates::BaselineRates;
use crate::learner::key::lesson_key;
use crate::learner::occurrences::ChanceTest;
use crate::learner::rules::{error_burst, latency, silent};
use crate::model::{NewLesson, Outcome};

/// Lessons kept of an affected agent besides its newest.
const MAX_LESSONS: usize = 8;
/// Number of sweeps for recovered agents in a window.
const SWEEPS: i64 = 30;

/// The agents with one problem.
#[derive(Debug, Default)]
pub(super) struct ProblemGroup {
    period: i64,
    /// Agents that got the problem in the current period.
    current: u64,
    /// Agents that got the problem in the previous period.
    previous: u64,
    last_sweep: i64,
    agents: HashMap<u64, AffectedAgent>,
    cause: Option<SharedCause>,
}

/// A reported cause.
#[derive(Debug)]
struct SharedCause {
    key: String,
    began: i64,
    ended: Option<i64>,
    /// Agents, each with the rule of a lesson that names this cause.
    reported: HashSet<(u64, String)>,
}

impl ProblemGroup {
    fn is_active(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.ended.is_none())
    }

    /// Orders groups for eviction, the first to evict first.
    pub(super) fn age_key(&self) -> (bool, i64, i64) {
        (self.is_active(), self.period, self.last_sweep)
    }

    /// Moves to a new time: drops agents without an occurrence for a window. Ends the cause when too few agents remain
    /// or it has lasted for a period.
    pub(super) fn advance(&mut self, logged: i64, config: &RuleConfig) {
        let period = logged.div_euclid(config.chance.period_ms.max(1));
        if period > self.period {
            self.previous = if period == self.period + 1 { self.current } else { 0 };
            (self.period, self.current) = (period, 0);
        }
        let sweep = logged.div_euclid((config.window_ms / SWEEPS).max(1));
        if sweep > self.last_sweep {
            self.last_sweep = sweep;
            self.agents.retain(|_, agent| logged - agent.last <= config.window_ms);
            let few = self.agents.len() < config.shared.min_agents;
            if let Some(cause) = self.cause.as_mut().filter(|cause| cause.ended.is_none())
                && (few || logged - cause.began > config.chance.period_ms)
            {
                cause.ended = Some(logged);
            }
        }
    }

    /// Names the current cause in a lesson of an agent. False when the agent already has such a lesson of this rule.
    pub(super) fn attach(&mut self, lesson: &mut NewLesson, agent: u64, config: &RuleConfig) -> bool {
        let cause = self.cause.as_mut().filter(|cause| cause.ended.is_none());
        cause.is_none_or(|cause| cause.name_in(lesson, agent, config))
    }

    /// Adds an agent. If it had the problem recently, its earlier lessons have the same cause.
    pub(super) fn insert(&mut self, agent: u64, lesson: &NewLesson, case: Case<'_>) {
        let mut affected = AffectedAgent::new(lesson, case);
        if let Some(before) = self.agents.remove(&agent) {
            affected.lessons.extend(before.lessons.into_iter().take(MAX_LESSONS));
        }
        self.agents.insert(agent, affected);
    }

    /// Counts an agent that got the problem without a current cause.
    pub(super) fn count_one(&mut self) {
        self.current += 1;
    }

    /// Adds an experience of an agent; `occurs`: it shows the problem. False when the agent is no longer in the group.
    pub(super) fn observe(&mut self, agent: u64, recovered: bool, occurs: bool, logged: i64) -> bool {
        let Some(agent) = self.agents.get_mut(&agent) else { return false };
        agent.recovered = recovered;
        if occurs {
            agent.last = logged;
        }
        true
    }

    /// Names the cause in the lesson of a recovery from a burst that began at `began`, if the burst had one. False when
    /// the agent already has such a lesson.
    pub(super) fn recover(&mut self, lesson: &mut NewLesson, agent: u64, began: i64, config: &RuleConfig) -> bool {
        let burst = (agent, error_burst::NAME.to_owned());
        let caused = |cause: &&mut SharedCause| {
            cause.reported.contains(&burst) && cause.ended.is_none_or(|ended| began <= ended)
        };
        if let Some(cause) = self.cause.as_mut().filter(caused) {
            return cause.name_in(lesson, agent, config);
        }
        if let Some(affected) = self.agents.get_mut(&agent) {
            affected.lessons.push((lesson.rule.clone(), lesson.lesson_key.clone()));
        }
        true
    }

    /// Returns the lesson about a new cause when enough agents have the problem. `problems` is the number of distinct
    /// problems.
    pub(super) fn detect(
        &mut self,
        problem: &Problem,
        problems: usize,
        logged: i64,
        (rates, counts): (&BaselineRates, &AgentCounts),
        config: &RuleConfig,
    ) -> Option<NewLesson> {
        let since = logged - config.window_ms;
        let mut affected: Vec<(u64, &AffectedAgent)> =
            self.agents.iter().filter(|(_, agent)| agent.began >= since).map(|(hash, agent)| (*hash, agent)).collect();
        // the order of a hash table must not matter
        affected.sort_by(|(_, a), (_, b)| (a.began, &a.agent).cmp(&(b.began, &b.agent)));
        let current: Vec<&AffectedAgent> =
            affected.iter().filter(|(_, agent)| !agent.recovered).map(|(_, agent)| *agent).collect();
        let few = current.len() < config.shared.min_agents.max(2);
        if few || self.is_chance(current.len(), problems, logged, rates, config) {
            return None;
        }
        let mut lesson = cause_lesson(problem, &current, counts, logged, config)?;
        let lessons =
            || affected.iter().flat_map(|(hash, agent)| agent.lessons.iter().map(move |lesson| (*hash, lesson)));
        lesson.effects = lessons().map(|(_, (_, key))| key.clone()).collect();
        let reported = lessons().map(|(agent, (rule, _))| (agent, rule.clone())).collect();
        let began = current.first().map_or(logged, |agent| agent.began);
        self.cause = Some(SharedCause { key: lesson.lesson_key.clone(), began, ended: None, reported });
        Some(lesson)
    }

    /// True when chance explains that `count` agents get the same problem in one window, at the usual rate.
    fn is_chance(
        &self,
        count: usize,
        problems: usize,
        logged: i64,
        rates: &BaselineRates,
        config: &RuleConfig,
    ) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (others, problems, windows) = (
            // one more than observed: no occurrence in a short time does not mean a rate of zero
            (self.current + self.previous).saturating_sub(count as u64) as f64 + 1.0,
            problems as f64,
            (logged.saturating_sub(rates.since()) as f64 / config.window_ms.max(1) as f64).max(1.0),
        );
        let windows_a_week = config.windows_a_week() * problems;
        ChanceTest { mean: others / windows, windows: windows_a_week, allowed: config.chance.lessons_a_week }
            .explains(count, 1.0)
    }
}

impl SharedCause {
    /// Names this cause in a lesson of an agent, whose key becomes that of the cause's beginning, so that repeated
    /// lessons are one. False when the agent already has one of this rule.
    fn name_in(&mut self, lesson: &mut NewLesson, agent: u64, config: &RuleConfig) -> bool {
        let NewLesson { agent_id, rule, signature, .. } = &*lesson;
        lesson.lesson_key = lesson_key(agent_id.as_deref(), rule, signature, self.began, config.window_ms);
        lesson.text = format!("{} Others are in the same trouble: see the lesson {}.", lesson.text, self.key);
        lesson.cause = Some(self.key.clone());
        self.reported.insert((agent, lesson.rule.clone()))
    }
}

/// True when the experience shows this problem.
pub(super) fn is_problem((rule, signature): &Problem, case: Case<'_>, config: &RuleConfig) -> bool {
    match rule.as_str() {
        error_burst::NAME => case.experience.outcome.is_failure() && error_burst::class(case.experience) == *signature,
        silent::NAME => case.experience.outcome == Outcome::Silent,
        _ => latency::is_slow(case, config),
    }
}
