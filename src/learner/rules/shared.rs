//! Many agents are in the same trouble at once: what they have in common is the cause, and one lesson tells of it.
//!
//! An agent is in trouble from the lesson of its burst on, until three good answers in a row; when the same goes wrong again
//! within a window, it is in it again. When enough agents came into the same trouble within a window and are in it, more than
//! chance would bring together and a good part of those that work with what they have in common, that is a lesson for all
//! agents. It lasts until the trouble was not seen for a window in so many agents. The agents' own lessons stay and name it
//! as their cause: those that were there before, and those that follow, one of each rule for each agent.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Case, Finding, RuleConfig, error_burst, latency, silent, span, when};
use crate::learner::exposure::{Exposure, KINDS, with};
use crate::learner::key::lesson_key;
use crate::learner::sample::hash;
use crate::learner::usual::Usual;
use crate::learner::window::{Chance, EVIDENCE, Reached};
use crate::model::{NewLesson, Outcome, Severity};

/// Its name.
pub const NAME: &str = "shared_cause";

/// Kinds of trouble that are told apart at a time.
const MAX_KINDS: usize = 64;
/// So many good answers in a row, and an agent is out of its trouble.
const GOOD_ANSWERS: u32 = 3;
/// Agents that a text names.
const NAMED: usize = 5;
/// Of how many in a hundred agents in trouble something is what they have in common.
const COMMON_PCT: usize = 80;
/// Lessons that are remembered of an agent in trouble besides its newest.
const MAX_LESSONS: usize = 8;
/// It is looked so many times in a window who is in trouble still.
const SWEEPS: i64 = 30;

/// A kind of trouble: the rule, and what it tells apart.
type Trouble = (String, String);

/// The troubles that agents are in.
#[derive(Debug, Default)]
pub struct Shared(BTreeMap<Trouble, Group>);

/// What one agent knows of its troubles.
#[derive(Debug, Default)]
pub struct Troubles {
    of: Vec<Trouble>,
    good: u32,
}

impl Troubles {
    /// Whether it is in none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// Those who are in one kind of trouble.
#[derive(Debug, Default)]
struct Group {
    /// The period at hand, and how many agents came into it in that one and in the one before.
    period: i64,
    now: u64,
    before: u64,
    swept: i64,
    members: HashMap<u64, Member>,
    cause: Option<Cause>,
}

/// An agent in trouble, or out of it for a while.
#[derive(Debug)]
struct Member {
    agent: String,
    /// When it came into it, and when it was seen in it last, by the log's time.
    began: i64,
    last: i64,
    is_out: bool,
    /// Its lessons of this trouble, each with its rule; the first brought it here.
    lessons: Vec<(String, String)>,
    /// The experience that completed that one.
    evidence: String,
    with: [Option<String>; KINDS.len()],
}

/// A cause that was told.
#[derive(Debug)]
struct Cause {
    key: String,
    began: i64,
    ended: Option<i64>,
    /// Agents, each with the rule of a lesson that names this cause.
    told: HashSet<(u64, String)>,
}

impl Shared {
    /// An agent came into trouble with this lesson. What is to be told of it.
    pub fn join(
        &mut self,
        mut lesson: NewLesson,
        troubles: &mut Troubles,
        case: Case<'_>,
        (usual, exposure): (&Usual, &Exposure),
        config: &RuleConfig,
    ) -> Vec<NewLesson> {
        let trouble = (lesson.rule.clone(), lesson.signature.clone());
        self.make_room(&trouble);
        let kinds = self.0.len() + 1;
        let group = self.0.entry(trouble.clone()).or_default();
        group.turn(case.logged, config);
        let agent = hash(&case.experience.agent_id);
        let is_new = group.attach(&mut lesson, agent, config);
        let mut member = Member::of(&lesson, case);
        if let Some(before) = group.members.remove(&agent) {
            // it was in this trouble a moment ago: what was told of that has the same cause
            member.lessons.extend(before.lessons.into_iter().take(MAX_LESSONS));
        }
        group.members.insert(agent, member);
        if !troubles.of.contains(&trouble) {
            troubles.of.push(trouble.clone());
        }
        troubles.good = 0;
        if lesson.cause.is_some() {
            return is_new.then_some(lesson).into_iter().collect();
        }
        group.now += 1;
        let mut lessons = vec![lesson];
        lessons.extend(group.tell(&trouble, kinds, case.logged, (usual, exposure), config));
        lessons
    }

