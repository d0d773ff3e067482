//! Writing events of which another service may have written rows while no server of ours ran.
//!
//! A row without a position in a log that has the same subject and payload as an event, and is at most [`PAIRING_WINDOW`] from
//! it, is the event's row: it gets the event's position, id and all other columns instead of a second row. The other service
//! does not read envelopes, so its payload may be the whole envelope. Each row is paired once, in the order of time: two
//! events with equal content stay two rows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgBindIterExt;
use sqlx::{Postgres, Row};
use uuid::Uuid;

use super::PostgresStore;
use super::insert::{bind_rows, insert};
use crate::history::sql::Session;
use crate::history::sql::values::Timestamp;
use crate::history::stored::{InsertRow, statements};
use crate::history::{InsertCounts, PAIRING_WINDOW, Result};
use crate::model::LogEntry;

/// Two writers must not choose the same row: the second one waits, and sees the rows of the first one.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('living_map_history: pairing', 0))";

const STORED: &str = "SELECT id FROM living_map_history WHERE id = ANY($1)";

/// Rows that may be paired with each of the wanted contents, oldest first.
const CANDIDATES: &str = r#"
WITH wanted AS MATERIALIZED (
    SELECT number, event_type, payload::jsonb AS payload, since, until
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
        AS wanted (number, event_type, payload, since, until)
)
SELECT wanted.number, history."timestamp", history.id
FROM wanted JOIN living_map_history AS history ON history.event_type = wanted.event_type
    AND history."timestamp" BETWEEN wanted.since AND wanted.until
WHERE history.epoch IS NULL
    AND wanted.payload IN (history.payload, history.payload -> 'payload', history.payload -> 'data')
ORDER BY history."timestamp", history.id"#;

const UPDATE: &str = r#"
UPDATE living_map_history AS history SET id = entry.id, "timestamp" = entry."timestamp", payload = entry.payload::jsonb,
    source_service = entry.source_service, entity_id = entry.entity_id, entity_type = entry.entity_type,
    trace_id = entry.trace_id, idempotency_key = entry.idempotency_key, envelope = entry.envelope::jsonb, raw = entry.raw,
    epoch = entry.epoch, seq = entry.seq, logged_at = entry.logged_at, notes = entry.notes::jsonb
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::bytea[], $12::bigint[], $13::bigint[], $14::timestamptz[], $15::text[], $16::uuid[])
    AS entry (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id, idempotency_key,
        envelope, raw, epoch, seq, logged_at, notes, adopted)
WHERE history.id = entry.adopted AND history.epoch IS NULL"#;

/// Statements for each part of a batch.
const STATEMENTS: usize = 4;

/// Writes entries, and pairs them with rows of another service.
pub async fn write(store: &PostgresStore, entries: &[LogEntry]) -> Result<InsertCounts> {
    let rows: Vec<InsertRow<'_>> =
        entries.iter().map(|entry| InsertRow::new(entry, store.config.compatibility)).collect();
    let ranges = statements(&rows, store.config.statement_rows.max(1), store.config.statement_bytes);
    let writing = async |session: &mut Session<Postgres>| {
        session.execute(sqlx::query(LOCK)).await?;
        let (mut paired, mut inserted) = (0, 0);
        for range in &ranges {
            let rows = &rows[range.clone()];
            paired += pair(session, rows).await?;
            // those that were paired are stored by now
            inserted += insert(session, rows).await?;
        }
        Ok(InsertCounts { inserted: inserted + paired, duplicates: rows.len() as u64 - inserted - paired, paired })
    };
    store.transaction(1 + ranges.len() * STATEMENTS, writing).await
}

