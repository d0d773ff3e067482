//! Detection of a pooler in transaction mode.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

/// Rounds of the probe: a pooler that serves others at the same time may give a connection the same server process again by
/// chance.
const ROUNDS: usize = 8;

/// Identifies a server process: its number may be used again, or by another server behind the same address.
const PROCESS: &str = "SELECT concat_ws('/', pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()))";

/// True if the transactions of one connection are executed by different server processes, or those of both connections by the
/// same one. Reads the process and changes no setting, since that would stay behind on a connection that others use.
pub async fn is_pooled(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    for _ in 0..ROUNDS {
        let first = process(one).await?;
        other.execute("BEGIN").await?;
        if process(other).await? == first {
            return Ok(true);
        }
        // the other transaction keeps its process, so a pooler that assigned that one last has to choose another
        let second = process(one).await?;
        other.execute("COMMIT").await?;
        if second != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks in one message, which a pooler cannot divide.
async fn process(connection: &mut PgConnection) -> sqlx::Result<String> {
    connection.fetch_one(PROCESS).await?.try_get(0)
}