    /// An agent that has troubles was heard of.
    pub fn hear(&mut self, troubles: &mut Troubles, is_good: bool, case: Case<'_>, config: &RuleConfig) {
        let agent = hash(&case.experience.agent_id);
        troubles.good = if is_good { troubles.good + 1 } else { 0 };
        troubles.of.retain(|trouble| {
            let Some(group) = self.0.get_mut(trouble) else { return false };
            group.turn(case.logged, config);
            let Some(member) = group.members.get_mut(&agent) else { return false };
            member.is_out = troubles.good >= GOOD_ANSWERS;
            if !is_good && is_of(trouble, case, config) {
                member.last = case.logged;
            }
            true
        });
    }

    /// An agent has recovered from a burst that began at `began`: names the cause of that, if it had one. None when this was
    /// told of the agent before.
    pub fn recovered(&mut self, mut lesson: NewLesson, began: i64, config: &RuleConfig) -> Option<NewLesson> {
        let agent = hash(lesson.agent_id.as_deref().unwrap_or_default());
        let burst = error_burst::NAME.to_owned();
        let Some(group) = self.0.get_mut(&(burst.clone(), lesson.signature.clone())) else { return Some(lesson) };
        let is_its = |cause: &&mut Cause| {
            cause.told.contains(&(agent, burst.clone())) && cause.ended.is_none_or(|ended| began <= ended)
        };
        if let Some(cause) = group.cause.as_mut().filter(is_its) {
            return cause.name(&mut lesson, agent, config).then_some(lesson);
        }
        if let Some(member) = group.members.get_mut(&agent) {
            member.lessons.push((lesson.rule.clone(), lesson.lesson_key.clone()));
        }
        Some(lesson)
    }

    /// Drops a kind of trouble that is over, when there are too many.
    fn make_room(&mut self, wanted: &Trouble) {
        if self.0.len() < MAX_KINDS || self.0.contains_key(wanted) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, group)| (group.is_open(), group.period, group.swept));
        if let Some(oldest) = oldest.map(|(trouble, _)| trouble.clone()) {
            self.0.remove(&oldest);
        }
    }
}

impl Group {
    fn is_open(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.ended.is_none())
    }

    /// Goes with the time: forgets those whom nothing went wrong with for a window, and ends the cause when too few are left or
    /// it was told of for long enough.
    fn turn(&mut self, logged: i64, config: &RuleConfig) {
        let period = logged.div_euclid(config.chance.period_ms.max(1));
        if period > self.period {
            self.before = if period == self.period + 1 { self.now } else { 0 };
            (self.period, self.now) = (period, 0);
        }
        let sweep = logged.div_euclid((config.window_ms / SWEEPS).max(1));
        if sweep > self.swept {
            self.swept = sweep;
            self.members.retain(|_, member| logged - member.last <= config.window_ms);
            let few = self.members.len() < config.shared.min_agents;
            if let Some(cause) = self.cause.as_mut().filter(|cause| cause.ended.is_none())
                && (few || logged - cause.began > config.chance.period_ms)
            {
                cause.ended = Some(logged);
            }
        }
    }

    /// Names the cause in a lesson of an agent, while it lasts; false when the agent has one of this rule already.
    fn attach(&mut self, lesson: &mut NewLesson, agent: u64, config: &RuleConfig) -> bool {
        let cause = self.cause.as_mut().filter(|cause| cause.ended.is_none());
        cause.is_none_or(|cause| cause.name(lesson, agent, config))
    }

    /// The lesson about the cause, when there are enough in this trouble.
    fn tell(
        &mut self,
        trouble: &Trouble,
        kinds: usize,
        logged: i64,
        (usual, exposure): (&Usual, &Exposure),
        config: &RuleConfig,
    ) -> Option<NewLesson> {
        let since = logged - config.window_ms;
        let mut came: Vec<(u64, &Member)> = self
            .members
            .iter()
            .filter(|(_, member)| member.began >= since)
            .map(|(agent, member)| (*agent, member))
            .collect();
        // the order of a hash table decides nothing
        came.sort_by(|(_, a), (_, b)| (a.began, &a.agent).cmp(&(b.began, &b.agent)));
        let recent: Vec<&Member> =
            came.iter().filter(|(_, member)| !member.is_out).map(|(_, member)| *member).collect();
        if recent.len() < config.shared.min_agents.max(2) || self.chance(recent.len(), kinds, logged, usual, config) {
            return None;
        }
        let mut lesson = lesson(trouble, &recent, exposure, logged, config)?;
        let lessons =
            || came.iter().flat_map(|(agent, member)| member.lessons.iter().map(move |lesson| (*agent, lesson)));
        lesson.effects = lessons().map(|(_, (_, key))| key.clone()).collect();
        let told = lessons().map(|(agent, (rule, _))| (agent, rule.clone())).collect();
        let began = recent.first().map_or(logged, |member| member.began);
        self.cause = Some(Cause { key: lesson.lesson_key.clone(), began, ended: None, told });
        Some(lesson)
    }

    /// Whether as many as that come into the same trouble in one window by chance, as often as agents come into it.
    fn chance(&self, count: usize, kinds: usize, logged: i64, usual: &Usual, config: &RuleConfig) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (others, kinds, windows) = (
            // as if one had come besides these: that none was seen in a short time says little
            (self.now + self.before).saturating_sub(count as u64) as f64 + 1.0,
            kinds as f64,
            (logged.saturating_sub(usual.since()) as f64 / config.window_ms.max(1) as f64).max(1.0),
        );
        let windows_a_week = config.windows_a_week() * kinds;
        Chance { mean: others / windows, windows: windows_a_week, allowed: config.chance.lessons_a_week }
            .explains(count, 1.0)
    }
}

