//! A cluster of NATS servers with replicated streams: the loss of one of them is not noticed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::daemon::free_port;
use super::support::nats::NatsServer;
use super::support::postgres::Postgres;
use super::support::process::Process;
use super::support::wait::until;

/// Three servers that know each other.
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

/// Publishes until the server has taken it; the same event once, however often it is sent.
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
    let nobody = "http://127.0.0.1:9";
    let server = Process::serve(&[
        ("NATS_URL", &urls),
        ("NATS_STREAM_REPLICAS", "3"),
        ("DATABASE_URL", &postgres.url()),
        ("AGENTS_SERVICE_URL", nobody),
        ("MICRODAO_SERVICE_URL", nobody),
        ("DAO_SERVICE_URL", nobody),
        ("USAGE_ENGINE_URL", nobody),
        ("CITY_SERVICE_URL", nobody),
        ("SPACE_SERVICE_URL", nobody),
    ])
    .await;
    let mut number = 0;
    for lost in &mut nats {
        for _ in 0..20 {
            publish(&server, number).await;
            number += 1;
        }
        // one of the three is the stream's leader, and one is what our server is connected to
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
        let held: BTreeSet<u64> = items.iter().filter_map(|item| item["payload"]["n"].as_u64()).collect();
        assert!(items.len() <= wanted.len(), "an event is in history twice");
        (held == wanted).then_some(())
    })
    .await;
}
