//! A replica of the previous release beside one of this.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::fixture::previous_binary;
use super::recorded::get;
use crate::faults::{Publisher, environment, numbers_in_history};
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::roaming_client::{RoamingClient, Transport};
use crate::support::wait::until;

async fn layers(server: &Process, cursor: &str) -> Option<Value> {
    let snapshot = get(server, "/living-map/snapshot").await?;
    (snapshot["meta"]["cursor"] == cursor).then(|| snapshot["layers"].clone())
}

/// Clients go back and forth between the two with their cursors while either is stopped or killed, so that the lease changes
/// hands between releases: every client gets the same frames, history has each event once, and both show the same map.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binary that PREVIOUS_BIN names: make test-update"]
async fn both_releases_serve_one_stream_and_one_map() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = environment(&[("NATS_URL", &*nats_url), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", "2")]);
    let previous = Process::start_program(previous_binary(), &["serve"], &settings).await;
    let mut replicas = [previous, Process::serve(&settings).await];
    for replica in &replicas {
        until("both to have a map", || async { get(replica, "/living-map/snapshot").await }).await;
    }
    let urls: Vec<String> = replicas.iter().map(|replica| replica.url("")).collect();
    let clients: Vec<RoamingClient> = (0..6)
        .map(|number| {
            let transport = if number % 2 == 0 { Transport::WebSocket } else { Transport::Sse };
            RoamingClient::start(urls.clone(), transport, random.random())
        })
        .collect();
    for client in &clients {
        until("every client to begin", || async { client.seen().began_at }).await;
    }
    let publisher = Publisher::to_nats(nats_url);
    for round in 0..8 {
        for client in &clients {
            publisher.publishes(10).await;
            client.move_on();
        }
        let replica = &mut replicas[round % 2];
        if round < 4 {
            assert!(replica.stop().await.success());
        } else {
            replica.kill();
        }
        publisher.publishes(random.random_range(1..150)).await;
        replica.restart().await;
    }
    publisher.publishes(40).await;
    let acknowledged = publisher.stop().await;

    let numbers = until("history to hold every acknowledged event", || async {
        let numbers = numbers_in_history(&replicas[0]).await?;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len(), "an event is in history twice");
        (0..acknowledged).all(|number| distinct.contains(&number)).then_some(numbers)
    })
    .await;
    let mut frames = Vec::new();
    for client in &clients {
        let seen = until("every client to have every event", || async {
            let seen = client.seen();
            (seen.events.len() >= numbers.len() || !seen.resyncs.is_empty()).then_some(seen)
        })
        .await;
        assert_eq!(seen.resyncs, [""; 0], "a client was not resumed");
        frames.push(seen.events);
    }
    assert!(frames.windows(2).all(|pair| pair[0] == pair[1]), "clients got different frames");
    let end = frames[0].last().expect("there are events").0.to_string();
    let [of_previous, of_this] = [&replicas[0], &replicas[1]];
    let map = until("the previous release's map", || layers(of_previous, &end)).await;
    assert_eq!(until("this release's map", || layers(of_this, &end)).await, map);
}
