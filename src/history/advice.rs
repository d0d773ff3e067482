//! Advice at the end of the texts of errors that do not end by themselves.

use std::fmt;

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// Error of the database, followed by what to do about it if that is known.
pub struct WithAdvice<'a>(pub &'a Error);

impl fmt::Display for WithAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.0.as_database_error().is_some_and(is_of_pooler) {
            return f.write_str(
                "; a pooler is in front of the database: set DATABASE_POOLER, or LEARNER_DATABASE_POOLER for the learner's \
                database, to its mode, see docs/operating.md#a-pooler-in-front-of-postgresql",
            );
        }
        let code = self.0.as_database_error().filter(|error| is_sqlite(*error)).and_then(DatabaseError::code);
        // the low byte of an extended code is the primary one: https://www.sqlite.org/rescode.html
        let advice = match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
            // SQLITE_CORRUPT, SQLITE_NOTADB
            Some(11 | 26) => {
                "; the file is damaged, or not a SQLite database: restore a backup, see \
                docs/backup.md#embedded-one-sqlite-file"
            }
            // SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM
            Some(8 | 14 | 3) => {
                "; make the file and its folder writable for this user, without mode=ro in the URL, see \
                docs/operating.md#the-database-cannot-be-opened"
            }
            _ => "",
        };
        f.write_str(advice)
    }
}

/// True for what a pooler such as `PgBouncer` answers to a client that does not expect it.
fn is_of_pooler(error: &dyn DatabaseError) -> bool {
    let duplicate_or_unknown_statement = matches!(error.code().as_deref(), Some("42P05" | "26000"));
    let message = error.message();
    duplicate_or_unknown_statement
        || message.contains("unsupported startup parameter")
        || message.contains("transaction blocks not allowed in statement pooling mode")
}

fn is_sqlite(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
}

/// Error of a migration, followed by what to do about it if that is known.
pub struct MigrationWithAdvice<'a>(pub &'a MigrateError);

impl fmt::Display for MigrationWithAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MigrateError::Execute(error) => write!(f, "{}", WithAdvice(error)),
            MigrateError::ExecuteMigration(error, version) => {
                write!(f, "while executing migration {version}: {}", WithAdvice(error))
            }
            MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => write!(
                f,
                "a newer or another version of Living Map has migrated it (migration {version}); start that version, or \
                restore the backup from before the upgrade, see docs/operating.md#stop-restart-upgrade"
            ),
            error => write!(f, "{error}"),
        }
    }
}
