//! Which errors are about the data, and which about the database.

use crate::history::HistoryError;

/// `SQLSTATE` classes that say: these values cannot be stored, now or later. Everything else (connections, resources,
/// shut-down, time limits, locks, privileges, even a table that is missing) is about the database: the same write succeeds
/// once that is mended, so no event may be given up for it.
///
/// See "`PostgreSQL` Error Codes" in its manual, appendix A.
const DATA_CLASSES: &[&str] = &[
    "21", // cardinality violation
    "22", // data exception
    "23", // integrity constraint violation
    "38", // external routine exception (a trigger)
    "39", // external routine invocation exception
    "44", // WITH CHECK OPTION violation
    "54", // program limit exceeded (an index row too large)
    "P0", // raised by PL/pgSQL (a trigger)
];

/// A statement was cancelled, by its time limit for one.
pub const QUERY_CANCELED: &str = "57014";

pub fn classify(error: sqlx::Error) -> HistoryError {
    HistoryError::of(error, is_about_data, QUERY_CANCELED)
}

fn is_about_data(code: &str) -> bool {
    code.get(..2).is_some_and(|class| DATA_CLASSES.contains(&class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_the_data_are_refusals() {
        for code in ["22P05", "22021", "22P02", "22001", "23505", "23514", "23502", "54000", "P0001"] {
            assert!(is_about_data(code), "{code} is about the data");
        }
        let about_the_database = [
            "08006", // connection failure
            "25006", // a standby that only reads
            "28P01", // wrong password
            "3D000", // no such database
            "40001", // serialization failure
            "40P01", // deadlock
            "42501", // insufficient privilege
            "42P01", // no such table
            "53100", // disk full
            "53200", // out of memory
            "53300", // too many connections
            "55P03", // lock not available
            "57014", // time limit
            "57P01", // shutting down
            "57P02", // crashed
            "57P03", // starting up
            "58030", // I/O error
            "XX000", // internal error
            "",
        ];
        for code in about_the_database {
            assert!(!is_about_data(code), "{code} is about the database");
        }
    }

    #[test]
    fn trouble_on_the_way_is_not_the_datas_fault() {
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, std::io::Error::other("reset").into()] {
            assert!(matches!(classify(error), HistoryError::Unavailable(_)));
        }
        assert!(matches!(classify(sqlx::Error::Encode("too long".into())), HistoryError::Refused(_)));
    }
}
