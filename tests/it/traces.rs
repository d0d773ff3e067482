//! Trace context: received by HTTP, passed through the log, sent by HTTP, NATS and OTLP.

use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use futures::StreamExt;
use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::Client;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::access::generate_token;
use crate::support::nats::NatsServer;
use crate::support::otlp::Collector;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The span with this name in `trace`, or linked to it.
async fn span(collector: &Collector, name: &str, trace: &str) -> Span {
    until(&format!("the span '{name}' of the trace"), || async {
        collector.spans().into_iter().find(|span| {
            let linked = span.links.iter().any(|link| hex(&link.trace_id) == trace);
            span.name == name && (linked || hex(&span.trace_id) == trace)
        })
    })
    .await
}

async fn publish(server: &Process, id: &str, token: &str, traceparent: Option<&str>) {
    let event =
        json!({"event_type": "agent.event.created", "event_id": id, "payload": {"agent_id": format!("agent:{id}")}});
    let request =
        Client::new().post(server.url("/living-map/events?utm_secret=hunter2")).bearer_auth(token).json(&event);
    let request = traceparent.into_iter().fold(request, |request, value| request.header("traceparent", value));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

async fn get(server: &Process, path: &str, token: &str) -> Option<String> {
    let answer = Client::new().get(server.url(path)).bearer_auth(token).send().await.ok()?;
    if answer.status().is_success() { answer.text().await.ok() } else { None }
}

/// The trace id of the agent's event in the history.
async fn recorded(database: &str, id: &str) -> Option<String> {
    let mut connection = PgConnection::connect(database).await.unwrap();
    let connection = tokio::sync::Mutex::new(&mut connection);
    until("the event in the history", || async {
        let mut connection = connection.lock().await;
        let query = sqlx::query_scalar("SELECT trace_id FROM living_map_history WHERE entity_id = $1");
        query.bind(format!("agent:{id}")).fetch_optional(&mut **connection).await.unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_spans_the_request_the_log_the_map_and_the_history() {
    let (collector, nats, database) = (Collector::start().await, NatsServer::start().await, postgres::database().await);
    let (token, line) = generate_token("writer", "publisher");
    let (otlp, nats_url) = (collector.url(), nats.url());
    let server = Process::serve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector=hunter2%20secret"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
        ("NATS_URL", &nats_url),
        ("DATABASE_URL", &database),
        ("AUTH", "token"),
        ("AUTH_TOKENS", &line),
    ])
    .await;
    // entries folded while catching up are not part of a trace
    until("the map", || async { get(&server, "/living-map/snapshot", &token).await }).await;
    let listener = nats.client().await;
    let mut heard = listener.subscribe("agent.event.created").await.unwrap();
    // otherwise the event may be published before the server has the subscription
    listener.flush().await.unwrap();
    publish(&server, "one", &token, Some(PARENT)).await;

    let request = span(&collector, "POST /living-map/events", TRACE).await;
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    let append = span(&collector, "append", TRACE).await;
    assert_eq!(append.parent_span_id, request.span_id);
    span(&collector, "fold", TRACE).await;
    span(&collector, "write history", TRACE).await;
    let message = tokio::time::timeout(crate::support::wait::PATIENCE, heard.next()).await.unwrap().unwrap();
    let header = message.headers.unwrap().get("traceparent").unwrap().as_str().to_owned();
    assert_eq!(header, format!("00-{TRACE}-{}-01", hex(&append.span_id)));
    assert_eq!(recorded(&database, "one").await.as_deref(), Some(TRACE));

    let requests = collector.requests();
    assert!(requests.iter().all(|(headers, _)| headers["x-collector"] == "hunter2 secret"));
    let sent = format!("{:?}", requests.iter().map(|(_, request)| request).collect::<Vec<_>>());
    assert!(sent.contains("living-map") && sent.contains("deployment.environment"), "{sent}");
    for secret in [token.as_str(), "hunter2"] {
        assert!(!sent.contains(secret), "{secret} was exported: {sent}");
    }
    assert!(!server.output().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_sends_its_trace_context_to_the_upstream() {
    let collector = Collector::start().await;
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = Arc::clone(&asked);
    let answer = move |headers: HeaderMap| async move {
        recorded.lock().unwrap().extend(headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned()));
        axum::Json(json!([]))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    let otlp = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("AGENTS_SERVICE_URL", upstream.as_str()),
    ];
    let _server = Process::serve(&environment).await;
    let header = until("a poll", || async { asked.lock().unwrap().first().cloned() }).await;
    let trace = header.split('-').nth(1).unwrap();
    let poll = span(&collector, "poll agents", trace).await;
    let call = span(&collector, "GET", trace).await;
    assert_eq!(call.parent_span_id, poll.span_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_spans_are_exported_at_shutdown() {
    let collector = Collector::start().await;
    let otlp = collector.url();
    let mut server =
        Process::serve(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp), ("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    assert!(collector.spans().is_empty(), "no export is due yet");
    assert!(server.stop().await.success(), "{}", server.output());
    assert!(collector.spans().iter().any(|span| span.name == "GET /living-map/health"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_collector_only_costs_spans() {
    let mut server = Process::serve(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
    ])
    .await;
    for outcome in ["failed", "dropped"] {
        until(&format!("spans that {outcome}"), || async {
            let metrics = get(&server, "/metrics", "").await?;
            let series = format!(r#"living_map_trace_spans_total{{outcome="{outcome}"}} "#);
            let counted = metrics.lines().find_map(|line| line.strip_prefix(&series));
            counted.is_some_and(|number| number != "0").then_some(())
        })
        .await;
    }
    let errors = get(&server, "/living-map/errors", "").await.unwrap();
    assert!(errors.contains(r#""target":"traces""#), "{errors}");
    publish(&server, "one", "", None).await;
    assert!(server.stop().await.success(), "{}", server.output());
    assert_eq!(server.output().matches("cannot export traces").count(), 1, "one log line for an outage");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_ids_are_recorded_even_without_an_exporter() {
    let database = postgres::database().await;
    let server = Process::serve(&[("DATABASE_URL", &database)]).await;
    publish(&server, "traced", "", Some(PARENT)).await;
    publish(&server, "alone", "", None).await;
    publish(&server, "invalid", "", Some("00-nothing-01")).await;
    assert_eq!(recorded(&database, "traced").await.as_deref(), Some(TRACE));
    for id in ["alone", "invalid"] {
        assert_eq!(recorded(&database, id).await, None, "{id}");
    }
    assert!(!get(&server, "/metrics", "").await.unwrap().contains("living_map_trace_spans_total"));
}
