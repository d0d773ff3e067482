//! Inserting rows of events.

use sqlx::Postgres;
use sqlx::postgres::PgBindIterExt;

use crate::history::sql::Session;
use crate::history::sql::values::SqlQuery;
use crate::history::stored::{InsertRow, epoch_to_sql, seq_to_sql};
use crate::model::EntityType;

/// One statement of arrays for many rows, which unlike `COPY` can skip existing rows. Rows are inserted in the order of their
/// ids, so that two replicas that write the same events wait for each other and do not deadlock, and the index of ids is
/// walked once.
const INSERT: &str = r#"
INSERT INTO living_map_history (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at, notes)
SELECT id, "timestamp", event_type, payload::jsonb, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope::jsonb, raw, epoch, seq, logged_at, notes::jsonb
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::bytea[], $12::bigint[], $13::bigint[], $14::timestamptz[], $15::text[])
    AS entry (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id, idempotency_key,
        envelope, raw, epoch, seq, logged_at, notes)
ORDER BY id
ON CONFLICT (id) DO NOTHING"#;

/// Inserts rows that are not there yet; returns their number.
pub async fn insert(session: &mut Session<Postgres>, rows: &[InsertRow<'_>]) -> sqlx::Result<u64> {
    session.execute(bind_rows(sqlx::query(INSERT), rows.iter())).await
}

/// Binds the columns of [`INSERT`], each as an array.
pub fn bind_rows<'q, 'r>(
    query: SqlQuery<'q, Postgres>,
    rows: impl Iterator<Item = &'r InsertRow<'r>> + Clone,
) -> SqlQuery<'q, Postgres> {
    let events = || rows.clone().map(|row| &row.entry.event);
    query
        .bind(events().map(|event| event.id).bind_iter())
        .bind(events().map(|event| event.timestamp).bind_iter())
        .bind(events().map(|event| event.event_type.as_str()).bind_iter())
        .bind(rows.clone().map(|row| row.payload.as_str()).bind_iter())
        .bind(rows.clone().map(|row| row.source.as_deref()).bind_iter())
        .bind(events().map(|event| event.entity_id.as_deref()).bind_iter())
        .bind(events().map(|event| event.entity_type.map(EntityType::as_str)).bind_iter())
        .bind(events().map(|event| event.trace_id.as_deref()).bind_iter())
        .bind(events().map(|event| event.idempotency_key.as_deref()).bind_iter())
        .bind(rows.clone().map(|row| row.envelope.as_deref()).bind_iter())
        .bind(rows.clone().map(|row| row.entry.raw.as_deref()).bind_iter())
        .bind(rows.clone().map(|row| epoch_to_sql(row.entry.cursor.epoch)).bind_iter())
        .bind(rows.clone().map(|row| seq_to_sql(row.entry.cursor.seq)).bind_iter())
        .bind(rows.clone().map(|row| row.entry.logged_at).bind_iter())
        .bind(rows.map(|row| row.notes.as_deref()).bind_iter())
}
