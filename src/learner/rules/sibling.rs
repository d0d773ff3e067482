//! A model or a tool that does better or worse than the others of its kind, over all agents.
//!
//! The sample is drawn by event id over all outcomes, so its shares of failures are unbiased. Both sides must have
//! enough cases of enough agents, without the worst agent of each: one failing agent is no evidence against its model.
//! The near end of Newcombe's interval must be far enough from zero, against each of the others separately.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Case, Finding, RuleConfig, normalized, time_text};
use crate::learner::occurrences::{EVIDENCE, Occurrences};
use crate::learner::sample::hash;
use crate::learner::stats::{Counts, newcombe};
use crate::model::{Experience, NewLesson, Severity};

/// Name of the rule.
pub const NAME: &str = "sibling";

/// Gets the compared name from an experience.
type Extractor = fn(&Experience) -> Option<&str>;

/// The kinds of subjects that are compared with each other.
const KINDS: [(&str, Extractor); 2] =
    [("model", |experience| experience.model.as_deref()), ("tool", |experience| experience.tool.as_deref())];

/// Results of models and tools in the current period.
#[derive(Debug, Default)]
pub struct SiblingComparison {
    period: i64,
    /// The window of the last comparison.
    window: i64,
    kinds: [BTreeMap<String, Results>; KINDS.len()],
    /// Signatures of the lessons of this period.
    reported: BTreeSet<String>,
}

/// Results of one model or tool.
#[derive(Debug, Default)]
struct Results {
    agents: HashMap<u64, Counts>,
    failures: Vec<String>,
    successes: Vec<String>,
    first: i64,
}

impl Results {
    /// All cases, and the number of their agents.
    fn all(&self) -> (Counts, usize) {
        let sum = self.agents.values().fold(Counts::default(), |sum, counts| Counts {
            cases: sum.cases + counts.cases,
            failed: sum.failed + counts.failed,
        });
        (sum, self.agents.len())
    }

    /// Like `all`, without the agent with the most failures.
    fn without_worst(&self) -> (Counts, usize) {
        let (all, agents) = self.all();
        // ties are broken by fewer cases, so that the result does not depend on the order of the hash table
        let worst = self.agents.values().max_by_key(|counts| (counts.failed, u64::MAX - counts.cases));
        let worst = worst.copied().unwrap_or_default();
        (Counts { cases: all.cases - worst.cases, failed: all.failed - worst.failed }, agents.saturating_sub(1))
    }
}

impl SiblingComparison {
    /// Adds a sampled experience. When it begins a new window, returns the lessons of the cases before it.
    pub fn add(&mut self, case: Case<'_>, config: &RuleConfig) -> Vec<NewLesson> {
        let window = case.logged.div_euclid(config.window_ms.max(1));
        let period = case.logged.div_euclid(config.sibling.period_ms.max(1));
        let mut lessons = Vec::new();
        if window != self.window {
            lessons = self.compare(case.logged, config);
            self.window = window;
        }
        if period != self.period {
            *self = Self { period, window, ..Self::default() };
        }
        for ((_, extract), results) in KINDS.iter().zip(&mut self.kinds) {
            let Some(subject) = extract(case.experience).map(normalized).filter(|name| !name.is_empty()) else {
                continue;
            };
            if results.len() >= config.sibling.max_names && !results.contains_key(&subject) {
                continue;
            }
            let results =
                results.entry(subject).or_insert_with(|| Results { first: case.logged, ..Results::default() });
            let agents = results.agents.len();
            let agent = hash(&case.experience.agent_id);
            if agents >= config.max_agents && !results.agents.contains_key(&agent) {
                continue;
            }
            let counts = results.agents.entry(agent).or_default();
            counts.cases += 1;
            let failed = case.experience.outcome.is_failure();
            counts.failed += u64::from(failed);
            let ids = if failed { &mut results.failures } else { &mut results.successes };
            if ids.len() < EVIDENCE {
                ids.push(case.experience.event_id.clone());
            }
        }
        lessons
    }

    fn compare(&mut self, logged: i64, config: &RuleConfig) -> Vec<NewLesson> {
        let mut lessons = Vec::new();
        for ((kind, _), all) in KINDS.iter().zip(&self.kinds) {
            for (subject, results) in all {
                let Some(verdict) = judge(subject, all, config) else { continue };
                let signature = format!("{kind}:{subject}:{}", if verdict.worse { "worse" } else { "better" });
                if self.reported.contains(&signature) {
                    continue;
                }
                let began = self.period.saturating_mul(config.sibling.period_ms);
                lessons.push(lesson(kind, subject, results, &verdict, &signature, (began, logged), config));
                self.reported.insert(signature);
            }
        }
        lessons
    }
}

/// Comparison of a subject with the sibling that is nearest to it.
struct Verdict {
    worse: bool,
    own: Counts,
    agents: usize,
    sibling: String,
    theirs: Counts,
    interval: (f64, f64),
}

