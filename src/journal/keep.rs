//! Between memory and files.

use chrono::Utc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Compacted, Entry, Journal, JournalError};

/// Entries in one file at most, unless it is a joined one.
const MAX_IN_FILE: usize = 1_000;

impl Journal {
    /// Reads the newest entries of earlier runs, then writes what is recorded: as soon as a batch waits, and on a timer.
    /// Deletes files that are too old. Until `shutdown`; then writes what still waits.
    pub async fn keep(self, shutdown: CancellationToken) {
        if self.inner.files.is_none() {
            shutdown.cancelled().await;
            return;
        }
        shutdown.run_until_cancelled(self.work()).await;
        // a failure is in the log; there is nobody left to try again
        let _ = self.flush().await;
    }

    async fn work(&self) {
        let config = &self.inner.config;
        let mut ticks = tokio::time::interval(config.flush_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut hydrated, mut expire_at) = (false, Instant::now());
        loop {
            let store_works = self.status().error.is_none();
            tokio::select! {
                _ = ticks.tick() => {}
                // a store that fails is tried by the timer only, however much waits
                () = self.inner.full.notified(), if store_works => {}
            }
            hydrated = hydrated || self.hydrate().await.is_ok();
            let flushed = self.flush().await;
            if flushed.is_ok() && self.status().error.is_some() {
                // nothing waited that could have shown whether the store works again
                self.note(self.file_count().await.err().as_ref());
            }
            if flushed.is_ok() && Instant::now() >= expire_at {
                expire_at = Instant::now() + config.expire_interval;
                self.expire().await;
            }
        }
    }

    /// Takes the newest entries of the files into memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn hydrate(&self) -> Result<(), JournalError> {
        let Some(files) = &self.inner.files else { return Ok(()) };
        let read = files.newest(self.inner.config.capacity).await;
        self.note(read.as_ref().err());
        let entries = read?;
        tracing::debug!(entries = entries.len(), "the journal's newest entries are read");
        self.memory().ring.merge(entries);
        Ok(())
    }

    /// Writes all that waits; how many entries.
    ///
    /// # Errors
    /// The store does not take them; they go on waiting.
    pub async fn flush(&self) -> Result<usize, JournalError> {
        let Some(files) = &self.inner.files else { return Ok(0) };
        let _one_at_a_time = self.inner.flushing.lock().await;
        // what comes meanwhile is for the next time: a flood must not hold up who asked
        let mut remaining = self.memory().pending.len();
        let mut flushed = 0;
        while remaining > 0 {
            let batch: Vec<Entry> = self.memory().pending.iter().take(remaining.min(MAX_IN_FILE)).cloned().collect();
            let written = files.write(&batch).await;
            self.note(written.as_ref().err());
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

    /// Joins the files into one.
    ///
    /// # Errors
    /// The store fails; nothing is lost, and what was joined already is known by its id.
    pub async fn compact(&self) -> Result<Compacted, JournalError> {
        let Some(files) = &self.inner.files else { return Ok(Compacted::default()) };
        let _one_at_a_time = self.inner.compacting.lock().await;
        let compacted = files.compact().await;
        self.note(compacted.as_ref().err());
        compacted
    }

    /// How many files there are.
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
        self.note(expired.as_ref().err());
        if let Ok(files @ 1..) = expired {
            tracing::info!(files, "deleted files of the journal that were too old");
        }
    }

    /// Notes how the store does, and says so when that changes.
    fn note(&self, error: Option<&JournalError>) {
        let before = {
            let mut memory = self.memory();
            std::mem::replace(&mut memory.status.error, error.map(ToString::to_string))
        };
        match (before, error) {
            (before, Some(error)) => {
                metrics::counter!("living_map_journal_failures_total").increment(1);
                // pending only grows while the store is away
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                metrics::gauge!("living_map_journal_pending").set(self.memory().pending.len() as f64);
                if before.is_none() {
                    tracing::warn!(%error, "the journal's entries wait in memory; the server goes on");
                }
            }
            (Some(_), None) => tracing::info!("the journal's store works again"),
            (None, None) => {}
        }
    }
}
