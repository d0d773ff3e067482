//! Connections of the databases: statements, transactions, error codes.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::Database;
use sqlx::database::HasStatementCache;

use super::values::SqlQuery;
use crate::history::HistoryError;

/// The result of a statement on a connection.
pub type Answer<'e, T> = BoxFuture<'e, sqlx::Result<T>>;

/// The rows of a statement on a connection.
pub type Rows<'e, DB> = BoxStream<'e, sqlx::Result<<DB as Database>::Row>>;

/// A database with connections.
pub trait Driver: Database + HasStatementCache {
    /// True if the client ends statements that the database has not ended itself, because its connection may be dead.
    const CLIENT_TIMEOUTS: bool;
    /// True if rows that were not read have to be received before the connection's next statement. Closing the connection
    /// costs less.
    const UNREAD_ROWS_BLOCK: bool;
    /// The code of the error of a statement that was ended by its time limit.
    const INTERRUPTED: &'static str;
    /// Begins a transaction that writes.
    const BEGIN: &'static str;

    /// Runs a statement; the number of rows it changed.
    fn execute<'e>(on: &'e mut Self::Connection, query: SqlQuery<'e, Self>) -> Answer<'e, u64>;

    /// Runs a statement; the rows it finds or returns.
    fn fetch_all<'e>(on: &'e mut Self::Connection, query: SqlQuery<'e, Self>) -> Answer<'e, Vec<Self::Row>>;

    /// Runs a statement; the rows it finds, one after the other.
    fn fetch<'e>(on: &'e mut Self::Connection, query: SqlQuery<'e, Self>) -> Rows<'e, Self>;

    /// Runs statements without arguments in one round trip, without their rows.
    fn command<'e>(on: &'e mut Self::Connection, sql: &str) -> Answer<'e, ()>;

    /// True if an error of this code is about the values of a statement, and not about the database.
    fn is_data_error(code: &str) -> bool;

    fn classify(error: sqlx::Error) -> HistoryError {
        HistoryError::of(error, Self::is_data_error, Self::INTERRUPTED)
    }
}
