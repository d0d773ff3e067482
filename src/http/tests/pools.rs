//! Pools that clients share.

use std::net::IpAddr;

use axum::extract::ConnectInfo;

use super::*;
use crate::access::shares::{Client, QueueConfig};

fn with_config(change: impl FnOnce(&mut HttpConfig), services: &mut Services) {
    change(&mut services.config);
    services.pools = HttpPools::new(&services.config, Vec::new());
}

async fn ask(router: &Router, request: axum::http::request::Builder, body: Body, from: [u8; 4]) -> StatusCode {
    let from: std::net::SocketAddr = (from, 4711).into();
    let request = request.extension(ConnectInfo(from)).body(body).unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

fn address(from: [u8; 4]) -> Client {
    Client::new(None, IpAddr::from(from))
}

#[tokio::test]
async fn one_client_cannot_take_all_database_queries() {
    let mut services = services_with_map().await;
    with_config(
        |config| {
            config.queries = 2;
            config.queue = QueueConfig { wait: Duration::ZERO, ..QueueConfig::default() };
        },
        &mut services,
    );
    let pools = services.pools.clone();
    let router = router(AppState::from(services)).unwrap();
    let history = || Request::get("/living-map/history");
    let (one, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let held = pools.query(address(one)).await.unwrap();
    assert_eq!(ask(&router, history(), Body::empty(), one).await, 503, "the last slot is for others");
    assert_eq!(ask(&router, history(), Body::empty(), other).await, 200);
    let entities = Request::get("/living-map/entities");
    assert_eq!(ask(&router, entities, Body::empty(), one).await, 200, "the map needs no database");
    drop(held);
    assert_eq!(ask(&router, history(), Body::empty(), one).await, 200);
}

#[tokio::test]
async fn unfinished_bodies_of_one_client_leave_room_for_others() {
    let mut services = services_with_map().await;
    with_config(
        |config| {
            config.max_body_bytes = 1_000;
            config.bodies_bytes = 3_000;
            config.queue = QueueConfig { wait: Duration::ZERO, ..QueueConfig::default() };
        },
        &mut services,
    );
    let pools = services.pools.clone();
    let router = router(AppState::from(services)).unwrap();
    let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:x"}}).to_string();
    let publish = || Request::post("/living-map/events").header("content-type", "application/json");
    let (one, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let unfinished = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let arriving: Vec<_> = (0..2)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { ask(&router, publish(), unfinished(), one).await })
        })
        .collect();
    while pools.usage().all(|pool| pool.name != "bodies" || pool.in_use < 2_000) {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&router, publish(), unfinished(), one).await, 503, "a third one has no room");
    assert_eq!(ask(&router, publish(), Body::from(event), other).await, 200);
    arriving.iter().for_each(tokio::task::JoinHandle::abort);
    for ended in arriving {
        assert!(ended.await.unwrap_err().is_cancelled());
    }
    assert_eq!(pools.usage().find(|pool| pool.name == "bodies").map(|pool| pool.in_use), Some(0));
}

#[tokio::test]
async fn a_small_body_of_many_values_counts_as_their_memory() {
    let mut services = services_with_map().await;
    with_config(
        |config| {
            config.parsed_bytes = 400_000;
            config.queue = QueueConfig { wait: Duration::ZERO, ..QueueConfig::default() };
        },
        &mut services,
    );
    let pools = services.pools.clone();
    let router = router(AppState::from(services)).unwrap();
    let publish = || Request::post("/living-map/events").header("content-type", "application/json");
    let event = |values: usize| {
        let payload = vec![json!({"": 0}); values];
        Body::from(
            json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:x", "of": payload}}).to_string(),
        )
    };
    let (one, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    assert_eq!(ask(&router, publish(), event(1_000), one).await, 413, "8 kB of text are 800 kB of values");
    assert_eq!(ask(&router, publish(), event(10), one).await, 200);
    let _held = pools.parsed_body(address(one), 195_000).await.unwrap();
    assert_eq!(ask(&router, publish(), event(10), one).await, 503, "a client has at most half");
    assert_eq!(ask(&router, publish(), event(10), other).await, 200);
    let used = pools.usage().find(|pool| pool.name == "parsed_bodies").map(|pool| pool.in_use);
    assert_eq!(used, Some(195_000), "the memory is free again after the answer");
}
