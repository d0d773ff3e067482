//! The error journal: failed operations and fallbacks, for the question "is anything broken?".
//!
//! [`Journal::record`] only adds an entry in memory: it does not wait and cannot fail. [`Journal::run`] writes entries
//! to files in an object store. An unavailable or full store is reported and blocks nothing: entries wait, up to a
//! limit, and the newest ones remain readable.
//!
//! Metrics: `living_map_journal_entries_total`, `living_map_journal_dropped_total`, `living_map_journal_pending`,
//! `living_map_journal_files_total`, `living_map_journal_failures_total`, `living_map_journal_malformed_lines_total`.

mod entry;
mod files;
mod flush;
mod location;
mod recent;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};
use tokio::sync::Notify;

use crate::config::defaults;
use crate::config::value::{days, seconds};
use crate::tls::CaFile;

pub use entry::Entry;
pub use files::Compacted;
use files::JournalFiles;
pub use location::{InvalidLocation, StoreLocation};
use recent::RecentEntries;
pub use recent::{EntryQuery, JournalHealth};

/// Window of [`JournalConfig::max_per_minute`].
const MINUTE: Duration = Duration::from_mins(1);

/// Location, sizes and ages of the error journal.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Error journal")]
pub struct JournalConfig {
    /// Location of the error journal's files: a folder, `file:///…` or `s3://bucket/prefix` (with the usual `AWS_…`
    /// variables). Unset: the folder `living-map-journal` beside the `SQLite` file, or in the working directory with
    /// `PostgreSQL`.
    #[arg(id = "JOURNAL_URL", env, long = "journal-url", hide_env_values = true, value_hint = ValueHint::AnyPath)]
    pub url: Option<String>,
    /// File with certificate authorities (PEM) of the object store, beside those of the system. Read at the start.
    #[arg(id = "JOURNAL_CA_FILE", env, long = "journal-ca-file", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Entries in memory. The default is that of the service this one replaces.
    #[arg(skip = 2_000_usize)]
    pub capacity: usize,
    /// Days that the journal's files are kept.
    #[arg(id = "JOURNAL_RETENTION_DAYS", env, long = "journal-retention-days", default_value = "30",
        value_parser = days(1..=36_500))]
    pub max_age: Duration,
    /// Seconds after which entries are written at the latest; a failed write is repeated after the same time.
    #[arg(id = "JOURNAL_FLUSH_SECONDS", env, long = "journal-flush-seconds", default_value = "5", value_parser = seconds)]
    pub flush_interval: Duration,
    /// Entries that wait in memory for an unavailable store; further ones are not written.
    ///
    /// Beyond: entries stay in memory only, counted in `living_map_journal_dropped_total`.
    #[arg(id = "JOURNAL_MAX_PENDING", env, long = "journal-max-pending", default_value_t = 4_096,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_pending: usize,
    /// Entries written to files per minute; further ones stay in memory only, so that a flood of errors does not fill the
    /// store.
    ///
    /// Beyond: entries stay in memory only, counted in `living_map_journal_dropped_total`.
    #[arg(id = "JOURNAL_MAX_PER_MINUTE", env, long = "journal-max-per-minute", default_value_t = 600,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_per_minute: u32,
    /// A file is written as soon as this many entries wait. The default is that of the service this one replaces.
    #[arg(skip = 8_usize)]
    pub batch: usize,
    /// Longest time of one operation of the store.
    #[arg(skip = Duration::from_secs(10))]
    pub store_timeout: Duration,
    /// Interval of deleting files by age.
    #[arg(skip = Duration::from_hours(1))]
    pub expire_interval: Duration,
}

/// Setting of [`JournalConfig::ca_file`].
const CA_FILE: &str = "JOURNAL_CA_FILE";

impl JournalConfig {
    /// Authorities of the object store's certificate.
    #[must_use]
    pub fn authorities(&self) -> CaFile<'_> {
        CaFile::new(CA_FILE, self.ca_file.as_ref())
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        defaults()
    }
}

/// A failed operation of the object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error journal store: {0}")]
pub struct JournalError(String);

/// Status of the durable journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// Entries waiting to be written.
    pub pending: usize,
    /// Entries of this run that will not be written: too many were waiting, or were recorded in one minute.
    pub dropped: u64,
    /// When a file was last written.
    pub last_flush: Option<DateTime<Utc>>,
    /// The error of the store, if it is unavailable.
    pub error: Option<String>,
}

/// The error journal. Cheap to clone; clones share their state. The default journal is in memory only.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: JournalConfig,
    memory: Mutex<Memory>,
    files: Option<JournalFiles>,
    /// Notified when a full batch is pending.
    full: Notify,
    flushing: tokio::sync::Mutex<()>,
    compacting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    recent: RecentEntries,
    pending: VecDeque<Entry>,
    /// Start of the current minute, and the entries recorded in it.
    minute: (Instant, u32),
    status: JournalStatus,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new(JournalConfig::default(), None)
    }
}

impl Journal {
    /// A journal with files at `location`, or in memory only. Files are not accessed before [`Self::run`].
    #[must_use]
    pub fn new(config: JournalConfig, location: Option<StoreLocation>) -> Self {
        let files = location.map(|location| JournalFiles::new(location, config.store_timeout, config.max_age));
        let memory = Memory {
            recent: RecentEntries::new(config.capacity),
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

    /// Records that operation `op` of `target` on `key` failed. Does not wait and cannot fail. Long texts are
    /// truncated, and recognizable secrets removed.
    pub fn record(&self, op: &str, target: &str, key: &str, error: &dyn Display) {
        self.add(Entry::new(op, target, key, &error.to_string(), false));
    }

    /// Records a failed operation for which fallback data is served.
    pub fn record_rescued(&self, op: &str, target: &str, key: &str, error: &dyn Display) {
        self.add(Entry::new(op, target, key, &error.to_string(), true));
    }

    /// Records that fallback data of `target` is served from now on.
    pub fn record_rescue(&self, target: &str, key: &str, error: &dyn Display) {
        self.add(Entry::new(entry::RESCUE, target, key, &error.to_string(), true));
    }

    /// Marks the latest failed `op` of `target` as served from fallback data, in memory only; files are never
    /// rewritten. Returns false if there is none.
    pub fn mark_rescued(&self, op: &str, target: &str) -> bool {
        self.memory().recent.mark_rescued(op, target)
    }

    /// The newest matching entries, oldest first.
    #[must_use]
    pub fn filter(&self, query: &EntryQuery) -> Vec<Entry> {
        self.memory().recent.filter(query)
    }

    /// Failed operations of the last `minutes`, by target.
    #[must_use]
    pub fn health(&self, now: DateTime<Utc>, minutes: u32) -> JournalHealth {
        self.memory().recent.health(now, minutes)
    }

    /// The status of the durable journal.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        let memory = self.memory();
        JournalStatus { pending: memory.pending.len(), ..memory.status.clone() }
    }

    fn add(&self, entry: Entry) {
        metrics::counter!("living_map_journal_entries_total").increment(1);
        let mut memory = self.memory();
        memory.recent.push(entry.clone());
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
