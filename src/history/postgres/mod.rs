//! The history store in `PostgreSQL`.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::sql::{Dialect, Pools, SqlStore, TypeOrder, timed_out};
use super::{HistoryConfig, HistoryError, OpenError, Result};

mod dialect;
mod insert;
mod pairing;
mod table_log;

/// Validates a URL without connecting.
pub(super) fn check_url(url: &str) -> Result<(), OpenError> {
    options(url).map(drop)
}

/// The constraint that no two events have the same position.
pub const POSITION_KEY: &str = "living_map_history_position_key";

/// Readers run small, selective queries on skewed values: a plan made for the given values beats a generic plan, and
/// compiling code for one query costs more than it saves. With PostgreSQL's own 4 MB of `work_mem`, a day of a large
/// network that is counted by entity spills to disk.
const READER_SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('plan_cache_mode', 'force_custom_plan', false), set_config('default_transaction_read_only', 'on', false), \
    set_config('jit', 'off', false), set_config('work_mem', greatest(setting::int, 32768)::text, false) \
    FROM pg_settings WHERE name = 'work_mem'";

/// A writer that vanished in a transaction must not keep its locks.
const WRITER_SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('idle_in_transaction_session_timeout', $1, false)";

/// The operator classes of indexes that begin with event types.
const OPERATOR_CLASSES: &str = "
SELECT opcname::text FROM pg_index
    JOIN pg_opclass ON pg_opclass.oid = indclass[0]
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = 'living_map_history'::regclass AND indisvalid AND indpred IS NULL AND attname = 'event_type'";

pub type PostgresStore = SqlStore<Postgres>;

/// State beside the pools.
pub struct PostgresEngine {
    options: PgConnectOptions,
    /// The connection that holds the lock of the table log.
    lock: Mutex<Option<PgConnection>>,
}

pub async fn open(url: &str, config: &HistoryConfig) -> Result<PostgresStore, OpenError> {
    let options = options(url)?;
    let mut connection = connect(&options, config.connect_timeout).await?;
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // the database may be shared with programs that keep their own list under sqlx's usual name
    migrator.dangerous_set_table_name("living_map_migrations");
    migrator.run_direct(None, &mut connection, false).await.map_err(HistoryError::Migration)?;
    let type_order = type_order(&mut connection).await.map_err(Postgres::classify)?;
    // an error while the connection is closed does not matter: it has done its work
    let _ = connection.close().await;
    let pool = |config, connections, settings, limit| pool(&options, config, connections, settings, limit);
    let lease_config =
        HistoryConfig { acquire_timeout: config.acquire_timeout.min(config.lease_timeout), ..config.clone() };
    let writers = pool(config, config.writer_connections, WRITER_SETTINGS, config.write_timeout);
    let pools = Pools {
        lookups: writers.clone(),
        writers,
        readers: pool(config, config.reader_connections, READER_SETTINGS, config.read_timeout),
        leases: pool(&lease_config, 1, WRITER_SETTINGS, config.lease_timeout),
    };
    Ok(SqlStore::new(config, pools, type_order, PostgresEngine { options, lock: Mutex::default() }))
}

/// The order of our own index is that of bytes, that of an adopted one the database's locale.
async fn type_order(connection: &mut PgConnection) -> sqlx::Result<Option<TypeOrder>> {
    let classes: Vec<String> = sqlx::query_scalar(OPERATOR_CLASSES).fetch_all(connection).await?;
    let has = |name: &str| classes.iter().any(|class| class == name);
    let by_bytes = TypeOrder { greater: " ~>~ ", using: " USING ~<~", bytes: true };
    let by_locale = TypeOrder { greater: " > ", using: "", bytes: false };
    Ok(has("text_pattern_ops").then_some(by_bytes).or(has("text_ops").then_some(by_locale)))
}

fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let problem =
        |error| OpenError::Url(format!("expected postgres://<user>:<password>@<host>:<port>/<database>: {error}"));
    let options = PgConnectOptions::from_str(url).map_err(problem)?;
    let named = options.get_application_name().is_some();
    Ok(if named { options } else { options.application_name("living-map") })
}

/// Opens a connection outside the pools, within `limit`.
async fn connect(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection> {
    timeout(limit, PgConnection::connect_with(options))
        .await
        .map_err(|_| timed_out::<Postgres>("connect"))?
        .map_err(Postgres::classify)
}

/// A pool that connects when it is used. `settings` is a statement that configures each connection: poolers in between
/// reject settings in the startup packet.
fn pool(
    options: &PgConnectOptions,
    config: &HistoryConfig,
    connections: u32,
    settings: &'static str,
    statement_timeout: Duration,
) -> PgPool {
    let (test_idle_after, test_timeout) = (config.test_idle_after, config.test_timeout);
    PgPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(config.acquire_timeout)
        // replaced by our own test, which costs no round trip on a busy connection and cannot hang
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            Box::pin(async move {
                let fresh = meta.idle_for < test_idle_after;
                Ok(fresh || timeout(test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok()))
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                let limit = statement_timeout.as_millis().to_string();
                sqlx::query(settings).bind(limit).execute(connection).await.map(drop)
            })
        })
        .connect_lazy_with(options.clone())
}
