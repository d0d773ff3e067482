//! Migrations of the schema, each in a transaction with its own lock: a pooler in transaction mode gives the next transaction
//! another connection, so a lock of the session, as sqlx acquires it, would stay on a connection that other clients use.

use std::collections::HashMap;
use std::time::Instant;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The list of sqlx, by another name: the database may be shared with programs that keep theirs under the usual one.
const CREATE_LIST: &str = "
CREATE TABLE IF NOT EXISTS living_map_migrations (
    version bigint PRIMARY KEY,
    description text NOT NULL,
    installed_on timestamptz NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
)";

const APPLIED: &str = "SELECT version, checksum FROM living_map_migrations";

const INSERT: &str = "
INSERT INTO living_map_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)";

/// Brings the schema up to date. `begin` begins a transaction.
pub async fn migrate(connection: &mut PgConnection, begin: &str) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
    lock(&mut transaction).await?;
    transaction.execute(CREATE_LIST).await?;
    let known = applied(&mut transaction).await?;
    transaction.commit().await?;
    let migrations: HashMap<i64, &Migration> =
        MIGRATIONS.iter().map(|migration| (migration.version, migration)).collect();
    for (version, checksum) in &known {
        let migration = migrations.get(version).ok_or(MigrateError::VersionMissing(*version))?;
        if migration.checksum[..] != checksum[..] {
            return Err(MigrateError::VersionMismatch(*version));
        }
    }
    for migration in MIGRATIONS.iter().filter(|migration| !known.contains_key(&migration.version)) {
        let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
        lock(&mut transaction).await?;
        // another server may have applied it since
        if !applied(&mut transaction).await?.contains_key(&migration.version) {
            apply(&mut transaction, migration).await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}

/// The versions that have been applied, with their checksums.
async fn applied(transaction: &mut PgConnection) -> sqlx::Result<HashMap<i64, Vec<u8>>> {
    let rows = transaction.fetch_all(sqlx::query(APPLIED).persistent(false)).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn apply(transaction: &mut PgConnection, migration: &Migration) -> Result<(), MigrateError> {
    let started = Instant::now();
    let applying = transaction.execute(migration.sql.clone()).await;
    applying.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
    let nanoseconds = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let query = sqlx::query(INSERT).bind(migration.version).bind(&*migration.description);
    transaction.execute(query.bind(&*migration.checksum).bind(nanoseconds).persistent(false)).await?;
    Ok(())
}

/// Waits for the lock that sqlx's own migrator acquires for a session: earlier releases of this server use it.
async fn lock(transaction: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query_scalar("SELECT current_database()::text").persistent(false);
    let database: String = query.fetch_one(&mut *transaction).await?;
    let mut checksum = flate2::Crc::new();
    checksum.update(database.as_bytes());
    let lock = 0x3d32_ad9e * i64::from(checksum.sum());
    let query = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).persistent(false);
    transaction.execute(query).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_can_be_applied_in_a_transaction() {
        for migration in MIGRATIONS.iter() {
            assert!(!migration.no_tx && migration.migration_type.is_up_migration(), "{}", migration.version);
        }
    }
}
