//! The newest entries, in memory.

use std::collections::VecDeque;

use crate::model::LogEntry;

/// The end of the log without a hole, bounded by number and bytes.
pub struct Tail {
    entries: VecDeque<(LogEntry, usize)>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Tail {
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_events, max_bytes }
    }

    /// Adds the entry after the last one.
    pub fn push(&mut self, entry: LogEntry, size: usize) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| last.cursor.seq + 1 == entry.cursor.seq));
        self.bytes += size;
        self.entries.push_back((entry, size));
        while self.entries.len() > self.max_events || self.bytes > self.max_bytes {
            let Some((_, size)) = self.entries.pop_front() else { return };
            self.bytes -= size;
        }
    }

    /// Forgets everything: the log has entries that came past this.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Up to `limit` entries after position `after`; none if the next one is not here.
    pub fn after(&self, after: u64, limit: usize) -> Option<VecDeque<LogEntry>> {
        let first = self.entries.front()?.0.cursor.seq;
        let skipped = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let page: VecDeque<LogEntry> =
            self.entries.iter().skip(skipped).take(limit).map(|(entry, _)| entry.clone()).collect();
        (!page.is_empty()).then_some(page)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::model::{Cursor, Epoch, NewEvent, envelope};

    fn entry(seq: u64) -> LogEntry {
        let NewEvent { event, raw } = envelope::publish(json!({"event_type": "a"}), DateTime::UNIX_EPOCH).unwrap();
        LogEntry { cursor: Cursor { epoch: Epoch(1), seq }, logged_at: DateTime::UNIX_EPOCH, event, raw }
    }

    fn seqs(page: Option<VecDeque<LogEntry>>) -> Option<Vec<u64>> {
        page.map(|page| page.iter().map(|entry| entry.cursor.seq).collect())
    }

    #[test]
    fn only_what_it_holds_without_a_hole_is_answered() {
        let mut tail = Tail::new(3, 100);
        assert_eq!(tail.after(0, 10), None);
        (5..=9).for_each(|seq| tail.push(entry(seq), 10));
        assert_eq!(seqs(tail.after(6, 10)), Some(vec![7, 8, 9]));
        assert_eq!(seqs(tail.after(6, 2)), Some(vec![7, 8]));
        assert_eq!(seqs(tail.after(8, 10)), Some(vec![9]));
        assert_eq!(tail.after(5, 10), None, "6 is gone");
        assert_eq!(tail.after(9, 10), None, "10 is not there yet");
        tail.push(entry(10), 95);
        assert_eq!(seqs(tail.after(9, 10)), Some(vec![10]), "bytes are bounded as well");
        assert_eq!(tail.after(8, 10), None);
        tail.clear();
        assert_eq!(tail.after(9, 10), None);
    }
}
