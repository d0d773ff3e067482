//! Sessions: connections in use, and the pools that they come from.
//!
//! A pooler in transaction mode gives each transaction another connection of the database. There a session is one
//! transaction, which begins with the settings of its pool, and its statements are not kept prepared: a later transaction
//! may be executed where they are unknown, or where another client has prepared statements of the same names.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::driver::{Driver, Rows};
use super::timed_out;
use super::values::SqlQuery;
use crate::history::Result;

/// Longest wait for a statement under way, and for the rollback of its transaction, when the session ends before it.
const ROLLBACK_TIMEOUT: Duration = Duration::from_mins(1);

/// Something that is done in a session.
pub trait Work<DB: Driver, T>: AsyncFnOnce(&mut Session<DB>) -> sqlx::Result<T> {}

impl<DB: Driver, T, F: AsyncFnOnce(&mut Session<DB>) -> sqlx::Result<T>> Work<DB, T> for F {}

/// Connections to one database, for one purpose.
pub struct SessionPool<DB: Driver> {
    connections: Pool<DB>,
    /// Begins the transaction that each session is; none where a session is a connection.
    begin: Option<Arc<str>>,
}

impl<DB: Driver> Clone for SessionPool<DB> {
    fn clone(&self) -> Self {
        Self { connections: self.connections.clone(), begin: self.begin.clone() }
    }
}

impl<DB: Driver> SessionPool<DB> {
    /// A pool whose sessions are connections, configured when they are opened.
    pub const fn of_connections(connections: Pool<DB>) -> Self {
        Self { connections, begin: None }
    }

    /// A pool whose sessions are transactions. `begin` begins and configures one.
    pub const fn of_transactions(connections: Pool<DB>, begin: Arc<str>) -> Self {
        Self { connections, begin: Some(begin) }
    }

    /// Does `work` in a session. Where the client limits the time, it is `limit`.
    pub async fn with<T>(&self, limit: Duration, work: impl Work<DB, T>) -> Result<T> {
        let all_read = async |session: &mut Session<DB>| Ok((work(session).await?, false));
        self.with_unread(limit, all_read).await
    }

    /// Like [`Self::with`]; `work` also returns true if it left rows unread on the connection.
    pub async fn with_unread<T>(&self, limit: Duration, work: impl Work<DB, (T, bool)>) -> Result<T> {
        let mut session = self.acquire().await.map_err(DB::classify)?;
        let limit = if DB::CLIENT_TIMEOUTS { limit } else { Duration::MAX };
        let working = async {
            let (value, is_unread) = work(&mut session).await?;
            let blocks = is_unread && DB::UNREAD_ROWS_BLOCK;
            if !blocks {
                session.commit().await?;
            }
            Ok((value, blocks))
        };
        match timeout(limit, working).await {
            Ok(Ok((value, blocks))) => {
                if blocks {
                    session.discard();
                }
                Ok(value)
            }
            Ok(Err(error)) => Err(DB::classify(error)),
            Err(_) => {
                // back in the pool it would block the next caller
                session.discard();
                Err(timed_out::<DB>("answer"))
            }
        }
    }

    /// Closes the connections, after their statements.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// Acquires a connection, and begins the transaction that the session is. The time for both is limited, since a pooler may
    /// have no connection of the database left.
    async fn acquire(&self) -> sqlx::Result<Session<DB>> {
        let Some(begin) = &self.begin else { return Ok(Session::new(self.connections.acquire().await?, true)) };
        let limit = self.connections.options().get_acquire_timeout();
        timeout(limit, self.begin(begin)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Begins a transaction. A connection that was closed while it was idle fails here, where nothing is lost: the next one is
    /// used.
    async fn begin(&self, begin: &str) -> sqlx::Result<Session<DB>> {
        let mut others = self.connections.size();
        loop {
            let mut session = Session::new(self.connections.acquire().await?, false);
            match session.begin(begin).await {
                Ok(()) => return Ok(session),
                Err(error) => {
                    session.discard();
                    others = others.checked_sub(1).ok_or(error)?;
                }
            }
        }
    }
}

/// A connection in use. Its transaction is rolled back if the session ends before the commit.
pub struct Session<DB: Driver> {
    /// None once the session has ended.
    connection: Option<PoolConnection<DB>>,
    keeps_statements: bool,
    transaction: Transaction,
}

/// State of a session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    /// Sent, and not known to have begun.
    Beginning,
    Open,
}

impl<DB: Driver> Session<DB> {
    const fn new(connection: PoolConnection<DB>, keeps_statements: bool) -> Self {
        Self { connection: Some(connection), keeps_statements, transaction: Transaction::None }
    }

