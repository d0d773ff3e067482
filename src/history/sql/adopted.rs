//! The store of adopted rows.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;

use super::events::time;
use super::values::{Args, Column, Timestamp};
use super::{Dialect, Session, SqlStore};
use crate::history::adopted::{AdoptedRow, AdoptedRows, AdoptionProgress, RowEntity};
use crate::history::stored::seq_to_sql;
use crate::history::{PagePosition, Result};
use crate::model::EntityType;

const PROGRESS: &str = r#"SELECT "timestamp", id, examined, completed FROM living_map_adopted_rows"#;

/// The payload only of rows that need it. Infinite times, which no client can read, are left out.
const NEXT: &str = r#"
SELECT "timestamp", id, event_type, CASE WHEN entity_id IS NULL THEN payload END FROM living_map_history
WHERE epoch IS NULL AND ("timestamp", id) > ($1, $2) AND "timestamp" <= $4 ORDER BY "timestamp", id LIMIT $3"#;

/// The end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

const COMPLETE: &str = "
UPDATE living_map_history SET entity_id = $2, entity_type = coalesce($3, entity_type)
WHERE id = $1 AND epoch IS NULL AND entity_id IS NULL";

/// A replica that is behind another one does not set the progress back.
const RECORD: &str = r#"
INSERT INTO living_map_adopted_rows AS known ("timestamp", id, examined, completed) VALUES ($1, $2, $3, $4)
ON CONFLICT (singleton) DO UPDATE SET "timestamp" = excluded."timestamp", id = excluded.id, examined = excluded.examined,
    completed = excluded.completed
WHERE (known."timestamp", known.id) <= (excluded."timestamp", excluded.id)"#;

#[async_trait]
impl<DB: Dialect> AdoptedRows for SqlStore<DB> {
    fn may_exist(&self) -> bool {
        DB::ADOPTS_TABLES
    }

    async fn progress(&self) -> Result<Option<AdoptionProgress>> {
        let read = |row: &DB::Row| {
            let (examined, completed): (i64, i64) = (row.read(2)?, row.read(3)?);
            Ok(AdoptionProgress {
                position: PagePosition { timestamp: time::<DB>(row, 0)?, id: row.read(1)? },
                examined: examined.unsigned_abs(),
                completed: completed.unsigned_abs(),
            })
        };
        self.fetch_optional(sqlx::query(PROGRESS), read).await
    }

    async fn next(&self, after: PagePosition, limit: u32) -> Result<Vec<AdoptedRow>> {
        let last = Timestamp(DateTime::from_timestamp(LAST_SECOND, 0).unwrap_or_default());
        let query = sqlx::query(NEXT).args((Timestamp(after.timestamp), after.id, i64::from(limit), last));
        let read = |row: &DB::Row| {
            Ok(AdoptedRow {
                position: PagePosition { timestamp: time::<DB>(row, 0)?, id: row.read(1)? },
                event_type: Column::<Option<String>>::read(row, 2)?.unwrap_or_default(),
                payload: DB::json(row, 3)?.map(Bytes::copy_from_slice),
            })
        };
        self.fetch_batch(query, read).await
    }

    async fn complete(&self, entities: &[RowEntity], progress: &AdoptionProgress) -> Result<u64> {
        let completing = async |session: &mut Session<DB>| {
            let mut changed = 0;
            for entity in entities {
                let kind = entity.entity_type.map(EntityType::as_str);
                let query = sqlx::query(COMPLETE).args((entity.row, entity.entity_id.as_str(), kind));
                changed += session.execute(query).await?;
            }
            let completed = progress.completed.saturating_add(changed);
            let AdoptionProgress { position, examined, .. } = *progress;
            let query = sqlx::query(RECORD)
                .args((Timestamp(position.timestamp), position.id))
                .args((seq_to_sql(examined), seq_to_sql(completed)));
            session.execute(query).await?;
            Ok(changed)
        };
        self.transaction(entities.len() + 1, completing).await
    }
}
