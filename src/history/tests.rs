use chrono::DateTime;
use serde_json::json;
use sqlx::{AssertSqlSafe, Postgres, Row, Sqlite};

use super::sql::{Driver, Session};
use super::{History, HistoryConfig, HistoryError, LogRange, sqlite};
use crate::model::{Cursor, Epoch, LogEntry, envelope};

#[test]
fn postgres_rejects_only_for_data_errors() {
    for code in ["22P05", "22021", "22P02", "22001", "23505", "23514", "23502", "54000", "P0001"] {
        assert!(Postgres::is_data_error(code), "{code} is about the data");
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
        assert!(!Postgres::is_data_error(code), "{code} is about the database");
    }
}

#[test]
fn sqlite_rejects_only_for_data_errors() {
    for code in ["18", "19", "2067", "1555", "275", "20"] {
        assert!(Sqlite::is_data_error(code), "{code} is about the data");
    }
    for code in ["1", "5", "517", "6", "8", "10", "11", "13", "14", "26", "", "x"] {
        assert!(!Sqlite::is_data_error(code), "{code} is about the database");
    }
}

#[test]
fn connection_errors_are_not_about_the_data() {
    for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, std::io::Error::other("reset").into()] {
        assert!(matches!(Postgres::classify(error), HistoryError::Unavailable(_)));
    }
    assert!(matches!(Postgres::classify(sqlx::Error::Encode("too long".into())), HistoryError::Rejected(_)));
}

fn entry(seq: u64) -> LogEntry {
    let event = json!({"event_type": "agent.event.status", "payload": "x".repeat(20_000)});
    let event = envelope::publish(event, DateTime::UNIX_EPOCH).unwrap().event;
    LogEntry { cursor: Cursor { epoch: Epoch(1), seq }, logged_at: DateTime::UNIX_EPOCH, event, raw: None }
}

#[tokio::test]
async fn a_full_disk_is_written_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/full.db", folder.path().display());
    let history = sqlite::open(&url, &HistoryConfig::default()).await.unwrap();
    let limit = async |pages: i32| {
        let query = sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")));
        history.write_with(1, async |session| session.fetch_all(query).await).await
    };
    let pages = async |session: &mut Session<Sqlite>| session.fetch_one(sqlx::query("PRAGMA page_count")).await;
    let empty: i32 = history.write_with(1, pages).await.unwrap().get(0);
    limit(empty + 40).await.unwrap();
    let mut written = 0;
    let error = loop {
        match history.write(&[entry(written + 1)]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the file has no limit");
    };
    assert!(matches!(error, HistoryError::Unavailable(_)), "{error}");
    assert_eq!(history.log_range(Epoch(1)).await.unwrap(), Some(LogRange { first: 1, last: written }));

    limit(1_000_000).await.unwrap();
    assert_eq!(history.write(&[entry(written + 1)]).await.unwrap().inserted, 1);
    history.close().await;
}
