//! Which errors are about the data, and which about the database.

use crate::history::HistoryError;

/// Primary result codes that say: these values cannot be stored, now or later. Everything else (busy, locked, full, I/O,
/// read-only, corrupt, a missing table) is about the database.
///
/// See <https://www.sqlite.org/rescode.html>.
const DATA_CODES: &[i32] = &[
    18, // TOOBIG
    19, // CONSTRAINT
    20, // MISMATCH
];

/// A statement was interrupted, by its time limit.
pub const INTERRUPTED: &str = "9";

pub fn classify(error: sqlx::Error) -> HistoryError {
    HistoryError::of(error, is_about_data, INTERRUPTED)
}

/// The low byte of an extended code is its primary code.
fn is_about_data(code: &str) -> bool {
    code.parse::<i32>().is_ok_and(|code| DATA_CODES.contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_the_data_are_refusals() {
        for code in ["18", "19", "2067", "1555", "275", "20"] {
            assert!(is_about_data(code), "{code} is about the data");
        }
        for code in ["1", "5", "517", "6", "8", "10", "11", "13", "14", "26", "", "x"] {
            assert!(!is_about_data(code), "{code} is about the database");
        }
    }
}
