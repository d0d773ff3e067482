//! The memory of lessons.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow, Postgres as Db};
use sqlx::{Acquire, Executor, QueryBuilder, Row};
use tokio::time::timeout;

use super::Postgres;
use super::connect::{patience, settle};
use super::sqlstate::classify;
use crate::history::HistoryError;
use crate::history::lessons::{
    Announcement, CauseFilter, ChangeRequest, Changed, Found, Learned, LessonPage, LessonQuery, Lessons, Operation,
    Transaction, Used, apply, learn, of_lesson, outcome, read_json, write_json,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::{Cursor, Lesson, LessonStatus, NewLesson};

const RECORD: &str =
    "INSERT INTO agent_lessons (lesson_key, ts, agent_id, rule, content) VALUES ($1, $2, $3, $4, $5::jsonb)
ON CONFLICT (lesson_key) DO NOTHING";

const PUT: &str = "
INSERT INTO agent_lesson_states (lesson_key, root_key, version, agent_id, rule, signature, status, ts, lesson, search)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, to_tsvector('simple', $10))
ON CONFLICT (lesson_key) DO UPDATE SET status = excluded.status, lesson = excluded.lesson";

/// Versions of a lesson are changed by one at a time.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended(root_key, 0)) FROM agent_lesson_states WHERE lesson_key = $1";

const NOTE: &str = "
INSERT INTO agent_lesson_operations (root_key, lesson_key, version, operation, actor, reason, at, operation_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (operation_key) DO NOTHING";

const OPERATIONS: &str = "
SELECT * FROM (
    SELECT id, operation, lesson_key, version, actor, reason, at FROM agent_lesson_operations
    WHERE root_key = $1 ORDER BY id DESC LIMIT $2
) AS newest ORDER BY id";

const REJECTED: &str = "
SELECT EXISTS (
    SELECT FROM agent_lesson_states AS state JOIN agent_lesson_operations AS done USING (lesson_key)
    WHERE state.status = 'rejected' AND state.rule = $1 AND state.signature = $2 AND state.agent_id IS NOT DISTINCT FROM $3
        AND done.operation = 'reject' AND done.actor = 'operator' AND done.at >= $4
)";

/// A lesson without a cause, or whose cause was rejected.
const UNEXPLAINED: &str = " AND (lesson ->> 'cause' IS NULL OR EXISTS (
    SELECT FROM agent_lesson_states AS cause
    WHERE cause.lesson_key = state.lesson ->> 'cause' AND cause.status = 'rejected'))";

const POSITION: &str = "INSERT INTO agent_lesson_positions (reader, epoch, seq) VALUES ($1, $2, $3)
ON CONFLICT (reader) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq";

/// A transaction's connection.
struct Tx<'a>(&'a mut PgConnection);

impl Tx<'_> {
    async fn lock(&mut self, key: &str) -> sqlx::Result<()> {
        self.0.execute(sqlx::query(LOCK).bind(key)).await.map(|_| ())
    }
}

#[async_trait]
impl Transaction for Tx<'_> {
    async fn record(&mut self, lesson: &Lesson) -> sqlx::Result<bool> {
        let query = sqlx::query(RECORD)
            .bind(&lesson.lesson_key)
            .bind(lesson.ts)
            .bind(&lesson.agent_id)
            .bind(&lesson.rule)
            .bind(write_json(lesson)?);
        Ok(self.0.execute(query).await?.rows_affected() > 0)
    }

    async fn version(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        self.lock(key).await?;
        let query = sqlx::query("SELECT lesson::text FROM agent_lesson_states WHERE lesson_key = $1").bind(key);
        self.0.fetch_optional(query).await?.map(|row| lesson(&row)).transpose()
    }

    async fn tip(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        self.lock(key).await?;
        let query = sqlx::query(
            "SELECT lesson::text FROM agent_lesson_states
             WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = $1)
             ORDER BY version DESC LIMIT 1",
        );
        self.0.fetch_optional(query.bind(key)).await?.map(|row| lesson(&row)).transpose()
    }

    async fn put(&mut self, lesson: &Lesson) -> sqlx::Result<()> {
        let query = sqlx::query(PUT)
            .bind(&lesson.lesson_key)
            .bind(&lesson.root_key)
            .bind(lesson.version.cast_signed())
            .bind(&lesson.agent_id)
            .bind(&lesson.rule)
            .bind(&lesson.signature)
            .bind(lesson.status.as_str())
            .bind(lesson.ts)
            .bind(write_json(lesson)?)
            .bind(of_lesson(lesson));
        self.0.execute(query).await.map(|_| ())
    }

    async fn note(&mut self, root_key: &str, operation: &Operation, key: Option<&str>) -> sqlx::Result<bool> {
        let query = sqlx::query(NOTE)
            .bind(root_key)
            .bind(&operation.lesson_key)
            .bind(operation.version.cast_signed())
            .bind(&operation.operation)
            .bind(&operation.actor)
            .bind(&operation.reason)
            .bind(operation.at)
            .bind(key);
        Ok(self.0.execute(query).await?.rows_affected() > 0)
    }

    async fn announce(&mut self, announcement: &Announcement) -> sqlx::Result<()> {
        let query =
            sqlx::query("INSERT INTO agent_lesson_outbox (body) VALUES ($1::jsonb)").bind(write_json(announcement)?);
        self.0.execute(query).await.map(|_| ())
    }
}

