//! What is usual: how often agents fail, fall silent or are slow without anything being the matter, all agents together.
//!
//! Three single failures of one agent in half an hour are rare. Among a thousand agents they come every week, by chance, and
//! teach nothing. So where it is known what is usual, the thresholds of the rules are the least that is asked for: what chance
//! would reach in that many agents and windows more often than once in a hundred weeks is not told yet. Where little is
//! known, the thresholds decide alone.
//!
//! What happens in a burst that was told is not usual, and not counted. Known is the day at hand and the one before it, by
//! the log's time, so that the same is known again after a start.

use std::collections::BTreeMap;

use super::config::RuleConfig;
use super::rules::Case;
use super::window::{Bar, Chance, Reached, Tally};

/// Classes of failures that are told apart in one period.
const MAX_CLASSES: usize = 256;

/// What can happen to an agent again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A failure of this class.
    Failure(&'a str),
    /// No answer.
    Silence,
    /// A slow answer.
    Slowness,
}

/// The two periods that are known.
#[derive(Debug, Default)]
pub struct Usual {
    period: i64,
    now: Record,
    before: Record,
}

/// One period.
#[derive(Debug, Default)]
struct Record {
    /// When the log took the first one.
    first: i64,
    cases: u64,
    agents: u64,
    silent: u64,
    slow: u64,
    failed: BTreeMap<Box<str>, u64>,
}

impl Record {
    fn count(&self, kind: Kind<'_>) -> u64 {
        match kind {
            Kind::Failure(class) => self.failed.get(class).copied().unwrap_or_default(),
            Kind::Silence => self.silent,
            Kind::Slowness => self.slow,
        }
    }
}

impl Usual {
    /// One more experience, which the log took at `logged`; `heard` is the period in which its agent was heard of last.
    pub fn add(&mut self, logged: i64, heard: &mut i64, config: &RuleConfig) {
        let period = logged.div_euclid(config.chance.period_ms.max(1));
        if period > self.period {
            let now = std::mem::take(&mut self.now);
            self.before = if period == self.period + 1 { now } else { Record::default() };
            self.period = period;
        }
        if self.now.cases == 0 {
            self.now.first = logged;
        }
        self.now.cases += 1;
        if *heard < self.period {
            self.now.agents += 1;
            *heard = self.period;
        }
    }

    /// It happened to an agent with so many experiences in the window: adds it to its tally, and to what is usual unless it is
    /// part of a burst.
    pub fn add_to(
        &mut self,
        tally: &mut Tally,
        kind: Kind<'_>,
        case: Case<'_>,
        pace: f64,
        config: &RuleConfig,
    ) -> Option<Reached> {
        let reached = tally.add(case.at, &case.experience.event_id, &self.bar(kind, pace, config));
        if !tally.is_told() {
            self.note(kind);
        }
        reached
    }

    fn note(&mut self, kind: Kind<'_>) {
        match kind {
            Kind::Silence => self.now.silent += 1,
            Kind::Slowness => self.now.slow += 1,
            Kind::Failure(class) => {
                let failed = &mut self.now.failed;
                if let Some(count) = failed.get_mut(class) {
                    *count += 1;
                } else if failed.len() < MAX_CLASSES {
                    failed.insert(class.into(), 1);
                }
            }
        }
    }

    /// What it takes to be worth a lesson, for an agent with so many experiences in the window.
    fn bar(&self, kind: Kind<'_>, experiences: f64, config: &RuleConfig) -> Bar {
        let (threshold, kinds) = match kind {
            Kind::Failure(_) => (config.error_threshold, self.now.failed.len().max(self.before.failed.len())),
            Kind::Silence => (config.silent_threshold, 1),
            Kind::Slowness => (config.latency_threshold, 1),
        };
        let cases = self.now.cases + self.before.cases;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let chance = (cases >= config.chance.min_cases.max(1)).then(|| Chance {
            mean: experiences * (self.now.count(kind) + self.before.count(kind)) as f64 / cases as f64,
            windows: config.windows_a_week() * self.now.agents.max(self.before.agents) as f64 * kinds as f64,
            allowed: config.chance.lessons_a_week,
        });
        Bar { window_ms: config.window_ms, threshold, chance }
    }

