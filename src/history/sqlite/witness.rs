//! The witness of a table log: how far the log had come, noted beside the database and not in it.
//!
//! A database that is put back to an older copy would give out its last positions a second time, to other events, and
//! nothing in it can tell. So each commit is noted in the file that is locked beside it anyway. A database whose witness
//! is missing, is of another log or has been further is another copy than the one that was written last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::Cursor;

/// Long enough for any cursor; the same length each time, so that a note replaces the one before.
const LENGTH: usize = 40;

/// What was noted, in a file that is locked for us.
#[derive(Debug)]
pub struct Witness {
    file: File,
    /// It was said that nothing can be noted.
    troubled: AtomicBool,
}

impl Witness {
    pub fn new(file: File) -> Self {
        Self { file, troubled: AtomicBool::new(false) }
    }

    /// How far the log had come; none where nothing legible was noted.
    pub fn noted(&self) -> io::Result<Option<Cursor>> {
        let mut bytes = [0; LENGTH];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes that `cursor` is durable. It outlives the process; when the power fails, an older note may be left, which is
    /// as good: the witness must never be ahead of the database.
    pub fn note(&self, cursor: Cursor) {
        let text = format!("{:<width$}\n", cursor.to_string(), width = LENGTH - 1);
        match self.file.write_all_at(text.as_bytes(), 0) {
            Ok(()) => self.troubled.store(false, Ordering::Relaxed),
            Err(error) if !self.troubled.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "how far the log has come cannot be noted beside the database");
            }
            Err(_) => {}
        }
    }

    /// The same for the first note, which must not get lost: without one the log is taken for a copy.
    pub fn begin(&self, cursor: Cursor) -> io::Result<()> {
        self.note(cursor);
        self.file.sync_all()
    }
}