/// Replaces rows of another service by those of `rows` that are not stored yet; returns the number of replaced rows.
async fn pair(session: &mut Session<Postgres>, rows: &[InsertRow<'_>]) -> sqlx::Result<u64> {
    let query = sqlx::query(STORED).bind(rows.iter().map(|row| row.entry.event.id).bind_iter());
    let stored = session.fetch_all(query).await?;
    let mut known: HashSet<Uuid> = stored.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
    let mut new: Vec<&InsertRow<'_>> = rows.iter().filter(|row| known.insert(row.entry.event.id)).collect();
    new.sort_by_key(|row| (row.entry.logged_at, row.entry.cursor));
    let wanted = Wanted::of(&new);
    let mut candidates = wanted.candidates(session).await?;
    let mut taken = HashSet::new();
    let pairs: Vec<(&InsertRow<'_>, Uuid)> = new
        .iter()
        .zip(&wanted.of_row)
        .filter_map(|(row, content)| {
            let candidates = candidates.get_mut(content)?;
            Some((*row, take(candidates, &window(row.entry.logged_at), &mut taken)?))
        })
        .collect();
    if pairs.is_empty() {
        return Ok(0);
    }
    let query = bind_rows(sqlx::query(UPDATE), pairs.iter().map(|(row, _)| *row));
    session.execute(query.bind(pairs.iter().map(|(_, adopted)| *adopted).bind_iter())).await
}

/// The contents of entries, with the time in which their rows can be. Equal contents far apart count as different ones.
struct Wanted<'a> {
    contents: Vec<Content<'a>>,
    /// The content of each row.
    of_row: Vec<usize>,
}

struct Content<'a> {
    event_type: &'a str,
    payload: &'a str,
    window: RangeInclusive<DateTime<Utc>>,
}

/// Rows of another service by time, oldest first.
type Candidates = VecDeque<(DateTime<Utc>, Uuid)>;

impl<'a> Wanted<'a> {
    /// The contents of `rows`, which are ordered by the log's time.
    fn of(rows: &[&'a InsertRow<'_>]) -> Self {
        let mut latest: HashMap<(&str, &str), usize> = HashMap::new();
        let (mut contents, mut of_row): (Vec<Content<'a>>, Vec<usize>) = (Vec::new(), Vec::new());
        for row in rows {
            let (event_type, payload) = (row.entry.event.event_type.as_str(), row.payload.as_str());
            let window = window(row.entry.logged_at);
            let known = latest.get(&(event_type, payload)).copied();
            let known = known.filter(|at| contents.get(*at).is_some_and(|known| window.start() <= known.window.end()));
            let at = known.unwrap_or(contents.len());
            match contents.get_mut(at) {
                Some(known) => known.window = *known.window.start()..=*window.end(),
                None => contents.push(Content { event_type, payload, window }),
            }
            latest.insert((event_type, payload), at);
            of_row.push(at);
        }
        Self { contents, of_row }
    }

    /// The rows that each content may be paired with.
    async fn candidates(&self, session: &mut Session<Postgres>) -> sqlx::Result<HashMap<usize, Candidates>> {
        let contents = || self.contents.iter();
        let query = sqlx::query(CANDIDATES)
            .bind((0_i64..).take(self.contents.len()).bind_iter())
            .bind(contents().map(|content| content.event_type).bind_iter())
            .bind(contents().map(|content| content.payload).bind_iter())
            .bind(contents().map(|content| *content.window.start()).bind_iter())
            .bind(contents().map(|content| *content.window.end()).bind_iter());
        let mut candidates: HashMap<usize, Candidates> = HashMap::new();
        for row in session.fetch_all(query).await? {
            let (number, Timestamp(time), id): (i64, Timestamp, Uuid) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            candidates.entry(number).or_default().push_back((time, id));
        }
        Ok(candidates)
    }
}

fn window(at: DateTime<Utc>) -> RangeInclusive<DateTime<Utc>> {
    let before = at.checked_sub_signed(PAIRING_WINDOW).unwrap_or(at);
    before..=at.checked_add_signed(PAIRING_WINDOW).unwrap_or(at)
}

/// Takes the oldest candidate in `window`. Earlier ones are dropped: the windows of later entries begin later.
fn take(
    candidates: &mut Candidates,
    window: &RangeInclusive<DateTime<Utc>>,
    taken: &mut HashSet<Uuid>,
) -> Option<Uuid> {
    while let Some((time, id)) = candidates.front().copied() {
        if time > *window.end() {
            return None;
        }
        candidates.pop_front();
        // equal JSON may be written in two ways, so a row may be a candidate of two contents
        if time >= *window.start() && taken.insert(id) {
            return Some(id);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn rows_are_taken_in_the_order_of_time_and_once() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let id = Uuid::from_u128;
        let mut candidates = Candidates::from([(at(0), id(1)), (at(8), id(2)), (at(9), id(3)), (at(30), id(4))]);
        let mut taken = HashSet::from([id(3)]);
        let mut next = |seconds| take(&mut candidates, &window(at(seconds)), &mut taken);
        assert_eq!(next(10), Some(id(2)), "the first one is too old");
        assert_eq!(next(11), None, "the third one belongs to another event");
        assert_eq!((next(24), next(25), next(26)), (None, Some(id(4)), None));
    }
}
