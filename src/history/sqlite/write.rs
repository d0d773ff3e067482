//! Writing: statements of a few fixed sizes, so that each is prepared once.

use sqlx::sqlite::{SqliteConnection, SqliteQueryResult};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::history::Written;
use crate::history::stored::{Row, epoch_to_sql, seq_to_sql};
use crate::model::{EntityType, LogEntry};

/// Rows in one statement, largest first; the last is 1.
const SIZES: [usize; 3] = [128, 16, 1];

const COLUMNS: &str = r#"id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at"#;

/// The statements for [`SIZES`], made once.
pub struct Inserts([String; SIZES.len()]);

impl Inserts {
    pub fn new() -> Self {
        const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let statement = |size| {
            let rows = vec![ROW; size].join(", ");
            format!("INSERT INTO living_map_history ({COLUMNS}) VALUES {rows} ON CONFLICT (id) DO NOTHING")
        };
        Self(SIZES.map(statement))
    }

    /// Writes all or nothing.
    pub async fn write(&self, connection: &mut SqliteConnection, entries: &[LogEntry]) -> sqlx::Result<Written> {
        // the lock for writing first: taken later, it could fail without waiting
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (mut inserted, mut rest) = (0, entries);
        for (size, statement) in SIZES.iter().zip(&self.0) {
            while let Some((rows, others)) = rest.split_at_checked(*size) {
                inserted += insert(&mut transaction, statement, rows).await?.rows_affected();
                rest = others;
            }
        }
        transaction.commit().await?;
        Ok(Written { inserted, duplicates: entries.len() as u64 - inserted })
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    statement: &str,
    entries: &[LogEntry],
) -> sqlx::Result<SqliteQueryResult> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for row in entries.iter().map(Row::new) {
        let (entry, event) = (row.entry, &row.entry.event);
        query = query
            .bind(event.id)
            .bind(event.timestamp.timestamp_micros())
            .bind(event.event_type.as_str())
            .bind(row.payload)
            .bind(event.source_service.as_deref())
            .bind(event.entity_id.as_deref())
            .bind(event.entity_type.map(EntityType::as_str))
            .bind(event.trace_id.as_deref())
            .bind(event.idempotency_key.as_deref())
            .bind(row.envelope)
            .bind(entry.raw.as_deref())
            .bind(epoch_to_sql(entry.cursor.epoch))
            .bind(seq_to_sql(entry.cursor.seq))
            .bind(entry.logged_at.timestamp_micros());
    }
    connection.execute(query).await
}
