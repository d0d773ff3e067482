//! Leader changes while experiences arrive: no lesson is lost or learned twice.

use std::collections::BTreeSet;

use async_nats::jetstream::consumer::{Consumer, pull};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::live::{DURABLE, burst, get, publish};
use crate::support::nats::NatsServer;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

/// Index of the server that learns; none while none or several report that they do.
async fn leader(servers: &[Process]) -> Option<usize> {
    let mut leading = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let Ok(answer) = reqwest::get(server.url("/living-map/ready")).await else { continue };
        let ready: Value = answer.json().await.ok()?;
        if ready["checks"]["lease"]["role"] == "leading" && ready["checks"]["learner"]["status"] == "ok" {
            leading.push(index);
        }
    }
    <[usize; 1]>::try_from(leading).ok().map(|[leader]| leader)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lesson_is_learned_once_over_leader_changes() {
    const AGENTS: usize = 60;
    let (nats, url) = (NatsServer::start().await, database().await);
    let nats_url = nats.url();
    let environment = [
        ("DATABASE_URL", &*url),
        ("NATS_URL", &*nats_url),
        ("EXPERIENCE_ACK_WAIT_SECONDS", "1"),
        ("EXPERIENCE_FETCH_BATCH", "4"),
        ("LEASE_SECONDS", "2"),
    ];
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Process::start(&["serve"], &environment).await);
    }
    let client = nats.client().await;
    let mut led = BTreeSet::new();
    let bursts: Vec<Vec<Value>> = (0..AGENTS).map(|agent| burst(&format!("agent:{agent:02}"))).collect();
    // three bursts overlap at any time
    for step in 0..AGENTS + 2 {
        // a kill, a planned stop, a kill, with unacknowledged experiences and more to come
        if [10, 25, 40].contains(&step) {
            let leader = until("one server to learn", || leader(&servers)).await;
            led.insert(leader);
            if step == 25 {
                assert!(servers[leader].stop().await.success());
            } else {
                servers[leader].kill();
            }
        } else if [20, 35, 50].contains(&step) {
            until("the other one to learn", || leader(&servers)).await;
            for server in &mut servers {
                if reqwest::get(server.url("/living-map/health")).await.is_err() {
                    server.restart().await;
                }
            }
        }
        for number in 0..3 {
            if let Some(burst) = step.checked_sub(number).and_then(|agent| bursts.get(agent)) {
                publish(&client, &burst[number..=number]).await;
            }
        }
    }
    assert_eq!(led.len(), 2, "both servers have learned");
    let jetstream = async_nats::jetstream::new(client);
    until("every experience to be acknowledged", || async {
        let mut consumer: Consumer<pull::Config> =
            jetstream.get_consumer_from_stream(DURABLE, "EXPERIENCE").await.ok()?;
        let info = consumer.info().await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let sql = "SELECT rule, agent_id, count(*), count(DISTINCT lesson_key) FROM agent_lessons GROUP BY 1, 2";
    let rows = connection.fetch_all(sql).await.unwrap();
    let mut agents = BTreeSet::new();
    for row in &rows {
        let (rule, agent): (String, Option<String>) = (row.get(0), row.get(1));
        assert_eq!((row.get::<i64, _>(2), row.get::<i64, _>(3)), (1, 1), "{rule} of {agent:?}");
        match agent {
            Some(agent) => assert!(rule == "error_burst" && agents.insert(agent), "{rule}"),
            None => assert_eq!(rule, "shared_cause"),
        }
    }
    assert_eq!((agents.len(), rows.len()), (AGENTS, AGENTS + 1), "one of each agent, and their shared cause");

    // an operator sees one lesson, which leads to those of the agents
    let server = &servers[until("one server to learn", || leader(&servers)).await];
    let lines = get(server, "/living-map/lessons?cause=none").await["items"].clone();
    let [cause] = &lines.as_array().unwrap()[..] else { panic!("{lines}") };
    assert_eq!(
        (&cause["rule"], &cause["effects"], &cause["cause"]),
        (&json!("shared_cause"), &json!(AGENTS), &json!(null))
    );
    let key = cause["lesson_key"].as_str().unwrap();
    let effects = get(server, &format!("/living-map/lessons?cause={key}&limit=500")).await["items"].clone();
    let effects = effects.as_array().unwrap();
    assert!(effects.len() == AGENTS && effects.iter().all(|effect| effect["cause"] == key), "{effects:?}");
}
