//! The table log: its epoch, the place where it is stored, the lock of its writer.

use async_trait::async_trait;
use sqlx::{Connection, Executor, PgConnection, Postgres};
use tokio::time::timeout;

use super::{PostgresStore, connect};
use crate::history::sql::Dialect;
use crate::history::sql::logs::change_epoch;
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch};
use crate::history::{Result, TableLogStore};
use crate::model::Epoch;

/// The server notices within half a minute that the holder of the lock has vanished; without this, after two hours.
const LOCK_SETTINGS: &str = "SELECT set_config('tcp_keepalives_idle', '10', false), \
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)";

/// The advisory lock of the table log; any number that no other program uses ("living-m" in ASCII).
const LOCK: i64 = 0x6c69_7669_6e67_2d6d;

/// Identifies this very table: a dump that is restored creates another table, a recovery from a base backup and archived
/// segments, or a standby that takes over, begins another timeline.
const HOME: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), \
    (SELECT timeline_id FROM pg_control_checkpoint()), 'living_map_table_log'::regclass::oid)";

/// Used instead of [`HOME`] if the role may not query the control file.
const TABLE: &str = "SELECT concat_ws('/', 'living_map_table_log'::regclass::oid)";

#[async_trait]
impl TableLogStore for PostgresStore {
    async fn table_epoch(&self) -> Result<Epoch> {
        self.write_with(4, epoch).await
    }

    async fn lock_table_log(&self) -> Result<bool> {
        let config = &self.config;
        let mut lock = self.engine.lock.lock().await;
        if let Some(mut connection) = lock.take()
            && timeout(config.test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok())
        {
            *lock = Some(connection);
            return Ok(true);
        }
        let mut connection = connect(&self.engine.options, config.acquire_timeout).await?;
        let locking = async {
            connection.execute(LOCK_SETTINGS).await?;
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await
        };
        let outcome = timeout(config.acquire_timeout, locking).await;
        let locked: bool = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Postgres::classify)?;
        *lock = locked.then_some(connection);
        Ok(locked)
    }

    /// The difference between this table and the one that was written last; none when they are the same.
    async fn table_log_copy(&self) -> Result<Option<String>> {
        let comparing = async |connection: &mut PgConnection| {
            let own = epoch(connection).await?;
            let home = home(connection).await?;
            let query = sqlx::query_scalar("SELECT home FROM living_map_table_log WHERE epoch = $1");
            let known: Option<String> = query.bind(epoch_to_sql(own)).fetch_one(connection).await?;
            Ok((known.as_deref() != Some(&*home))
                .then(|| format!("it is {home} and was {}", known.unwrap_or_default())))
        };
        self.write_with(5, comparing).await
    }

    /// Updates every row, which may take long: on a connection outside the pools, without a time limit.
    async fn change_table_epoch(&self) -> Result<Epoch> {
        let mut connection = connect(&self.engine.options, self.config.connect_timeout).await?;
        let renewing = async {
            let (old, home) = (epoch(&mut connection).await?, home(&mut connection).await?);
            let mut transaction = connection.begin().await?;
            let new = change_epoch::<Postgres>(&mut transaction, old).await?;
            transaction.execute(sqlx::query("UPDATE living_map_table_log SET home = $1").bind(home)).await?;
            transaction.commit().await?;
            Ok(new)
        };
        let renewed = renewing.await.map_err(Postgres::classify)?;
        // an error while the connection is closed does not matter: it has done its work
        let _ = connection.close().await;
        Ok(renewed)
    }
}

/// The log's epoch, created at first use together with its home.
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
