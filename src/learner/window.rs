//! A sliding window over one sort of thing that happens to one agent.

use std::collections::VecDeque;

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
    pub fn add(&mut self, at: i64, id: &str, window_ms: i64, threshold: usize) -> Option<Reached> {
        let newest = self.marks.back().map_or(at, |mark| mark.at.max(at));
        if at < newest - window_ms {
            return None;
        }
        let place = self.marks.partition_point(|mark| mark.at <= at);
        self.marks.insert(place, Mark { at, id: id.into() });
        while self.marks.front().is_some_and(|mark| mark.at < newest - window_ms)
            || self.marks.len() > threshold.max(EVIDENCE)
        {
            self.marks.pop_front();
        }
        let reached = self.marks.len() >= threshold.max(1);
        if std::mem::replace(&mut self.told, reached) || !reached {
            return None;
        }
        let evidence = self.marks.iter().rev().take(EVIDENCE).rev().map(|mark| mark.id.to_string()).collect();
        let first = self.marks.front().map_or(at, |mark| mark.at);
        Some(Reached { first, last: newest, count: self.marks.len(), evidence })
    }

    /// The time of the newest one; none before the first.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.marks.back().map(|mark| mark.at)
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
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

    fn times(tally: &mut Tally, times: &[i64]) -> Vec<usize> {
        let told = times.iter().enumerate().filter_map(|(n, at)| tally.add(*at, &n.to_string(), WINDOW, 3).map(|_| n));
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
        let reached = tally.add(910, "x", WINDOW, 3).unwrap();
        assert_eq!((reached.first, reached.last, reached.count), (910, 1_010, 3));
        assert_eq!(reached.evidence, ["x", "0", "1"], "in the order of their times");
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
