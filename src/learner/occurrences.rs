//! Occurrences of one symptom of one agent in a sliding window, and the threshold that makes them worth a lesson.

use std::collections::VecDeque;

use super::stats::at_least;

/// Event ids that a lesson shows as evidence.
pub const EVIDENCE: usize = 10;

#[derive(Debug, Clone)]
struct Occurrence {
    at: i64,
    id: Box<str>,
}

/// The newest occurrences, no more than are needed to detect a burst and to show it.
///
/// Order of arrival does not matter within the window: occurrences are kept in the order of the producers' clocks. One
/// that is older than the window before the newest is late and ignored.
#[derive(Debug, Clone, Default)]
pub struct OccurrenceWindow {
    occurrences: VecDeque<Occurrence>,
    reported: bool,
}

/// When occurrences are worth a lesson.
#[derive(Debug, Clone, Copy)]
pub struct Threshold {
    /// Length of the window.
    pub window_ms: i64,
    /// Minimum number in the window.
    pub min_count: usize,
    /// Test against chance; none when there is no baseline yet.
    pub chance: Option<ChanceTest>,
}

impl Threshold {
    /// Tests `count` occurrences within `span` milliseconds.
    #[must_use]
    pub fn is_reached(&self, count: usize, span: i64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
        let part = span as f64 / self.window_ms.max(1) as f64;
        count >= self.min_count.max(1) && self.chance.is_none_or(|chance| !chance.explains(count, part))
    }
}

/// Test whether chance explains a number of occurrences.
#[derive(Debug, Clone, Copy)]
pub struct ChanceTest {
    /// Expected occurrences in one window.
    pub mean: f64,
    /// Number of windows in a week, over all agents and classes.
    pub windows: f64,
    /// Accepted number of lessons by chance in a week.
    pub allowed: f64,
}

impl ChanceTest {
    /// True when chance brings `count` occurrences together within a `part` of a window more often than is allowed: an
    /// occurrence is the last of `count` when `count - 1` came in the time before it.
    #[must_use]
    pub fn explains(&self, count: usize, part: f64) -> bool {
        self.windows * self.mean * at_least(count.saturating_sub(1), self.mean * part) > self.allowed
    }
}

/// Occurrences that have just reached the threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrences {
    /// Time of the first one in the window, unix milliseconds.
    pub first: i64,
    /// Time of the last one.
    pub last: i64,
    /// Their number.
    pub count: usize,
    /// Their event ids, at most [`EVIDENCE`].
    pub evidence: Vec<String>,
}

impl OccurrenceWindow {
    /// Adds an occurrence. Returns the occurrences when they reach the threshold, once until they fall below it.
    pub fn add(&mut self, at: i64, id: &str, threshold: &Threshold) -> Option<Occurrences> {
        let Threshold { window_ms, min_count, .. } = *threshold;
        let kept = min_count.max(EVIDENCE);
        let newest = self.newest().map_or(at, |newest| newest.max(at));
        if at < newest - window_ms {
            return None;
        }
        let index = self.occurrences.partition_point(|occurrence| occurrence.at <= at);
        self.occurrences.insert(index, Occurrence { at, id: id.into() });
        while self.occurrences.front().is_some_and(|occurrence| occurrence.at < newest - window_ms)
            || self.occurrences.len() > kept
        {
            self.occurrences.pop_front();
        }
        let count = self.occurrences.len();
        let first = self.occurrences.front().map_or(at, |occurrence| occurrence.at);
        // when the maximum is kept, those kept may cover less than the window
        let span = if count < kept { window_ms } else { newest - first };
        let continues = self.reported && count >= min_count.max(1);
        let reached = continues || threshold.is_reached(count, span);
        if std::mem::replace(&mut self.reported, reached) || !reached {
            return None;
        }
        let evidence = self.occurrences.iter().rev().take(EVIDENCE).rev();
        let evidence = evidence.map(|occurrence| occurrence.id.to_string()).collect();
        Some(Occurrences { first, last: newest, count, evidence })
    }

    /// Time of the newest occurrence.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.occurrences.back().map(|occurrence| occurrence.at)
    }

    /// True while a reported burst lasts.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        self.reported
    }

    /// Drops all occurrences; the next burst is reported again.
    pub fn clear(&mut self) {
        self.occurrences.clear();
        self.reported = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 100;
    const THRESHOLD: Threshold = Threshold { window_ms: WINDOW, min_count: 3, chance: None };

    /// Indices of the times at which the threshold was reached.
    fn reached(window: &mut OccurrenceWindow, times: &[i64]) -> Vec<usize> {
        let reached = |(n, at): (usize, &i64)| window.add(*at, &n.to_string(), &THRESHOLD).map(|_| n);
        times.iter().enumerate().filter_map(reached).collect()
    }

    #[test]
    fn a_burst_is_reported_once_and_again_after_a_pause() {
        let never = [] as [usize; 0];
        assert_eq!(reached(&mut OccurrenceWindow::default(), &[0, 50, 100, 120, 140]), [2]);
        assert_eq!(reached(&mut OccurrenceWindow::default(), &[0, 50, 101, 202]), never, "never three in the window");
        assert_eq!(reached(&mut OccurrenceWindow::default(), &[0, 1, 2, 500, 501, 502]), [2, 5]);
        let mut window = OccurrenceWindow::default();
        assert_eq!(reached(&mut window, &[0, 1, 2]), [2]);
        window.clear();
        assert_eq!(reached(&mut window, &[3, 4, 5]), [2]);
    }

    #[test]
    fn late_occurrences_are_ignored() {
        let mut window = OccurrenceWindow::default();
        assert_eq!(reached(&mut window, &[1_000, 1_010, 899, 800]), [] as [usize; 0]);
        let reached = window.add(910, "x", &THRESHOLD).unwrap();
        assert_eq!((reached.first, reached.last, reached.count), (910, 1_010, 3));
        assert_eq!(reached.evidence, ["x", "0", "1"], "in the order of their times");
    }

    /// A number that chance explains is reported once it has grown beyond chance.
    #[test]
    fn chance_raises_the_threshold() {
        let chance = ChanceTest { mean: 0.01, windows: 1e6, allowed: 0.01 };
        let threshold = Threshold { chance: Some(chance), ..THRESHOLD };
        let mut window = OccurrenceWindow::default();
        let reported: Vec<i64> = (0..20).filter(|at| window.add(*at, "x", &threshold).is_some()).collect();
        assert_eq!(reported, [3]);
        // of frequent occurrences, more than are kept: the time that they took decides
        let frequent = Threshold { chance: Some(ChanceTest { mean: 5.0, ..chance }), ..THRESHOLD };
        let mut window = OccurrenceWindow::default();
        assert!((0..40).all(|n| window.add(n * 20, "x", &frequent).is_none()), "as often as usual");
        assert!((0..20).any(|n| window.add(800 + n, "x", &frequent).is_some()), "all at once");
    }

    proptest! {
        #[test]
        fn order_of_arrival_within_a_window_is_irrelevant(mut at in prop::collection::vec(0_i64..WINDOW, 3..30)) {
            let run = |at: &[i64]| reached(&mut OccurrenceWindow::default(), at);
            let shuffled = run(&at);
            at.sort_unstable();
            prop_assert_eq!(shuffled, run(&at));
        }

        #[test]
        fn memory_is_bounded(at in prop::collection::vec(0_i64..10_000, 0..500)) {
            let mut window = OccurrenceWindow::default();
            reached(&mut window, &at);
            prop_assert!(window.occurrences.len() <= EVIDENCE);
        }
    }
}