fn judge(subject: &str, all: &BTreeMap<String, Results>, config: &RuleConfig) -> Option<Verdict> {
    let rule = &config.sibling;
    let enough = |(counts, agents): (Counts, usize)| counts.cases >= rule.min_cases && agents >= rule.min_agents;
    let own = all.get(subject)?.without_worst();
    let others: Vec<(&String, (Counts, usize))> = all
        .iter()
        .filter(|(name, _)| *name != subject)
        .map(|(name, results)| (name, results.without_worst()))
        .filter(|(_, side)| enough(*side))
        .collect();
    if !enough(own) || others.is_empty() {
        return None;
    }
    let against =
        |(name, (theirs, _)): &(&String, (Counts, usize))| ((*name).clone(), *theirs, newcombe(own.0, *theirs, rule.z));
    let worse = others.iter().map(against).min_by(|a, b| a.2.0.total_cmp(&b.2.0));
    if let Some((sibling, theirs, interval)) = worse.filter(|(_, _, interval)| interval.0 >= rule.min_difference) {
        return Some(Verdict { worse: true, own: own.0, agents: own.1, sibling, theirs, interval });
    }
    // of two subjects only the worse one is reported
    let better = others.iter().map(against).max_by(|a, b| a.2.1.total_cmp(&b.2.1)).filter(|_| others.len() > 1);
    let (sibling, theirs, interval) = better.filter(|(_, _, interval)| interval.1 <= -rule.min_difference)?;
    Some(Verdict { worse: false, own: own.0, agents: own.1, sibling, theirs, interval })
}

fn lesson(
    kind: &str,
    subject: &str,
    results: &Results,
    verdict: &Verdict,
    signature: &str,
    (began, logged): (i64, i64),
    config: &RuleConfig,
) -> NewLesson {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let Verdict { worse, own, agents, sibling, theirs, interval } = verdict;
    let (low, high) = if *worse { *interval } else { (-interval.1, -interval.0) };
    let text = format!(
        "The {kind} {subject} does {} than every other {kind} since {}: {} of {} sampled cases of {agents} agents failed \
         ({}), with {sibling}, the nearest, {} of {} ({}). The difference is {} to {} (Newcombe's interval, {} standard \
         errors). {}",
        if *worse { "worse" } else { "better" },
        time_text(results.first),
        own.failed,
        own.cases,
        percent(own.share()),
        theirs.failed,
        theirs.cases,
        percent(theirs.share()),
        percent(low),
        percent(high),
        config.sibling.z,
        if *worse {
            format!("Prefer another {kind} where there is a choice, {sibling} for one, until this has changed.")
        } else {
            format!("Prefer this {kind} where there is a choice.")
        },
    );
    let evidence = if *worse { &results.failures } else { &results.successes };
    let finding = Finding {
        agent: None,
        rule: NAME,
        signature,
        severity: if *worse { Severity::High } else { Severity::Low },
        title: format!("{kind} {subject} does {} than its siblings", if *worse { "worse" } else { "better" }),
        text,
        began,
        occurrences: Occurrences {
            first: results.first,
            last: logged,
            count: usize::try_from(if *worse { own.failed } else { own.cases }).unwrap_or(usize::MAX),
            evidence: evidence.clone(),
        },
    };
    finding.lesson(logged, config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::{case, experience};
    use crate::model::Outcome;

    /// Simulates three hours. Each model has a number of agents, and each of its agents a percentage of failures.
    fn lessons(failures: &[(&str, i64, &[i64])]) -> Vec<NewLesson> {
        let (config, mut comparison) = (RuleConfig::default(), SiblingComparison::default());
        let mut lessons = Vec::new();
        for n in 0..200 {
            for (model, agents, percentages) in failures {
                for agent in 0..*agents {
                    let percent = percentages[usize::try_from(agent).unwrap() % percentages.len()];
                    let outcome = if (n * 37 + agent * 11) % 100 < percent { Outcome::Error } else { Outcome::Ok };
                    let mut one = experience(outcome, n * 60);
                    one.agent_id = format!("agent:{model}-{agent}");
                    one.model = Some((*model).to_owned());
                    lessons.extend(comparison.add(case(&one), &config));
                }
            }
        }
        lessons
    }

    #[test]
    fn a_worse_model_is_reported_once_with_counts_and_interval() {
        let lessons = lessons(&[("good", 10, &[2]), ("fair", 10, &[3]), ("bad", 10, &[35])]);
        let [lesson] = &lessons[..] else { panic!("{lessons:#?}") };
        assert_eq!((&*lesson.signature, &lesson.agent_id), ("model:bad:worse", &None));
        assert!(lesson.text.contains("sampled cases of 9 agents failed"), "{}", lesson.text);
        assert!(lesson.text.contains("The difference is") && !lesson.evidence.is_empty(), "{}", lesson.text);
    }

    #[test]
    fn the_best_of_three_is_reported_too() {
        let lessons = lessons(&[("good", 10, &[2]), ("fair", 10, &[40]), ("bad", 10, &[45])]);
        let signatures: Vec<&str> = lessons.iter().map(|lesson| &*lesson.signature).collect();
        assert_eq!(signatures, ["model:good:better"]);
    }

    #[test]
    fn equal_models_and_few_agents_are_not_reported() {
        assert!(lessons(&[("one", 10, &[5]), ("two", 10, &[7])]).is_empty());
        assert!(lessons(&[("one", 10, &[2]), ("two", 2, &[90])]).is_empty(), "two agents are too few");
        let one_failing: &[i64] = &[100, 2, 2, 2, 2, 2, 2, 2, 2, 2];
        assert!(lessons(&[("one", 10, &[2]), ("two", 10, one_failing)]).is_empty(), "one failing agent");
    }
}
