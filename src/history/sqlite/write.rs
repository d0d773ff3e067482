//! Inserting events: statements of a few fixed sizes, so that each is prepared once.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor};

use crate::history::stored::{InsertRow, epoch_to_sql, seq_to_sql};
use crate::model::{EntityType, LogEntry};

/// Rows in one statement, largest first; the last is 1.
const SIZES: [usize; 3] = [128, 16, 1];

const COLUMNS: &str = r#"id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at"#;

/// The statements for [`SIZES`].
static STATEMENTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|size| {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; size].join(", ");
        format!("INSERT INTO living_map_history ({COLUMNS}) VALUES {rows} ON CONFLICT (id) DO NOTHING")
    })
});

/// Inserts entries that are not there yet; the number of those.
pub async fn insert(transaction: &mut SqliteConnection, entries: &[LogEntry]) -> sqlx::Result<u64> {
    let (mut inserted, mut rest) = (0, entries);
    for (size, statement) in SIZES.iter().zip(&*STATEMENTS) {
        while let Some((entries, others)) = rest.split_at_checked(*size) {
            let mut query = sqlx::query(AssertSqlSafe(statement.as_str()));
            for row in entries.iter().map(InsertRow::new) {
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
            inserted += transaction.execute(query).await?.rows_affected();
            rest = others;
        }
    }
    Ok(inserted)
}
