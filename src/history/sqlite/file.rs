//! The database file, and the lock file beside it with the high-water mark of the table log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::str::{self, FromStr};
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;

use crate::history::OpenError;
use crate::model::Cursor;

const EXPECTED: &str = "expected sqlite://<path of a file>, for example sqlite://living-map.db";

/// Length of a record in bytes: enough for any cursor, and always the same, so that a record replaces the one before.
const LENGTH: usize = 40;

/// Reads the URL.
pub fn options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(OpenError::Url(format!("{EXPECTED}: a database in memory would forget every event")));
    }
    let options =
        SqliteConnectOptions::from_str(url).map_err(|error| OpenError::Url(format!("{EXPECTED}: {error}")))?;
    if options.get_filename().as_os_str().is_empty() {
        return Err(OpenError::Url(EXPECTED.into()));
    }
    Ok(options)
}

/// Creates the file if it is missing, readable by its owner only: `SQLite` gives its other files the same mode.
pub fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// The exclusive right to write the table log, by a lock on a file beside the database. The system gives it back when the
/// process ends, however it ends.
pub fn lock(database: &Path) -> io::Result<Option<File>> {
    let path = database.with_added_extension("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The position that a table log has reached, in a file that this process has locked.
///
/// A database that is put back to an older copy would assign its last positions a second time, to other events, and nothing
/// in it can tell. So each commit is recorded in the lock file beside it. A database whose mark is missing, is of another
/// log or is ahead of the database is another copy than the one that was written last.
#[derive(Debug)]
pub struct HighWaterMark {
    file: File,
    /// The last write failed, and that was logged.
    failing: AtomicBool,
}

impl HighWaterMark {
    pub fn new(file: File) -> Self {
        Self { file, failing: AtomicBool::new(false) }
    }

    /// The recorded position; none where nothing legible is recorded.
    pub fn read(&self) -> io::Result<Option<Cursor>> {
        let mut bytes = [0; LENGTH];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records that `cursor` is durable. It outlives the process; when the power fails, an older mark may be left, which
    /// does no harm: the mark must never be ahead of the database.
    pub fn record(&self, cursor: Cursor) {
        let text = format!("{:<width$}\n", cursor.to_string(), width = LENGTH - 1);
        match self.file.write_all_at(text.as_bytes(), 0) {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "cannot record the high-water mark of the table log beside the database");
            }
            Err(_) => {}
        }
    }

    /// Records the first mark, which must not get lost: without one the database is taken for a copy.
    pub fn record_first(&self, cursor: Cursor) -> io::Result<()> {
        self.record(cursor);
        self.file.sync_all()
    }
}
