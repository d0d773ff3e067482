//! The fold with its position in the stream.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::config::RuleConfig;
use super::experience::{self, Unreadable};
use super::fold::{Fold, FoldResult};
use crate::model::{LogEntry, NewLesson};

/// Maximum number of gaps; of further ones the oldest count as filled.
const MAX_GAPS: usize = 4_096;

/// Result of applying an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryResult {
    /// Folded; the lessons that it completes.
    Folded(Vec<NewLesson>),
    /// Not a readable experience.
    Unreadable(Unreadable),
    /// Folded before, late, or not an experience.
    Ignored,
}

/// The fold and its position. An entry that is delivered again is not folded again; one that was skipped, because it
/// had been delivered to another consumer, is folded when it arrives.
#[derive(Debug)]
pub struct LearnerState {
    fold: Fold,
    /// The next position.
    next: u64,
    /// Skipped positions: the first of each gap, and the one after its last.
    gaps: BTreeMap<u64, u64>,
}

impl LearnerState {
    /// An empty state.
    #[must_use]
    pub fn new(rules: RuleConfig) -> Self {
        Self { fold: Fold::new(rules), next: 1, gaps: BTreeMap::new() }
    }

    /// The fold.
    #[must_use]
    pub const fn fold(&self) -> &Fold {
        &self.fold
    }

    /// Applies an entry from the past. Positions between such entries are not gaps: they hold no experiences, or are
    /// deleted.
    pub fn replay(&mut self, entry: &LogEntry) -> EntryResult {
        self.next = self.next.max(entry.cursor.seq.saturating_add(1));
        self.learn(entry)
    }

    /// Continues after this position.
    pub fn skip_to(&mut self, seq: u64) {
        self.next = self.next.max(seq.saturating_add(1));
    }

    /// Applies a delivered entry.
    pub fn apply(&mut self, entry: &LogEntry) -> EntryResult {
        if self.is_new(entry.cursor.seq) { self.learn(entry) } else { EntryResult::Ignored }
    }

    fn learn(&mut self, entry: &LogEntry) -> EntryResult {
        let event = &entry.event;
        if !experience::is_experience(&event.event_type) {
            return EntryResult::Ignored;
        }
        let read = match experience::read(event) {
            Ok(read) => read,
            Err(error) => {
                metrics::counter!("lessons_unreadable_total").increment(1);
                return EntryResult::Unreadable(error);
            }
        };
        metrics::counter!("lessons_experiences_total", "outcome" => read.outcome.as_str()).increment(1);
        match self.fold.fold(&read, millis(entry.logged_at)) {
            FoldResult::Counted(lessons) => EntryResult::Folded(lessons),
            FoldResult::Duplicate => {
                metrics::counter!("lessons_duplicates_total").increment(1);
                EntryResult::Ignored
            }
            FoldResult::Late => {
                metrics::counter!("lessons_late_total").increment(1);
                EntryResult::Ignored
            }
        }
    }

    /// Marks a position as folded; false if it was marked before.
    fn is_new(&mut self, seq: u64) -> bool {
        if seq >= self.next {
            if seq > self.next {
                self.gaps.insert(self.next, seq);
                if self.gaps.len() > MAX_GAPS {
                    self.gaps.pop_first();
                }
            }
            self.next = seq.saturating_add(1);
            return true;
        }
        let Some((&first, &end)) = self.gaps.range(..=seq).next_back().filter(|(_, end)| seq < **end) else {
            return false;
        };
        self.gaps.remove(&first);
        if first < seq {
            self.gaps.insert(first, seq);
        }
        if seq + 1 < end {
            self.gaps.insert(seq + 1, end);
        }
        true
    }
}

fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_position_is_new_once_in_any_order(order in prop::collection::vec(1_u64..60, 0..200)) {
            let mut state = LearnerState::new(RuleConfig::default());
            let mut seen = std::collections::BTreeSet::new();
            for seq in order {
                prop_assert_eq!(state.is_new(seq), seen.insert(seq), "{}", seq);
            }
        }
    }

    #[test]
    fn gaps_are_bounded() {
        let mut state = LearnerState::new(RuleConfig::default());
        (1..20_000).for_each(|n| assert!(state.is_new(n * 2)));
        assert!(state.gaps.len() <= MAX_GAPS && state.is_new(39_997) && !state.is_new(1));
    }
}
