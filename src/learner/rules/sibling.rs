//! A model or a tool does better or worse than the others of its kind, all agents together.
//!
//! The sample is drawn by event id over all outcomes, so that shares of failures are as they are. Both sides must have
//! enough cases of enough agents, the subject's worst agent left out: one agent in trouble says nothing of its model. The
//! interval is Newcombe's; its near end must be far enough from nothing, against each of the others by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Case, Finding, RuleConfig, name, when};
use crate::learner::sample::hash;
use crate::learner::stats::{Counts, newcombe};
use crate::learner::window::{EVIDENCE, Reached};
use crate::model::{Experience, NewLesson, Severity};

/// Its name.
pub const NAME: &str = "sibling";

/// The name of what an experience was made with.
type NameOf = fn(&Experience) -> Option<&str>;

/// What is compared with what.
const KINDS: [(&str, NameOf); 2] =
    [("model", |experience| experience.model.as_deref()), ("tool", |experience| experience.tool.as_deref())];

/// How models and tools did in the period at hand.
#[derive(Debug, Default)]
pub struct Siblings {
    period: i64,
    look: i64,
    kinds: [BTreeMap<String, Record>; KINDS.len()],
    told: BTreeSet<String>,
}

/// How one of them did.
#[derive(Debug, Default)]
struct Record {
    agents: HashMap<u64, Counts>,
    failures: Vec<String>,
    successes: Vec<String>,
    first: i64,
}

impl Record {
    /// All cases, and how many agents they are of.
    fn all(&self) -> (Counts, usize) {
        let sum = self.agents.values().fold(Counts::default(), |sum, counts| Counts {
            cases: sum.cases + counts.cases,
            failed: sum.failed + counts.failed,
        });
        (sum, self.agents.len())
    }

    /// The same without the agent that failed most.
    fn without_worst(&self) -> (Counts, usize) {
        let (all, agents) = self.all();
        // of equals the one with fewer cases, so that the order of a hash table decides nothing
        let worst = self.agents.values().max_by_key(|counts| (counts.failed, u64::MAX - counts.cases));
        let worst = worst.copied().unwrap_or_default();
        (Counts { cases: all.cases - worst.cases, failed: all.failed - worst.failed }, agents.saturating_sub(1))
    }
}

impl Siblings {
    /// Takes in a sampled experience; what the cases before it teach, once in each window.
    pub fn add(&mut self, case: Case<'_>, config: &RuleConfig) -> Vec<NewLesson> {
        let look = case.logged.div_euclid(config.window_ms.max(1));
        let period = case.logged.div_euclid(config.sibling.period_ms.max(1));
        let mut lessons = Vec::new();
        if look != self.look {
            lessons = self.look(case.logged, config);
            self.look = look;
        }
        if period != self.period {
            *self = Self { period, look, ..Self::default() };
        }
        for ((_, of), records) in KINDS.iter().zip(&mut self.kinds) {
            let Some(subject) = of(case.experience).map(name).filter(|name| !name.is_empty()) else { continue };
            if records.len() >= config.sibling.max_names && !records.contains_key(&subject) {
                continue;
            }
            let record = records.entry(subject).or_insert_with(|| Record { first: case.logged, ..Record::default() });
            let agents = record.agents.len();
            let agent = hash(&case.experience.agent_id);
            if agents >= config.max_agents && !record.agents.contains_key(&agent) {
                continue;
            }
            let counts = record.agents.entry(agent).or_default();
            counts.cases += 1;
            let failed = case.experience.outcome.is_failure();
            counts.failed += u64::from(failed);
            let ids = if failed { &mut record.failures } else { &mut record.successes };
            if ids.len() < EVIDENCE {
                ids.push(case.experience.event_id.clone());
            }
        }
        lessons
    }

    fn look(&mut self, logged: i64, config: &RuleConfig) -> Vec<NewLesson> {
        let mut lessons = Vec::new();
        for ((kind, _), records) in KINDS.iter().zip(&self.kinds) {
            for (subject, record) in records {
                let Some(verdict) = judge(subject, records, config) else { continue };
                let signature = format!("{kind}:{subject}:{}", if verdict.worse { "worse" } else { "better" });
                if self.told.contains(&signature) {
                    continue;
                }
                let began = self.period.saturating_mul(config.sibling.period_ms);
                lessons.push(lesson(kind, subject, record, &verdict, &signature, (began, logged), config));
                self.told.insert(signature);
            }
        }
        lessons
    }
}

