//! Inserting events: one statement of arrays for many rows, which unlike `COPY` can skip existing rows. Rows are inserted
//! in the order of their ids, so that two replicas that write the same events wait for each other and do not deadlock, and
//! the index of ids is walked once.

use sqlx::postgres::{PgBindIterExt, PgConnection};
use sqlx::{Acquire, Executor};

use super::PostgresStore;
use crate::history::stored::{InsertRow, epoch_to_sql, seq_to_sql, statements};
use crate::history::{InsertCounts, Result};
use crate::model::{EntityType, LogEntry};

const INSERT: &str = r#"
INSERT INTO living_map_history (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at)
SELECT id, "timestamp", event_type, payload::jsonb, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope::jsonb, raw, epoch, seq, logged_at
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::bytea[], $12::bigint[], $13::bigint[], $14::timestamptz[])
    AS entry (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id, idempotency_key,
        envelope, raw, epoch, seq, logged_at)
ORDER BY id
ON CONFLICT (id) DO NOTHING"#;

/// Writes all or nothing.
pub async fn write(store: &PostgresStore, entries: &[LogEntry]) -> Result<InsertCounts> {
    let rows: Vec<InsertRow<'_>> = entries.iter().map(InsertRow::new).collect();
    let ranges = statements(&rows, store.config.statement_rows.max(1), store.config.statement_bytes);
    let inserting = async |connection: &mut PgConnection| {
        // a statement is a transaction: no round trips to begin and to commit one
        if let [only] = &ranges[..] {
            return insert(connection, &rows[only.clone()]).await;
        }
        let mut transaction = connection.begin().await?;
        let mut inserted = 0;
        for range in &ranges {
            inserted += insert(&mut transaction, &rows[range.clone()]).await?;
        }
        transaction.commit().await?;
        Ok(inserted)
    };
    let inserted = store.write_with(ranges.len(), inserting).await?;
    Ok(InsertCounts { inserted, duplicates: rows.len() as u64 - inserted })
}

async fn insert(connection: &mut PgConnection, rows: &[InsertRow<'_>]) -> sqlx::Result<u64> {
    let events = || rows.iter().map(|row| &row.entry.event);
    let query = sqlx::query(INSERT)
        .bind(events().map(|event| event.id).bind_iter())
        .bind(events().map(|event| event.timestamp).bind_iter())
        .bind(events().map(|event| event.event_type.as_str()).bind_iter())
        .bind(rows.iter().map(|row| row.payload.as_str()).bind_iter())
        .bind(events().map(|event| event.source_service.as_deref()).bind_iter())
        .bind(events().map(|event| event.entity_id.as_deref()).bind_iter())
        .bind(events().map(|event| event.entity_type.map(EntityType::as_str)).bind_iter())
        .bind(events().map(|event| event.trace_id.as_deref()).bind_iter())
        .bind(events().map(|event| event.idempotency_key.as_deref()).bind_iter())
        .bind(rows.iter().map(|row| row.envelope.as_deref()).bind_iter())
        .bind(rows.iter().map(|row| row.entry.raw.as_deref()).bind_iter())
        .bind(rows.iter().map(|row| epoch_to_sql(row.entry.cursor.epoch)).bind_iter())
        .bind(rows.iter().map(|row| seq_to_sql(row.entry.cursor.seq)).bind_iter())
        .bind(rows.iter().map(|row| row.entry.logged_at).bind_iter());
    Ok(connection.execute(query).await?.rows_affected())
}