impl Cause {
    /// Names this cause in a lesson of an agent. Its key is that of the cause's beginning, so that it is one however often it
    /// comes; false when it was told before.
    fn name(&mut self, lesson: &mut NewLesson, agent: u64, config: &RuleConfig) -> bool {
        let NewLesson { agent_id, rule, signature, .. } = &*lesson;
        lesson.lesson_key = lesson_key(agent_id.as_deref(), rule, signature, self.began, config.window_ms);
        lesson.text = format!("{} Others are in the same trouble: see the lesson {}.", lesson.text, self.key);
        lesson.cause = Some(self.key.clone());
        self.told.insert((agent, lesson.rule.clone()))
    }
}

impl Member {
    fn of(lesson: &NewLesson, case: Case<'_>) -> Self {
        Self {
            agent: case.experience.agent_id.clone(),
            began: case.logged,
            last: case.logged,
            lessons: vec![(lesson.rule.clone(), lesson.lesson_key.clone())],
            is_out: false,
            evidence: case.experience.event_id.clone(),
            with: with(case.experience).map(|name| name.map(str::to_owned)),
        }
    }
}

/// Whether what happened is this trouble again.
fn is_of((rule, signature): &Trouble, case: Case<'_>, config: &RuleConfig) -> bool {
    match rule.as_str() {
        error_burst::NAME => case.experience.outcome.is_failure() && error_burst::class(case.experience) == *signature,
        silent::NAME => case.experience.outcome == Outcome::Silent,
        _ => latency::is_slow(case, config),
    }
}

/// What most of them have in common, each with how many of them, and of how many agents that work with it.
fn common(members: &[&Member], exposure: &Exposure) -> Vec<(String, usize, u32)> {
    let mut common = Vec::new();
    for (kind, what) in KINDS.iter().enumerate() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in members.iter().filter_map(|member| member.with[kind].as_deref()) {
            *counts.entry(name).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        if let Some((name, count)) = most.filter(|(_, count)| count * 100 >= members.len() * COMMON_PCT) {
            common.push((format!("{what} {name}"), count, exposure.agents_with(kind, name)));
        }
    }
    common
}

/// The lesson about the cause; none when those who are in trouble are few of all, and of those that work with the same.
fn lesson(
    (rule, signature): &Trouble,
    members: &[&Member],
    exposure: &Exposure,
    logged: i64,
    config: &RuleConfig,
) -> Option<NewLesson> {
    let first = members.first()?;
    let is_many = |count: usize, of: u32| {
        let of = usize::try_from(of).unwrap_or(usize::MAX);
        count.saturating_mul(100) >= of.saturating_mul(config.shared.min_pct)
    };
    let count = members.len();
    let common: Vec<String> = common(members, exposure)
        .into_iter()
        .filter(|(_, count, of)| is_many(*count, *of))
        .map(|(name, count, of)| format!("{name} ({count} of the {of} agents that work with it)"))
        .collect();
    if common.is_empty() && !is_many(count, exposure.agents()) {
        return None;
    }
    let named: Vec<&str> = members.iter().take(NAMED).map(|member| &*member.agent).collect();
    let others = match count - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let trouble = match rule.as_str() {
        error_burst::NAME => format!("fail again and again with '{signature}'"),
        silent::NAME => "give no answer again and again".to_owned(),
        _ => "are slow again and again".to_owned(),
    };
    let advice = if common.is_empty() {
        let all = exposure.agents();
        format!("They are {count} of all {all} agents: look at what all of them depend on.")
    } else {
        let common = common.join(", ");
        format!(
            "They have in common: {common}. Look there first, and use another where there is a choice while this lasts."
        )
    };
    let finding = Finding {
        agent: None,
        rule: NAME,
        signature: &format!("{rule}:{signature}"),
        severity: Severity::High,
        title: format!("Many agents {trouble}"),
        text: format!(
            "{count} agents {trouble}, since {}, within {}: {}{others}. {advice} Their own lessons name this one as their cause.",
            when(first.began),
            span(logged - first.began),
            named.join(", "),
        ),
        began: first.began,
        reached: Reached {
            first: first.began,
            last: logged,
            count,
            evidence: members.iter().take(EVIDENCE).map(|member| member.evidence.clone()).collect(),
        },
    };
    Some(finding.lesson(logged, config))
}

