use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::fakes::{FakeHistory, FakeLog};
use super::*;
use crate::adapters::{AdaptersConfig, Endpoint, Endpoints, Upstreams};
use crate::dead_letters::{DeadLetterAlert, DeadLetterConfig, DeadLetterQueue, DeadLetterService, RetryConfig};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::{self, LiveConfig, LiveMap, TimeTravel, TimeTravelConfig};
use crate::log::{EventLog, dead_letter_publisher};
use crate::model::{Cursor, Epoch, envelope};
use crate::stream::{Hub, HubConfig, Replay, SnapshotJson, SnapshotSource, StreamConfig, StreamSources, Streams};
use crate::sync::{Poller, SyncConfig};
use crate::upstream_health::UpstreamHealth;

mod access;

fn services() -> Services {
    let (log, sources) = (Arc::new(FakeLog::default()), UpstreamHealth::default());
    let live = LiveMap::new(LiveConfig::default(), sources.clone(), Journal::default());
    let upstreams = Upstreams::new(&AdaptersConfig::default(), &Journal::default()).unwrap();
    let poller =
        Poller::new(SyncConfig::default(), upstreams, sources.clone(), live.clone(), log.clone(), Journal::default());
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(7)));
    let history = Arc::new(FakeHistory::default());
    let letters = DeadLetterQueue::new(RetryConfig::default(), history.clone());
    let dead_letters = DeadLetterService::new(
        DeadLetterConfig::default(),
        letters,
        Vec::new(),
        dead_letter_publisher(log.clone()),
        DeadLetterAlert::new(|| None, || false),
        Journal::default(),
    );
    Services {
        config: HttpConfig::default(),
        access: None,
        limits: Limits::default(),
        time_travel: TimeTravel::new(
            TimeTravelConfig::default(),
            live.clone(),
            log.clone(),
            history.clone(),
            history.clone(),
        ),
        snapshots: history.clone(),
        lessons: history.clone(),
        learner: None,
        live,
        log,
        history,
        journal: Journal::default(),
        dead_letters,
        alerts: None,
        upstreams: sources,
        refresher: poller.refresher(),
        leadership: Leadership::permanent(),
        writer: None,
        streams: streams(&hub),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    }
}

fn streams(hub: &Arc<Hub>) -> Streams {
    let source: SnapshotSource = Arc::new(|_| {
        let json = Bytes::from_static(br#"{"layers":{}}"#);
        Box::pin(async { SnapshotJson { cursor: Cursor { epoch: Epoch(7), seq: 0 }, json } })
    });
    let replay = Arc::new(|_| Box::pin(async { Replay::Gone { oldest: None } }) as _);
    let sources = StreamSources { snapshot: source, replay };
    Streams::start(StreamConfig::default(), hub, &sources, CancellationToken::new())
}

/// Services whose map is complete: the log holds nothing.
async fn services_with_map() -> Services {
    let services = services();
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(7)));
    let log = services.log.clone();
    tokio::spawn(live::follow(services.live.clone(), log, hub, LiveConfig::default(), CancellationToken::new()));
    services.live.caught_up().await;
    services
}

/// An accepted event, though nobody has folded it yet.
async fn append(log: &dyn EventLog) -> u64 {
    let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:new"}});
    let event = envelope::publish(event, chrono::Utc::now()).unwrap();
    log.append(vec![event]).await[0].clone().unwrap().cursor.unwrap().seq
}

#[tokio::test]
async fn a_fresh_snapshot_shows_what_was_accepted_before_it_was_asked_for() {
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
    let asked = call_with(services, request);
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => panic!("answered {} before the event was folded", answer.status),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    log.readable.send_replace(seq);
    let answer = asked.await;
    assert_eq!(answer.headers["x-living-map-cursor"], Cursor { epoch: Epoch(7), seq }.to_string().as_str());
    assert_eq!(answer.json()["layers"]["agents"]["items"][0]["id"], "agent:new");
}

