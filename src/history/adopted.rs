//! Completing adopted rows: rows of the history that another service wrote. They have no position in a log, and the service
//! that this one replaces wrote many without the entity that they are about: events of microDAOs with the type of a DAO and
//! without an id, events of nodes and messages without an id.
//!
//! A background task gives such rows the entity that their payload names, in batches, each in one transaction with the
//! position it has reached. So it continues after an interruption, and a later start examines only newer rows.
//!
//! | metric | |
//! |---|---|
//! | `living_map_adopted_rows_total{outcome}` | examined rows: `completed`, `unchanged`, `rejected` by the database |
//! | `living_map_adopted_rows_failures_total` | batches that failed and are tried again |

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{HistoryError, PagePosition, Result};
use crate::journal::Journal;
use crate::model::envelope::{self, Message};
use crate::model::{Cursor, EntityType, Epoch};

/// Rows in one batch.
const BATCH: u32 = 500;

/// Pause between two batches, in which other writes have the database for themselves.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Time before the recorded position from which rows are examined again: the clocks of other services that wrote rows differ,
/// and a transaction may commit late.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

/// An adopted row.
#[derive(Debug, Clone)]
pub struct AdoptedRow {
    /// Its time and id.
    pub position: PagePosition,
    /// Subject.
    pub event_type: String,
    /// Payload, JSON; none if the row has an entity.
    pub payload: Option<Bytes>,
}

/// The entity of an adopted row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEntity {
    /// Id of the row.
    pub row: Uuid,
    /// Id of the entity, by the name that the producer used.
    pub entity_id: String,
    /// Type of the entity; none for something that is no entity of the map, which keeps the row's type.
    pub entity_type: Option<EntityType>,
}

/// The recorded progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptionProgress {
    /// The last row that was examined.
    pub position: PagePosition,
    /// Number of examined rows.
    pub examined: u64,
    /// Number of rows that were given an entity.
    pub completed: u64,
}

/// Store of adopted rows.
#[async_trait]
pub trait AdoptedRows: Send + Sync + 'static {
    /// True if tables of another service may have been adopted.
    fn may_exist(&self) -> bool;

    /// The recorded progress; none before the first batch.
    async fn progress(&self) -> Result<Option<AdoptionProgress>>;

    /// At most `limit` adopted rows after `after`, oldest first.
    async fn next(&self, after: PagePosition, limit: u32) -> Result<Vec<AdoptedRow>>;

    /// Sets the entities of rows that have none, and records the progress, in one transaction. Returns the number of rows that
    /// were changed. Rows with a position in a log are left unchanged.
    async fn complete(&self, entities: &[RowEntity], progress: &AdoptionProgress) -> Result<u64>;
}

/// Phase of the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdoptionPhase {
    /// Not begun in this process: no replica or another one leads.
    #[default]
    Waiting,
    /// Examining rows.
    Running,
    /// All rows were examined.
    Complete,
}

/// Status of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptionStatus {
    /// Phase.
    pub phase: AdoptionPhase,
    /// Number of rows examined, of all processes so far.
    pub examined: u64,
    /// Number of rows that were given an entity.
    pub completed: u64,
    /// Error of the last batch, which will be tried again.
    pub error: Option<String>,
}

