//! The database file, and the lock file beside it with the high-water mark of the table log.
//!
//! Paths are resolved once, when the database is opened; the lock file lies beside the database's own name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::{self, FromStr};
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;

use crate::history::OpenError;
use crate::model::Cursor;

const EXPECTED: &str = "expected sqlite://<path of a file>, for example sqlite://living-map.db";

/// Page about faults of the file.
const DOCUMENT: &str = "docs/operating.md#the-database-cannot-be-opened";

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

/// The database file by its own name, without symbolic links: whichever name a server is given, its lock lies beside this
/// one. Creates the file if it is missing, readable by its owner only: `SQLite` gives its other files the same mode.
///
/// An existing file is not opened here: closing it would release the locks that `SQLite` holds on it in this process.
///
/// # Errors
/// [`OpenError::File`]: what is wrong with the file or its folder, and what to do.
pub fn find(path: &Path) -> Result<PathBuf, OpenError> {
    let shown = path.display();
    let problem = |problem: &str| OpenError::File(format!("{shown}: {problem}, see {DOCUMENT}"));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(problem(&format!("the folder {} does not exist; create it, or change the URL", folder.display())));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(problem(&format!("cannot be created ({error}); make its folder writable for this user")));
        }
        _ => {}
    }
    let found = fs::canonicalize(path).and_then(|file| fs::metadata(&file).map(|metadata| (file, metadata)));
    match found {
        Err(error) => Err(problem(&format!("cannot be found ({error}); a symbolic link must lead to a file"))),
        Ok((_, metadata)) if !metadata.is_file() => Err(problem("is not a file; name a file in the URL")),
        Ok((_, metadata)) if metadata.nlink() > 1 => {
            let links = metadata.nlink();
            Err(problem(&format!(
                "the file has {links} hard links, by which two servers could write it at once; remove the others, or copy \
                 the file"
            )))
        }
        Ok((file, _)) => Ok(file),
    }
}

/// The exclusive right to write the table log, by a lock on a file beside the database. The system gives it back when the
/// process ends, however it ends. `None` if another process has it.
///
/// `given` is the name by which the database was opened. Older versions locked a file beside it: its mark is adopted if the
/// file beside the database has none, and it is removed.
pub fn lock(database: &Path, given: &Path) -> io::Result<Option<HighWaterMark>> {
    let path = lock_path(database);
    let Some(file) = lock_file(&path, true)? else { return Ok(None) };
    let mark = HighWaterMark::new(file);
    let older = lock_path(given);
    match fs::canonicalize(&older) {
        Ok(own) if own == fs::canonicalize(&path)? => return Ok(Some(mark)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(mark)),
        Err(error) => return Err(error),
    }
    let Some(file) = lock_file(&older, false)? else { return Ok(None) };
    if mark.read()?.is_none()
        && let Some(cursor) = HighWaterMark::new(file).read()?
    {
        mark.record_first(cursor)?;
        tracing::info!(%cursor, from = %older.display(), "adopted the lock file beside a symbolic link to the database");
    }
    // held until here: a server of an older version that has this name open would have been seen
    fs::remove_file(&older)?;
    Ok(Some(mark))
}

fn lock_path(database: &Path) -> PathBuf {
    database.with_added_extension("lock")
}

fn lock_file(path: &Path, create: bool) -> io::Result<Option<File>> {
    let problem = |error: io::Error| {
        let text =
            format!("{} cannot be locked ({error}); make it and its folder writable, see {DOCUMENT}", path.display());
        io::Error::new(error.kind(), text)
    };
    let opened = OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(problem)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(problem(error)),
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
