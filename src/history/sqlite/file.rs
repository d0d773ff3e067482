//! The database file: where it is, who may read it, who writes its log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

use crate::history::OpenError;

const EXPECTED: &str = "expected sqlite://<path of a file>, for example sqlite://living-map.db";

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

/// Makes the file if it is missing, for our eyes only: `SQLite` gives its other files the same mode.
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
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
