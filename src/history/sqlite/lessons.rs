//! The memory of lessons.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{Sqlite as Db, SqliteConnection, SqliteRow};
use sqlx::{Connection, Executor, QueryBuilder, Row};

use super::Sqlite;
use super::code::classify;
use crate::history::HistoryError;
use crate::history::lessons::{
    Announcement, CauseFilter, ChangeRequest, Changed, Found, Learned, LessonPage, LessonQuery, Lessons, Operation,
    Transaction, Used, apply, learn, of_lesson, outcome, read_json, write_json,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::{Cursor, Lesson, LessonStatus, NewLesson};

const RECORD: &str =
    "INSERT INTO agent_lessons (lesson_key, ts, agent_id, rule, content) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";

const PUT: &str = "
INSERT INTO agent_lesson_states (lesson_key, root_key, version, agent_id, rule, signature, status, ts, lesson)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (lesson_key) DO UPDATE SET status = excluded.status, lesson = excluded.lesson RETURNING id";

/// What a version is found by does not change.
const WORDS: &str = "
INSERT INTO agent_lesson_search (rowid, words)
SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM agent_lesson_search WHERE rowid = ?1)";

const TIP: &str = "
SELECT lesson FROM agent_lesson_states
WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = ?) ORDER BY version DESC LIMIT 1";

const VERSIONS: &str = "
SELECT lesson FROM agent_lesson_states
WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = ?)";

const NOTE: &str = "
INSERT INTO agent_lesson_operations (root_key, lesson_key, version, operation, actor, reason, at, operation_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (operation_key) DO NOTHING";

const OPERATIONS: &str = "
SELECT * FROM (
    SELECT id, operation, lesson_key, version, actor, reason, at FROM agent_lesson_operations
    WHERE root_key = ? ORDER BY id DESC LIMIT ?
) ORDER BY id";

const REJECTED: &str = "
SELECT EXISTS (
    SELECT 1 FROM agent_lesson_states AS state JOIN agent_lesson_operations AS done USING (lesson_key)
    WHERE state.status = 'rejected' AND state.rule = ? AND state.signature = ? AND state.agent_id IS ?
        AND done.operation = 'reject' AND done.actor = 'operator' AND done.at >= ?
)";

/// A lesson without a cause, or whose cause was rejected.
const UNEXPLAINED: &str = " AND (lesson ->> 'cause' IS NULL OR EXISTS (
    SELECT 1 FROM agent_lesson_states AS cause
    WHERE cause.lesson_key = state.lesson ->> 'cause' AND cause.status = 'rejected'))";

const POSITION: &str = "INSERT INTO agent_lesson_positions (reader, epoch, seq) VALUES (?, ?, ?)
ON CONFLICT (reader) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq";

/// A transaction's connection. `SQLite` has one writer, so nothing has to be locked.
struct Tx<'a>(&'a mut SqliteConnection);

#[async_trait]
impl Transaction for Tx<'_> {
    async fn record(&mut self, lesson: &Lesson) -> sqlx::Result<bool> {
        let query = sqlx::query(RECORD)
            .bind(&lesson.lesson_key)
            .bind(lesson.ts.timestamp_micros())
            .bind(&lesson.agent_id)
            .bind(&lesson.rule)
            .bind(write_json(lesson)?);
        Ok(self.0.execute(query).await?.rows_affected() > 0)
    }

    async fn version(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        let query = sqlx::query("SELECT lesson FROM agent_lesson_states WHERE lesson_key = ?").bind(key);
        self.0.fetch_optional(query).await?.map(|row| lesson(&row)).transpose()
    }

    async fn tip(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        self.0.fetch_optional(sqlx::query(TIP).bind(key)).await?.map(|row| lesson(&row)).transpose()
    }

    async fn put(&mut self, lesson: &Lesson) -> sqlx::Result<()> {
        let query = sqlx::query(PUT)
            .bind(&lesson.lesson_key)
            .bind(&lesson.root_key)
            .bind(lesson.version)
            .bind(&lesson.agent_id)
            .bind(&lesson.rule)
            .bind(&lesson.signature)
            .bind(lesson.status.as_str())
            .bind(lesson.ts.timestamp_micros())
            .bind(write_json(lesson)?);
        let id: i64 = self.0.fetch_one(query).await?.try_get(0)?;
        self.0.execute(sqlx::query(WORDS).bind(id).bind(of_lesson(lesson))).await.map(|_| ())
    }

    async fn note(&mut self, root_key: &str, operation: &Operation, key: Option<&str>) -> sqlx::Result<bool> {
        let query = sqlx::query(NOTE)
            .bind(root_key)
            .bind(&operation.lesson_key)
            .bind(operation.version)
            .bind(&operation.operation)
            .bind(&operation.actor)
            .bind(&operation.reason)
            .bind(operation.at.timestamp_micros())
            .bind(key);
        Ok(self.0.execute(query).await?.rows_affected() > 0)
    }

    async fn announce(&mut self, announcement: &Announcement) -> sqlx::Result<()> {
        let query = sqlx::query("INSERT INTO agent_lesson_outbox (body) VALUES (?)").bind(write_json(announcement)?);
        self.0.execute(query).await.map(|_| ())
    }
}

/// Runs something in a transaction of its own.
macro_rules! transaction {
    ($sqlite:expr, |$on:ident| $body:expr) => {{
        let mut connection = $sqlite.writer.acquire().await.map_err(classify)?;
        let work = async {
            // the lock for writing first: taken later, it could fail without waiting
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let outcome = {
                let $on = &mut Tx(&mut transaction);
                $body
            };
            transaction.commit().await?;
            sqlx::Result::Ok(outcome)
        };
        work.await.map_err(classify)
    }};
}

