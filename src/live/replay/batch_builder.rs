//! A fold that groups its frames into batches.

use std::sync::Arc;

use crate::map::State;
use crate::model::{Cursor, LogEntry};
use crate::stream::{Frame, FrameBatch};

/// A batch ends at each multiple of this many positions, so that folds from different states produce the same batches, or
/// earlier at [`BATCH_BYTES`].
pub const BATCH_EVENTS: u64 = 1_024;

/// A batch ends when its frames have this many bytes.
const BATCH_BYTES: usize = 256 * 1024;

/// The reason why a fold cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldError {
    /// The entry at this position is missing.
    MissingEntry(u64),
    /// The frame of the entry at this position cannot be encoded.
    Encoding(u64),
}

/// Folds entries and groups their frames into batches.
pub struct BatchBuilder {
    state: Box<State>,
    /// Position of the newest folded entry.
    at: Cursor,
    /// Position before the first frame of the unfinished batch.
    after: Cursor,
    frames: Vec<Arc<Frame>>,
    bytes: usize,
}

impl BatchBuilder {
    /// Continues from `state`.
    pub fn new(state: State) -> Self {
        let at = state.cursor();
        Self { state: Box::new(state), at, after: at, frames: Vec::new(), bytes: 0 }
    }

    /// Position of the newest folded entry.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Folds entries up to position `to` and returns the finished batches, of which the last ends at `to`. Later entries are
    /// ignored.
    pub fn fold(&mut self, entries: &[LogEntry], to: u64) -> Result<Vec<Arc<FrameBatch>>, FoldError> {
        let mut finished = Vec::new();
        for entry in entries.iter().take_while(|entry| entry.cursor.seq <= to) {
            let next = self.at.seq + 1;
            if entry.cursor.seq != next {
                return Err(FoldError::MissingEntry(next));
            }
            let outcome = self.state.apply(entry);
            self.at = entry.cursor;
            if !outcome.duplicate {
                let frame = Frame::new(entry, &outcome).map_err(|_| FoldError::Encoding(next))?;
                self.bytes += frame.bytes();
                self.frames.push(Arc::new(frame));
            }
            if next.is_multiple_of(BATCH_EVENTS) || self.bytes >= BATCH_BYTES || next == to {
                finished.push(Arc::new(self.finish_batch()));
            }
        }
        Ok(finished)
    }

    fn finish_batch(&mut self) -> FrameBatch {
        let batch = FrameBatch { after: self.after, upto: self.at, frames: std::mem::take(&mut self.frames) };
        (self.after, self.bytes) = (self.at, 0);
        batch
    }
}
