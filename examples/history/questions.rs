//! The queries, each as a path and as SQL.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, query};
use uuid::Uuid;

use crate::traffic::Numbers;

/// Columns of a page.
const COLUMNS: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, epoch, seq
    FROM living_map_history WHERE"#;

/// Rows on a page.
const LIMIT: i64 = 200;

/// Kind of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Question {
    /// A page after a random position.
    Keyset,
    /// The newest events of a random entity.
    Entity,
    /// The newest of one type before a random time.
    Type,
    /// The newest of a family of types before a random time.
    Family,
    /// A pattern that matches no event.
    Nothing,
    /// Events of a random hour, by type and minute.
    HourByType,
    /// Of a random day, by type and five minutes.
    DayByType,
    /// Of a random day, by entity and hour, the ten largest.
    DayByEntity,
}

/// A query with its values.
pub struct Asked {
    pub path: String,
    kind: Question,
    time: DateTime<Utc>,
    id: Uuid,
    entity: String,
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Asked {
    /// A query about a random one of `entities` agents, or a random time between `begin` and now.
    pub fn random(kind: Question, begin: DateTime<Utc>, entities: u64, numbers: &mut Numbers) -> Self {
        let span = (Utc::now() - begin - TimeDelta::days(1)).num_microseconds().unwrap_or(0).unsigned_abs();
        let at = begin + TimeDelta::days(1) + TimeDelta::microseconds(numbers.below(span).cast_signed());
        let (time, id) = (at, Uuid::from_u128(u128::from(numbers.next()) << 64));
        let entity = format!("agent:{}", numbers.below(entities));
        let between = |length: TimeDelta| format!("since={}&until={}", text(time - length), text(time));
        let path = match kind {
            Question::Keyset => format!("/living-map/history?cursor={}", place(time, id)),
            Question::Entity => format!("/living-map/history?entity_id={entity}"),
            Question::Type => format!("/living-map/history?event_type=usage.tool&until={}", text(time)),
            Question::Family => format!("/living-map/history?event_type=dao.event.*&until={}", text(time)),
            Question::Nothing => format!("/living-map/history?event_type=*.event.x{}", numbers.below(1 << 32)),
            Question::HourByType => {
                format!("/living-map/history/aggregate?bucket=1m&{}", between(TimeDelta::hours(1)))
            }
            Question::DayByType => format!("/living-map/history/aggregate?bucket=5m&{}", between(TimeDelta::days(1))),
            Question::DayByEntity => {
                format!("/living-map/history/aggregate?bucket=1h&group_by=entity_id&{}", between(TimeDelta::days(1)))
            }
        };
        Self { path, kind, time, id, entity }
    }

    /// Runs the query on the database; the number of rows.
    pub async fn directly(&self, connection: &mut PgConnection) -> sqlx::Result<usize> {
        let page =
            |filter: &str| format!(r#"{COLUMNS} {filter} ORDER BY "timestamp" DESC, id DESC LIMIT {}"#, LIMIT + 1);
        let count = |filter: &str| {
            format!("SELECT count(*) FROM (SELECT FROM living_map_history WHERE {filter} LIMIT 10001) AS capped")
        };
        let rows = match self.kind {
            Question::Keyset => {
                let sql = page(r#"("timestamp", id) < ($1, $2)"#);
                connection.fetch_all(query(sqlx::AssertSqlSafe(sql)).bind(self.time).bind(self.id)).await?
            }
            Question::Entity => {
                let filter = "entity_id = $1";
                connection.fetch_all(query(sqlx::AssertSqlSafe(count(filter))).bind(&self.entity)).await?;
                connection.fetch_all(query(sqlx::AssertSqlSafe(page(filter))).bind(&self.entity)).await?
            }
            Question::Type => self.typed("event_type = 'usage.tool'", page, count, connection).await?,
            Question::Family => {
                let filter = "event_type ~>=~ 'dao.event.' AND event_type ~<~ 'dao.event/' \
                    AND length(event_type) - length(replace(event_type, '.', '')) = 2";
                self.typed(filter, page, count, connection).await?
            }
            Question::Nothing => Vec::new(),
            Question::HourByType => self.counted("event_type", "1 minute", TimeDelta::hours(1), connection).await?,
            Question::DayByType => self.counted("event_type", "5 minutes", TimeDelta::days(1), connection).await?,
            Question::DayByEntity => self.counted("entity_id", "1 hour", TimeDelta::days(1), connection).await?,
        };
        Ok(rows.len())
    }

    async fn typed(
        &self,
        filter: &str,
        page: impl Fn(&str) -> String,
        count: impl Fn(&str) -> String,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<PgRow>> {
        let filter = format!(r#"{filter} AND "timestamp" < $1"#);
        connection.fetch_all(query(sqlx::AssertSqlSafe(count(&filter))).bind(self.time)).await?;
        connection.fetch_all(query(sqlx::AssertSqlSafe(page(&filter))).bind(self.time)).await
    }

    /// The obvious statement: counts all groups, of which the caller picks the largest.
    async fn counted(
        &self,
        by: &str,
        bucket: &str,
        length: TimeDelta,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<PgRow>> {
        let sql = format!(
            r#"SELECT {by}, date_bin('{bucket}', "timestamp", '2000-01-01'), count(*) FROM living_map_history
                WHERE "timestamp" >= $1 AND "timestamp" < $2 GROUP BY 1, 2"#
        );
        connection.fetch_all(query(sqlx::AssertSqlSafe(sql)).bind(self.time - length).bind(self.time)).await
    }
}

/// The cursor of a page, as the server encodes it.
fn place(time: DateTime<Utc>, id: Uuid) -> String {
    use base64::Engine;
    let mut bytes = time.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(id.as_bytes());
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
