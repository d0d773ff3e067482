//! The task that moves entries from memory to files.

use chrono::Utc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Compacted, Entry, Journal, JournalError};

/// Maximum entries in a file that is not a compacted one.
const MAX_IN_FILE: usize = 1_000;

impl Journal {
    /// Reads the newest entries of earlier runs, then writes new ones, when a batch is full and on a timer, and deletes
    /// expired files. At `shutdown` writes the pending entries and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        if self.inner.files.is_none() {
            shutdown.cancelled().await;
            return;
        }
        shutdown.run_until_cancelled(self.run_forever()).await;
        // an error is already logged, and there is no time to retry
        let _ = self.flush().await;
    }

    async fn run_forever(&self) {
        let config = &self.inner.config;
        let mut ticks = tokio::time::interval(config.flush_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut loaded, mut expire_at) = (false, Instant::now());
        loop {
            let store_works = self.status().error.is_none();
            tokio::select! {
                _ = ticks.tick() => {}
                // an unavailable store is retried by the timer only
                () = self.inner.full.notified(), if store_works => {}
            }
            loaded = loaded || self.load().await.is_ok();
            let flushed = self.flush().await;
            if flushed.is_ok() && self.status().error.is_some() {
                // nothing was pending, so the flush did not access the store
                self.set_store_error(self.file_count().await.err().as_ref());
            }
            if flushed.is_ok() && Instant::now() >= expire_at {
                expire_at = Instant::now() + config.expire_interval;
                self.expire().await;
            }
        }
    }

    /// Loads the newest entries of the files into memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(&self) -> Result<(), JournalError> {
        let Some(files) = &self.inner.files else { return Ok(()) };
        let read = files.newest(self.inner.config.capacity).await;
        self.set_store_error(read.as_ref().err());
        let entries = read?;
        tracing::debug!(entries = entries.len(), "loaded the newest journal entries");
        self.memory().recent.merge(entries);
        Ok(())
    }

    /// Writes all pending entries. Returns their number.
    ///
    /// # Errors
    /// The store failed; the entries remain pending.
    pub async fn flush(&self) -> Result<usize, JournalError> {
        let Some(files) = &self.inner.files else { return Ok(0) };
        let _one_at_a_time = self.inner.flushing.lock().await;
        // entries recorded in the meantime are left for the next flush, so that it ends under a flood of errors
        let mut remaining = self.memory().pending.len();
        let mut flushed = 0;
        while remaining > 0 {
            let batch: Vec<Entry> = self.memory().pending.iter().take(remaining.min(MAX_IN_FILE)).cloned().collect();
            let written = files.write(&batch).await;
            self.set_store_error(written.as_ref().err());
            written?;
            let mut memory = self.memory();
            memory.pending.drain(..batch.len());
            memory.status.last_flush = Some(Utc::now());
            remaining -= batch.len();
            flushed += batch.len();
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("living_map_journal_pending").set(self.memory().pending.len() as f64);
        Ok(flushed)
    }

    /// Merges the files into one.
    ///
    /// # Errors
    /// The store failed. No entry is lost, and entries in two files are deduplicated by id.
    pub async fn compact(&self) -> Result<Compacted, JournalError> {
        let Some(files) = &self.inner.files else { return Ok(Compacted::default()) };
        let _one_at_a_time = self.inner.compacting.lock().await;
        let compacted = files.compact().await;
        self.set_store_error(compacted.as_ref().err());
        compacted
    }

    /// The number of files.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn file_count(&self) -> Result<usize, JournalError> {
        match &self.inner.files {
            Some(files) => files.count().await,
            None => Ok(0),
        }
    }

    async fn expire(&self) {
        let Some(files) = &self.inner.files else { return };
        let expired = files.expire().await;
        self.set_store_error(expired.as_ref().err());
        if let Ok(files @ 1..) = expired {
            tracing::info!(files, "deleted expired journal files");
        }
    }

    /// Sets or clears the error of the store, and logs a change.
    fn set_store_error(&self, error: Option<&JournalError>) {
        let previous = {
            let mut memory = self.memory();
            std::mem::replace(&mut memory.status.error, error.map(ToString::to_string))
        };
        match (previous, error) {
            (previous, Some(error)) => {
                metrics::counter!("living_map_journal_failures_total").increment(1);
                // entries accumulate while the store is unavailable
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                metrics::gauge!("living_map_journal_pending").set(self.memory().pending.len() as f64);
                if previous.is_none() {
                    tracing::warn!(%error, "error journal store unavailable; entries wait in memory");
                }
            }
            (Some(_), None) => tracing::info!("error journal store available again"),
            (None, None) => {}
        }
    }
}
