//! The durable form: JSON-lines files, each written once, joined by compaction, deleted by age.
//!
//! A file's name begins with the time of its newest entry, so that names in order are files in order and retention needs
//! to open none. Entries have ids, and are known by them: one that is in two files (a compaction that was broken off,
//! a write that came through after all) is one entry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use super::{Entry, JournalError, Place};

/// Where in the store the files are.
pub const PREFIX: &str = "_errors/upstream_errors";

const NAME_TIME: &str = "%Y%m%dT%H%M%S%6f";

/// The largest file that is read, and the most that compaction joins at a time, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The files of one store.
#[derive(Debug, Clone)]
pub struct Files {
    pub place: Place,
    /// How long one operation of the store may take.
    pub timeout: Duration,
    /// Files whose entries are all older go, and older entries are not joined.
    pub max_age: Duration,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files that were joined into one.
    pub joined_files: usize,
    /// Files there are now.
    pub file_count: usize,
    /// Entries in the joined file.
    pub entries: usize,
}

#[derive(Debug, Clone)]
struct File {
    path: Path,
    size: u64,
}

impl Files {
    /// Writes a batch to a file of its own.
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

    /// The newest entries, at least `wanted` where there are so many.
    pub async fn newest(&self, wanted: usize) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for file in self.list().await?.iter().rev() {
            if entries.len() >= wanted {
                break;
            }
            entries.extend(self.read(file).await?.unwrap_or_default());
        }
        Ok(once_each(entries))
    }

    /// Joins the files into one, the oldest first and so many as have room in one.
    ///
    /// The joined file is written before its parts are deleted, and only files that are in it are: a flush or another
    /// compaction at the same time loses nothing, and what is then in two files is known by its id.
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
        let mut joined = once_each(entries);
        if let Some(before) = self.too_old() {
            joined.retain(|entry| entry.ts >= before);
        }
        self.write(&joined).await?;
        let file_count = files.len() - parts.len() + usize::from(!joined.is_empty());
        let compacted = Compacted { joined_files: parts.len(), file_count, entries: joined.len() };
        self.delete(parts).await?;
        Ok(compacted)
    }

    /// Deletes files whose entries are all too old; how many.
    pub async fn expire(&self) -> Result<usize, JournalError> {
        let Some(before) = self.too_old() else { return Ok(0) };
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

    /// How many files there are.
    pub async fn count(&self) -> Result<usize, JournalError> {
        Ok(self.list().await?.len())
    }

    /// The oldest first.
    async fn list(&self) -> Result<Vec<File>, JournalError> {
        let prefix = Path::from(PREFIX);
        let store = self.open()?;
        let found: Vec<_> = self.within(store.list(Some(&prefix)).try_collect()).await?;
        let mut files: Vec<File> = found
            .into_iter()
            .filter(|meta| meta.location.extension() == Some("jsonl"))
            .map(|meta| File { path: meta.location, size: meta.size })
            .collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The entries of a file; none when it is gone, or too large to be read.
    async fn read(&self, file: &File) -> Result<Option<Vec<Entry>>, JournalError> {
        if file.size > MAX_BYTES {
            tracing::warn!(file = %file.path, size_bytes = file.size, "a file of the journal is too large to be read");
            return Ok(None);
        }
        let store = self.open()?;
        let read = async {
            match store.get(&file.path).await {
                Ok(found) => found.bytes().await.map(Some),
                // another compaction has joined it
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(bytes) = self.within(read).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let (mut entries, mut malformed) = (Vec::new(), 0_u64);
        for line in lines {
            match Entry::read(line) {
                Some(entry) => entries.push(entry),
                None => malformed += 1,
            }
        }
        if malformed > 0 {
            metrics::counter!("living_map_journal_malformed_lines_total").increment(malformed);
            tracing::warn!(file = %file.path, malformed, "malformed lines of the journal are skipped");
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

    fn too_old(&self) -> Option<DateTime<Utc>> {
        TimeDelta::from_std(self.max_age).ok().and_then(|age| Utc::now().checked_sub_signed(age))
    }

    fn open(&self) -> Result<Arc<dyn ObjectStore>, JournalError> {
        self.place.open().map_err(|error| JournalError(error.to_string()))
    }

    async fn within<T>(&self, operation: impl Future<Output = object_store::Result<T>>) -> Result<T, JournalError> {
        match tokio::time::timeout(self.timeout, operation).await {
            Ok(done) => done.map_err(|error| JournalError(error.to_string())),
            Err(_) => Err(JournalError(format!("no answer in {:?}", self.timeout))),
        }
    }
}

/// In the order of their times, each once.
fn once_each(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = HashSet::new();
    entries.retain(|entry| seen.insert(entry.id));
    entries.sort_by_key(|entry| entry.ts);
    entries
}

/// The time that a file's name says.
fn time_of(path: &Path) -> Option<DateTime<Utc>> {
    let (time, _) = path.filename()?.split_once('-')?;
    Some(NaiveDateTime::parse_from_str(time, NAME_TIME).ok()?.and_utc())
}
