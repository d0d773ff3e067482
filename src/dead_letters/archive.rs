//! Archive: old dead letters are written to compressed files in the object store, then deleted from the database.
//!
//! A file is written completely before its dead letters are deleted, and its name follows from its content: an interrupted
//! run is repeated and writes the same file. A dead letter that changes between being written and being deleted stays in
//! the table and is written to a later file too; `id` and `version` tell the two apart.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{DeadLetterService, now};
use crate::history::HistoryError;
use crate::history::dead_letters::StoredDeadLetter;
use crate::journal::StoreLocation;

/// Folder of the files in the store.
const PREFIX: &str = "_dead_letters";

/// Compression level of zstd: its default, fast with a good ratio.
const LEVEL: i32 = 3;

/// Object store for archived dead letters.
#[derive(Debug, Clone)]
pub struct Archive {
    location: StoreLocation,
    timeout: Duration,
}

impl Archive {
    /// An archive in the store at `location`; one operation of the store may take `timeout`.
    #[must_use]
    pub const fn new(location: StoreLocation, timeout: Duration) -> Self {
        Self { location, timeout }
    }
}

/// Why dead letters were not archived.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
    #[error("the object store did not answer in time")]
    Timeout,
    #[error("the dead letters could not be compressed: {0}")]
    Compressed(#[from] std::io::Error),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

impl DeadLetterService {
    /// Archives old dead letters at once and then in each interval, until `stop`.
    pub async fn archive(self, archive: Archive, stop: CancellationToken) {
        let rounds = async {
            loop {
                let before = now() - self.inner.config.archive_after;
                match self.archive_before(&archive, before).await {
                    Ok(0) => {}
                    Ok(letters) => tracing::info!(letters, "archived dead letters"),
                    Err(error) => {
                        let step = "archive";
                        metrics::counter!("living_map_dead_letter_failures_total", "step" => step).increment(1);
                        self.inner.journal.record("write", "archive", PREFIX, &error);
                        tracing::warn!(%error, "dead letters cannot be archived; retrying");
                    }
                }
                tokio::time::sleep(self.inner.config.archive_interval).await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    async fn archive_before(&self, archive: &Archive, before: DateTime<Utc>) -> Result<u64, ArchiveError> {
        let mut archived = 0;
        loop {
            let letters = Arc::new(self.store().expired(before, self.inner.config.batch).await?);
            let Some(first) = letters.first() else { return Ok(archived) };
            let path = path_of(first.letter.first_failed_at, &letters);
            let compressed = {
                let letters = Arc::clone(&letters);
                tokio::task::spawn_blocking(move || zstd::bulk::compress(&lines(&letters), LEVEL)).await??
            };
            let store = archive.location.open()?;
            let written = store.put(&path, PutPayload::from(compressed));
            tokio::time::timeout(archive.timeout, written).await.map_err(|_| ArchiveError::Timeout)??;
            let ids: Vec<(Uuid, i64)> =
                letters.iter().map(|stored| (stored.letter.id, stored.letter.version)).collect();
            let deleted = self.store().delete(&ids).await?;
            metrics::counter!("living_map_dead_letters_archived_total").increment(deleted);
            archived += deleted;
            if deleted == 0 {
                // all of them were changed meanwhile: the next run archives them
                return Ok(archived);
            }
        }
    }
}

/// Folder by day, for people, and a name derived from the content.
fn path_of(first: DateTime<Utc>, letters: &[StoredDeadLetter]) -> Path {
    let versions = letters.iter().flat_map(|stored| {
        let (id, version) = (stored.letter.id.into_bytes(), stored.letter.version.to_be_bytes());
        id.into_iter().chain(version)
    });
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, &versions.collect::<Vec<u8>>());
    Path::from(format!("{PREFIX}/{}/{}-{}.jsonl.zst", first.format("%Y%m%d"), first.format("%H%M%S%6f"), name.simple()))
}

/// One line of JSON for each dead letter.
fn lines(letters: &[StoredDeadLetter]) -> Vec<u8> {
    let mut lines = Vec::new();
    for StoredDeadLetter { letter, body, raw } in letters {
        let origin = &letter.origin;
        let mut line = json!({
            "id": letter.id,
            "version": letter.version,
            "subject": letter.subject,
            "processor": letter.processor,
            "origin_stream": origin.stream,
            "origin_sequence": origin.seq,
            "origin_cursor": origin.cursor,
            "logged_at": origin.logged_at,
            "attempts": letter.attempts,
            "error": letter.error,
            "status": letter.status,
            "first_failed_at": letter.first_failed_at,
            "last_failed_at": letter.last_failed_at,
        });
        // as text if it is UTF-8, otherwise in base64
        match std::str::from_utf8(body) {
            Ok(text) => line["body"] = Value::from(text),
            Err(_) => line["body_base64"] = Value::from(BASE64_STANDARD.encode(body)),
        }
        if let Some(raw) = raw {
            line["raw_base64"] = Value::from(BASE64_STANDARD.encode(raw));
        }
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
    lines
}
