//! A time limit for statements, which `SQLite` has none of: a scan must not keep a thread and a connection for ever.

use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{Sqlite, SqliteConnection};

/// Steps of `SQLite`'s machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

/// Interrupts what a connection does longer than `limit` after it was taken from the pool.
pub fn each_use(pool: PoolOptions<Sqlite>, limit: Duration) -> PoolOptions<Sqlite> {
    pool.after_connect(move |connection, _| Box::pin(from_now(connection, limit))).before_acquire(
        move |connection, _| {
            Box::pin(async move {
                from_now(connection, limit).await?;
                Ok(true)
            })
        },
    )
}

async fn from_now(connection: &mut SqliteConnection, limit: Duration) -> sqlx::Result<()> {
    let started = Instant::now();
    connection.lock_handle().await?.set_progress_handler(STEPS, move || started.elapsed() < limit);
    Ok(())
}