#[cfg(test)]
mod tests {
    use super::super::testing::experience;
    use super::*;
    use crate::learner::{Fold, Folded};
    use crate::model::Outcome;

    /// What is told of agents that are heard of every minute; `fails` says which of them fails at which minute.
    fn told(agents: i64, minutes: i64, fails: impl Fn(i64, i64) -> bool) -> Vec<NewLesson> {
        let mut fold = Fold::new(RuleConfig::default());
        let mut lessons = Vec::new();
        for minute in 0..minutes {
            for agent in 0..agents {
                let outcome = if fails(agent, minute) { Outcome::Error } else { Outcome::Ok };
                let mut one = experience(outcome, minute * 60);
                one.event_id = format!("{agent}-{minute}");
                one.agent_id = format!("agent:{agent}");
                one.model = Some(if agent < agents / 2 { "bad" } else { "good" }.to_owned());
                if let Folded::Counted(found) = fold.fold(&one, one.timestamp.timestamp_millis()) {
                    lessons.extend(found);
                }
            }
        }
        lessons
    }

    fn of<'a>(lessons: &'a [NewLesson], rule: &str) -> Vec<&'a NewLesson> {
        lessons.iter().filter(|lesson| lesson.rule == rule).collect()
    }

    #[test]
    fn a_model_that_fails_is_one_lesson_which_those_of_its_agents_name() {
        // half of the answers of one model fail for an hour, after a day without any failure
        let day = 24 * 60;
        let fails = |agent: i64, minute: i64| {
            agent < 20 && (day..day + 60).contains(&minute) && (agent * 7 + minute * 5) % 4 < 2
        };
        let lessons = told(40, day + 120, fails);
        let [cause] = of(&lessons, NAME)[..] else { panic!("{lessons:#?}") };
        assert_eq!((cause.agent_id.as_deref(), &*cause.signature), (None, "error_burst:refused"));
        assert!(
            cause.text.contains("model bad") && cause.text.contains("of the 20 agents that work with it"),
            "{}",
            cause.text
        );
        let bursts = of(&lessons, error_burst::NAME);
        let before = bursts.iter().filter(|burst| cause.effects.contains(&burst.lesson_key)).count();
        let after = bursts.iter().filter(|burst| burst.cause.as_ref() == Some(&cause.lesson_key)).count();
        assert!(before >= 5 && after > 0, "{before} {after}");
        assert_eq!((bursts.len(), before + after), (20, 20), "one for each agent");
        let recoveries = of(&lessons, "recovery");
        assert_eq!(recoveries.len(), 20);
        assert!(recoveries.iter().all(|lesson| lesson.cause.as_ref() == Some(&cause.lesson_key)));
        let keys: HashSet<&str> = lessons.iter().map(|lesson| &*lesson.lesson_key).collect();
        assert_eq!(keys.len(), lessons.len());
    }

    #[test]
    fn agents_that_fail_one_after_the_other_have_nothing_in_common() {
        let lessons = told(40, 26 * 60, |agent, minute| minute / 40 == agent && minute % 40 < 10);
        assert_eq!((of(&lessons, error_burst::NAME).len(), of(&lessons, NAME).len()), (39, 0));
    }

    #[test]
    fn a_few_of_many_are_no_cause_and_the_same_among_few_are() {
        let day = 24 * 60;
        let fails = |agent: i64, minute: i64| agent < 6 && minute >= day;
        assert_eq!(of(&told(120, day + 30, fails), NAME).len(), 0, "6 of 60");
        assert_eq!(of(&told(40, day + 30, fails), NAME).len(), 1, "6 of 20");
    }

    #[test]
    fn when_it_is_over_an_agent_in_trouble_is_alone_again() {
        let day = 24 * 60;
        let fails = |agent: i64, minute: i64| {
            (agent < 20 && (day..day + 20).contains(&minute))
                || (agent == 3 && (day + 100..day + 110).contains(&minute))
        };
        let lessons = told(40, day + 140, fails);
        let of_three =
            |rule| of(&lessons, rule).into_iter().filter(|lesson| lesson.agent_id.as_deref() == Some("agent:3"));
        let alone: Vec<bool> = of_three("recovery").map(|lesson| lesson.cause.is_none()).collect();
        assert_eq!((alone, of_three(error_burst::NAME).count()), (vec![false, true], 2));
    }
}
