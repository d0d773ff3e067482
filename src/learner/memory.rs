//! The fold with its place in the stream: what was folded, and what was passed over.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::config::RuleConfig;
use super::experience::{self, Unreadable};
use super::fold::{Fold, Folded};
use crate::model::{LogEntry, NewLesson};

/// Gaps that are remembered at most; of more the oldest are taken for filled.
const MAX_GAPS: usize = 4_096;

/// What became of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It was folded; the lessons it completes.
    Folded(Vec<NewLesson>),
    /// It is no experience that can be read.
    Unreadable(Unreadable),
    /// It was folded before, or is none to learn from.
    Nothing,
}

/// The fold, and how far it has come. An entry that is delivered again is not folded again; one that was passed over,
/// having been delivered to somebody else before, is folded when it comes.
#[derive(Debug)]
pub struct Memory {
    fold: Fold,
    /// The next position.
    next: u64,
    /// Positions that were passed over: the first of each gap, and the one behind its last.
    gaps: BTreeMap<u64, u64>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new(rules: RuleConfig) -> Self {
        Self { fold: Fold::new(rules), next: 1, gaps: BTreeMap::new() }
    }

    /// The fold.
    #[must_use]
    pub const fn fold(&self) -> &Fold {
        &self.fold
    }

    /// Takes in an entry of the past: what is missing between its entries is no experience, or gone.
    pub fn recall(&mut self, entry: &LogEntry) -> Taken {
        self.next = self.next.max(entry.cursor.seq.saturating_add(1));
        self.learn(entry)
    }

    /// What comes next is behind this position.
    pub fn skip_to(&mut self, seq: u64) {
        self.next = self.next.max(seq.saturating_add(1));
    }

    /// Takes in an entry as it is delivered.
    pub fn take(&mut self, entry: &LogEntry) -> Taken {
        if self.is_new(entry.cursor.seq) { self.learn(entry) } else { Taken::Nothing }
    }

    fn learn(&mut self, entry: &LogEntry) -> Taken {
        let event = &entry.event;
        if !experience::is_experience(&event.event_type) {
            return Taken::Nothing;
        }
        let read = match experience::read(event) {
            Ok(read) => read,
            Err(error) => {
                metrics::counter!("lessons_unreadable_total").increment(1);
                return Taken::Unreadable(error);
            }
        };
        metrics::counter!("lessons_experiences_total", "outcome" => read.outcome.as_str()).increment(1);
        match self.fold.fold(&read, millis(entry.logged_at)) {
            Folded::Counted(lessons) => Taken::Folded(lessons),
            Folded::Duplicate => {
                metrics::counter!("lessons_duplicates_total").increment(1);
                Taken::Nothing
            }
            Folded::Late => {
                metrics::counter!("lessons_late_total").increment(1);
                Taken::Nothing
            }
        }
    }

    /// Notes a position; whether it was not folded yet.
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
        fn every_position_is_new_once_in_whatever_order(order in prop::collection::vec(1_u64..60, 0..200)) {
            let mut memory = Memory::new(RuleConfig::default());
            let mut seen = std::collections::BTreeSet::new();
            for seq in order {
                prop_assert_eq!(memory.is_new(seq), seen.insert(seq), "{}", seq);
            }
        }
    }

    #[test]
    fn gaps_are_bounded() {
        let mut memory = Memory::new(RuleConfig::default());
        (1..20_000).for_each(|n| assert!(memory.is_new(n * 2)));
        assert!(memory.gaps.len() <= MAX_GAPS && memory.is_new(39_997) && !memory.is_new(1));
    }
}
