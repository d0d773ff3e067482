//! Adoption of the database of the replaced service.

use chrono::{DateTime, TimeDelta, Utc};
use living_map::history::snapshots::SnapshotRetention;
use living_map::history::{self, HistoryConfig, HistoryQuery, HistoryRow, Total};
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, EntityType, Epoch, LogEntry};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::{all_pages, entry, open, payload};
use crate::support::postgres::database;

const OLD: &str = include_str!("../../fixtures/old_schema.sql");

/// A database of the replaced service, and a connection like that service's.
async fn old_database() -> (String, PgConnection) {
    let url = database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::raw_sql(OLD)).await.unwrap();
    (url, connection)
}

async fn records(history: &dyn living_map::history::History) -> Vec<HistoryRow> {
    history.query(&HistoryQuery { limit: 100, ..HistoryQuery::default() }).await.unwrap().rows
}

#[tokio::test]
async fn every_row_is_present_and_readable() {
    let (url, _old) = old_database().await;
    let history = open(&url, &HistoryConfig::default()).await;
    let records = records(&*history).await;
    assert_eq!(records.len(), 7);
    let record = |number: u128| {
        let found = records.iter().find(|record| record.id.as_u128() & 0xf == number);
        found.unwrap_or_else(|| panic!("row {number} is lost"))
    };
    let first = record(1);
    assert_eq!(first.event_type, "living_map.initialized");
    assert_eq!(payload(first), json!({"version": "1.0.0", "phase": "9"}));
    assert_eq!(first.cursor, None, "it has no place in a log");
    let shouted = record(2);
    assert_eq!(shouted.timestamp.to_rfc3339(), "2025-11-24T10:00:01.123456+00:00");
    assert_eq!(shouted.entity_type.as_deref(), Some("AGENT"));
    assert_eq!(payload(record(3)), Value::Null);
    assert_eq!(record(3).entity_type.as_deref(), Some("robot"));
    assert_eq!(payload(record(4))["decimal"], json!(12920.5));
    assert_eq!(payload(record(4))["huge"], json!(format!("1{}", "0".repeat(400))));
    assert_eq!(record(5).event_type, "");
    assert_eq!(payload(record(5)), json!("just text"));
    let agents = HistoryQuery { entity_type: Some(EntityType::Agent), ..HistoryQuery::default() };
    assert_eq!(all_pages(&*history, &agents, 10).await.len(), 1, "a type is found however it is spelled");
    // rows without a time get one, so that pages neither lose nor repeat a row
    assert_eq!(all_pages(&*history, &HistoryQuery::default(), 1).await.len(), 7);
    let all = HistoryQuery { limit: 10, ..HistoryQuery::default() };
    assert_eq!(history.query(&all).await.unwrap().total, Total { rows: 7, exact: true });
}

#[tokio::test]
async fn the_replaced_service_keeps_working_beside_us() {
    let (url, mut old) = old_database().await;
    let history = open(&url, &HistoryConfig::default()).await;
    let row = sqlx::query(
        "INSERT INTO living_map_history (timestamp, event_type, payload, source_service, entity_id, entity_type) \
         VALUES (now(), 'agent.event.status', '{}', 'agents', 'agent:x', 'agent') RETURNING id",
    );
    let id: uuid::Uuid = row.fetch_one(&mut old).await.unwrap().get(0);
    // an infinite time, which sqlx itself cannot decode
    old.execute("INSERT INTO living_map_history (timestamp, event_type, payload) VALUES ('infinity', 'a', '{}')")
        .await
        .unwrap();
    let mut ours = entry(1);
    ours.event.timestamp = chrono::Utc::now();
    history.write(&[ours]).await.unwrap();
    assert_eq!(records(&*history).await.len(), 10);
    assert_eq!(history.positions(&[id]).await.unwrap(), [(id, None)].into());
    let columns =
        "SELECT id, timestamp, event_type, payload, source_service, entity_id, entity_type FROM living_map_history";
    assert_eq!(old.fetch_all(columns).await.unwrap().len(), 10);
    let deleted: i32 = old.fetch_one("SELECT cleanup_living_map_history()").await.unwrap().get(0);
    assert_eq!(deleted, 5, "its own function is as it was");
    let snapshots: i64 = old.fetch_one("SELECT count(*) FROM living_map_snapshots").await.unwrap().get(0);
    assert_eq!(snapshots, 1);
}

