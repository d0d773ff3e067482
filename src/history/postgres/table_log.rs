//! Which log the table is, and where it is at home.

use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::Postgres;
use super::connect::{self, patience, settle};
use super::sqlstate::classify;
use crate::history::HistoryError;
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch};
use crate::model::Epoch;

/// Every place that names a log. A transaction changes all of them, or none.
const RENEW: [&str; 7] = [
    "UPDATE living_map_history SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_history_complete SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_snapshots SET epoch = $1 WHERE epoch = $2",
    "UPDATE dead_letters SET epoch = $1 WHERE epoch = $2",
    "UPDATE agent_lesson_positions SET epoch = $1 WHERE epoch = $2",
    "UPDATE webhook_position SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_table_log SET epoch = $1, home = $3 WHERE epoch = $2",
];

/// A name for this very table: a dump that is restored makes another one, a recovery from a base backup and archived
/// segments, or a standby that takes over, begins another timeline.
const HOME: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), \
    (SELECT timeline_id FROM pg_control_checkpoint()), 'living_map_table_log'::regclass::oid)";

/// The same where the role may not ask the server about itself.
const TABLE: &str = "SELECT concat_ws('/', 'living_map_table_log'::regclass::oid)";

impl Postgres {
    /// The log's identity, made at first use together with its home.
    pub(super) async fn epoch(&self) -> Result<Epoch, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let outcome = timeout(patience(self.config.write_timeout, 4), epoch(&mut connection)).await;
        settle(connection, outcome)
    }

    /// Why this is not the table that was written last; none when it is.
    pub(super) async fn copied(&self) -> Result<Option<String>, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let comparing = async {
            let own = epoch(&mut connection).await?;
            let home = home(&mut connection).await?;
            let query = sqlx::query_scalar("SELECT home FROM living_map_table_log WHERE epoch = $1");
            let known: Option<String> = query.bind(epoch_to_sql(own)).fetch_one(&mut *connection).await?;
            Ok((known.as_deref() != Some(&*home))
                .then(|| format!("it is {home} and was {}", known.unwrap_or_default())))
        };
        let outcome = timeout(patience(self.config.write_timeout, 5), comparing).await;
        settle(connection, outcome)
    }

    /// Changes every row, however long that takes: on a connection of its own, which has no limit.
    pub(super) async fn renew(&self) -> Result<Epoch, HistoryError> {
        let mut connection = connect::connect(&self.options, self.config.connect_timeout).await?;
        let renewed = renew(&mut connection).await.map_err(classify)?;
        // it has done its work: that it cannot say good-bye does not matter
        let _ = connection.close().await;
        Ok(renewed)
    }
}

async fn epoch(connection: &mut PgConnection) -> sqlx::Result<Epoch> {
    let query = "SELECT epoch FROM living_map_table_log";
    if let Some(epoch) = sqlx::query_scalar(query).fetch_optional(&mut *connection).await? {
        return Ok(epoch_from_sql(epoch));
    }
    let home = home(connection).await?;
    let insert = "INSERT INTO living_map_table_log (epoch, home) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    connection.execute(sqlx::query(insert).bind(epoch_to_sql(new_epoch())).bind(home)).await?;
    sqlx::query_scalar(query).fetch_one(connection).await.map(epoch_from_sql)
}

async fn home(connection: &mut PgConnection) -> sqlx::Result<String> {
    match sqlx::query_scalar(HOME).fetch_one(&mut *connection).await {
        Err(sqlx::Error::Database(_)) => sqlx::query_scalar(TABLE).fetch_one(connection).await,
        outcome => outcome,
    }
}

async fn renew(connection: &mut PgConnection) -> sqlx::Result<Epoch> {
    let old = epoch(connection).await?;
    let (new, home) = (new_epoch(), home(connection).await?);
    let mut transaction = connection.begin().await?;
    for statement in RENEW {
        let query = sqlx::query(statement).bind(epoch_to_sql(new)).bind(epoch_to_sql(old));
        let query = if statement.contains("$3") { query.bind(&home) } else { query };
        transaction.execute(query).await?;
    }
    transaction.commit().await?;
    Ok(new)
}
