//! Connections: how they are made, tested, limited and given up.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::sqlstate::classify;
use crate::history::{HistoryConfig, HistoryError, OpenError};

/// How much longer we wait for a statement than the server lets it run: after this the connection is dead.
const GRACE: Duration = Duration::from_secs(2);

/// Runs one statement on a connection of a pool, within its time.
macro_rules! within {
    ($pool:expr, $limit:expr, $method:ident, $query:expr) => {{
        let mut connection = $pool.acquire().await.map_err(classify)?;
        let outcome = timeout(patience($limit, 1), connection.$method($query)).await;
        settle(connection, outcome)
    }};
}
pub(super) use within;

pub fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let problem =
        |error| OpenError::Url(format!("expected postgres://<user>:<password>@<host>:<port>/<database>: {error}"));
    let options = PgConnectOptions::from_str(url).map_err(problem)?;
    let named = options.get_application_name().is_some();
    Ok(if named { options } else { options.application_name("living-map") })
}

/// One connection of its own, within `limit`.
pub async fn connect(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection, HistoryError> {
    timeout(limit, PgConnection::connect_with(options)).await.map_err(|_| too_late("connect"))?.map_err(classify)
}

/// A pool that connects when it is used. `settings` are made on each connection, by statement and not at its start, since
/// poolers in between refuse settings there.
pub fn pool(
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
                if meta.idle_for < test_idle_after {
                    return Ok(true);
                }
                Ok(timeout(test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok()))
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::query(settings).bind(statement_timeout.as_millis().to_string()).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.clone())
}

/// How long we wait for `statements` statements of at most `each`.
pub fn patience(each: Duration, statements: usize) -> Duration {
    each.saturating_mul(u32::try_from(statements).unwrap_or(u32::MAX)).saturating_add(GRACE)
}

/// Ends the use of a connection. One that did not answer in time is dropped at once: back in the pool it would hang the
/// next caller.
pub fn settle<T>(
    connection: PoolConnection<Postgres>,
    outcome: Result<sqlx::Result<T>, Elapsed>,
) -> Result<T, HistoryError> {
    if let Ok(result) = outcome {
        return result.map_err(classify);
    }
    drop(connection.detach());
    Err(too_late("answer"))
}

pub fn too_late(what: &str) -> HistoryError {
    let error = io::Error::new(io::ErrorKind::TimedOut, format!("PostgreSQL did not {what} in time"));
    HistoryError::Unavailable(error.into())
}
