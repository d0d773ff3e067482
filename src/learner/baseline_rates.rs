//! Baseline rates: how often agents fail, give no answer or are slow when nothing is wrong, over all agents.
//!
//! Three single failures of one agent in half an hour are rare. Among a thousand agents they happen by chance every
//! week, and teach nothing. So once the baseline rates are known, a rule's threshold is only the minimum: a number that
//! chance would reach, in that many agents and windows, more often than once in a hundred weeks is not reported yet.
//! Before that, the thresholds alone decide.
//!
//! Occurrences within a reported burst do not count towards the baseline. The baseline covers the current period (a day
//! by default) and the previous one, by the log's time, so that it is the same after a restart.

use std::collections::BTreeMap;

use super::case::Case;
use super::config::RuleConfig;
use super::occurrences::{ChanceTest, OccurrenceWindow, Occurrences, Threshold};

/// Distinct classes of failures in one period.
const MAX_CLASSES: usize = 256;

/// A problem that can occur repeatedly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom<'a> {
    /// A failure of this class.
    Failure(&'a str),
    /// No answer.
    Silence,
    /// A slow answer.
    Slowness,
}

/// Counts of the current period and the previous one.
#[derive(Debug, Default)]
pub struct BaselineRates {
    period: i64,
    current: PeriodCounts,
    previous: PeriodCounts,
}

#[derive(Debug, Default)]
struct PeriodCounts {
    /// Log time of the first experience.
    first: i64,
    cases: u64,
    agents: u64,
    silent: u64,
    slow: u64,
    failed: BTreeMap<Box<str>, u64>,
}

impl PeriodCounts {
    fn count(&self, symptom: Symptom<'_>) -> u64 {
        match symptom {
            Symptom::Failure(class) => self.failed.get(class).copied().unwrap_or_default(),
            Symptom::Silence => self.silent,
            Symptom::Slowness => self.slow,
        }
    }
}

impl BaselineRates {
    /// Counts an experience that was logged at `logged`. `last_period` is the period of its agent's last experience.
    pub fn add(&mut self, logged: i64, last_period: &mut i64, config: &RuleConfig) {
        let period = logged.div_euclid(config.chance.period_ms.max(1));
        if period > self.period {
            let current = std::mem::take(&mut self.current);
            self.previous = if period == self.period + 1 { current } else { PeriodCounts::default() };
            self.period = period;
        }
        if self.current.cases == 0 {
            self.current.first = logged;
        }
        self.current.cases += 1;
        if *last_period < self.period {
            self.current.agents += 1;
            *last_period = self.period;
        }
    }

    /// Adds a symptom of an agent with so many `experiences` in the window to its occurrences, and to the baseline
    /// unless it is part of a burst. Returns the occurrences when they reach the threshold.
    pub fn add_to(
        &mut self,
        window: &mut OccurrenceWindow,
        symptom: Symptom<'_>,
        case: Case<'_>,
        experiences: f64,
        config: &RuleConfig,
    ) -> Option<Occurrences> {
        let threshold = self.threshold(symptom, experiences, config);
        let reached = window.add(case.at, &case.experience.event_id, &threshold);
        if !window.is_reported() {
            self.count(symptom);
        }
        reached
    }

    fn count(&mut self, symptom: Symptom<'_>) {
        match symptom {
            Symptom::Silence => self.current.silent += 1,
            Symptom::Slowness => self.current.slow += 1,
            Symptom::Failure(class) => {
                let failed = &mut self.current.failed;
                if let Some(count) = failed.get_mut(class) {
                    *count += 1;
                } else if failed.len() < MAX_CLASSES {
                    failed.insert(class.into(), 1);
                }
            }
        }
    }

    /// The threshold for an agent with `experiences` in the window.
    fn threshold(&self, symptom: Symptom<'_>, experiences: f64, config: &RuleConfig) -> Threshold {
        let (min_count, classes) = match symptom {
            Symptom::Failure(_) => (config.error_threshold, self.current.failed.len().max(self.previous.failed.len())),
            Symptom::Silence => (config.silent_threshold, 1),
            Symptom::Slowness => (config.latency_threshold, 1),
        };
        let cases = self.current.cases + self.previous.cases;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let chance = (cases >= config.chance.min_cases.max(1)).then(|| ChanceTest {
            mean: experiences * (self.current.count(symptom) + self.previous.count(symptom)) as f64 / cases as f64,
            windows: config.windows_a_week() * self.current.agents.max(self.previous.agents) as f64 * classes as f64,
            allowed: config.chance.lessons_a_week,
        });
        Threshold { window_ms: config.window_ms, min_count, chance }
    }

    /// Beginning of the data, unix milliseconds.
    #[must_use]
    pub const fn since(&self) -> i64 {
        if self.previous.cases > 0 { self.previous.first } else { self.current.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of failures that reach the threshold, among so many agents with 30 experiences each in the window, when
    /// `failing` of 10,000 experiences fail.
    fn required(agents: usize, failing: u64, config: &RuleConfig) -> usize {
        let mut rates = BaselineRates::default();
        let mut last_period = vec![-1; agents];
        for n in 0..20_000_u64 {
            rates.add(1_000, &mut last_period[usize::try_from(n).unwrap() % agents], config);
            if n % 10_000 < failing {
                rates.count(Symptom::Failure("refused"));
            }
        }
        let threshold = rates.threshold(Symptom::Failure("refused"), 30.0, config);
        (1..100).find(|count| threshold.is_reached(*count, config.window_ms)).unwrap()
    }

    /// The configured threshold applies unless chance would reach it among that many agents.
    #[test]
    fn the_threshold_rises_with_agents_and_baseline() {
        let config = RuleConfig::default();
        assert_eq!(required(10, 0, &config), 3);
        assert_eq!(required(10, 4, &config), 3, "few agents");
        assert_eq!(required(1_000, 4, &config), 4);
        assert_eq!(required(1_000, 10, &config), 5);
        let mut changed = config.clone();
        changed.chance.min_cases = 100_000;
        assert_eq!(required(1_000, 10, &changed), 3, "too little data");
        changed = config;
        changed.chance.lessons_a_week = 1e9;
        assert_eq!(required(1_000, 10, &changed), 3, "chance is allowed");
    }

    #[test]
    fn only_the_current_and_the_previous_period_count() {
        let (mut rates, config, mut last_period) = (BaselineRates::default(), RuleConfig::default(), -1);
        let day = config.chance.period_ms;
        rates.add(5, &mut last_period, &config);
        rates.count(Symptom::Silence);
        rates.add(day, &mut last_period, &config);
        assert_eq!((rates.previous.silent, rates.previous.agents, rates.current.agents, rates.since()), (1, 1, 1, 5));
        rates.add(3 * day, &mut last_period, &config);
        assert_eq!((rates.previous.silent, rates.current.cases, rates.since()), (0, 1, 3 * day));
    }
}
