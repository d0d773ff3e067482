//! The error journal: every failed operation and every rescue, for the question "is anything broken?".
//!
//! [`Journal::record`] only puts an entry into memory: it never waits and never fails. [`Journal::keep`] brings entries
//! into files of an object store. A store that is away or full is reported and costs nobody anything else: entries wait,
//! up to a bound, and the newest ones can be asked for all the while.
//!
//! Metrics: `living_map_journal_entries_total`, `living_map_journal_dropped_total`, `living_map_journal_pending`,
//! `living_map_journal_files_total`, `living_map_journal_failures_total`, `living_map_journal_malformed_lines_total`.

mod entry;
mod files;
mod keep;
mod place;
mod ring;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

pub use entry::Entry;
pub use files::Compacted;
use files::Files;
pub use place::{InvalidPlace, Place};
use ring::Ring;
pub use ring::{EntryQuery, Health};

/// Over which entries are counted for [`JournalConfig::max_per_minute`].
const MINUTE: Duration = Duration::from_mins(1);

/// How the journal is kept.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Entries in memory. Default 2,000, as the service we replace.
    pub capacity: usize,
    /// Entries that may wait for a store that is away; further ones are not made durable. Default 4,096.
    pub max_pending: usize,
    /// Entries made durable in a minute; further ones are in memory alone. Default 600.
    pub max_per_minute: u32,
    /// A file is written as soon as so many entries wait. Default 8, as the service we replace.
    pub batch: usize,
    /// A file is written at the latest after this time, and a failed one tried again. Default 5 s.
    pub flush_interval: Duration,
    /// How long one operation of the store may take. Default 10 s.
    pub store_timeout: Duration,
    /// How long files are kept. Default 30 days.
    pub max_age: Duration,
    /// How often files are deleted by age. Default an hour.
    pub expire_interval: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            capacity: 2_000,
            max_pending: 4_096,
            max_per_minute: 600,
            batch: 8,
            flush_interval: Duration::from_secs(5),
            store_timeout: Duration::from_secs(10),
            max_age: Duration::from_hours(30 * 24),
            expire_interval: Duration::from_hours(1),
        }
    }
}

/// The store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal's store failed: {0}")]
pub struct JournalError(String);

/// How the durable side is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// Entries that wait to be written.
    pub pending: usize,
    /// Entries of this run that will not be in a file: too many waited, or came in a minute.
    pub dropped: u64,
    /// When a file was written last.
    pub last_flush: Option<DateTime<Utc>>,
    /// Why the store cannot be used now.
    pub error: Option<String>,
}

/// The journal. Cheap to clone; all clones are one. The default one has no files.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: JournalConfig,
    memory: Mutex<Memory>,
    files: Option<Files>,
    /// Enough entries wait.
    full: Notify,
    flushing: tokio::sync::Mutex<()>,
    compacting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    ring: Ring,
    pending: VecDeque<Entry>,
    /// When the minute began that is counted, and what was taken since.
    minute: (Instant, u32),
    status: JournalStatus,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new(JournalConfig::default(), None)
    }
}

impl Journal {
    /// A journal whose files are at `place`, or that has none. It reads and writes none until it is [kept](Self::keep).
    #[must_use]
    pub fn new(config: JournalConfig, place: Option<Place>) -> Self {
        let files = place.map(|place| Files { place, timeout: config.store_timeout, max_age: config.max_age });
        let memory = Memory {
            ring: Ring::new(config.capacity),
            pending: VecDeque::new(),
            minute: (Instant::now(), 0),
            status: JournalStatus::default(),
        };
        Self {
            inner: Arc::new(Inner {
                config,
                memory: Mutex::new(memory),
                files,
                full: Notify::new(),
                flushing: tokio::sync::Mutex::default(),
                compacting: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Notes that `target` failed to do `op` about `key`. Does not wait and cannot fail. Texts are cut, and secrets that
    /// can be recognised are left out.
    pub fn record(&self, op: &str, target: &str, key: &str, error: &dyn Display) {
        self.take(Entry::new(op, target, key, &error.to_string(), false));
    }

    /// Notes a failure for which what was known before stands in.
    pub fn record_rescued(&self, op: &str, target: &str, key: &str, error: &dyn Display) {
        self.take(Entry::new(op, target, key, &error.to_string(), true));
    }

    /// Notes that from now on last good data of `target` stands in.
    pub fn record_rescue(&self, target: &str, key: &str, error: &dyn Display) {
        self.take(Entry::new(entry::RESCUE, target, key, &error.to_string(), true));
    }

    /// Marks the latest failed `op` of `target` as one for which older data stood in, in memory only; files are never
    /// rewritten.
    pub fn mark_rescued(&self, op: &str, target: &str) -> bool {
        self.memory().ring.mark_rescued(op, target)
    }

    /// The newest matching entries, oldest first.
    #[must_use]
    pub fn filter(&self, query: &EntryQuery) -> Vec<Entry> {
        self.memory().ring.filter(query)
    }

    /// Is anything broken?
    #[must_use]
    pub fn health(&self, now: DateTime<Utc>, minutes: u32) -> Health {
        self.memory().ring.health(now, minutes)
    }

    /// How the durable side is doing.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        let memory = self.memory();
        JournalStatus { pending: memory.pending.len(), ..memory.status.clone() }
    }

    fn take(&self, entry: Entry) {
        metrics::counter!("living_map_journal_entries_total").increment(1);
        let mut memory = self.memory();
        memory.ring.push(entry.clone());
        if self.inner.files.is_none() {
            return;
        }
        if memory.minute.0.elapsed() >= MINUTE {
            memory.minute = (Instant::now(), 0);
        }
        memory.minute.1 = memory.minute.1.saturating_add(1);
        let too_many = memory.minute.1 > self.inner.config.max_per_minute;
        if too_many || memory.pending.len() >= self.inner.config.max_pending {
            memory.status.dropped += 1;
            metrics::counter!("living_map_journal_dropped_total").increment(1);
            return;
        }
        memory.pending.push_back(entry);
        if memory.pending.len() >= self.inner.config.batch {
            self.inner.full.notify_one();
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
