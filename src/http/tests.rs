use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::answer::ResponseBudget;
use super::fakes::{FakeHistory, FakeLog};
use super::*;
use crate::access::shares::QueueConfig;
use crate::adapters::{AdaptersConfig, Upstreams};
use crate::dead_letters::{DeadLetterAlert, DeadLetterConfig, DeadLetterQueue, DeadLetterService, RetryConfig};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::{self, LiveConfig, LiveMap, ReplayConfig, TimeTravel, TimeTravelConfig};
use crate::log::{EventLog, dead_letter_publisher};
use crate::model::{Cursor, Epoch, envelope};
use crate::stream::{Hub, HubConfig, Replay, SnapshotJson, SnapshotSource, StreamConfig, StreamSources, Streams};
use crate::sync::{Poller, SyncConfig};
use crate::upstream_health::UpstreamHealth;

mod access;
mod documents;
mod invalid_requests;
mod parameters;
mod pools;
mod streams;

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
    let time_travel =
        TimeTravel::new(TimeTravelConfig::default(), live.clone(), log.clone(), history.clone(), history.clone());
    Services {
        config: HttpConfig::default(),
        access: None,
        limits: Limits::default(),
        pools: HttpPools::new(&HttpConfig::default(), Vec::new()),
        responses: ResponseBudget::new(HttpConfig::default().max_response_bytes, QueueConfig::default()),
        replay: live::Replay::new(ReplayConfig::default(), live.clone(), time_travel.clone()),
        time_travel,
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
        adoption: None,
        bridge: None,
        streams: streams(&hub),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    }
}

fn streams(hub: &Arc<Hub>) -> Streams {
    let source: SnapshotSource = Arc::new(|_| {
        let json = Bytes::from_static(br#"{"layers":{}}"#);
        Box::pin(async { SnapshotJson { cursor: Cursor { epoch: Epoch(7), seq: 0 }, json } })
    });
    let replay = Arc::new(|_, _| Box::pin(async { Replay::Gone { oldest: None } }) as _);
    let sources = StreamSources { snapshot: source, replay };
    Streams::start(StreamConfig::default(), hub, &sources, CancellationToken::new())
}

/// Services with a complete map of an empty log.
async fn services_with_map() -> Services {
    let services = services();
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(7)));
    let log = services.log.clone();
    tokio::spawn(live::follow(services.live.clone(), log, hub, LiveConfig::default(), CancellationToken::new()));
    services.live.caught_up().await;
    services
}

/// Appends an event, which is not folded yet, and returns its position.
async fn append(log: &dyn EventLog) -> u64 {
    let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:new"}});
    let event = envelope::publish(event, chrono::Utc::now()).unwrap();
    log.append(vec![event]).await[0].clone().unwrap().cursor.unwrap().seq
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

    /// The body, which must be a problem document with a detail.
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
async fn the_root_has_endpoints_for_programs_and_a_page_for_browsers() {
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
async fn liveness_does_not_depend_on_the_map() {
    let answer = get("/living-map/health").await;
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("living-map-service")));
    assert!(health["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(health["version"].is_string());
}

#[tokio::test]
async fn accepted_events_have_their_cursor() {
    let answer = post(r#"{"event_type":"agent.event.status","event_id":"e1","payload":{"status":"online"}}"#).await;
    assert_eq!(answer.status, 200);
    let result = &answer.json()["results"][0];
    assert_eq!(
        (&result["status"], &result["cursor"], &result["error"]),
        (&json!("accepted"), &json!("7.1"), &Value::Null)
    );
}

#[tokio::test]
async fn an_unavailable_history_returns_503_and_retry_after() {
    let mut services = services();
    services.history = Arc::new(FakeHistory { unavailable: true, ..FakeHistory::default() });
    services.config.retry_after = Duration::from_secs(9);
    let answer = call_with(services, Request::get("/living-map/history").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "9");
    answer.problem();
}

#[tokio::test]
async fn the_history_response_has_a_compatible_format() {
    let answer = get("/living-map/history?limit=1&since=2026-01-01T00:00:00%2B01:00").await;
    let expected = json!({"items": [], "total": 0, "total_exact": true, "has_more": false, "next_cursor": null,
        "next_offset": null});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn pages_of_the_error_journal_end_at_their_bytes() {
    let journal = Journal::default();
    for number in 0..30 {
        journal.record("read", "dao", &format!("/{number}"), &"no ".repeat(50));
    }
    for way in ["cursor", "offset"] {
        let (mut keys, mut path, mut pages) = (Vec::new(), "/living-map/errors".to_owned(), 0);
        loop {
            let mut services = services();
            services.journal = journal.clone();
            services.config.max_page_bytes = 2_000;
            let answer = call_with(services, Request::get(&path).body(Body::empty()).unwrap()).await;
            let page = answer.json();
            assert_eq!(answer.headers.contains_key("x-living-map-cut"), page["has_more"] == true);
            let of_page: Vec<String> =
                page["items"].as_array().unwrap().iter().map(|item| item["key"].to_string()).collect();
            // oldest first on a page, and older ones on the next page
            keys.splice(0..0, of_page);
            pages += 1;
            let next = &page[format!("next_{way}")];
            if next.is_null() {
                break;
            }
            path = format!("/living-map/errors?{way}={}", next.to_string().trim_matches('"'));
        }
        assert_eq!(keys, (0..30).map(|number| format!("\"/{number}\"")).collect::<Vec<_>>());
        assert!(pages > 2);
    }
}

#[tokio::test]
async fn a_panic_returns_500_without_its_message() {
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
async fn a_slow_request_times_out_with_503() {
    let mut services = services();
    services.history = Arc::new(FakeHistory { hangs: true, ..FakeHistory::default() });
    let answer = call_with(services, Request::get("/living-map/history").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 503);
    answer.problem();
}

#[tokio::test]
async fn an_incomplete_map_returns_503() {
    for uri in ["/living-map/snapshot", "/living-map/entities", "/living-map/entities/agent:a", "/living-map/stream"] {
        let answer = get(uri).await;
        assert_eq!(answer.status, 503, "{uri}");
        assert!(answer.headers.contains_key("retry-after"));
        answer.problem();
    }
    assert_eq!(get("/living-map/health").await.status, 200);
}

#[tokio::test]
async fn responses_have_security_headers_and_configured_cors() {
    let other_origin =
        || Request::get("/living-map/health").header("origin", "https://map.example").body(Body::empty()).unwrap();
    let answer = call_with(services(), other_origin()).await;
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let mut open = services();
    open.config.cors_origins = vec!["https://map.example".into()];
    let answer = call_with(open, other_origin()).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://map.example");
    let mut wrong = services();
    wrong.config.cors_origins = vec!["map.example/".into()];
    assert_eq!(router(wrong.into()).unwrap_err(), InvalidOrigin("map.example/".into()));
}

#[tokio::test]
async fn the_explorer_loads_nothing_from_other_origins() {
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
