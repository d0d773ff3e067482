//! Rows of the replaced service get the entity that their payload names, in the background.

use std::fmt::Write;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const OLD_SCHEMA: &str = include_str!("../fixtures/old_schema.sql");

/// A table of the replaced service with `rows` rows, one a minute, of four kinds in turn: microDAO events with the type of a
/// DAO, node and message events, and agent events. Only the last have an entity.
async fn old_database(rows: u32) -> (String, PgConnection) {
    let url = postgres::database().await;
    let mut old = PgConnection::connect(&url).await.unwrap();
    old.execute(AssertSqlSafe(OLD_SCHEMA)).await.unwrap();
    old.execute("DELETE FROM living_map_history WHERE event_type IS DISTINCT FROM 'living_map.initialized'")
        .await
        .unwrap();
    add_rows(&mut old, 0, rows).await;
    (url, old)
}

async fn add_rows(old: &mut PgConnection, from: u32, to: u32) {
    let mut sql = String::from(
        "INSERT INTO living_map_history (timestamp, event_type, payload, source_service, entity_id, entity_type) VALUES ",
    );
    for number in from..to {
        let (event_type, payload, entity) = match number % 4 {
            0 => ("microdao.event.updated", format!(r#"{{"microdao_id": "{number}", "slug": "s"}}"#), "NULL, 'dao'"),
            1 => ("node.metrics.update", format!(r#"{{"node_id": "node:{number}", "cpu": 0.5}}"#), "NULL, 'node'"),
            2 => ("messaging.message.created", format!(r#"{{"channel_id": "c{number}"}}"#), "NULL, NULL"),
            _ => ("agent.event.status", format!(r#"{{"agent_id": "agent:{number}"}}"#), "'agent:own', 'agent'"),
        };
        let comma = if number > from { "," } else { "" };
        let time = format!("timestamptz '2026-11-01 00:00:00+00' + {number} * interval '1 minute'");
        write!(sql, "{comma} ({time}, '{event_type}', '{payload}', 'old', {entity})").unwrap();
    }
    old.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn check(server: &Process) -> Option<Value> {
    let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
    Some(ready["checks"]["adopted_rows"].clone())
}

async fn complete(server: &Process) -> Value {
    until("the adopted rows to be complete", || async {
        check(server).await.filter(|check| check["status"] == "complete")
    })
    .await
}

/// Rows by entity: `(type, with an id)` and their number.
async fn entities(old: &mut PgConnection) -> Vec<(String, bool, i64)> {
    let sql = "SELECT coalesce(entity_type, ''), entity_id IS NOT NULL, count(*) FROM living_map_history
        WHERE event_type <> 'living_map.initialized' GROUP BY 1, 2 ORDER BY 1, 2";
    let rows = old.fetch_all(sql).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn of_each_kind(number: i64) -> Vec<(String, bool, i64)> {
    ["agent", "channel", "microdao", "node"].map(|kind| (kind.to_owned(), true, number)).to_vec()
}

/// Number of examined rows in the metrics of a process.
async fn examined(server: &Process) -> f64 {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let values = metrics.lines().filter(|line| line.starts_with("living_map_adopted_rows_total"));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn microdao_rows_of_the_replaced_service_have_their_entity() {
    let (url, mut old) = old_database(400).await;
    let mut server = Process::serve(&[("DATABASE_URL", &url)]).await;
    let done = complete(&server).await;
    assert_eq!((done["examined"].as_u64(), done["completed"].as_u64()), (Some(401), Some(300)), "{done}");
    assert_eq!(entities(&mut old).await, of_each_kind(100));
    let page = reqwest::get(server.url("/living-map/history?entity_id=microdao:8&entity_type=microdao")).await.unwrap();
    let page: Value = page.json().await.unwrap();
    assert_eq!((&page["total"], &page["items"][0]["payload"]["microdao_id"]), (&1.into(), &"8".into()), "{page}");
    // an entity that a row has is not replaced
    let own: i64 = sqlx::query_scalar("SELECT count(*) FROM living_map_history WHERE entity_id = 'agent:own'")
        .fetch_one(&mut old)
        .await
        .unwrap();
    assert_eq!(own, 100);

    // the next start examines the last ten minutes and what was written meanwhile
    assert!(server.stop().await.success());
    add_rows(&mut old, 400, 440).await;
    server.restart().await;
    let done = complete(&server).await;
    assert_eq!((done["examined"].as_u64(), done["completed"].as_u64()), (Some(441), Some(330)), "{done}");
    assert!(examined(&server).await <= 51.0, "{}", examined(&server).await);
    assert_eq!(entities(&mut old).await, of_each_kind(110));
}

#[tokio::test]
async fn completing_rows_continues_after_kill_9() {
    let (url, mut old) = old_database(6_000).await;
    let mut server = Process::serve(&[("DATABASE_URL", &url)]).await;
    until("a part of the rows to be complete", || async {
        check(&server).await?["completed"].as_u64().filter(|completed| *completed > 0)
    })
    .await;
    server.kill();
    let sql = "SELECT examined, completed, (SELECT count(*) FROM living_map_history WHERE entity_id <> 'agent:own') AS named,
        (SELECT count(*) FROM living_map_history AS row WHERE entity_id IS NULL AND event_type <> 'living_map.initialized'
            AND (row.timestamp, row.id) <= (known.timestamp, known.id)) AS behind FROM living_map_adopted_rows AS known";
    let row = old.fetch_one(sql).await.unwrap();
    let (examined_before, completed, named, behind): (i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    assert!(examined_before < 6_000, "killed half way: {examined_before}");
    assert_eq!((completed, behind), (named, 0), "progress and rows are one transaction");
    server.restart().await;
    let done = complete(&server).await;
    assert_eq!((done["examined"].as_u64(), done["completed"].as_u64()), (Some(6_001), Some(4_500)), "{done}");
    assert_eq!(entities(&mut old).await, of_each_kind(1_500));
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let most = (6_001 - examined_before + 11) as f64;
    assert!(examined(&server).await <= most, "it did not begin again: {} of {most}", examined(&server).await);
}
