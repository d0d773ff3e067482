//! Fresh snapshots and streams of a map that follows the log.

use futures::StreamExt;

use super::*;
use crate::adapters::{Endpoint, Endpoints};

#[tokio::test]
async fn a_fresh_snapshot_shows_events_accepted_before_it() {
    let (mut services, log) = (services_with_map().await, Arc::new(FakeLog::default()));
    let endpoints = Endpoints::new(|_| Endpoint::new("http://127.0.0.1:9", None).unwrap());
    let upstreams =
        Upstreams::new(&AdaptersConfig { endpoints, max_retries: 0, ..AdaptersConfig::default() }, &Journal::default())
            .unwrap();
    let config = SyncConfig { min_refresh_gap: Duration::from_hours(1), ..SyncConfig::default() };
    let poller = Poller::new(
        config,
        upstreams,
        services.upstreams.clone(),
        services.live.clone(),
        log.clone(),
        Journal::default(),
    );
    services.refresher = poller.refresher();
    tokio::spawn(poller.run(CancellationToken::new()));
    assert!(services.refresher.refresh(crate::model::Service::ALL, Duration::from_mins(1)).await);

    let (live, hub) = (
        LiveMap::new(LiveConfig::default(), services.upstreams.clone(), Journal::default()),
        Hub::new(HubConfig::default(), Epoch(7)),
    );
    tokio::spawn(live::follow(
        live.clone(),
        log.clone(),
        Arc::new(hub),
        LiveConfig::default(),
        CancellationToken::new(),
    ));
    live.caught_up().await;
    (services.live, services.log) = (live, log.clone());
    let seq = append(&*log).await;
    let request = Request::get("/living-map/snapshot?fresh=true").body(Body::empty()).unwrap();
    let response = call_with(services, request);
    tokio::pin!(response);
    tokio::select! {
        answer = &mut response => panic!("responded {} before the event was folded", answer.status),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    log.readable.send_replace(seq);
    let answer = response.await;
    assert_eq!(answer.headers["x-living-map-cursor"], Cursor { epoch: Epoch(7), seq }.to_string().as_str());
    assert_eq!(answer.json()["layers"]["agents"]["items"][0]["id"], "agent:new");
}

#[tokio::test]
async fn a_client_ahead_of_this_replica_is_waited_for() {
    let (mut services, log) = (services(), Arc::new(FakeLog::default()));
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(7)));
    (services.log, services.streams) = (log.clone(), streams(&hub));
    let never = CancellationToken::new();
    tokio::spawn(live::follow(services.live.clone(), log.clone(), hub, LiveConfig::default(), never));
    services.live.caught_up().await;
    let seq = append(&*log).await;
    let app = router(AppState::from(services)).unwrap();
    let resume = |seq| {
        let uri = format!("/living-map/events/stream?cursor={}", Cursor { epoch: Epoch(7), seq });
        app.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap())
    };
    let began = std::time::Instant::now();
    assert_eq!(resume(seq + 1).await.unwrap().status(), StatusCode::GONE, "no replica has reached this position");
    assert!(began.elapsed() < HttpConfig::default().catch_up_timeout);
    let resumed = resume(seq);
    tokio::pin!(resumed);
    tokio::select! {
        answer = &mut resumed => panic!("responded {} before the replica reached the position", answer.unwrap().status()),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    log.readable.send_replace(seq);
    assert_eq!(resumed.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_does_not_delay_shutdown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (stop, router) = (shutdown.clone(), router(services_with_map().await.into()).unwrap());
    let thread = AcceptThread::start().unwrap();
    let server = tokio::spawn(async move { serve(&thread, listener, router, &HttpConfig::default(), stop).await });
    let url = format!("ws://{address}/living-map/stream?layers=city");
    let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(answer.status(), 101);
    let frame: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(frame["kind"], "snapshot");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn an_invalid_stream_request_returns_a_problem() {
    let get =
        async |uri: &str| call_with(services_with_map().await, Request::get(uri).body(Body::empty()).unwrap()).await;
    let plain = get("/living-map/stream").await;
    assert_eq!((plain.status.as_u16(), &plain.headers["upgrade"]), (426, &HeaderValue::from_static("websocket")));
    plain.problem();
    for (query, parameter) in [("layers=moon", "layers"), ("cursor=x", "cursor"), ("types=a..b", "types")] {
        let answer = get(&format!("/living-map/stream?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!(parameter)));
    }
    let other_origin = Request::get("/living-map/stream")
        .header("host", "localhost")
        .header("origin", "https://evil.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = call_with(services_with_map().await, other_origin.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (403, &json!("Origin")));
}
