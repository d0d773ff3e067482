//! A cluster of NATS servers with replicated streams tolerates the loss of one of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::daemon::free_port;
use super::support::nats::NatsServer;
use super::support::postgres::Postgres;
use super::support::process::Process;
use super::support::wait::until;

/// A cluster of three servers.
async fn cluster() -> Vec<NatsServer> {
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
    let mut servers = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let more = format!(
            "server_name: n{number}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
        );
        servers.push(NatsServer::start_with(&more).await);
    }
    servers
}

/// Publishes an event until it is accepted; retries are recognised as duplicates.
async fn publish(server: &Process, number: u64) {
    let event = serde_json::json!({
        "event_type": "agent.event.status", "event_id": format!("n{number}"), "source": "test",
        "payload": {"agent_id": "agent:sofia", "status": "online", "n": number},
    });
    until("the event to be accepted", || async {
        let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.ok()?;
        let body: Value = answer.json().await.ok()?;
        matches!(body["results"][0]["status"].as_str(), Some("accepted" | "duplicate")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_any_one_nats_server_loses_no_event() {
    let (mut nats, postgres) = (cluster().await, Postgres::start().await);
    let urls = nats.iter().map(NatsServer::url).collect::<Vec<_>>().join(",");
    let unreachable = "http://127.0.0.1:9";
    let server = Process::serve(&[
        ("NATS_URL", &urls),
        ("NATS_STREAM_REPLICAS", "3"),
        ("DATABASE_URL", &postgres.url()),
        ("AGENTS_SERVICE_URL", unreachable),
        ("MICRODAO_SERVICE_URL", unreachable),
        ("DAO_SERVICE_URL", unreachable),
        ("USAGE_ENGINE_URL", unreachable),
        ("CITY_SERVICE_URL", unreachable),
        ("SPACE_SERVICE_URL", unreachable),
    ])
    .await;
    let mut number = 0;
    for lost in &mut nats {
        for _ in 0..20 {
            publish(&server, number).await;
            number += 1;
        }
        // one of the three leads the stream, and the server under test is connected to one
        lost.kill();
        for _ in 0..20 {
            publish(&server, number).await;
            number += 1;
        }
        lost.restart().await;
    }
    let wanted: BTreeSet<u64> = (0..number).collect();
    until("history to hold each event", || async {
        let url = server.url("/living-map/history?event_type=agent.event.status&limit=1000");
        let page: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        let items = page["items"].as_array()?;
        let stored: BTreeSet<u64> = items.iter().filter_map(|item| item["payload"]["n"].as_u64()).collect();
        assert!(items.len() <= wanted.len(), "an event is in history twice");
        (stored == wanted).then_some(())
    })
    .await;
}
