//! Swapping back and forth: the replaced service runs for a while, writes rows into the same table, and the stream captures
//! the same events.

use std::time::{Duration, Instant};

use async_nats::Client;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const OLD_SCHEMA: &str = include_str!("../fixtures/old_schema.sql");

/// A network with a database that both services use.
struct Network {
    client: Client,
    old: PgConnection,
    server: Process,
    _nats: NatsServer,
}

impl Network {
    /// Starts our server, so that the stream exists.
    async fn start() -> Self {
        let (nats, database) = (NatsServer::start().await, postgres::database().await);
        let mut old = PgConnection::connect(&database).await.unwrap();
        old.execute(AssertSqlSafe(OLD_SCHEMA)).await.unwrap();
        let nats_url = nats.url();
        let server = Process::serve(&[("DATABASE_URL", &database), ("NATS_URL", &nats_url)]).await;
        let network = Self { client: nats.client().await, old, server, _nats: nats };
        until("the server to follow the stream", || async {
            (network.ready().await?["checks"]["map"]["following"] == "current").then_some(())
        })
        .await;
        network
    }

    /// Publishes messages as the network's services do; returns their times.
    async fn publish(&self, messages: &[(&'static str, Value)]) -> Vec<DateTime<Utc>> {
        let mut times = Vec::new();
        for (subject, payload) in messages {
            self.client.publish(*subject, payload.to_string().into()).await.unwrap();
            times.push(Utc::now());
        }
        self.client.flush().await.unwrap();
        times
    }

    /// Writes the rows of messages that the replaced service received.
    async fn write_old(&mut self, messages: &[(&'static str, Value)], times: &[DateTime<Utc>]) {
        let subjects: Vec<&str> = messages.iter().map(|(subject, _)| *subject).collect();
        let payloads: Vec<Value> = messages.iter().map(|(_, payload)| payload.clone()).collect();
        sqlx::query(
            "INSERT INTO living_map_history (timestamp, event_type, payload, source_service)
             SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::jsonb[]), (VALUES ('old')) AS source",
        )
        .bind(times)
        .bind(subjects)
        .bind(payloads)
        .execute(&mut self.old)
        .await
        .unwrap();
    }

    /// Rows of the network's events without a position in a log, with one, and different positions.
    async fn rows(&mut self) -> (i64, i64, i64) {
        let sql = "SELECT count(*) FILTER (WHERE seq IS NULL), count(seq), count(DISTINCT seq) FROM living_map_history
            WHERE source_service = 'old' OR seq IS NOT NULL AND event_type NOT LIKE 'living_map.%'";
        let row = self.old.fetch_one(sql).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    async fn ready(&self) -> Option<Value> {
        reqwest::get(self.server.url("/living-map/ready")).await.ok()?.json().await.ok()
    }

    /// Waits until a transaction pairs rows.
    async fn pairing(&mut self) {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND granted AND query LIKE '%unnest%' AND datname = current_database()";
        let end = Instant::now() + PATIENCE;
        while self.old.fetch_one(sql).await.unwrap().get::<i64, _>(0) == 0 {
            assert!(Instant::now() < end, "the history writer pairs nothing");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the history has all events of the log.
    async fn caught_up(&self) {
        until("the history writer to catch up", || async {
            let ready = self.ready().await?;
            let writer = &ready["checks"]["writer"];
            (writer["lag"] == 0 && writer["last_success"].is_string()).then_some(())
        })
        .await;
    }
}

fn status(agent: &str, number: usize) -> (&'static str, Value) {
    ("agent.event.status", json!({"agent_id": agent, "status": "online", "number": number}))
}

#[tokio::test]
async fn an_event_that_both_services_saw_is_in_the_table_once() {
    let mut network = Network::start().await;
    network.publish(&[status("agent:before", 0)]).await;
    until("the first event in the history", || async {
        let page = reqwest::get(network.server.url("/living-map/history?entity_id=agent:before")).await.ok()?;
        (page.json::<Value>().await.ok()?["total"] == 1).then_some(())
    })
    .await;
    assert!(network.server.stop().await.success());

    let seen = [
        status("agent:a", 1),
        // equal events are as many rows
        status("agent:b", 2),
        status("agent:b", 2),
        ("node.metrics.update", json!({"node_id": "node:03", "cpu": 0.91, "ts": "2026-11-21T00:10:08+00:00"})),
        ("usage.agent.invocation", json!({"event_id": "inv-1", "agent_id": "agent:a", "success": true})),
        // the replaced service does not read envelopes
        (
            "agent.event.reply_sent",
            json!({"event_id": "env-1", "event_type": "agent.event.reply_sent", "source": "gateway",
                "timestamp": "2026-11-21T00:10:40Z", "payload": {"agent_id": "agent:a", "tokens_used": 160}}),
        ),
    ];
    let times = network.publish(&seen).await;
    network.write_old(&seen, &times).await;
    network.write_old(&[status("agent:only-old", 3)], &[Utc::now()]).await;
    network.publish(&[status("agent:only-ours", 4)]).await;

    network.server.restart().await;
    network.caught_up().await;
    let expected = i64::try_from(seen.len()).unwrap() + 2;
    until("all events in the history", || async {
        let page = reqwest::get(network.server.url("/living-map/history?limit=100")).await.ok()?;
        let page: Value = page.json().await.ok()?;
        let ours = page["items"].as_array()?.iter().filter(|item| item["cursor"].is_string());
        (i64::try_from(ours.count()).unwrap() >= expected).then_some(())
    })
    .await;
    assert_eq!(network.rows().await, (1, expected, expected));
    let sql =
        "SELECT timestamp, source_service, entity_id, payload, envelope IS NOT NULL OR idempotency_key IS NOT NULL
        FROM living_map_history WHERE event_type = 'agent.event.reply_sent'";
    let reply = network.old.fetch_one(sql).await.unwrap();
    assert_eq!(reply.get::<DateTime<Utc>, _>(0).to_rfc3339(), "2026-11-21T00:10:40+00:00", "the producer's time");
    assert_eq!((reply.get::<&str, _>(1), reply.get::<&str, _>(2)), ("gateway", "agent:a"));
    assert_eq!(reply.get::<Value, _>(3), json!({"agent_id": "agent:a", "tokens_used": 160}));
    let metrics = reqwest::get(network.server.url("/metrics")).await.unwrap().text().await.unwrap();
    let paired = metrics.lines().find(|line| line.starts_with("living_map_history_paired_total"));
    assert_eq!(paired, Some(&*format!("living_map_history_paired_total {}", seen.len())));

    // from now on it is the only one
    network.publish(&[status("agent:a", 1)]).await;
    until("the next event in the history", || async {
        let page = reqwest::get(network.server.url("/living-map/history?entity_id=agent:a&limit=100")).await.ok()?;
        let page: Value = page.json().await.ok()?;
        (page["items"].as_array()?.iter().filter(|item| item["payload"]["number"] == 1).count() == 2).then_some(())
    })
    .await;
}

/// Killed at random moments of the catch-up. Prints its seed.
#[tokio::test]
async fn kill_9_during_the_catch_up_pairs_each_row_once() {
    let seed = std::env::var("REPLAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("REPLAY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut network = Network::start().await;
    assert!(network.server.stop().await.success());
    // every content three times, of which the replaced service missed some
    let mut missed = 0;
    for round in 0..5 {
        let messages: Vec<_> = (0..1_200).map(|number| status("agent:a", round * 400 + number / 3)).collect();
        let times = network.publish(&messages).await;
        let (seen, seen_at): (Vec<_>, Vec<_>) =
            messages.into_iter().zip(times).filter(|_| random.random_bool(0.9)).unzip();
        missed += 1_200 - seen.len();
        network.write_old(&seen, &seen_at).await;
    }
    assert!(missed > 0);
    for kill in 0..4 {
        network.server.restart().await;
        if kill % 2 == 0 {
            network.pairing().await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        network.server.kill();
    }
    network.server.restart().await;
    until("all events in the history", || async {
        let page = reqwest::get(network.server.url("/living-map/history?event_type=agent.event.status&limit=1")).await;
        (page.ok()?.json::<Value>().await.ok()?["total"].as_u64()? >= 6_000).then_some(())
    })
    .await;
    network.caught_up().await;
    assert_eq!(network.rows().await, (0, 6_000, 6_000));
    // the adopted table has a row of another agent
    let sql = "SELECT count(*) FROM (SELECT payload FROM living_map_history WHERE payload ->> 'agent_id' = 'agent:a'
        GROUP BY payload HAVING count(*) <> 3) AS odd";
    let odd: i64 = network.old.fetch_one(sql).await.unwrap().get(0);
    assert_eq!(odd, 0, "each content is there as often as it was published");
}
