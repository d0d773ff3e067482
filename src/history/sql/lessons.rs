//! The lesson store.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::events::time;
use super::values::{Arg, Args, Column, SqlQuery, Timestamp, push_any_if, push_if, push_offset};
use super::{Dialect, Session, SqlStore};
use crate::history::lessons::{
    Announcement, CauseFilter, ChangeOutcome, ChangeRequest, LessonMatch, LessonQuery, Lessons, Operation,
    OutcomeReport, Transaction, UpsertCounts, VersionQuery, apply, of_lesson, record_outcome, upsert,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::{Page, Result};
use crate::model::{Cursor, Lesson, LessonStatus, NewLesson};

const INSERT: &str = "
INSERT INTO agent_lessons (lesson_key, ts, agent_id, rule, content) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (lesson_key) DO NOTHING";

const VERSION: &str = "SELECT lesson FROM agent_lesson_states WHERE lesson_key = $1";

const VERSIONS: &str = "
SELECT lesson FROM agent_lesson_states
WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = $1) AND version > $2
ORDER BY version LIMIT $3 OFFSET $4";

const LATEST: &str = "
SELECT lesson FROM agent_lesson_states
WHERE root_key = (SELECT root_key FROM agent_lesson_states WHERE lesson_key = $1) ORDER BY version DESC LIMIT 1";

const INSERT_OPERATION: &str = "
INSERT INTO agent_lesson_operations (root_key, lesson_key, version, operation, actor, reason, at, operation_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (operation_key) DO NOTHING";

const OPERATIONS: &str = "
SELECT * FROM (
    SELECT id, operation, lesson_key, version, actor, reason, at FROM agent_lesson_operations
    WHERE root_key = $1 ORDER BY id DESC LIMIT $2
) AS newest ORDER BY id";

const REJECTED: &str = "
SELECT EXISTS (
    SELECT 1 FROM agent_lesson_states AS state JOIN agent_lesson_operations AS done USING (lesson_key)
    WHERE state.status = 'rejected' AND state.rule = $1 AND state.signature = $2 AND state.agent_id IS NOT DISTINCT FROM $3
        AND done.operation = 'reject' AND done.actor = 'operator' AND done.at >= $4
)";

const UNREVIEWED: &str =
    "SELECT lesson FROM agent_lesson_states WHERE status = 'candidate' AND ts < $1 ORDER BY ts LIMIT $2";

/// The condition that a lesson has no cause, or a rejected one.
const WITHOUT_CAUSE: &str = " AND (lesson ->> 'cause' IS NULL OR EXISTS (
    SELECT 1 FROM agent_lesson_states AS cause
    WHERE cause.lesson_key = state.lesson ->> 'cause' AND cause.status = 'rejected'))";

const UPSERT_POSITION: &str = "
INSERT INTO agent_lesson_positions (reader, epoch, seq) VALUES ($1, $2, $3)
ON CONFLICT (reader) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq";

/// A transaction on the tables of lessons.
struct Tx<'a, DB: Dialect>(&'a mut Session<DB>);

impl<DB: Dialect> Tx<'_, DB> {
    /// Runs one statement; true if it changed a row.
    async fn changes(&mut self, query: SqlQuery<'_, DB>) -> sqlx::Result<bool> {
        Ok(self.0.execute(query).await? > 0)
    }

    /// One version of a lesson, locked.
    async fn lesson(&mut self, sql: &'static str, key: &str) -> sqlx::Result<Option<Lesson>> {
        if let Some(lock) = DB::LOCK_LESSON {
            self.0.execute(sqlx::query(lock).arg(key)).await?;
        }
        let row = self.0.fetch_optional(sqlx::query(sql).arg(key)).await?;
        row.as_ref().map(lesson::<DB>).transpose()
    }
}