async fn indexes(connection: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT indexname::text FROM pg_indexes WHERE tablename IN ('living_map_history', 'living_map_snapshots') ORDER BY 1";
    connection.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn existing_indexes_are_not_created_again() {
    let (url, mut old) = old_database().await;
    let mut expected = indexes(&mut old).await;
    // tables that the replaced service does not have
    let new =
        ["history_adopted_idx", "history_entity_id_timestamp_idx", "history_position_key", "snapshots_position_key"];
    expected.extend(new.map(|name| format!("living_map_{name}")));
    expected.sort();
    open(&url, &HistoryConfig::default()).await;
    assert_eq!(indexes(&mut old).await, expected);
    open(&url, &HistoryConfig::default()).await;
    assert_eq!(indexes(&mut old).await, expected, "opening again changes nothing");
}

#[tokio::test]
async fn a_new_database_gets_the_same_tables() {
    let url = database().await;
    open(&url, &HistoryConfig::default()).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    assert_eq!(
        indexes(&mut connection).await,
        [
            "living_map_history_adopted_idx",
            "living_map_history_entity_id_timestamp_idx",
            "living_map_history_entity_type_idx",
            "living_map_history_pkey",
            "living_map_history_position_key",
            "living_map_history_source_service_idx",
            "living_map_history_timestamp_idx",
            "living_map_history_type_timestamp_idx",
            "living_map_snapshots_generated_at_idx",
            "living_map_snapshots_pkey",
            "living_map_snapshots_position_key",
        ]
    );
    connection.execute("SELECT cleanup_living_map_history()").await.unwrap();
}

#[tokio::test]
async fn replicas_that_start_together_migrate_once() {
    let (url, mut old) = old_database().await;
    let config = HistoryConfig::default();
    let histories = futures::future::join_all((0..4).map(|_| open(&url, &config))).await;
    for history in histories {
        assert_eq!(records(&*history).await.len(), 7);
    }
    let migrations: i64 = old.fetch_one("SELECT count(*) FROM living_map_migrations").await.unwrap().get(0);
    let files = std::fs::read_dir("migrations/postgres").unwrap().count();
    assert_eq!(usize::try_from(migrations).unwrap(), files);
}

#[tokio::test]
async fn snapshots_of_the_replaced_service_are_listed_and_kept() {
    let (url, _old) = old_database().await;
    let snapshots = history::open(&url, &HistoryConfig::default()).await.unwrap().snapshots;
    assert_eq!(
        SnapshotRetention { last: 0, ..SnapshotRetention::default() }
            .apply(&*snapshots, DateTime::<Utc>::MAX_UTC)
            .await
            .unwrap(),
        0
    );
    let page = snapshots.list(None, 0, 10).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].cursor), (1, None));
    let data = snapshots.get(page.items[0].id).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&data).unwrap(), json!({"layers": {}}));
}

/// An event of the log, as received by NATS.
fn received(seq: u64, at: DateTime<Utc>, subject: &str, body: &str) -> LogEntry {
    let cursor = Cursor { epoch: Epoch(5), seq };
    envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at: at })
}

/// Writes a row as the replaced service does.
async fn write_old(old: &mut PgConnection, at: DateTime<Utc>, subject: &str, payload: &str) {
    let row = sqlx::query(
        "INSERT INTO living_map_history (timestamp, event_type, payload, source_service) VALUES ($1, $2, $3::jsonb, 'old')",
    );
    row.bind(at).bind(subject).bind(payload).execute(old).await.unwrap();
}

/// Rows of a subject without and with a position in a log.
async fn rows_of(old: &mut PgConnection, subject: &str) -> (i64, i64) {
    let sql = "SELECT count(*) FILTER (WHERE seq IS NULL), count(seq) FROM living_map_history WHERE event_type = $1";
    let row = sqlx::query(sql).bind(subject).fetch_one(old).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn an_event_that_both_services_wrote_is_one_row() {
    let (url, mut old) = old_database().await;
    let history = open(&url, &HistoryConfig::default()).await;
    let start: DateTime<Utc> = "2026-11-29T10:00:00Z".parse().unwrap();
    let at = |millis| start + TimeDelta::milliseconds(millis);
    let metrics = r#"{"node_id": "node:03", "cpu": 1.0, "n": [1e2, "\u00e9"], "gpu": null}"#;
    let envelope = r#"{"event_id": "e-1", "event_type": "agent.event.reply_sent", "source": "gateway", "payload": {"tokens_used": 160}, "idempotency_key": "k"}"#;
    for (millis, subject, payload) in [
        // the same JSON, written in another way
        (40, "node.metrics.update", r#"{"gpu": null, "n": [100, "é"], "cpu": 1, "node_id": "node:03"}"#),
        (1_000, "agent.event.reply_sent", envelope),
        // two equal events, and one that only the old service saw
        (2_000, "agent.event.status", r#"{"agent_id": "a"}"#),
        (2_010, "agent.event.status", r#"{"agent_id": "a"}"#),
        (2_020, "agent.event.status", r#"{"agent_id": "b"}"#),
        // within 5 s, and beyond
        (14_990, "agent.event.error", r#"{"agent_id": "a"}"#),
        (30_000, "agent.event.created", r#"{"agent_id": "a"}"#),
    ] {
        write_old(&mut old, at(millis), subject, payload).await;
    }
    let entries = [
        received(1, at(0), "node.metrics.update", metrics),
        received(2, at(1_001), "agent.event.reply_sent", envelope),
        received(3, at(2_001), "agent.event.status", r#"{"agent_id": "a"}"#),
        received(4, at(2_011), "agent.event.status", r#"{"agent_id": "a"}"#),
        received(5, at(2_500), "agent.event.status", r#"{"agent_id": "a"}"#),
        received(6, at(10_000), "agent.event.error", r#"{"agent_id": "a"}"#),
        received(7, at(24_999), "agent.event.created", r#"{"agent_id": "a"}"#),
        received(8, at(26_000), "agent.event.created", r#"{"agent_id": "x"}"#),
    ];
    // in two batches, the second one delivered twice
    let written = history.write_after_absence(&entries[..4]).await.unwrap();
    assert_eq!((written.inserted, written.duplicates, written.paired), (4, 0, 4));
    for paired in [1, 0] {
        let written = history.write_after_absence(&entries[3..]).await.unwrap();
        assert_eq!(written.paired, paired);
    }
    for (subject, rows) in [
        ("node.metrics.update", (1, 1)),
        ("agent.event.reply_sent", (0, 1)),
        ("agent.event.status", (2, 3)),
        ("agent.event.error", (0, 1)),
        ("agent.event.created", (1, 2)),
    ] {
        assert_eq!(rows_of(&mut old, subject).await, rows, "{subject}");
    }
    let stored = history.read_log(Epoch(5), 0, 100).await.unwrap();
    assert_eq!(stored, entries, "the rows are ours");
}
