//! Recent entries in memory.

use std::collections::VecDeque;

use crate::model::LogEntry;

/// The end of the log without gaps, bounded by number and size.
pub struct RecentEntries {
    entries: VecDeque<(LogEntry, usize)>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl RecentEntries {
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_events, max_bytes }
    }

    /// Appends the entry after the last one.
    pub fn push(&mut self, entry: LogEntry, size: usize) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| last.cursor.seq + 1 == entry.cursor.seq));
        self.bytes += size;
        self.entries.push_back((entry, size));
        while self.entries.len() > self.max_events || self.bytes > self.max_bytes {
            let Some((_, size)) = self.entries.pop_front() else { return };
            self.bytes -= size;
        }
    }

    /// Removes all entries, since the log has newer ones that were not pushed.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Up to `limit` entries after position `after`; `None` if the next one is not in memory.
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
    fn returns_entries_only_without_a_gap() {
        let mut recent = RecentEntries::new(3, 100);
        assert_eq!(recent.after(0, 10), None);
        (5..=9).for_each(|seq| recent.push(entry(seq), 10));
        assert_eq!(seqs(recent.after(6, 10)), Some(vec![7, 8, 9]));
        assert_eq!(seqs(recent.after(6, 2)), Some(vec![7, 8]));
        assert_eq!(seqs(recent.after(8, 10)), Some(vec![9]));
        assert_eq!(recent.after(5, 10), None, "6 was removed");
        assert_eq!(recent.after(9, 10), None, "10 does not exist yet");
        recent.push(entry(10), 95);
        assert_eq!(seqs(recent.after(9, 10)), Some(vec![10]), "the size is bounded too");
        assert_eq!(recent.after(8, 10), None);
        recent.clear();
        assert_eq!(recent.after(9, 10), None);
    }
}