    /// Since when it is known what is usual, unix milliseconds.
    #[must_use]
    pub const fn since(&self) -> i64 {
        if self.before.cases > 0 { self.before.first } else { self.now.first }
    }
}

/// How many experiences an agent has in a window: those of the part of the window that began last, and a share of those of
/// the part before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    window: i64,
    now: u32,
    before: u32,
}

impl Pace {
    /// One more, at `at`. What is late counts as if it were not.
    pub fn add(&mut self, at: i64, window_ms: i64) {
        let window = at.div_euclid(window_ms.max(1));
        if window > self.window {
            self.before = if window == self.window + 1 { self.now } else { 0 };
            (self.window, self.now) = (window, 0);
        }
        self.now = self.now.saturating_add(1);
    }

    /// How many in the window before `at`, the time of the newest.
    #[must_use]
    pub fn in_window(&self, at: i64, window_ms: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
        let elapsed = at.rem_euclid(window_ms.max(1)) as f64 / window_ms.max(1) as f64;
        f64::from(self.now) + f64::from(self.before) * (1.0 - elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many failures it takes among so many agents, each with 30 experiences in the window, when of 10,000 experiences
    /// so many fail.
    fn takes(agents: usize, failing: u64, config: &RuleConfig) -> usize {
        let mut usual = Usual::default();
        let mut heard = vec![-1; agents];
        for n in 0..20_000_u64 {
            usual.add(1_000, &mut heard[usize::try_from(n).unwrap() % agents], config);
            if n % 10_000 < failing {
                usual.note(Kind::Failure("refused"));
            }
        }
        let bar = usual.bar(Kind::Failure("refused"), 30.0, config);
        (1..100).find(|count| bar.is_reached(*count, config.window_ms)).unwrap()
    }

    #[test]
    fn the_threshold_is_enough_unless_chance_would_reach_it_in_so_many_agents() {
        let config = RuleConfig::default();
        assert_eq!(takes(10, 0, &config), 3);
        assert_eq!(takes(10, 4, &config), 3, "few agents");
        assert_eq!(takes(1_000, 4, &config), 4);
        assert_eq!(takes(1_000, 10, &config), 5);
        let mut contract = config.clone();
        contract.chance.min_cases = 100_000;
        assert_eq!(takes(1_000, 10, &contract), 3, "little is known");
        contract = config;
        contract.chance.lessons_a_week = 1e9;
        assert_eq!(takes(1_000, 10, &contract), 3, "chance may");
    }

    #[test]
    fn a_day_that_is_over_for_a_day_is_forgotten() {
        let (mut usual, config, mut heard) = (Usual::default(), RuleConfig::default(), -1);
        let day = config.chance.period_ms;
        usual.add(5, &mut heard, &config);
        usual.note(Kind::Silence);
        usual.add(day, &mut heard, &config);
        assert_eq!((usual.before.silent, usual.before.agents, usual.now.agents, usual.since()), (1, 1, 1, 5));
        usual.add(3 * day, &mut heard, &config);
        assert_eq!((usual.before.silent, usual.now.cases, usual.since()), (0, 1, 3 * day));
    }

    #[test]
    fn the_pace_is_that_of_the_window() {
        let mut pace = Pace::default();
        for n in 0..30 {
            pace.add(n * 10, 100);
        }
        assert!((pace.in_window(290, 100) - 11.0).abs() < 1e-9, "{pace:?}");
        pace.add(1_000, 100);
        assert!((pace.in_window(1_000, 100) - 1.0).abs() < 1e-9, "{pace:?}");
    }
}
