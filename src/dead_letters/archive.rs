//! Cold storage: letters that are old go into compressed files of the object store, and then out of the database.
//!
//! A file is written whole before its letters are deleted, and its name follows from what is in it: an archiving that was
//! broken off is done again and writes the same file. A letter that changed between its writing and its deletion stays, and
//! is in a later file as well; its `id` and `version` tell.

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
use crate::journal::Place;

/// Where in the store the files are.
const PREFIX: &str = "_dead_letters";

/// About as much time as it saves.
const LEVEL: i32 = 3;

/// Where letters are archived.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The store.
    pub place: Place,
    /// How long one operation of the store may take.
    pub timeout: Duration,
}

/// Why letters were not archived.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the store failed: {0}")]
    Store(#[from] object_store::Error),
    #[error("the store did not answer in time")]
    Timeout,
    #[error("the letters could not be compressed: {0}")]
    Compressed(#[from] std::io::Error),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

impl DeadLetterService {
    /// Archives old letters at once and then once in each interval, until `stop`.
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
                        tracing::warn!(%error, "dead letters cannot be archived; will try again");
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
            let store = archive.place.open()?;
            let written = store.put(&path, PutPayload::from(compressed));
            tokio::time::timeout(archive.timeout, written).await.map_err(|_| ArchiveError::Timeout)??;
            let ids: Vec<(Uuid, i64)> = letters.iter().map(|kept| (kept.letter.id, kept.letter.version)).collect();
            let removed = self.store().remove(&ids).await?;
            metrics::counter!("living_map_dead_letters_archived_total").increment(removed);
            archived += removed;
            if removed == 0 {
                // all of them were changed meanwhile: later
                return Ok(archived);
            }
        }
    }
}

/// By day, so that people find them, and by content.
fn path_of(first: DateTime<Utc>, letters: &[StoredDeadLetter]) -> Path {
    let versions = letters.iter().flat_map(|kept| {
        let (id, version) = (kept.letter.id.into_bytes(), kept.letter.version.to_be_bytes());
        id.into_iter().chain(version)
    });
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, &versions.collect::<Vec<u8>>());
    Path::from(format!("{PREFIX}/{}/{}-{}.jsonl.zst", first.format("%Y%m%d"), first.format("%H%M%S%6f"), name.simple()))
}

/// One line of JSON for each letter.
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
        // as text where it is some; any other bytes in a form that JSON has room for
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