#[async_trait]
impl<DB: Dialect> Transaction for Tx<'_, DB> {
    async fn insert(&mut self, lesson: &Lesson) -> sqlx::Result<bool> {
        let query = sqlx::query(INSERT)
            .args((lesson.lesson_key.as_str(), Timestamp(lesson.ts), lesson.agent_id.as_deref()))
            .args((lesson.rule.as_str(), Json(lesson)));
        self.changes(query).await
    }

    async fn version(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        self.lesson(VERSION, key).await
    }

    async fn latest(&mut self, key: &str) -> sqlx::Result<Option<Lesson>> {
        self.lesson(LATEST, key).await
    }

    async fn put(&mut self, lesson: &Lesson) -> sqlx::Result<()> {
        let words = of_lesson(lesson);
        let query = sqlx::query(DB::PUT_LESSON)
            .args((lesson.lesson_key.as_str(), lesson.root_key.as_str(), lesson.version.cast_signed()))
            .args((lesson.agent_id.as_deref(), lesson.rule.as_str(), lesson.signature.as_str()))
            .args((lesson.status.as_str(), Timestamp(lesson.ts), Json(lesson), words.as_str()));
        self.changes(query).await?;
        if let Some(index) = DB::INDEX_LESSON {
            self.changes(sqlx::query(index).args((lesson.lesson_key.as_str(), words.as_str()))).await?;
        }
        Ok(())
    }

    async fn log(&mut self, root_key: &str, operation: &Operation, key: Option<&str>) -> sqlx::Result<bool> {
        let query = sqlx::query(INSERT_OPERATION)
            .args((root_key, operation.lesson_key.as_str(), operation.version.cast_signed()))
            .args((operation.operation.as_str(), operation.actor.as_str(), operation.reason.as_deref()))
            .args((Timestamp(operation.at), key));
        self.changes(query).await
    }

    async fn announce(&mut self, announcement: &Announcement) -> sqlx::Result<()> {
        let query = sqlx::query("INSERT INTO agent_lesson_outbox (body) VALUES ($1)").arg(Json(announcement));
        self.changes(query).await.map(drop)
    }
}

#[async_trait]
impl<DB: Dialect> Lessons for SqlStore<DB> {
    async fn upsert(&self, lessons: &[NewLesson], position: Option<(&str, Cursor)>) -> Result<UpsertCounts> {
        let upserting = async |transaction: &mut Session<DB>| {
            let mut counts = UpsertCounts::default();
            for new in lessons {
                upsert(&mut Tx::<DB>(transaction), new, &mut counts).await?;
            }
            if let Some((reader, cursor)) = position {
                let position = (reader, epoch_to_sql(cursor.epoch), seq_to_sql(cursor.seq));
                transaction.execute(sqlx::query(UPSERT_POSITION).args(position)).await?;
            }
            Ok(counts)
        };
        self.transaction(1, upserting).await
    }

    async fn position(&self, reader: &str) -> Result<Option<Cursor>> {
        let query = sqlx::query("SELECT epoch, seq FROM agent_lesson_positions WHERE reader = $1").arg(reader);
        let cursor = |row: &DB::Row| Ok(cursor_from_sql(row.read(0)?, row.read(1)?));
        Ok(self.fetch_optional(query, cursor).await?.flatten())
    }

    async fn change(&self, key: &str, request: &ChangeRequest) -> Result<ChangeOutcome> {
        self.transaction(1, async |session| apply(&mut Tx::<DB>(session), key, request).await).await
    }

    async fn record_outcome(&self, report: &OutcomeReport) -> Result<Option<Lesson>> {
        self.transaction(1, async |session| record_outcome(&mut Tx::<DB>(session), report).await).await
    }

    async fn version(&self, key: &str) -> Result<Option<Lesson>> {
        self.fetch_optional(sqlx::query(VERSION).arg(key), lesson::<DB>).await
    }

    async fn latest(&self, key: &str) -> Result<Option<Lesson>> {
        self.fetch_optional(sqlx::query(LATEST).arg(key), lesson::<DB>).await
    }

    async fn versions(&self, query: &VersionQuery) -> Result<Page<Lesson>> {
        let VersionQuery { key, after, offset, limit } = query;
        let limit = (*limit).max(1);
        let after = i32::try_from(*after).unwrap_or(i32::MAX);
        let sql = sqlx::query(VERSIONS).args((key.as_str(), after)).arg(i64::from(limit) + 1).arg(i64::from(*offset));
        self.fetch_page(sql, limit, lesson::<DB>).await
    }