#[async_trait]
impl Lessons for Sqlite {
    async fn learn(&self, lessons: &[NewLesson], position: Option<(&str, Cursor)>) -> Result<Learned, HistoryError> {
        transaction!(self, |on| {
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
        let query = sqlx::query("SELECT epoch, seq FROM agent_lesson_positions WHERE reader = ?").bind(reader);
        let row = self.readers.fetch_optional(query).await.map_err(classify)?;
        let cursor = |row: SqliteRow| Ok(cursor_from_sql(row.try_get(0)?, row.try_get(1)?));
        row.map(cursor).transpose().map(Option::flatten).map_err(classify)
    }

    async fn change(&self, key: &str, request: &ChangeRequest) -> Result<Changed, HistoryError> {
        transaction!(self, |on| apply(on, key, request).await?)
    }

    async fn used(&self, used: &Used) -> Result<Option<Lesson>, HistoryError> {
        transaction!(self, |on| outcome(on, used).await?)
    }

    async fn versions(&self, key: &str) -> Result<Vec<Lesson>, HistoryError> {
        let rows = self.readers.fetch_all(sqlx::query(VERSIONS).bind(key)).await.map_err(classify)?;
        rows.iter().map(lesson).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn operations(&self, root_key: &str, limit: u32) -> Result<Vec<Operation>, HistoryError> {
        let query = sqlx::query(OPERATIONS).bind(root_key).bind(i64::from(limit));
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(operation).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn list(&self, query: &LessonQuery) -> Result<LessonPage, HistoryError> {
        let limit = query.limit.max(1);
        let mut sql = page(query, limit);
        let mut rows = self.readers.fetch_all(sql.build().persistent(false)).await.map_err(classify)?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let found = |row: &SqliteRow| Ok(Found { lesson: lesson(row)?, relevance: row.try_get(1)? });
        let items = rows.iter().map(found).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(LessonPage { items, has_more })
    }

    async fn unreviewed(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Lesson>, HistoryError> {
        let query = sqlx::query(
            "SELECT lesson FROM agent_lesson_states WHERE status = 'candidate' AND ts < ? ORDER BY ts LIMIT ?",
        );
        let query = query.bind(before.timestamp_micros()).bind(i64::from(limit));
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(lesson).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn was_rejected(&self, like: &Lesson, since: DateTime<Utc>) -> Result<bool, HistoryError> {
        let query = sqlx::query(REJECTED).bind(&like.rule).bind(&like.signature).bind(&like.agent_id);
        let row = self.readers.fetch_one(query.bind(since.timestamp_micros())).await.map_err(classify)?;
        row.try_get(0).map_err(classify)
    }

    async fn untold(&self, limit: u32) -> Result<Vec<(i64, Announcement)>, HistoryError> {
        let query = sqlx::query("SELECT id, body FROM agent_lesson_outbox ORDER BY id LIMIT ?").bind(i64::from(limit));
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        let untold = |row: &SqliteRow| Ok((row.try_get(0)?, read_json(row.try_get(1)?)?));
        rows.iter().map(untold).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn told(&self, numbers: &[i64]) -> Result<(), HistoryError> {
        transaction!(self, |on| {
            for number in numbers {
                on.0.execute(sqlx::query("DELETE FROM agent_lesson_outbox WHERE id = ?").bind(number)).await?;
            }
        })
    }
}

fn page(query: &LessonQuery, limit: u32) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT lesson, relevance FROM (SELECT lesson, ts, lesson_key, ");
    match &query.words {
        Some(words) => {
            // the better a row matches, the lower is its bm25
            sql.push("coalesce(-found.rank, 0.0) AS relevance FROM agent_lesson_states AS state ");
            sql.push(if query.unrelated { "LEFT JOIN" } else { "JOIN" });
            sql.push(" (SELECT rowid, rank FROM agent_lesson_search WHERE agent_lesson_search MATCH ");
            sql.push_bind(words.to_fts5()).push(") AS found ON found.rowid = state.id");
        }
        None => {
            sql.push("0.0 AS relevance FROM agent_lesson_states AS state");
        }
    }
    sql.push(" WHERE true");
    if !query.agents.is_empty() {
        sql.push(" AND (agent_id IN (");
        let mut list = sql.separated(", ");
        query.agents.iter().for_each(|agent| {
            list.push_bind(agent.clone());
        });
        sql.push(if query.with_shared { ") OR agent_id IS NULL)" } else { "))" });
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
        sql.push(" AND status IN (");
        let mut list = sql.separated(", ");
        query.statuses.iter().copied().map(LessonStatus::as_str).for_each(|status| {
            list.push_bind(status);
        });
        sql.push(")");
    }
    sql.push(")");
    if let Some(after) = &query.after {
        sql.push(" WHERE (relevance, ts, lesson_key) < (").push_bind(after.relevance).push(", ");
        sql.push_bind(after.ts.timestamp_micros()).push(", ").push_bind(after.lesson_key.clone()).push(")");
    }
    sql.push(" ORDER BY relevance DESC, ts DESC, lesson_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    sql
}

fn lesson(row: &SqliteRow) -> sqlx::Result<Lesson> {
    read_json(row.try_get(0)?)
}

fn operation(row: &SqliteRow) -> sqlx::Result<Operation> {
    Ok(Operation {
        operation: row.try_get(1)?,
        lesson_key: row.try_get(2)?,
        version: row.try_get(3)?,
        actor: row.try_get(4)?,
        reason: row.try_get(5)?,
        at: DateTime::from_timestamp_micros(row.try_get(6)?).unwrap_or_default(),
    })
}