/// Completes adopted rows, and waits for `stop` when all were examined. Two replicas that run it at the same time set the same values.
pub async fn complete(
    rows: Arc<dyn AdoptedRows>,
    status: watch::Sender<AdoptionStatus>,
    journal: Journal,
    stop: CancellationToken,
) {
    let mut completion = Completion { rows, status, after: None, progress: None };
    let work = async {
        loop {
            match completion.batch().await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                Ok(false) => return,
                Err(error) => {
                    counter!("living_map_adopted_rows_failures_total").increment(1);
                    journal.record("write", "database", "living_map_history", &error);
                    tracing::warn!(%error, "cannot complete rows of the replaced service; will retry");
                    completion.status.send_modify(|status| status.error = Some(error.to_string()));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    stop.run_until_cancelled(work).await;
    // the end of a task would be the end of the process
    stop.cancelled().await;
}

struct Completion {
    rows: Arc<dyn AdoptedRows>,
    status: watch::Sender<AdoptionStatus>,
    /// The last row examined by this run; none before the recorded progress is known.
    after: Option<PagePosition>,
    progress: Option<AdoptionProgress>,
}

impl Completion {
    /// Examines the next rows; false if there are none.
    async fn batch(&mut self) -> Result<bool> {
        let after = match self.after {
            Some(after) => after,
            None => self.begin().await?,
        };
        let rows = self.rows.next(after, BATCH).await?;
        let Some(last) = rows.last().map(|row| row.position) else {
            self.report(AdoptionPhase::Complete);
            return Ok(false);
        };
        let entities: Vec<RowEntity> = rows.iter().filter_map(entity_of).collect();
        // rows that are written later have a later time, which one of the future must not hide
        let reached = PagePosition { timestamp: last.timestamp.min(Utc::now()), ..last };
        let progress = self.progress_after(&rows, reached);
        let (changed, rejected) = match self.rows.complete(&entities, &progress).await {
            Err(HistoryError::Rejected(_)) => self.complete_singly(&entities, progress).await?,
            changed => (changed?, 0),
        };
        let unchanged = rows.len() as u64 - changed - rejected;
        for (outcome, rows) in [("completed", changed), ("unchanged", unchanged), ("rejected", rejected)] {
            counter!("living_map_adopted_rows_total", "outcome" => outcome).increment(rows);
        }
        let completed = progress.completed.saturating_add(changed);
        self.progress = Some(AdoptionProgress { completed, ..progress });
        self.after = Some(last);
        self.report(AdoptionPhase::Running);
        Ok(true)
    }

    /// Reads the recorded progress; returns the position to begin after.
    async fn begin(&mut self) -> Result<PagePosition> {
        let recorded = self.rows.progress().await?;
        self.progress = recorded;
        self.report(AdoptionPhase::Running);
        let reached = recorded.map(|recorded| recorded.position.timestamp);
        let from = reached.and_then(|reached| reached.checked_sub_signed(OVERLAP)).unwrap_or(BEGINNING);
        Ok(PagePosition { timestamp: from, id: Uuid::nil() })
    }

    /// The progress after `rows` without those that are completed. Rows that were examined before count once.
    fn progress_after(&self, rows: &[AdoptedRow], last: PagePosition) -> AdoptionProgress {
        let Some(known) = self.progress else {
            return AdoptionProgress { position: last, examined: rows.len() as u64, completed: 0 };
        };
        let order = |position: &PagePosition| (position.timestamp, position.id);
        let new = rows.iter().filter(|row| order(&row.position) > order(&known.position)).count() as u64;
        let position = if order(&last) > order(&known.position) { last } else { known.position };
        AdoptionProgress { position, examined: known.examined.saturating_add(new), completed: known.completed }
    }

    /// Completes rows one by one, where the database rejects one of them; returns the numbers of changed and rejected rows.
    async fn complete_singly(&self, entities: &[RowEntity], progress: AdoptionProgress) -> Result<(u64, u64)> {
        let (mut changed, mut rejected) = (0, 0);
        let start = PagePosition { timestamp: BEGINNING, id: Uuid::nil() };
        let before = self.progress.unwrap_or(AdoptionProgress { position: start, examined: 0, completed: 0 });
        for entity in entities {
            let so_far = AdoptionProgress { completed: before.completed.saturating_add(changed), ..before };
            match self.rows.complete(std::slice::from_ref(entity), &so_far).await {
                Ok(completed) => changed += completed,
                Err(error @ HistoryError::Rejected(_)) => {
                    rejected += 1;
                    tracing::warn!(row = %entity.row, entity_id = entity.entity_id, %error,
                        "the database rejected the entity of a row of the replaced service; the row stays without it");
                }
                Err(error) => return Err(error),
            }
        }
        let done = AdoptionProgress { completed: progress.completed.saturating_add(changed), ..progress };
        self.rows.complete(&[], &done).await?;
        Ok((changed, rejected))
    }

    fn report(&self, phase: AdoptionPhase) {
        let (examined, completed) = self.progress.map_or((0, 0), |known| (known.examined, known.completed));
        let changed = self.status.send_if_modified(|status| {
            let changed = status.phase != phase;
            *status = AdoptionStatus { phase, examined, completed, error: None };
            changed
        });
        if changed && phase == AdoptionPhase::Complete && examined > 0 {
            tracing::info!(examined, completed, "all rows of the replaced service have been examined");
        }
    }
}

/// Before every stored time: the year 1.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).unwrap();

/// The entity that a row's payload names; none if the row has one, or its payload names none.
fn entity_of(row: &AdoptedRow) -> Option<RowEntity> {
    let message = Message {
        subject: &row.event_type,
        headers: &[],
        body: row.payload.as_ref()?,
        cursor: Cursor { epoch: Epoch(0), seq: 0 },
        logged_at: row.position.timestamp,
    };
    let event = envelope::read(&message).event;
    Some(RowEntity { row: row.position.id, entity_id: event.entity_id?, entity_type: event.entity_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entity_is_that_of_the_event() {
        for (event_type, payload, entity) in [
            ("microdao.event.created", r#"{"microdao_id": "7"}"#, Some(("microdao:7", Some(EntityType::Microdao)))),
            ("node.metrics.update", r#"{"node_id": "node:03"}"#, Some(("node:03", Some(EntityType::Node)))),
            ("messaging.message.created", r#"{"message_id": "m1"}"#, Some(("m1", None))),
            (
                "agent.event.reply_sent",
                r#"{"event_id": "1", "agent_id": "a", "payload": {}}"#,
                Some(("agent:a", Some(EntityType::Agent))),
            ),
            ("living_map.initialized", r#"{"version": "1.0.0"}"#, None),
            ("", "not JSON", None),
        ] {
            let position = PagePosition { timestamp: BEGINNING, id: Uuid::nil() };
            let row = AdoptedRow { position, event_type: event_type.to_owned(), payload: Some(payload.into()) };
            let found = entity_of(&row).map(|found| (found.entity_id, found.entity_type));
            assert_eq!(found, entity.map(|(id, kind)| (id.to_owned(), kind)), "{event_type} {payload}");
        }
    }

    /// A store that rejects the row `nil`.
    struct Rejecting;

    #[async_trait]
    impl AdoptedRows for Rejecting {
        fn may_exist(&self) -> bool {
            true
        }

        async fn progress(&self) -> Result<Option<AdoptionProgress>> {
            Ok(None)
        }

        async fn next(&self, _: PagePosition, _: u32) -> Result<Vec<AdoptedRow>> {
            Ok(Vec::new())
        }

        async fn complete(&self, entities: &[RowEntity], _: &AdoptionProgress) -> Result<u64> {
            if entities.iter().any(|entity| entity.row.is_nil()) {
                return Err(HistoryError::Rejected(sqlx::Error::Protocol("too long".to_owned())));
            }
            Ok(entities.len() as u64)
        }
    }

    #[tokio::test]
    async fn a_rejected_row_was_counted_as_unchanged_too() {
        let entity = |row| RowEntity { row, entity_id: "agent:a".to_owned(), entity_type: None };
        let position = PagePosition { timestamp: BEGINNING, id: Uuid::nil() };
        let progress = AdoptionProgress { position, examined: 3, completed: 0 };
        let completion =
            Completion { rows: Arc::new(Rejecting), status: watch::Sender::default(), after: None, progress: None };
        let entities = [entity(Uuid::nil()), entity(Uuid::from_u128(1)), entity(Uuid::from_u128(2))];
        assert_eq!(completion.complete_singly(&entities, progress).await.unwrap(), (2, 1));
    }
}