    fn connection(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("only what ends the session takes its connection")
    }

    fn sent<'q>(&self, query: SqlQuery<'q, DB>) -> SqlQuery<'q, DB> {
        if self.keeps_statements { query } else { query.persistent(false) }
    }

    /// Runs a statement; the number of rows it changed.
    pub async fn execute(&mut self, query: SqlQuery<'_, DB>) -> sqlx::Result<u64> {
        let query = self.sent(query);
        DB::execute(self.connection(), query).await
    }

    /// Runs a statement; the rows it finds or returns.
    pub async fn fetch_all(&mut self, query: SqlQuery<'_, DB>) -> sqlx::Result<Vec<DB::Row>> {
        let query = self.sent(query);
        DB::fetch_all(self.connection(), query).await
    }

    /// The row of a statement that finds or returns at most one.
    pub async fn fetch_optional(&mut self, query: SqlQuery<'_, DB>) -> sqlx::Result<Option<DB::Row>> {
        self.fetch_all(query).await.map(|mut rows| rows.pop())
    }

    /// The row of a statement that finds or returns one.
    pub async fn fetch_one(&mut self, query: SqlQuery<'_, DB>) -> sqlx::Result<DB::Row> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Runs a statement; the rows it finds, one after the other.
    pub fn fetch<'e>(&'e mut self, query: SqlQuery<'e, DB>) -> Rows<'e, DB> {
        let query = self.sent(query);
        DB::fetch(self.connection(), query)
    }

    /// Does `work` in a transaction, which is rolled back when it fails. In a session that is a transaction, `work` is part of
    /// that one.
    pub async fn transaction<T>(&mut self, work: impl Work<DB, T>) -> sqlx::Result<T> {
        if self.transaction == Transaction::Open {
            return work(self).await;
        }
        self.begin(DB::BEGIN).await?;
        match work(self).await {
            Ok(outcome) => self.commit().await.map(|()| outcome),
            Err(error) => {
                // otherwise it is rolled back when the session ends
                if self.command("ROLLBACK").await.is_ok() {
                    self.transaction = Transaction::None;
                }
                Err(error)
            }
        }
    }

    /// Does `work` whose failure does not prevent further statements, also in a transaction.
    pub async fn attempt<T>(&mut self, work: impl Work<DB, T>) -> sqlx::Result<T> {
        if self.transaction == Transaction::None {
            return work(self).await;
        }
        self.command("SAVEPOINT attempt").await?;
        match work(self).await {
            Ok(outcome) => self.command("RELEASE SAVEPOINT attempt").await.map(|()| outcome),
            Err(error) => {
                self.command("ROLLBACK TO SAVEPOINT attempt").await?;
                Err(error)
            }
        }
    }

    async fn begin(&mut self, begin: &str) -> sqlx::Result<()> {
        self.transaction = Transaction::Beginning;
        self.command(begin).await?;
        self.transaction = Transaction::Open;
        Ok(())
    }

    /// Commits the transaction, if there is one.
    async fn commit(&mut self) -> sqlx::Result<()> {
        if self.transaction == Transaction::Open {
            self.command("COMMIT").await?;
            self.transaction = Transaction::None;
        }
        Ok(())
    }

    async fn command(&mut self, sql: &str) -> sqlx::Result<()> {
        DB::command(self.connection(), sql).await
    }

    /// Ends the session and closes its connection, whatever is under way on it.
    fn discard(mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl<DB: Driver> Drop for Session<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match (self.transaction, Handle::try_current()) {
            (Transaction::None, _) => {}
            // a pooler has not begun it yet, or a connection is dead; sqlx would use one with an open transaction again
            (Transaction::Beginning, _) | (Transaction::Open, Err(_)) => drop(connection.detach()),
            (Transaction::Open, Ok(runtime)) => drop(runtime.spawn(async move {
                let rollback = timeout(ROLLBACK_TIMEOUT, DB::command(&mut connection, "ROLLBACK")).await;
                if !matches!(rollback, Ok(Ok(()))) {
                    drop(connection.detach());
                }
            })),
        }
    }
}
