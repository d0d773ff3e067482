//! A simulated week of agents' experiences with planted incidents, and a score of the rules that should find them.
//!
//! Each experience is generated as JSON and decoded as the learner does. Besides the incidents there is constant noise: single
//! failures, missing answers and slow answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use living_map::learner::rules::{NAMES, drift, error_burst, latency, recovery, shared, sibling, silent};
use living_map::learner::{Fold, FoldResult, RuleConfig, experience};
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, Epoch, NewLesson};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// 2026-01-05, a Monday.
const BEGIN: i64 = 1_767_571_200_000;
const MODELS: [&str; 4] = ["m-small", "m-large", "m-fast", "m-deep"];
const TOOLS: [&str; 4] = ["search", "calendar", "browser", "payments"];
const CLASSES: [&str; 5] = ["rate_limited", "tool_failed", "refused", "no_context", "network"];

/// Size of the simulation.
#[derive(Debug, Clone)]
pub struct WeekConfig {
    pub agents: usize,
    pub hours: i64,
    /// Experiences of one agent per hour.
    pub per_hour: i64,
    pub seed: u64,
}

/// Score of one rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    pub planted: usize,
    pub found: usize,
    pub lessons: usize,
    /// Lessons that no incident explains, and lessons about effects of a shared incident that do not name it as their cause:
    /// those would flood the reader.
    pub noise: usize,
    /// Lessons that name a shared cause, which a list shows as one line.
    pub folded: usize,
}

impl Score {
    pub fn precision(self) -> f64 {
        share(self.lessons - self.noise, self.lessons)
    }

