//! The table log: its epoch, the place where it is stored, the lock of its writer.
//!
//! The lock is an advisory lock of a connection, which the server releases when the process ends. A pooler in transaction mode
//! has no connection for that; there it is a lease, which is renewed, expires, and has a token that each append checks. Either
//! kind excludes the other: the lease is acquired only while no connection holds the advisory lock, and a holder of that lock
//! begins with a new token.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection, Executor, PgConnection, Postgres};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::connector::Purpose;
use super::{Pooler, PostgresStore};
use crate::history::sql::leases::acquire;
use crate::history::sql::logs::change_epoch;
use crate::history::sql::values::{Arg, Args, Column};
use crate::history::sql::{Driver, Session, SessionPool, micros};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch, seq_to_sql};
use crate::history::{Result, TableLogStore};
use crate::model::Epoch;

/// The server notices within half a minute that the holder of the lock has vanished; without this, after two hours.
const LOCK_SETTINGS: &str = "SELECT set_config('tcp_keepalives_idle', '10', false), \
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)";

/// The advisory lock of the table log; any number that no other program uses ("living-m" in ASCII).
const LOCK: i64 = 0x6c69_7669_6e67_2d6d;

/// Name of the lease of the table log.
const LEASE: &str = "table log";

/// Renews a lease that no other process has acquired since, even if it has expired.
const RENEW: &str = "
UPDATE living_map_leases SET expires_at = clock_timestamp() + $3 * interval '1 microsecond' WHERE name = $1 AND token = $2";

/// When the lease ends, unless it is renewed.
const EXPIRES: &str = "SELECT expires_at::text FROM living_map_leases WHERE name = $1";

/// Keeps the token for the rest of the transaction: another process that acquires the lease waits for its end.
const CHECK: &str = "SELECT 1 FROM living_map_leases WHERE name = $1 AND token = $2 FOR SHARE";

/// Identifies this very table: a dump that is restored creates another table, a recovery from a base backup and archived
/// segments, or a standby that takes over, begins another timeline.
const HOME: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), \
    (SELECT timeline_id FROM pg_control_checkpoint()), 'living_map_table_log'::regclass::oid)";

/// Used instead of [`HOME`] if the role may not query the control file.
const TABLE: &str = "SELECT concat_ws('/', 'living_map_table_log'::regclass::oid)";

/// The lock of the table log's writer.
pub enum TableLogLock {
    /// Held by this connection.
    Connection(PgConnection),
    /// Held until the lease ends.
    Lease(TableLogLease),
}

/// A lease that is renewed until this is dropped.
pub struct TableLogLease {
    token: u64,
    renewal: AbortHandle,
}

impl Drop for TableLogLease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// The outcome of an attempt to acquire the lease.
enum Acquired {
    Token(u64),
    /// Another process holds it until then.
    Held(Option<String>),
    /// Another process holds the advisory lock.
    Locked,
}

impl PostgresStore {
    /// The token that appends check; none where the lock is not a lease.
    pub async fn table_log_token(&self) -> Option<u64> {
        match &*self.engine.lock.lock().await {
            Some(TableLogLock::Lease(lease)) => Some(lease.token),
            // without a lock no token is right
            None if self.config.pooler == Pooler::Transaction => Some(0),
            _ => None,
        }
    }

    /// Releases the lock.
    pub async fn release_table_log(&self) {
        let Some(TableLogLock::Lease(lease)) = self.engine.lock.lock().await.take() else { return };
        lease.renewal.abort();
        if let Err(error) = renew(&self.pools.leases, self.config.lease_timeout, lease.token, Duration::ZERO).await {
            tracing::warn!(%error, "the lease of the table log cannot be released; it ends by itself");
        }
    }

    /// Acquires the advisory lock, or checks that it is still held.
    async fn lock_connection(&self) -> Result<bool> {
        let config = &self.config;
        let mut lock = self.engine.lock.lock().await;
        if let Some(TableLogLock::Connection(mut connection)) = lock.take()
            && timeout(config.test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok())
        {
            *lock = Some(TableLogLock::Connection(connection));
            return Ok(true);
        }
        let mut connection = self.engine.connector.connect(config.acquire_timeout).await?;
        let locking = async {
            connection.execute(LOCK_SETTINGS).await?;
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await
        };
        let outcome = timeout(config.acquire_timeout, locking).await;
        let locked: bool = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Postgres::classify)?;
        if !locked {
            return Ok(false);
        }
        // a lease that ends at once: only its token counts
        let holder = self.engine.holder;
        let fencing = async |session: &mut Session<Postgres>| acquire(session, LEASE, holder, Duration::ZERO, "").await;
        let fenced = self.write_with(2, fencing).await?.held;
        *lock = fenced.then_some(TableLogLock::Connection(connection));
        Ok(fenced)
    }

    /// Acquires the lease, or renews it. One that another process holds is waited for until it has been renewed or has ended.
    async fn lock_lease(&self) -> Result<bool> {
        let ttl = self.config.table_log_lease;
        let held = match &*self.engine.lock.lock().await {
            Some(TableLogLock::Lease(lease)) => Some(lease.token),
            _ => None,
        };
        if let Some(token) = held {
            if renew(&self.pools.leases, self.config.lease_timeout, token, ttl).await? {
                return Ok(true);
            }
            self.engine.lock.lock().await.take();
        }
        let mut known_end = None;
        loop {
            match self.acquire_lease(ttl).await? {
                Acquired::Token(token) => {
                    let renewing = keep_renewed(self.pools.leases.clone(), self.config.lease_timeout, token, ttl);
                    let renewal = tokio::spawn(renewing).abort_handle();
                    let lease = TableLogLock::Lease(TableLogLease { token, renewal });
                    *self.engine.lock.lock().await = Some(lease);
                    return Ok(true);
                }
                Acquired::Held(end) if known_end.as_ref().is_none_or(|known| *known == end) => known_end = Some(end),
                Acquired::Held(_) | Acquired::Locked => return Ok(false),
            }
            sleep(ttl / 10).await;
        }
    }

    async fn acquire_lease(&self, ttl: Duration) -> Result<Acquired> {
        const UNLOCKED: &str = "SELECT pg_try_advisory_xact_lock_shared($1)";
        let holder = self.engine.holder;
        let acquiring = async |session: &mut Session<Postgres>| {
            if !Column::<bool>::read(&session.fetch_one(sqlx::query(UNLOCKED).arg(LOCK)).await?, 0)? {
                return Ok(Acquired::Locked);
            }
            let lease = acquire(session, LEASE, holder, ttl, "").await?;
            if lease.held {
                return Ok(Acquired::Token(lease.token));
            }
            let row = session.fetch_optional(sqlx::query(EXPIRES).arg(LEASE)).await?;
            Ok(Acquired::Held(row.map(|row| row.read(0)).transpose()?))
        };
        self.transaction(4, acquiring).await
    }
}

