//! Cost of a query on a large table: the number of rows that `PostgreSQL` reads for it.

use chrono::DateTime;
use living_map::history::{HistoryConfig, HistoryQuery, PagePosition};
use living_map::model::EntityType;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use uuid::Uuid;

use super::open;
use crate::support::postgres::database;
use crate::support::wait::until;

const ROWS: i64 = 100_000;

/// Half the rows are about one agent, the others about a thousand; two of them are about `agent:rare`.
const FILL: &str = r#"
INSERT INTO living_map_history
    (id, "timestamp", event_type, payload, source_service, entity_id, entity_type, epoch, seq, logged_at)
SELECT gen_random_uuid(), to_timestamp(n), (ARRAY['usage.llm', 'agent.event.status', 'dao.event.updated'])[1 + n % 3],
    '{}', (ARRAY['usage', 'agents', 'dao'])[1 + n % 3],
    CASE WHEN n IN (7, 8) THEN 'agent:rare' WHEN n % 2 = 0 THEN 'agent:busy' ELSE 'agent:' || n % 1000 END,
    CASE WHEN n % 3 = 2 THEN 'dao' ELSE 'agent' END, 1, n, now()
FROM generate_series(1, $1::bigint) AS n"#;

/// Rows of the table that were read so far, by all connections.
async fn rows_read(connection: &mut PgConnection) -> i64 {
    let sql = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'living_map_history'";
    connection.fetch_one(sql).await.unwrap().get::<Option<i64>, _>(0).unwrap_or_default()
}

/// Waits until there is no other connection: the server counts the rows that a connection read when it ends.
async fn alone(url: &str) -> PgConnection {
    until("the other connections to end", || async {
        let mut connection = PgConnection::connect(url).await.ok()?;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND backend_type IN ('client backend', 'parallel worker')";
        let connected: i64 = connection.fetch_one(sql).await.ok()?.get(0);
        (connected == 1).then_some(connection)
    })
    .await
}

#[tokio::test]
async fn a_page_and_its_total_do_not_scan_the_table() {
    let url = database().await;
    let config = HistoryConfig { count_cap: 1_000, ..HistoryConfig::default() };
    open(&url, &config).await.close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::query(FILL).bind(ROWS)).await.unwrap();
    connection.execute("VACUUM ANALYZE living_map_history").await.unwrap();
    connection.close().await.unwrap();

    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let middle = DateTime::from_timestamp(ROWS / 2, 0).unwrap();
    let all = HistoryQuery { limit: 1, ..HistoryQuery::default() };
    let questions = [
        ("all", all.clone()),
        ("since", HistoryQuery { since: Some(middle), ..all.clone() }),
        ("until", HistoryQuery { until: Some(middle), ..all.clone() }),
        ("after", HistoryQuery { after: Some(PagePosition { timestamp: middle, id: Uuid::nil() }), ..all.clone() }),
        ("type", HistoryQuery { event_type: Some("usage.llm".parse().unwrap()), ..all.clone() }),
        ("family", HistoryQuery { event_type: Some("usage.>".parse().unwrap()), ..all.clone() }),
        ("no such type", HistoryQuery { event_type: Some("usage.x".parse().unwrap()), ..all.clone() }),
        ("no such shape", HistoryQuery { event_type: Some("*.event.x".parse().unwrap()), ..all.clone() }),
        ("a shape of some", HistoryQuery { event_type: Some("*.event.*".parse().unwrap()), ..all.clone() }),
        ("no such end", HistoryQuery { event_type: Some("agent.*.x".parse().unwrap()), ..all.clone() }),
        ("entity type", HistoryQuery { entity_type: Some(EntityType::Dao), ..all.clone() }),
        ("no such entity type", HistoryQuery { entity_type: Some(EntityType::City), ..all.clone() }),
        ("source", HistoryQuery { source_service: Some("usage".into()), ..all.clone() }),
        ("no such source", HistoryQuery { source_service: Some("x".into()), ..all.clone() }),
        ("busy entity", HistoryQuery { entity_ids: names(&["agent:busy"]), ..all.clone() }),
        ("rare entity", HistoryQuery { entity_ids: names(&["agent:rare"]), ..all.clone() }),
        ("no such entity", HistoryQuery { entity_ids: names(&["agent:x"]), ..all.clone() }),
        ("names of a rare entity", HistoryQuery { entity_ids: names(&["agent:rare", "rare", "u1"]), ..all.clone() }),
        ("names of a busy entity", HistoryQuery { entity_ids: names(&["agent:busy", "busy"]), ..all.clone() }),
        (
            "names of an entity since",
            HistoryQuery { entity_ids: names(&["agent:busy", "agent:rare"]), since: Some(middle), ..all.clone() },
        ),
    ];
    for (name, query) in questions {
        let before = rows_read(&mut alone(&url).await).await;
        let history = open(&url, &config).await;
        history.query(&query).await.unwrap();
        history.close().await;
        let read = rows_read(&mut alone(&url).await).await - before;
        assert!(read <= ROWS / 10, "{name}: {read} of {ROWS} rows");
    }
}
