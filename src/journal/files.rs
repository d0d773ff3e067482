//! The durable journal: JSON Lines files, each written once, merged by compaction, deleted by age.
//!
//! A file's name begins with the time of its newest entry, so that files sort by time and retention needs to open none.
//! Entries are deduplicated by id: one may be in two files after an interrupted compaction, or after a write that
//! succeeded although it was reported as failed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use super::{CA_FILE, Entry, JournalError, StoreLocation};
use crate::tls::{explained, with_causes};

/// Prefix of the files in the store.
pub const PREFIX: &str = "_errors/upstream_errors";

const NAME_TIME: &str = "%Y%m%dT%H%M%S%6f";

/// Maximum size of a file that is read, and of the files that one compaction merges, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The journal files in an object store.
#[derive(Debug, Clone)]
pub struct JournalFiles {
    location: StoreLocation,
    timeout: Duration,
    max_age: Duration,
}

/// Result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files merged into one.
    pub joined_files: usize,
    /// Files after the compaction.
    pub file_count: usize,
    /// Entries in the merged file.
    pub entries: usize,
}

#[derive(Debug, Clone)]
struct StoredFile {
    path: Path,
    size: u64,
}

impl JournalFiles {
    /// Files at `location`. `timeout` bounds each operation of the store; entries older than `max_age` expire.
    pub const fn new(location: StoreLocation, timeout: Duration, max_age: Duration) -> Self {
        Self { location, timeout, max_age }
    }

    /// Writes a batch to a new file.
    pub async fn write(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let Some(newest) = entries.iter().map(|entry| entry.ts).max() else { return Ok(()) };
        let path = Path::from(format!("{PREFIX}/{}-{}.jsonl", newest.format(NAME_TIME), Uuid::new_v4().simple()));
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry).map_err(|error| JournalError(error.to_string()))?;
            text.push(b'\n');
        }
        let payload = PutPayload::from(text);
        let store = self.open()?;
        self.within(store.put_opts(&path, payload, PutMode::Create.into())).await?;
        metrics::counter!("living_map_journal_files_total").increment(1);
        Ok(())
    }

    /// The newest entries, at least `wanted` of them if there are that many.
    pub async fn newest(&self, wanted: usize) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for file in self.list().await?.iter().rev() {
            if entries.len() >= wanted {
                break;
            }
            entries.extend(self.read(file).await?.unwrap_or_default());
        }
        Ok(deduplicate(entries))
    }

    /// Merges the oldest files, as many as fit, into one.
    ///
    /// The merged file is written before its parts are deleted, and only its parts are deleted: a concurrent flush or
    /// compaction loses nothing, and entries in two files are deduplicated by id.
    pub async fn compact(&self) -> Result<Compacted, JournalError> {
        let files = self.list().await?;
        let mut size = 0;
        let fitting = files.iter().take_while(|file| {
            size += file.size;
            size <= MAX_BYTES
        });
        let (mut parts, mut entries) = (Vec::new(), Vec::new());
        for file in fitting {
            if let Some(read) = self.read(file).await? {
                entries.extend(read);
                parts.push(file.path.clone());
            }
        }
        if parts.len() < 2 {
            return Ok(Compacted { file_count: files.len(), ..Compacted::default() });
        }
        let mut merged = deduplicate(entries);
        if let Some(before) = self.expired_before() {
            merged.retain(|entry| entry.ts >= before);
        }
        self.write(&merged).await?;
        let file_count = files.len() - parts.len() + usize::from(!merged.is_empty());
        let compacted = Compacted { joined_files: parts.len(), file_count, entries: merged.len() };
        self.delete(parts).await?;
        Ok(compacted)
    }

    /// Deletes files with expired entries only. Returns their number.
    pub async fn expire(&self) -> Result<usize, JournalError> {
        let Some(before) = self.expired_before() else { return Ok(0) };
        let files = self.list().await?;
        let old: Vec<Path> = files
            .into_iter()
            .map(|file| file.path)
            .filter(|path| time_of(path).is_some_and(|newest| newest < before))
            .collect();
        let number = old.len();
        self.delete(old).await?;
        Ok(number)
    }

    /// The number of files.
    pub async fn count(&self) -> Result<usize, JournalError> {
        Ok(self.list().await?.len())
    }

    /// All files, the oldest first.
    async fn list(&self) -> Result<Vec<StoredFile>, JournalError> {
        let prefix = Path::from(PREFIX);
        let store = self.open()?;
        let found: Vec<_> = self.within(store.list(Some(&prefix)).try_collect()).await?;
        let mut files: Vec<StoredFile> = found
            .into_iter()
            .filter(|meta| meta.location.extension() == Some("jsonl"))
            .map(|meta| StoredFile { path: meta.location, size: meta.size })
            .collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The entries of a file; `None` if the file was deleted or is too large.
    async fn read(&self, file: &StoredFile) -> Result<Option<Vec<Entry>>, JournalError> {
        if file.size > MAX_BYTES {
            tracing::warn!(file = %file.path, size_bytes = file.size, "journal file too large; ignoring it");
            return Ok(None);
        }
        let store = self.open()?;
        let read = async {
            match store.get(&file.path).await {
                Ok(found) => found.bytes().await.map(Some),
                // another compaction has merged it
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(bytes) = self.within(read).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let (mut entries, mut malformed) = (Vec::new(), 0_u64);
        for line in lines {
            match Entry::parse(line) {
                Some(entry) => entries.push(entry),
                None => malformed += 1,
            }
        }
        if malformed > 0 {
            metrics::counter!("living_map_journal_malformed_lines_total").increment(malformed);
            tracing::warn!(file = %file.path, malformed, "ignoring malformed lines of a journal file");
        }
        Ok(Some(entries))
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), JournalError> {
        let store = self.open()?;
        for path in paths {
            let delete = async {
                match store.delete(&path).await {
                    Err(Error::NotFound { .. }) => Ok(()),
                    deleted => deleted,
                }
            };
            self.within(delete).await?;
        }
        Ok(())
    }

    fn expired_before(&self) -> Option<DateTime<Utc>> {
        TimeDelta::from_std(self.max_age).ok().and_then(|age| Utc::now().checked_sub_signed(age))
    }

    fn open(&self) -> Result<Arc<dyn ObjectStore>, JournalError> {
        self.location.open().map_err(|error| JournalError(error.to_string()))
    }

    async fn within<T>(&self, operation: impl Future<Output = object_store::Result<T>>) -> Result<T, JournalError> {
        match tokio::time::timeout(self.timeout, operation).await {
            Ok(done) => done.map_err(|error| JournalError(explained(with_causes(&error), CA_FILE))),
            Err(_) => Err(JournalError(format!("timed out after {:?}", self.timeout))),
        }
    }
}

/// Sorts entries by time and removes duplicates.
fn deduplicate(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = HashSet::new();
    entries.retain(|entry| seen.insert(entry.id));
    entries.sort_by_key(|entry| entry.ts);
    entries
}

/// The time in a file's name.
fn time_of(path: &Path) -> Option<DateTime<Utc>> {
    let (time, _) = path.filename()?.split_once('-')?;
    Some(NaiveDateTime::parse_from_str(time, NAME_TIME).ok()?.and_utc())
}