/// Renews a lease five times in its duration, until another process has acquired it.
async fn keep_renewed(pool: SessionPool<Postgres>, limit: Duration, token: u64, ttl: Duration) {
    let mut is_failing = false;
    loop {
        sleep(ttl / 5).await;
        match renew(&pool, limit, token, ttl).await {
            Ok(true) => is_failing = false,
            Ok(false) => return tracing::error!("another process has acquired the lock of the table log"),
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "the lease of the table log cannot be renewed; retrying");
            }
            Err(_) => {}
        }
    }
}

/// Renews a lease; false if another process has acquired it since.
async fn renew(pool: &SessionPool<Postgres>, limit: Duration, token: u64, ttl: Duration) -> Result<bool> {
    let query = sqlx::query(RENEW).args((LEASE, seq_to_sql(token), micros(ttl)));
    pool.with(limit, async |session: &mut Session<Postgres>| Ok(session.execute(query).await? > 0)).await
}

/// Fails unless the lease of the table log still has `token`, which it then keeps for the rest of the transaction.
pub async fn check_token(session: &mut Session<Postgres>, token: u64) -> sqlx::Result<()> {
    match session.fetch_optional(sqlx::query(CHECK).args((LEASE, seq_to_sql(token)))).await? {
        Some(_) => Ok(()),
        None => Err(io::Error::other("another process has acquired the lock of the table log").into()),
    }
}

#[async_trait]
impl TableLogStore for PostgresStore {
    async fn table_epoch(&self) -> Result<Epoch> {
        self.write_with(4, epoch).await
    }

    async fn lock_table_log(&self) -> Result<bool> {
        match self.config.pooler {
            Pooler::None | Pooler::Session => self.lock_connection().await,
            Pooler::Transaction => self.lock_lease().await,
        }
    }

    /// The difference between this table and the one that was written last; none when they are the same.
    async fn table_log_copy(&self) -> Result<Option<String>> {
        const KNOWN: &str = "SELECT home FROM living_map_table_log WHERE epoch = $1";
        let comparing = async |session: &mut Session<Postgres>| {
            let own = epoch(session).await?;
            let home = home(session).await?;
            let row = session.fetch_one(sqlx::query(KNOWN).arg(epoch_to_sql(own))).await?;
            let known: Option<String> = row.read(0)?;
            Ok((known.as_deref() != Some(&*home))
                .then(|| format!("it is {home} and was {}", known.unwrap_or_default())))
        };
        self.write_with(5, comparing).await
    }

    /// Updates every row, which may take long: on a connection outside the pools, without a time limit.
    async fn change_table_epoch(&self) -> Result<Epoch> {
        let token = self.table_log_token().await;
        let pool = self.engine.connector.pool(&self.config, 1, Purpose::Writing, Duration::ZERO);
        let renewing = async |session: &mut Session<Postgres>| {
            if let Some(token) = token {
                check_token(session, token).await?;
            }
            let (old, home) = (epoch(session).await?, home(session).await?);
            let new = change_epoch(session, old).await?;
            session.execute(sqlx::query("UPDATE living_map_table_log SET home = $1").arg(&*home)).await?;
            Ok(new)
        };
        let renewed =
            pool.with(Duration::MAX, async |session: &mut Session<Postgres>| session.transaction(renewing).await).await;
        pool.close().await;
        renewed
    }
}

/// The log's epoch, created at first use together with its home.
async fn epoch(session: &mut Session<Postgres>) -> sqlx::Result<Epoch> {
    const EPOCH: &str = "SELECT epoch FROM living_map_table_log";
    const INSERT: &str = "INSERT INTO living_map_table_log (epoch, home) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    if let Some(row) = session.fetch_optional(sqlx::query(EPOCH)).await? {
        return row.read(0).map(epoch_from_sql);
    }
    let home = home(session).await?;
    session.execute(sqlx::query(INSERT).args((epoch_to_sql(new_epoch()), &*home))).await?;
    session.fetch_one(sqlx::query(EPOCH)).await?.read(0).map(epoch_from_sql)
}

async fn home(session: &mut Session<Postgres>) -> sqlx::Result<String> {
    let querying = async |session: &mut Session<Postgres>| session.fetch_one(sqlx::query(HOME)).await;
    let row = match session.attempt(querying).await {
        Err(sqlx::Error::Database(_)) => session.fetch_one(sqlx::query(TABLE)).await,
        outcome => outcome,
    }?;
    row.read(0)
}