#[tokio::test]
async fn a_client_that_comes_from_a_server_ahead_of_this_one_is_waited_for() {
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
    assert_eq!(resume(seq + 1).await.unwrap().status(), StatusCode::GONE, "no server has been there");
    assert!(began.elapsed() < HttpConfig::default().catch_up_timeout);
    let resumed = resume(seq);
    tokio::pin!(resumed);
    tokio::select! {
        answer = &mut resumed => panic!("answered {} before it was there itself", answer.unwrap().status()),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    log.readable.send_replace(seq);
    assert_eq!(resumed.await.unwrap().status(), StatusCode::OK);
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A problem document that says what it is about.
    fn problem(&self) -> Value {
        let document = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json", "{document}");
        assert_eq!(document["status"], self.status.as_u16());
        assert!(document["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{document}");
        document
    }
}

async fn call_with(services: Services, request: Request<Body>) -> Answer {
    let response = router(AppState::from(services)).unwrap().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 64 * 1024 * 1024).await.unwrap().to_vec();
    Answer { status: head.status, headers: head.headers, body }
}

async fn get(uri: &str) -> Answer {
    call_with(services(), Request::get(uri).body(Body::empty()).unwrap()).await
}

async fn post(body: impl Into<Body>) -> Answer {
    let request = Request::post("/living-map/events").header("content-type", "application/json");
    call_with(services(), request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn the_root_lists_what_there_is_for_programs_and_is_the_page_for_browsers() {
    let answer = get("/").await;
    let info = answer.json();
    assert_eq!(info["service"], "living-map-service");
    for endpoint in ["health", "snapshot", "entities", "history", "stream"] {
        assert_eq!(info["endpoints"][endpoint], format!("/living-map/{endpoint}"));
    }
    let browser = Request::get("/").header("accept", "text/html,*/*;q=0.8").body(Body::empty()).unwrap();
    let page = call_with(services(), browser).await;
    assert_eq!(page.headers["content-type"], "text/html");
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'self'"));
    assert!(page.headers.get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("Accept")));
}

#[tokio::test]
async fn health_asks_nobody() {
    let answer = get("/living-map/health").await;
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("living-map-service")));
    assert!(health["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(health["version"].is_string());
}

#[tokio::test]
async fn every_wrong_query_names_its_parameter() {
    for (uri, parameter) in [
        ("/living-map/entities?type=daos", "type"),
        ("/living-map/entities?layer=moon", "layer"),
        ("/living-map/entities?status=fine", "status"),
        ("/living-map/entities?limit=0", "limit"),
        ("/living-map/entities?limit=501", "limit"),
        ("/living-map/entities?limit=1e2", "limit"),
        ("/living-map/entities?limit=99999999999999999999999", "limit"),
        ("/living-map/entities?cursor=%21", "cursor"),
        ("/living-map/entities?q=%ff", "q"),
        ("/living-map/entities?q=%00", "q"),
        ("/living-map/entities?type=agent&type=node", "type"),
        ("/living-map/entities/%ff", "id"),
        ("/living-map/entities/a%00b", "id"),
        ("/living-map/entities/%00/relations", "id"),
        ("/living-map/history?since=soon", "since"),
        ("/living-map/history?since=2026-02-01&until=2026-01-01", "since"),
        ("/living-map/history?event_type=a..b", "event_type"),
        ("/living-map/history?offset=100001", "offset"),
        ("/living-map/history?cursor=x", "cursor"),
        ("/living-map/snapshot?layers=moon", "layers"),
        ("/living-map/snapshot?fresh=maybe", "fresh"),
    ] {
        let answer = get(uri).await;
        let problem = answer.problem();
        assert_eq!((answer.status.as_u16(), &problem["parameter"]), (400, &json!(parameter)), "{uri}: {problem}");
        assert_eq!(problem["instance"], uri.split('?').next().unwrap());
    }
}

#[tokio::test]
async fn a_file_name_that_is_no_text_is_a_problem_too() {
    for uri in ["/assets/%ff", "/docs/%ff"] {
        let answer = get(uri).await;
        assert_eq!(answer.status, 400, "{uri}");
        answer.problem();
    }
}

#[tokio::test]
async fn long_values_are_refused_by_name_and_long_addresses_as_a_whole() {
    let answer = get(&format!("/living-map/entities?q={}", "x".repeat(201))).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!("q")));
    let answer = get(&format!("/living-map/entities/{}", "x".repeat(600))).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!("id")));
    let answer = get(&format!("/living-map/entities?q={}", "x".repeat(10_000))).await;
    assert_eq!(answer.status, 414);
    answer.problem();
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let answer = get("/living-map/nothing").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.problem()["instance"], "/living-map/nothing");
    for path in ["/assets/none.js", "/docs/none.js", "/assets/..%2f..%2fCargo.toml", "/assets/../Cargo.toml"] {
        let answer = get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
    }
    let delete = Request::delete("/living-map/snapshot").body(Body::empty()).unwrap();
    let answer = call_with(services(), delete).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    answer.problem();
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_say_why() {
    let deep = format!(r#"{{"event_type":"a.b","payload":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{\"event_type\":\"a.b\",}", 400),
        (b"{\"event_type\":\"a\xff\"}", 400),
        (b"\x1f\x8b\x08", 400),
        (deep.as_bytes(), 400),
        ("[".repeat(100_000).as_bytes(), 400),
        (" ".repeat(1024 * 1024 + 1).as_bytes(), 413),
        (b"7", 422),
        (b"null", 422),
        (b"[null, 7, \"x\", []]", 422),
        (b"{}", 422),
        (b"{\"event_type\":7}", 422),
        (b"{\"event_type\":\"living_map.sync.agents\"}", 422),
    ] {
        let answer = post(body.to_vec()).await;
        assert_eq!(answer.status, status, "{}", body[..body.len().min(60)].escape_ascii());
        answer.problem();
    }
    let too_many = post(format!("[{}]", vec!["{}"; 1_001].join(","))).await;
    assert_eq!(too_many.status, 413);
    let malformed = post("{\n\"a\": }").await;
    assert!(malformed.problem()["detail"].as_str().unwrap().contains("line 2 column 6"));
    let all_rejected = post(r#"[{"event_type":"a.*"},{}]"#).await.problem();
    assert_eq!(
        all_rejected["results"][1],
        json!({
            "index": 1, "status": "rejected", "id": null, "cursor": null,
            "error": "event_type: is required", "field": "event_type",
        })
    );
    let form = Request::post("/living-map/events").header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    let answer = call_with(services(), form).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (415, &json!("Content-Type")));
}