    pub fn recall(self) -> f64 {
        share(self.found, self.planted)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// Results of a simulated week.
#[derive(Debug)]
pub struct Week {
    pub experiences: u64,
    pub rules: BTreeMap<&'static str, Score>,
    /// Lessons that no incident explains.
    pub noise: Vec<NewLesson>,
    /// Incidents that were not found.
    pub missed: Vec<String>,
    pub keys: BTreeSet<String>,
}

impl Week {
    pub fn overall(&self) -> Score {
        self.rules.values().fold(Score::default(), |sum, score| Score {
            planted: sum.planted + score.planted,
            found: sum.found + score.found,
            lessons: sum.lessons + score.lessons,
            noise: sum.noise + score.noise,
            folded: sum.folded + score.folded,
        })
    }
}

/// An incident that a rule should find.
#[derive(Debug, Clone)]
struct Incident {
    rule: &'static str,
    /// None for incidents of all agents.
    agent: Option<usize>,
    signature: String,
    from: i64,
    to: i64,
    /// An effect of another incident: a lesson about it is correct if it names its cause, and is not required.
    is_effect: bool,
}

impl Incident {
    fn explains(&self, lesson: &NewLesson, agent: Option<usize>) -> bool {
        let at = lesson.ts.timestamp_millis();
        self.rule == lesson.rule
            && self.agent == agent
            && (self.signature.is_empty() || self.signature == lesson.signature)
            && (self.from..=self.to).contains(&at)
    }
}

/// A symptom of one agent for a time.
#[derive(Debug, Clone)]
enum Symptom {
    Errors {
        class: &'static str,
    },
    Silence,
    Slowness,
    /// Latency grows by this factor in an hour.
    Drift {
        hourly: f64,
    },
}

struct Plan {
    symptoms: HashMap<usize, Vec<(i64, i64, Symptom)>>,
    incidents: Vec<Incident>,
    /// The failing model, and the beginning and end of its failure.
    bad_model: (usize, i64, i64),
}

fn plan(config: &WeekConfig, rng: &mut StdRng) -> Plan {
    let end = BEGIN + config.hours * HOUR;
    let mut plan = Plan { symptoms: HashMap::new(), incidents: Vec::new(), bad_model: (3, end - 20 * HOUR, end) };
    for agent in 0..config.agents {
        // at most one of each kind, in different thirds of the time, well before the failing model
        let usable = (config.hours - 24) * HOUR;
        for kind in 0..3 {
            if agent % 4 == kind {
                let slot = usable / 3;
                let from = BEGIN + slot * i64::try_from(kind).unwrap() + rng_in(agent, kind, slot - 3 * HOUR);
                plan.add_symptom(agent, kind, from, rng);
            }
        }
        if agent % 8 == 1 {
            plan.add_drift(agent, end);
        }
    }
    plan.add_bad_model(config.agents);
    plan
}

impl Plan {
    /// Plants one kind of symptom: 0 failures and their recovery, 1 missing answers, 2 slow answers.
    fn add_symptom(&mut self, agent: usize, kind: usize, from: i64, rng: &mut StdRng) {
        let minutes = rng.random_range(20..90);
        let to = from + minutes * MINUTE;
        let incident = |rule, signature: &str, from, to| Incident {
            rule,
            agent: Some(agent),
            signature: signature.to_owned(),
            from,
            to,
            is_effect: false,
        };
        let symptom = match kind {
            0 => {
                let class = CLASSES[rng.random_range(0..CLASSES.len())];
                self.incidents.push(incident(error_burst::NAME, class, from, to));
                // the agent recovers a few answers after the end
                self.incidents.push(incident(recovery::NAME, class, to, to + HOUR));
                Symptom::Errors { class }
            }
            1 => {
                self.incidents.push(incident(silent::NAME, "", from, to));
                Symptom::Silence
            }
            _ => {
                self.incidents.push(incident(latency::NAME, "", from, to));
                Symptom::Slowness
            }
        };
        self.symptoms.entry(agent).or_default().push((from, to, symptom));
    }

    /// Plants latencies that grow until the end.
    fn add_drift(&mut self, agent: usize, to: i64) {
        let from = BEGIN + 30 * HOUR;
        self.incidents.push(Incident {
            rule: drift::NAME,
            agent: Some(agent),
            signature: String::new(),
            from: from + 12 * HOUR,
            to,
            is_effect: false,
        });
        self.symptoms.entry(agent).or_default().push((from, to, Symptom::Drift { hourly: 1.02 }));
    }

    /// Adds the incidents of the failing model: of the model itself, and their effects on its agents. The first is reported
    /// again in the next period.
    fn add_bad_model(&mut self, agents: usize) {
        let (bad, from, to) = self.bad_model;
        for (rule, signature) in [
            (sibling::NAME, format!("model:{}:worse", MODELS[bad])),
            (shared::NAME, format!("{}:model_failed", error_burst::NAME)),
        ] {
            self.incidents.push(Incident { rule, agent: None, signature, from, to, is_effect: false });
        }
        for agent in (0..agents).filter(|agent| agent % MODELS.len() == bad) {
            for rule in [error_burst::NAME, recovery::NAME] {
                let signature = String::new();
                self.incidents.push(Incident { rule, agent: Some(agent), signature, from, to, is_effect: true });
            }
        }
    }
}

/// A random offset within `span` that is independent of the other random numbers.
fn rng_in(agent: usize, kind: usize, span: i64) -> i64 {
    let mut rng = StdRng::seed_from_u64((agent * 31 + kind) as u64);
    rng.random_range(0..span.max(1))
}

/// A sample of the standard normal distribution.
fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random_range(f64::EPSILON..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// One experience: its subject, and its JSON.
fn generate(agent: usize, number: u64, at: i64, plan: &Plan, rng: &mut StdRng) -> (String, Vec<u8>) {
    let model = agent % MODELS.len();
    let now = |(from, to, _): &&(i64, i64, Symptom)| (*from..*to).contains(&at);
    let symptom = plan.symptoms.get(&agent).and_then(|all| all.iter().find(now));
    let mut latency = 600.0 * (0.45 * normal(rng)).exp();
    let (mut outcome, mut class) = ("ok", None);
    let noise: f64 = rng.random();
    if noise < 0.002 {
        (outcome, class) = ("error", Some(CLASSES[rng.random_range(0..CLASSES.len())]));
    } else if noise < 0.006 {
        outcome = "silent";
    } else if noise < 0.007 {
        latency = rng.random_range(5_001.0..20_000.0);
    }
    let (bad, from, to) = plan.bad_model;
    if model == bad && (from..to).contains(&at) && rng.random_bool(0.3) {
        (outcome, class) = ("error", Some("model_failed"));
    }
    match symptom {
        Some((_, _, Symptom::Errors { class: planted })) if rng.random_bool(0.9) => {
            (outcome, class) = ("error", Some(*planted));
        }
        Some((_, _, Symptom::Silence)) if rng.random_bool(0.9) => outcome = "silent",
        Some((_, _, Symptom::Slowness)) if rng.random_bool(0.9) => {
            (outcome, latency) = ("ok", rng.random_range(5_500.0..20_000.0));
        }
        Some((from, _, Symptom::Drift { hourly })) => {
            let hours = (at - from) as f64 / HOUR as f64;
            // stays below the threshold of the rule for slow answers
            latency = latency.min(1_500.0) * hourly.powf(hours).min(2.8);
        }
        _ => {}
    }
    let body = json!({
        "event_id": format!("e-{agent}-{number}"), "agent_id": format!("agent:{agent}"), "task": "answer",
        "outcome": outcome, "latency_ms": latency, "error_class": class, "model": MODELS[model],
        "tool": TOOLS[rng.random_range(0..TOOLS.len())], "version": 1,
        "timestamp": DateTime::from_timestamp_millis(at - rng.random_range(0..2_000)).unwrap().to_rfc3339(),
    });
    (format!("agent.experience.v1.agent:{agent}"), body.to_string().into_bytes())
}

/// Runs the simulation.
pub fn run(config: &WeekConfig) -> Week {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let plan = plan(config, &mut rng);
    let mut fold = Fold::new(RuleConfig::default());
    let (mut lessons, mut experiences) = (Vec::new(), 0_u64);
    let step = HOUR / config.per_hour;
    for number in 0..config.hours * config.per_hour {
        let slot = BEGIN + number * step;
        for agent in 0..config.agents {
            // spread over the slot in the order of the agents, so that log times never decrease
            let at = slot + step * i64::try_from(agent).unwrap() / i64::try_from(config.agents).unwrap();
            let (subject, body) = generate(agent, number.unsigned_abs(), at, &plan, &mut rng);
            experiences += 1;
            let entry = envelope::read(&Message {
                subject: &subject,
                headers: &[],
                body: &body,
                cursor: Cursor { epoch: Epoch(1), seq: experiences },
                logged_at: DateTime::from_timestamp_millis(at).unwrap(),
            });
            let read = experience::read(&entry.event).expect("a documented experience");
            if let FoldResult::Counted(found) = fold.fold(&read, at) {
                lessons.extend(found);
            }
        }
    }
    score(&plan, experiences, lessons)
}

fn score(plan: &Plan, experiences: u64, lessons: Vec<NewLesson>) -> Week {
    let mut week = Week {
        experiences,
        rules: BTreeMap::new(),
        noise: Vec::new(),
        missed: Vec::new(),
        keys: lessons.iter().map(|lesson| lesson.lesson_key.clone()).collect(),
    };
    let mut found = vec![false; plan.incidents.len()];
    let mut of_agent: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (index, incident) in plan.incidents.iter().enumerate() {
        of_agent.entry(incident.agent).or_default().push(index);
    }
    let rules: HashMap<&str, &'static str> = NAMES.iter().map(|name| (*name, *name)).collect();
    let earlier: HashSet<String> = lessons.iter().flat_map(|lesson| lesson.effects.iter().cloned()).collect();
    for lesson in lessons {
        let agent = lesson.agent_id.as_ref().and_then(|id| id.strip_prefix("agent:")?.parse().ok());
        let candidates = of_agent.get(&agent).map(Vec::as_slice).unwrap_or_default();
        let explained: Vec<usize> =
            candidates.iter().copied().filter(|index| plan.incidents[*index].explains(&lesson, agent)).collect();
        let score = week.rules.entry(rules[&*lesson.rule]).or_default();
        let folded = lesson.cause.is_some() || earlier.contains(&lesson.lesson_key);
        score.lessons += 1;
        score.folded += usize::from(folded);
        for index in &explained {
            found[*index] = true;
        }
        if explained.iter().all(|index| plan.incidents[*index].is_effect && !folded) {
            score.noise += 1;
            week.noise.push(lesson);
        }
    }
    for (incident, found) in plan.incidents.iter().zip(found).filter(|(incident, _)| !incident.is_effect) {
        let score = week.rules.entry(incident.rule).or_default();
        score.planted += 1;
        score.found += usize::from(found);
        if !found {
            week.missed.push(format!("{incident:?}"));
        }
    }
    week
}