/// Runs something in a transaction of its own, within its time.
macro_rules! transaction {
    ($postgres:expr, $statements:expr, |$on:ident| $body:expr) => {{
        let mut connection = $postgres.writers.acquire().await.map_err(classify)?;
        let work = async {
            let mut transaction = connection.begin().await?;
            let outcome = {
                let $on = &mut Tx(&mut transaction);
                $body
            };
            transaction.commit().await?;
            Ok(outcome)
        };
        let outcome = timeout(patience($postgres.config.write_timeout, $statements), work).await;
        settle(connection, outcome)
    }};
}

/// Reads within its time.
macro_rules! read {
    ($postgres:expr, $method:ident, $query:expr) => {{
        let mut connection = $postgres.readers.acquire().await.map_err(classify)?;
        let outcome = timeout(patience($postgres.config.read_timeout, 1), connection.$method($query)).await;
        settle(connection, outcome)
    }};
}

#[async_trait]
impl Lessons for Postgres {
    async fn learn(&self, lessons: &[NewLesson], position: Option<(&str, Cursor)>) -> Result<Learned, HistoryError> {
        transaction!(self, 1, |on| {
            let mut learned = Learned::default();
            for new in lessons {
                learn(on, new, &mut learned).await?;
            }
            if let Some((reader, cursor)) = position {
                let query = sqlx::query(POSITION).bind(reader).bind(epoch_to_sql(cursor.epoch));
                on.0.execute(query.bind(seq_to_sql(cursor.seq))).await?;
            }
            learned
        })
    }

    async fn position(&self, reader: &str) -> Result<Option<Cursor>, HistoryError> {
        let query = sqlx::query("SELECT epoch, seq FROM agent_lesson_positions WHERE reader = $1").bind(reader);
        let row = read!(self, fetch_optional, query)?;
        let cursor = |row: PgRow| Ok(cursor_from_sql(row.try_get(0)?, row.try_get(1)?));
        row.map(cursor).transpose().map(Option::flatten).map_err(classify)
    }

    async fn change(&self, key: &str, request: &ChangeRequest) -> Result<Changed, HistoryError> {
        transaction!(self, 1, |on| apply(on, key, request).await?)
    }

    async fn used(&self, used: &Used) -> Result<Option<Lesson>, HistoryError> {
        transaction!(self, 1, |on| outcome(on, used).await?)
    }