#[tokio::test]
async fn accepted_events_are_answered_with_their_place() {
    let answer = post(r#"{"event_type":"agent.event.status","event_id":"e1","payload":{"status":"online"}}"#).await;
    assert_eq!(answer.status, 200);
    let result = &answer.json()["results"][0];
    assert_eq!(
        (&result["status"], &result["cursor"], &result["error"]),
        (&json!("accepted"), &json!("7.1"), &Value::Null)
    );
}

#[tokio::test]
async fn an_absent_record_answers_503_and_when_to_come_back() {
    let mut services = services();
    services.history = Arc::new(FakeHistory { unavailable: true, ..FakeHistory::default() });
    services.config.retry_after = Duration::from_secs(9);
    let answer = call_with(services, Request::get("/living-map/history").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "9");
    answer.problem();
}

#[tokio::test]
async fn history_answers_in_the_form_of_old() {
    let answer = get("/living-map/history?limit=1&since=2026-01-01T00:00:00%2B01:00").await;
    let expected = json!({"items": [], "total": 0, "total_exact": true, "has_more": false, "next_cursor": null});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_panic_is_one_request_s_problem() {
    let app = Router::new()
        .route(
            "/",
            axum::routing::get(|| async {
                assert_eq!("secret", "other");
            }),
        )
        .layer(CatchPanicLayer::custom(fallback::panicked));
    let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    assert!(!body.escape_ascii().to_string().contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered() {
    let mut services = services();
    services.history = Arc::new(FakeHistory { hangs: true, ..FakeHistory::default() });
    let answer = call_with(services, Request::get("/living-map/history").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 503);
    answer.problem();
}

#[tokio::test]
async fn a_connection_becomes_a_stream_and_does_not_hold_up_the_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (stop, router) = (shutdown.clone(), router(services_with_map().await.into()).unwrap());
    let server = tokio::spawn(async move { serve(listener, router, &HttpConfig::default(), stop).await });
    let url = format!("ws://{address}/living-map/stream?layers=city");
    let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(answer.status(), 101);
    let frame: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(frame["kind"], "snapshot");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_map_that_is_not_complete_is_not_shown() {
    for uri in ["/living-map/snapshot", "/living-map/entities", "/living-map/entities/agent:a", "/living-map/stream"] {
        let answer = get(uri).await;
        assert_eq!(answer.status, 503, "{uri}");
        assert!(answer.headers.contains_key("retry-after"));
        answer.problem();
    }
    assert_eq!(get("/living-map/health").await.status, 200);
}

#[tokio::test]
async fn a_stream_is_refused_as_everything_else_is() {
    let get =
        async |uri: &str| call_with(services_with_map().await, Request::get(uri).body(Body::empty()).unwrap()).await;
    let plain = get("/living-map/stream").await;
    assert_eq!((plain.status.as_u16(), &plain.headers["upgrade"]), (426, &HeaderValue::from_static("websocket")));
    plain.problem();
    for (query, parameter) in [("layers=moon", "layers"), ("cursor=x", "cursor"), ("types=a..b", "types")] {
        let answer = get(&format!("/living-map/stream?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!(parameter)));
    }
    let elsewhere = Request::get("/living-map/stream")
        .header("host", "map.example")
        .header("origin", "https://evil.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = call_with(services_with_map().await, elsewhere.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (403, &json!("Origin")));
}

#[tokio::test]
async fn answers_carry_security_headers_and_cors_only_when_asked_for() {
    let from_elsewhere =
        || Request::get("/living-map/health").header("origin", "https://map.example").body(Body::empty()).unwrap();
    let answer = call_with(services(), from_elsewhere()).await;
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let mut open = services();
    open.config.cors_origins = vec!["https://map.example".into()];
    let answer = call_with(open, from_elsewhere()).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://map.example");
    let mut wrong = services();
    wrong.config.cors_origins = vec!["map.example/".into()];
    assert_eq!(router(wrong.into()).unwrap_err(), InvalidOrigin("map.example/".into()));
}

#[tokio::test]
async fn the_explorer_needs_nothing_from_elsewhere() {
    let page = get("/docs/").await;
    assert_eq!(page.headers["content-type"], "text/html");
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'self'"));
    let html = String::from_utf8(page.body).unwrap();
    assert!(!html.contains("https://"), "{html}");
    let script = get("/docs/swagger-initializer.js").await;
    assert!(String::from_utf8(script.body).unwrap().contains("/openapi.json"));
    assert_eq!(get("/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(get("/openapi.json").await.json()["openapi"], "3.1.0");
}

#[test]
fn the_document_in_the_repository_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    let current = openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == current, "openapi/openapi.json is out of date; run the tests once with UPDATE_OPENAPI=1");
}

#[test]
fn the_schema_of_experiences_in_the_repository_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/experience.schema.json");
    let current = crate::model::experience::json_schema();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == current, "{path} is out of date; run the tests once with UPDATE_OPENAPI=1: {current}");
    let schema: Value = serde_json::from_str(&current).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let names = "event_id agent_id task outcome latency_ms error_class error_message model provider tool trace_id timestamp version";
    let expected: std::collections::BTreeSet<&str> = names.split(' ').collect();
    assert_eq!(properties.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), expected);
    assert_eq!(properties["outcome"]["enum"], json!(["ok", "error", "silent", "timeout"]));
    assert_eq!(schema["additionalProperties"], true);
}

#[test]
fn the_description_of_the_bus_names_every_subject_and_only_schemas_that_are_there() {
    let asyncapi = include_str!("../../openapi/asyncapi.yaml");
    let subjects = crate::model::subject::MAP_SUBJECTS.iter().chain(crate::model::subject::NETWORK_SUBJECTS);
    for subject in subjects.filter(|subject| !subject.starts_with("agent.experience")) {
        assert!(asyncapi.contains(subject), "{subject} is not in openapi/asyncapi.yaml");
    }
    assert!(asyncapi.contains("agent.experience.v1.{agent_id}") && asyncapi.contains("'./experience.schema.json'"));
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut named = 0;
    for reference in asyncapi.split("openapi.json#/components/schemas/").skip(1) {
        let name = reference.split('\'').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
        named += 1;
    }
    assert!(named >= 3);
}

#[test]
fn every_operation_says_how_it_fails_and_names_no_unknown_schema() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split(r##""$ref":"#/components/schemas/"##).skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{path} {status}");
            }
            let takes_something = operation.get("parameters").is_some() || operation.get("requestBody").is_some();
            let fails = operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('4'));
            assert!(!takes_something || fails, "{method} {path}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_query_and_no_body_is_answered_with_a_5xx(
        query in "(since|until|limit|offset|cursor|event_type|entity_type|source_service)=[ -~]{0,20}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let query: String = query.chars().map(|c| if c.is_ascii_alphanumeric() || "=_%&+".contains(c) { c } else { '.' }).collect();
        let answer = runtime.block_on(get(&format!("/living-map/history?{query}")));
        prop_assert!(answer.status.as_u16() < 500, "{query}: {}", answer.status);
        let answer = runtime.block_on(post(body));
        prop_assert!(answer.status.is_client_error(), "{}", answer.status);
    }
}