/// What is said of one of them against the sibling that is nearest to it.
struct Verdict {
    worse: bool,
    own: Counts,
    agents: usize,
    sibling: String,
    theirs: Counts,
    interval: (f64, f64),
}

fn judge(subject: &str, records: &BTreeMap<String, Record>, config: &RuleConfig) -> Option<Verdict> {
    let rule = &config.sibling;
    let enough = |(counts, agents): (Counts, usize)| counts.cases >= rule.min_cases && agents >= rule.min_agents;
    let record = records.get(subject)?;
    let own = record.without_worst();
    let others: Vec<(&String, (Counts, usize))> = records
        .iter()
        .filter(|(name, _)| *name != subject)
        .map(|(name, record)| (name, record.without_worst()))
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
    // of two, one is better because the other is worse: that was said
    let better = others.iter().map(against).max_by(|a, b| a.2.1.total_cmp(&b.2.1)).filter(|_| others.len() > 1);
    let (sibling, theirs, interval) = better.filter(|(_, _, interval)| interval.1 <= -rule.min_difference)?;
    Some(Verdict { worse: false, own: own.0, agents: own.1, sibling, theirs, interval })
}

fn lesson(
    kind: &str,
    subject: &str,
    record: &Record,
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
        when(record.first),
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
    let evidence = if *worse { &record.failures } else { &record.successes };
    let finding = Finding {
        agent: None,
        rule: NAME,
        signature,
        severity: if *worse { Severity::High } else { Severity::Low },
        title: format!("{kind} {subject} does {} than its siblings", if *worse { "worse" } else { "better" }),
        text,
        began,
        reached: Reached {
            first: record.first,
            last: logged,
            count: usize::try_from(if *worse { own.failed } else { own.cases }).unwrap_or(usize::MAX),
            evidence: evidence.clone(),
        },
    };
    finding.lesson(logged, config)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{case, experience};
    use super::*;
    use crate::model::Outcome;

    /// Cases of ten agents over three hours; for each model, of how many hundred each agent's cases fail.
    fn told(failures: &[(&str, i64, &[i64])]) -> Vec<NewLesson> {
        let (config, mut siblings) = (RuleConfig::default(), Siblings::default());
        let mut lessons = Vec::new();
        for n in 0..200 {
            for (model, agents, hundredths) in failures {
                for agent in 0..*agents {
                    let of_hundred = hundredths[usize::try_from(agent).unwrap() % hundredths.len()];
                    let outcome = if (n * 37 + agent * 11) % 100 < of_hundred { Outcome::Error } else { Outcome::Ok };
                    let mut one = experience(outcome, n * 60);
                    one.agent_id = format!("agent:{model}-{agent}");
                    one.model = Some((*model).to_owned());
                    lessons.extend(siblings.add(case(&one), &config));
                }
            }
        }
        lessons
    }

    #[test]
    fn a_model_that_fails_far_more_often_is_told_once_with_counts_and_an_interval() {
        let lessons = told(&[("good", 10, &[2]), ("fair", 10, &[3]), ("bad", 10, &[35])]);
        let [lesson] = &lessons[..] else { panic!("{lessons:#?}") };
        assert_eq!((&*lesson.signature, &lesson.agent_id), ("model:bad:worse", &None));
        assert!(lesson.text.contains("sampled cases of 9 agents failed"), "{}", lesson.text);
        assert!(lesson.text.contains("The difference is") && !lesson.evidence.is_empty(), "{}", lesson.text);
    }

    #[test]
    fn the_best_of_three_is_told_too() {
        let lessons = told(&[("good", 10, &[2]), ("fair", 10, &[40]), ("bad", 10, &[45])]);
        let signatures: Vec<&str> = lessons.iter().map(|lesson| &*lesson.signature).collect();
        assert_eq!(signatures, ["model:good:better"]);
    }

    #[test]
    fn equals_a_handful_and_one_agent_in_trouble_say_nothing() {
        assert!(told(&[("one", 10, &[5]), ("two", 10, &[7])]).is_empty());
        assert!(told(&[("one", 10, &[2]), ("two", 2, &[90])]).is_empty(), "two agents are a handful");
        let trouble: &[i64] = &[100, 2, 2, 2, 2, 2, 2, 2, 2, 2];
        assert!(told(&[("one", 10, &[2]), ("two", 10, trouble)]).is_empty(), "one agent in trouble");
    }
}
