//! Many agents with the same problem at once: they have a common cause, and one lesson reports it.
//!
//! An agent has a problem from the lesson of its burst on, until three good answers in a row; when the same problem
//! occurs again within a window, it has it again. The rule reports a cause when enough agents got the same problem
//! within a window and still have it, more than chance would bring together, and a sufficient share of the agents that
//! use what they have in common. The cause lasts until too few agents have had the problem for a window. The agents'
//! own lessons remain and name it as their cause: those before it, and those after it, one of each rule for each agent.

mod affected;
mod group;
mod lesson;

use std::collections::BTreeMap;

use super::{Case, RuleConfig, error_burst};
use crate::learner::agent_counts::AgentCounts;
use crate::learner::baseline_rates::BaselineRates;
use crate::learner::sample::hash;
use crate::model::NewLesson;
use group::{ProblemGroup, is_problem};

/// Name of the rule.
pub const NAME: &str = "shared_cause";

/// Distinct problems at a time.
const MAX_PROBLEMS: usize = 64;
/// Good answers in a row after which an agent's problems are over.
const GOOD_ANSWERS: u32 = 3;

/// A kind of problem: the rule and the signature of its lessons.
type Problem = (String, String);

/// The agents with each problem.
#[derive(Debug, Default)]
pub struct SharedCauses(BTreeMap<Problem, ProblemGroup>);

/// The problems of one agent.
#[derive(Debug, Default)]
pub struct AgentProblems {
    problems: Vec<Problem>,
    /// Good answers in a row.
    good: u32,
}

impl AgentProblems {
    /// True when the agent has no problem.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

impl SharedCauses {
    /// Adds an agent that got a problem with this lesson. Returns the lessons to keep: its own, and that of a new
    /// cause.
    pub fn join(
        &mut self,
        mut lesson: NewLesson,
        agent_problems: &mut AgentProblems,
        case: Case<'_>,
        (rates, counts): (&BaselineRates, &AgentCounts),
        config: &RuleConfig,
    ) -> Vec<NewLesson> {
        let problem = (lesson.rule.clone(), lesson.signature.clone());
        self.make_room(&problem);
        let problems = self.0.len() + 1;
        let group = self.0.entry(problem.clone()).or_default();
        group.advance(case.logged, config);
        let agent = hash(&case.experience.agent_id);
        let is_new = group.attach(&mut lesson, agent, config);
        group.insert(agent, &lesson, case);
        if !agent_problems.problems.contains(&problem) {
            agent_problems.problems.push(problem.clone());
        }
        agent_problems.good = 0;
        if lesson.cause.is_some() {
            return is_new.then_some(lesson).into_iter().collect();
        }
        group.count_one();
        let mut lessons = vec![lesson];
        lessons.extend(group.detect(&problem, problems, case.logged, (rates, counts), config));
        lessons
    }

    /// Adds an experience of an agent with problems.
    pub fn observe(&mut self, agent_problems: &mut AgentProblems, is_good: bool, case: Case<'_>, config: &RuleConfig) {
        let agent = hash(&case.experience.agent_id);
        agent_problems.good = if is_good { agent_problems.good + 1 } else { 0 };
        let recovered = agent_problems.good >= GOOD_ANSWERS;
        agent_problems.problems.retain(|problem| {
            let Some(group) = self.0.get_mut(problem) else { return false };
            group.advance(case.logged, config);
            group.observe(agent, recovered, !is_good && is_problem(problem, case, config), case.logged)
        });
    }

    /// Names the cause in the lesson of a recovery from a burst that began at `began`, if the burst had one. None when
    /// the agent already has such a lesson.
    pub fn recovered(&mut self, mut lesson: NewLesson, began: i64, config: &RuleConfig) -> Option<NewLesson> {
        let agent = hash(lesson.agent_id.as_deref().unwrap_or_default());
        let problem = (error_burst::NAME.to_owned(), lesson.signature.clone());
        let Some(group) = self.0.get_mut(&problem) else { return Some(lesson) };
        group.recover(&mut lesson, agent, began, config).then_some(lesson)
    }

    /// Drops the oldest problem when there are too many, one without a current cause first.
    fn make_room(&mut self, wanted: &Problem) {
        if self.0.len() < MAX_PROBLEMS || self.0.contains_key(wanted) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, group)| group.age_key());
        if let Some(oldest) = oldest.map(|(problem, _)| problem.clone()) {
            self.0.remove(&oldest);
        }
    }
}
