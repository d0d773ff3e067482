//! The history store in `PostgreSQL`.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Postgres, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use self::connector::{Connector, Purpose};
use self::table_log::TableLogLock;
use super::sql::{Driver, Pools, SqlStore, TypeOrder, timed_out};
use super::{HistoryConfig, HistoryError, OpenError, Pooler, Result};

mod authorities;
mod connector;
mod dialect;
mod insert;
mod migrations;
mod options;
mod pairing;
mod probe;
mod table_log;

/// Validates a URL without connecting.
pub(super) fn check(url: &str, config: &HistoryConfig) -> Result<(), OpenError> {
    Connector::new(url, config).map(drop)
}

/// The constraint that no two events have the same position.
pub const POSITION_KEY: &str = "living_map_history_position_key";

/// The operator classes of indexes that begin with event types.
const OPERATOR_CLASSES: &str = "
SELECT opcname::text FROM pg_index
    JOIN pg_opclass ON pg_opclass.oid = indclass[0]
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = 'living_map_history'::regclass AND indisvalid AND indpred IS NULL AND attname = 'event_type'";

pub type PostgresStore = SqlStore<Postgres>;

/// State beside the pools.
pub struct PostgresEngine {
    connector: Connector,
    /// Identifies this store among the holders of the table log's lock.
    holder: Uuid,
    lock: Mutex<Option<TableLogLock>>,
}

pub async fn open(url: &str, config: &HistoryConfig) -> Result<PostgresStore, OpenError> {
    let connector = Connector::new(url, config)?;
    let mut connection = connector.connect(config.connect_timeout).await?;
    if connector.pooler != Pooler::Transaction {
        reject_pooled(&connector, &mut connection, config).await?;
    }
    let begin = connector.begin();
    migrations::migrate(&mut connection, &begin).await.map_err(HistoryError::Migration)?;
    let type_order = type_order(&mut connection, &begin).await.map_err(Postgres::classify)?;
    // an error while the connection is closed does not matter: it has done its work
    let _ = connection.close().await;
    let lease_config =
        HistoryConfig { acquire_timeout: config.acquire_timeout.min(config.lease_timeout), ..config.clone() };
    let writers = connector.pool(config, config.writer_connections, Purpose::Writing, config.write_timeout);
    let pools = Pools {
        lookups: writers.clone(),
        writers,
        readers: connector.pool(config, config.reader_connections, Purpose::Reading, config.read_timeout),
        leases: connector.pool(&lease_config, 1, Purpose::Writing, config.lease_timeout),
    };
    let engine = PostgresEngine { connector, holder: Uuid::new_v4(), lock: Mutex::default() };
    Ok(SqlStore::new(config, pools, type_order, engine))
}

/// Rejects a pooler in transaction mode that the settings do not expect: settings and prepared statements of one connection
/// would be those of another.
async fn reject_pooled(
    connector: &Connector,
    connection: &mut PgConnection,
    config: &HistoryConfig,
) -> Result<(), OpenError> {
    let probing = async {
        let mut other = connector.connect(config.connect_timeout).await?;
        let is_pooled = probe::is_pooled(connection, &mut other).await.map_err(Postgres::classify)?;
        let _ = other.close().await;
        Ok::<_, HistoryError>(is_pooled)
    };
    let is_pooled = timeout(config.connect_timeout, probing).await.map_err(|_| timed_out::<Postgres>("answer"))??;
    let (setting, declared) = (config.pooler_setting, config.pooler);
    if is_pooled { Err(OpenError::Pooled { setting, declared }) } else { Ok(()) }
}

/// The order of our own index is that of bytes, that of an adopted one the database's locale.
async fn type_order(connection: &mut PgConnection, begin: &str) -> sqlx::Result<Option<TypeOrder>> {
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
    let rows = transaction.fetch_all(sqlx::query(OPERATOR_CLASSES).persistent(false)).await?;
    transaction.commit().await?;
    let classes: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
    let has = |name: &str| classes.iter().any(|class| class == name);
    let by_bytes = TypeOrder { greater: " ~>~ ", using: " USING ~<~", bytes: true };
    let by_locale = TypeOrder { greater: " > ", using: "", bytes: false };
    Ok(has("text_pattern_ops").then_some(by_bytes).or(has("text_ops").then_some(by_locale)))
}
