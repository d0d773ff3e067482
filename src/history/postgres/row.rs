//! Rows as they come back. An adopted table may hold what we would never write; nothing in it may make a page fail.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::types::Json;
use sqlx::{Decode, Postgres, Row, Type, TypeInfo, ValueRef};

use crate::history::Record;
use crate::history::stored::{cursor_from_sql, entity_type, hand_on, normal_text, read_json};
use crate::model::{Event, LogEntry};

/// For [`record`], before filters.
pub const PAGE: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, epoch, seq
    FROM living_map_history WHERE true"#;

/// For [`entry`].
pub const LOG: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at, created_at FROM living_map_history
    WHERE epoch = $1 AND seq > $2 ORDER BY seq LIMIT $3"#;

pub fn record(row: &PgRow) -> sqlx::Result<Record> {
    let cursor = cursor_from_sql(row.try_get(7)?, row.try_get(8)?);
    let payload = row.try_get::<Option<JsonText<'_>>, _>(3)?.map_or(b"null".as_slice(), |json| json.0);
    Ok(Record {
        id: row.try_get(0)?,
        timestamp: row.try_get::<Micros, _>(1)?.0,
        event_type: row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
        // what has no place in a log was written by others
        payload: if cursor.is_some() { hand_on(payload) } else { normal_text(payload) },
        source_service: row.try_get(4)?,
        entity_id: row.try_get(5)?,
        entity_type: row.try_get(6)?,
        cursor,
    })
}

/// A row that has a place in a log.
pub fn entry(row: &PgRow) -> sqlx::Result<LogEntry> {
    let cursor = cursor_from_sql(row.try_get(11)?, row.try_get(12)?).ok_or(sqlx::Error::RowNotFound)?;
    let event = event(row)?;
    let at = |column| row.try_get::<Option<Micros>, usize>(column).map(|time| time.map(|time| time.0));
    let raw: Option<Vec<u8>> = row.try_get(10)?;
    let logged_at = at(13)?.or(at(14)?).unwrap_or(event.timestamp);
    Ok(LogEntry { cursor, logged_at, event, raw: raw.map(Into::into) })
}

fn event(row: &PgRow) -> sqlx::Result<Event> {
    let object = |json: JsonText<'_>| match read_json(json.0) {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Ok(Event {
        id: row.try_get(0)?,
        timestamp: row.try_get::<Micros, _>(1)?.0,
        event_type: row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
        payload: row.try_get::<Option<JsonText<'_>>, _>(3)?.map_or(Value::Null, |json| read_json(json.0)),
        source_service: row.try_get(4)?,
        entity_id: row.try_get(5)?,
        entity_type: entity_type(row.try_get(6)?),
        trace_id: row.try_get(7)?,
        idempotency_key: row.try_get(8)?,
        envelope: row.try_get::<Option<JsonText<'_>>, _>(9)?.map(object),
    })
}

/// A time of any `timestamptz`: sqlx's own decoding panics at `infinity`. Limited to the years 1 to 9999, as everywhere.
struct Micros(DateTime<Utc>);

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Micros {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        const UNIX_OF_2000: i64 = 946_684_800_000_000;
        const YEAR_1: i64 = -62_135_596_800_000_000;
        const YEAR_9999_END: i64 = 253_402_300_799_999_999;
        let since_2000 = <i64 as Decode<'r, Postgres>>::decode(value)?;
        let micros = since_2000.saturating_add(UNIX_OF_2000).clamp(YEAR_1, YEAR_9999_END);
        DateTime::from_timestamp_micros(micros).map(Self).ok_or_else(|| "a time out of range".into())
    }
}

/// Stored JSON, as its text.
struct JsonText<'r>(&'r [u8]);

impl Type<Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        <Json<Value> as Type<Postgres>>::type_info()
    }
    fn compatible(ty: &PgTypeInfo) -> bool {
        <Json<Value> as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for JsonText<'r> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let versioned = value.format() == PgValueFormat::Binary && value.type_info().name() == "JSONB";
        let bytes = value.as_bytes()?;
        Ok(Self(if versioned { bytes.get(1..).unwrap_or_default() } else { bytes }))
    }
}