    async fn versions(&self, key: &str) -> Result<Vec<Lesson>, HistoryError> {
        let query = sqlx::query(
            "SELECT lesson::text FROM agent_lesson_states
             WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = $1)",
        );
        let rows = read!(self, fetch_all, query.bind(key))?;
        rows.iter().map(lesson).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn operations(&self, root_key: &str, limit: u32) -> Result<Vec<Operation>, HistoryError> {
        let rows = read!(self, fetch_all, sqlx::query(OPERATIONS).bind(root_key).bind(i64::from(limit)))?;
        rows.iter().map(operation).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn list(&self, query: &LessonQuery) -> Result<LessonPage, HistoryError> {
        let limit = query.limit.max(1);
        let mut sql = page(query, limit);
        let mut rows = read!(self, fetch_all, sql.build().persistent(false))?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let found = |row: &PgRow| Ok(Found { lesson: lesson(row)?, relevance: row.try_get(1)? });
        let items = rows.iter().map(found).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(LessonPage { items, has_more })
    }

    async fn unreviewed(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Lesson>, HistoryError> {
        let query = sqlx::query(
            "SELECT lesson::text FROM agent_lesson_states WHERE status = 'candidate' AND ts < $1 ORDER BY ts LIMIT $2",
        );
        let rows = read!(self, fetch_all, query.bind(before).bind(i64::from(limit)))?;
        rows.iter().map(lesson).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn was_rejected(&self, like: &Lesson, since: DateTime<Utc>) -> Result<bool, HistoryError> {
        let query = sqlx::query(REJECTED).bind(&like.rule).bind(&like.signature).bind(&like.agent_id).bind(since);
        read!(self, fetch_one, query)?.try_get(0).map_err(classify)
    }

    async fn untold(&self, limit: u32) -> Result<Vec<(i64, Announcement)>, HistoryError> {
        let query = sqlx::query("SELECT id, body::text FROM agent_lesson_outbox ORDER BY id LIMIT $1");
        let rows = read!(self, fetch_all, query.bind(i64::from(limit)))?;
        let untold = |row: &PgRow| Ok((row.try_get(0)?, read_json(row.try_get(1)?)?));
        rows.iter().map(untold).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn told(&self, numbers: &[i64]) -> Result<(), HistoryError> {
        transaction!(self, 1, |on| {
            let query = sqlx::query("DELETE FROM agent_lesson_outbox WHERE id = ANY($1)").bind(numbers);
            on.0.execute(query).await?;
        })
    }
}

fn page(query: &LessonQuery, limit: u32) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT lesson, relevance FROM (SELECT lesson::text AS lesson, ts, lesson_key, ");
    match &query.words {
        Some(words) => {
            sql.push("ts_rank(search, to_tsquery('simple', ").push_bind(words.to_tsquery()).push("))::float8");
        }
        None => {
            sql.push("0::float8");
        }
    }
    sql.push(" AS relevance FROM agent_lesson_states AS state WHERE true");
    if let Some(words) = query.words.as_ref().filter(|_| !query.unrelated) {
        sql.push(" AND search @@ to_tsquery('simple', ").push_bind(words.to_tsquery()).push(")");
    }
    if !query.agents.is_empty() {
        sql.push(" AND (agent_id = ANY(").push_bind(query.agents.clone()).push(")");
        sql.push(if query.with_shared { " OR agent_id IS NULL)" } else { ")" });
    }
    if let Some(rule) = &query.rule {
        sql.push(" AND rule = ").push_bind(rule.clone());
    }
    match &query.cause {
        Some(CauseFilter::None) => {
            sql.push(UNEXPLAINED);
        }
        Some(CauseFilter::Of(key)) => {
            sql.push(" AND lesson ->> 'cause' = ").push_bind(key.clone());
        }
        None => {}
    }
    if !query.statuses.is_empty() {
        let statuses: Vec<&str> = query.statuses.iter().copied().map(LessonStatus::as_str).collect();
        sql.push(" AND status = ANY(").push_bind(statuses).push(")");
    }
    sql.push(") AS found");
    if let Some(after) = &query.after {
        sql.push(" WHERE (relevance, ts, lesson_key) < (").push_bind(after.relevance).push(", ");
        sql.push_bind(after.ts).push(", ").push_bind(after.lesson_key.clone()).push(")");
    }
    sql.push(" ORDER BY relevance DESC, ts DESC, lesson_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    sql
}

fn lesson(row: &PgRow) -> sqlx::Result<Lesson> {
    read_json(row.try_get(0)?)
}

fn operation(row: &PgRow) -> sqlx::Result<Operation> {
    Ok(Operation {
        operation: row.try_get(1)?,
        lesson_key: row.try_get(2)?,
        version: row.try_get::<i32, _>(3)?.cast_unsigned(),
        actor: row.try_get(4)?,
        reason: row.try_get(5)?,
        at: row.try_get(6)?,
    })
}