    async fn operations(&self, root_key: &str, limit: u32) -> Result<Vec<Operation>> {
        self.fetch_all(sqlx::query(OPERATIONS).arg(root_key).arg(i64::from(limit)), operation::<DB>).await
    }

    async fn list(&self, query: &LessonQuery) -> Result<Page<LessonMatch>> {
        let limit = query.limit.max(1);
        let found = |row: &DB::Row| Ok(LessonMatch { lesson: lesson::<DB>(row)?, relevance: row.read(1)? });
        let mut sql = page::<DB>(query, limit);
        self.fetch_page(sql.build().persistent(false), limit, found).await
    }

    async fn unreviewed(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Lesson>> {
        let query = sqlx::query(UNREVIEWED).arg(Timestamp(before)).arg(i64::from(limit));
        self.fetch_batch(query, lesson::<DB>).await
    }

    async fn was_rejected(&self, like: &Lesson, since: DateTime<Utc>) -> Result<bool> {
        let query = sqlx::query(REJECTED).args((
            like.rule.as_str(),
            like.signature.as_str(),
            like.agent_id.as_deref(),
            Timestamp(since),
        ));
        Ok(self.fetch_optional(query, |row| row.read(0)).await?.unwrap_or(false))
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<(i64, Announcement)>> {
        let query = sqlx::query("SELECT id, body FROM agent_lesson_outbox ORDER BY id LIMIT $1").arg(i64::from(limit));
        let read = |row: &DB::Row| Ok((row.read(0)?, Column::<Json<Announcement>>::read(row, 1)?.0));
        self.fetch_batch(query, read).await
    }

    async fn mark_published(&self, numbers: &[i64]) -> Result<()> {
        let deleting = async |transaction: &mut Session<DB>| {
            for numbers in numbers.chunks(DB::LIST_VALUES) {
                let mut sql = QueryBuilder::<DB>::new("DELETE FROM agent_lesson_outbox WHERE id");
                DB::push_any(&mut sql, numbers);
                transaction.execute(sql.build().persistent(DB::LISTS_ARE_ARRAYS)).await?;
            }
            Ok(())
        };
        self.transaction(1, deleting).await
    }
}

fn page<DB: Dialect>(query: &LessonQuery, limit: u32) -> QueryBuilder<DB> {
    let mut sql = QueryBuilder::new("SELECT lesson, relevance FROM (SELECT lesson, ts, lesson_key, ");
    DB::push_lesson_search(&mut sql, query);
    if !query.agents.is_empty() {
        DB::push_any(sql.push(" AND (agent_id"), &query.agents);
        sql.push(if query.with_shared { " OR agent_id IS NULL)" } else { ")" });
    }
    push_if(&mut sql, " AND rule = ", query.rule.as_deref());
    match &query.cause {
        Some(CauseFilter::None) => sql.push(WITHOUT_CAUSE),
        Some(CauseFilter::Of(key)) => sql.push(" AND lesson ->> 'cause' = ").arg(key.as_str()),
        None => &mut sql,
    };
    let statuses: Vec<&'static str> = query.statuses.iter().copied().map(LessonStatus::as_str).collect();
    push_any_if(&mut sql, " AND status", &statuses);
    sql.push(") AS found");
    if let Some(after) = &query.after {
        sql.push(" WHERE (relevance, ts, lesson_key) < (").arg(after.relevance).push(", ");
        sql.arg(Timestamp(after.ts)).push(", ").arg(after.lesson_key.as_str()).push(")");
    }
    sql.push(" ORDER BY relevance DESC, ts DESC, lesson_key DESC LIMIT ").arg(i64::from(limit) + 1);
    push_offset(&mut sql, query.offset);
    sql
}

fn lesson<DB: Dialect>(row: &DB::Row) -> sqlx::Result<Lesson> {
    Column::<Json<Lesson>>::read(row, 0).map(|json| json.0)
}

fn operation<DB: Dialect>(row: &DB::Row) -> sqlx::Result<Operation> {
    let (operation, lesson_key, actor, reason) = (row.read(1)?, row.read(2)?, row.read(4)?, row.read(5)?);
    let (version, at) = (Column::<i32>::read(row, 3)?.cast_unsigned(), time::<DB>(row, 6)?);
    Ok(Operation { operation, lesson_key, version, actor, reason, at })
}
