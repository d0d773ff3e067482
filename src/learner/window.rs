//! A sliding window over one sort of thing that happens to one agent.

use std::collections::VecDeque;

use super::stats::at_least;

/// How many event ids a lesson shows.
pub const EVIDENCE: usize = 10;

/// One time it happened.
#[derive(Debug, Clone)]
struct Mark {
    at: i64,
    id: Box<str>,
}

/// The newest times it happened, at most as many as are needed to tell a burst and to show it.
///
/// Order of arrival does not matter within the window: times are kept in the order of the producers' clocks. What is older
/// than the window before the newest one is late and changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    marks: VecDeque<Mark>,
    told: bool,
}

/// What it takes to be worth a lesson.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// The window.
    pub window_ms: i64,
    /// The least number of times within it.
    pub threshold: usize,
    /// What chance does by itself, where that is known.
    pub chance: Option<Chance>,
}

impl Bar {
    /// Whether `count` times within `span` milliseconds are enough.
    #[must_use]
    pub fn is_reached(&self, count: usize, span: i64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
        let part = span as f64 / self.window_ms.max(1) as f64;
        count >= self.threshold.max(1) && self.chance.is_none_or(|chance| !chance.explains(count, part))
    }
}

/// What chance does by itself.
#[derive(Debug, Clone, Copy)]
pub struct Chance {
    /// How often it happens in one window.
    pub mean: f64,
    /// How many such windows there are in a week.
    pub windows: f64,
    /// How many lessons of chance are allowed in a week.
    pub allowed: f64,
}

impl Chance {
    /// Whether chance would bring `count` of them together within a `part` of a window more often than is allowed: each one
    /// is the last of that many when `count - 1` came in the time before it.
    #[must_use]
    pub fn explains(&self, count: usize, part: f64) -> bool {
        self.windows * self.mean * at_least(count.saturating_sub(1), self.mean * part) > self.allowed
    }
}

/// The window has as many as are worth a lesson, for the first time since it had fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Time of the first one in the window, unix milliseconds.
    pub first: i64,
    /// Time of the last one.
    pub last: i64,
    /// How many.
    pub count: usize,
    /// Their ids.
    pub evidence: Vec<String>,
}

impl Tally {
    /// It happened at `at`.
    pub fn add(&mut self, at: i64, id: &str, bar: &Bar) -> Option<Reached> {
        let Bar { window_ms, threshold, .. } = *bar;
        let kept = threshold.max(EVIDENCE);
        let newest = self.marks.back().map_or(at, |mark| mark.at.max(at));
        if at < newest - window_ms {
            return None;
        }
        let place = self.marks.partition_point(|mark| mark.at <= at);
        self.marks.insert(place, Mark { at, id: id.into() });
        while self.marks.front().is_some_and(|mark| mark.at < newest - window_ms) || self.marks.len() > kept {
            self.marks.pop_front();
        }
        let first = self.marks.front().map_or(at, |mark| mark.at);
        // where no more are kept, those that are came within less than the window
        let span = if self.marks.len() < kept { window_ms } else { newest - first };
        let goes_on = self.told && self.marks.len() >= threshold.max(1);
        let reached = goes_on || bar.is_reached(self.marks.len(), span);
        if std::mem::replace(&mut self.told, reached) || !reached {
            return None;
        }
        let evidence = self.marks.iter().rev().take(EVIDENCE).rev().map(|mark| mark.id.to_string()).collect();
        Some(Reached { first, last: newest, count: self.marks.len(), evidence })
    }

    /// The time of the newest one; none before the first.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.marks.back().map(|mark| mark.at)
    }

    /// Whether it is a burst that was told.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.told
    }

    /// It is over.
    pub fn clear(&mut self) {
        self.marks.clear();
        self.told = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 100;
    const BAR: Bar = Bar { window_ms: WINDOW, threshold: 3, chance: None };

    fn times(tally: &mut Tally, times: &[i64]) -> Vec<usize> {
        let told = times.iter().enumerate().filter_map(|(n, at)| tally.add(*at, &n.to_string(), &BAR).map(|_| n));
        told.collect()
    }

    #[test]
    fn a_burst_is_told_once_and_again_after_it_was_over() {
        assert_eq!(times(&mut Tally::default(), &[0, 50, 100, 120, 140]), [2]);
        assert_eq!(times(&mut Tally::default(), &[0, 50, 101, 202]), [] as [usize; 0], "never three within the window");
        assert_eq!(times(&mut Tally::default(), &[0, 1, 2, 500, 501, 502]), [2, 5]);
        let mut tally = Tally::default();
        assert_eq!(times(&mut tally, &[0, 1, 2]), [2]);
        tally.clear();
        assert_eq!(times(&mut tally, &[3, 4, 5]), [2]);
    }

    #[test]
    fn what_is_late_changes_nothing() {
        let mut tally = Tally::default();
        assert_eq!(times(&mut tally, &[1_000, 1_010, 899, 800]), [] as [usize; 0]);
        let reached = tally.add(910, "x", &BAR).unwrap();
        assert_eq!((reached.first, reached.last, reached.count), (910, 1_010, 3));
        assert_eq!(reached.evidence, ["x", "0", "1"], "in the order of their times");
    }

    #[test]
    fn what_chance_explains_is_told_when_there_are_more_and_once() {
        let bar = Bar { chance: Some(Chance { mean: 0.01, windows: 1e6, allowed: 0.01 }), ..BAR };
        let mut tally = Tally::default();
        let told: Vec<i64> = (0..20).filter(|at| tally.add(*at, "x", &bar).is_some()).collect();
        assert_eq!(told, [3]);
        // of what happens often, more than are kept: the time in which they came decides
        let often = Bar { chance: Some(Chance { mean: 5.0, ..bar.chance.unwrap() }), ..BAR };
        let mut tally = Tally::default();
        assert!((0..40).all(|n| tally.add(n * 20, "x", &often).is_none()), "as often as ever");
        assert!((0..20).any(|n| tally.add(800 + n, "x", &often).is_some()), "all at once");
    }

    proptest! {
        #[test]
        fn within_a_window_the_order_of_arrival_does_not_matter(mut at in prop::collection::vec(0_i64..WINDOW, 3..30)) {
            let reached = |at: &[i64]| times(&mut Tally::default(), at);
            let shuffled = reached(&at);
            at.sort_unstable();
            prop_assert_eq!(shuffled, reached(&at));
        }

        #[test]
        fn memory_is_bounded(at in prop::collection::vec(0_i64..10_000, 0..500)) {
            let mut tally = Tally::default();
            times(&mut tally, &at);
            prop_assert!(tally.marks.len() <= EVIDENCE);
        }
    }
}
