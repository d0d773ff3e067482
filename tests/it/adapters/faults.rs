//! Services that hang, send slowly, send too much or wrong data, or are unavailable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt;
use living_map::adapters::{AdaptersConfig, Endpoint, Endpoints, ErrorKind, PollContext, Upstreams};
use living_map::journal::Journal;
use living_map::model::Service;
use serde_json::json;
use tokio::time::Instant;

use super::upstream::{Recording, TOKEN, Upstream, body, plain};
use super::{entity, ids, poll, poll_with};

/// Short limits, so that tests reach them soon.
fn short_limits(upstream: &Upstream) -> AdaptersConfig {
    AdaptersConfig {
        call_timeout: Duration::from_millis(200),
        max_response_bytes: 100_000,
        retry_delay: Duration::from_millis(1),
        ..upstream.config(None)
    }
}

async fn failure(service: Service, config: &AdaptersConfig) -> ErrorKind {
    poll(service, config).await.unwrap_err().kind
}

#[tokio::test]
async fn a_hanging_service_times_out_after_two_retries() {
    let upstream = Upstream::serve(|_, _| std::future::pending()).await;
    let error = failure(Service::City, &short_limits(&upstream)).await;
    assert_eq!(error, ErrorKind::Timeout(Duration::from_millis(200)));
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_slow_body_does_not_extend_the_timeout() {
    let upstream = Upstream::serve(|_, _| {
        let bytes = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        std::future::ready(plain(200, Body::from_stream(bytes)))
    })
    .await;
    let config = AdaptersConfig { max_retries: 0, ..short_limits(&upstream) };
    let started = Instant::now();
    assert_eq!(failure(Service::City, &config).await, ErrorKind::Timeout(Duration::from_millis(200)));
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_poll_ends_at_its_deadline_despite_a_longer_call_timeout() {
    let upstream = Upstream::serve(|_, _| std::future::pending()).await;
    let config = AdaptersConfig { call_timeout: Duration::from_mins(1), ..upstream.config(None) };
    // reading the authorities of the system takes time, which is not the poll's
    let upstreams = Upstreams::new(&config, &Journal::default()).unwrap();
    let started = Instant::now();
    let context = PollContext { deadline: started + Duration::from_secs(1), agent_ids: vec![] };
    let error = upstreams.poll(Service::Space, &context).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Timeout(_)), "{error}");
    assert!(!upstream.requests().is_empty(), "the poll ended before its requests");
    assert!(started.elapsed() < config.call_timeout / 2, "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_only() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let upstream = Upstream::serve(move |_, _| {
        let counter = Arc::clone(&counter);
        let chunks = futures::stream::iter(0..1600).map(move |_| {
            counter.fetch_add(65_536, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from(vec![b'['; 65_536]))
        });
        std::future::ready(plain(200, Body::from_stream(chunks)))
    })
    .await;
    let config = AdaptersConfig { call_timeout: Duration::from_secs(20), ..short_limits(&upstream) };
    assert_eq!(failure(Service::City, &config).await, ErrorKind::TooLarge(100_000));
    assert!(sent.load(Ordering::Relaxed) < 100_000_000, "the rest of 100 MB was not read");
    assert_eq!(upstream.requests().len(), 1, "a body that is too large is not requested again");
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_rejected_unread() {
    let upstream = Upstream::fixed(200, " ".repeat(100_001)).await;
    assert_eq!(failure(Service::City, &short_limits(&upstream)).await, ErrorKind::TooLarge(100_000));
}

#[tokio::test]
async fn invalid_json_is_an_error_and_is_not_retried() {
    let deep = "[".repeat(50_000);
    for text in ["", "<html>", "{\"microdao\":", &deep] {
        let upstream = Upstream::fixed(200, text).await;
        let error = failure(Service::City, &short_limits(&upstream)).await;
        assert!(matches!(error, ErrorKind::NotJson(_)), "{error} for {text:.20}");
        assert_eq!(upstream.requests().len(), 1);
    }
}

/// A value of the city's answer got into an event that could not be read from the log, at each poll again.
#[tokio::test]
async fn a_deeply_nested_answer_became_an_unreadable_event() {
    let text = |levels: usize| format!(r#"{{"quests":[{{"x":{}{}}}]}}"#, "[".repeat(levels), "]".repeat(levels));
    let deep = Upstream::fixed(200, text(118)).await;
    let error = failure(Service::City, &short_limits(&deep)).await;
    assert_eq!(error, ErrorKind::NotJson("nested too deeply: more than 120 levels".to_owned()));
    let accepted = Upstream::fixed(200, text(117)).await;
    let answer = poll(Service::City, &short_limits(&accepted)).await.unwrap();
    let event = json!({"event_type": "living_map.sync.city", "payload": {"layers": {"city": answer.layers[0].1}}});
    let read = living_map::model::json::parse(event.to_string().as_bytes()).unwrap();
    assert_eq!((read.value, read.notes.is_empty()), (event, true));
}

#[tokio::test]
async fn json_of_another_shape_is_an_error_for_every_service() {
    for text in ["null", "7", "\"x\"", "{}", "{\"detail\":\"odd\"}", "[[]]", "[{\"name\":\"no id\"}]"] {
        let upstream = Upstream::fixed(200, text).await;
        for &service in Service::ALL {
            let error = failure(service, &short_limits(&upstream)).await;
            assert!(matches!(error, ErrorKind::Shape(_)), "{service}: {error} for {text}");
        }
    }
}

#[tokio::test]
async fn one_bad_item_does_not_affect_the_others() {
    let list = json!([
        {"id": 7, "external_id": ["agent:x"], "name": {"first": "A"}, "is_active": "yes", "model": "m"},
        {"name": "has no id"}, "agent:text", null,
        {"id": "u2", "external_id": "agent:b", "name": "B\u{0}"},
    ]);
    let upstream = Upstream::fixed(200, list.to_string()).await;
    let answer = poll(Service::Agents, &short_limits(&upstream)).await.unwrap();
    assert_eq!(ids(&answer), ["agent:7", "agent:b"]);
    assert_eq!(serde_json::Value::Object(answer.entities[0].fields.clone()), json!({"model": "m"}));
    assert_eq!(answer.entities[1].fields["name"], json!("B\u{fffd}"), "in the form that a database can store");
}

#[tokio::test]
async fn a_missing_or_invalid_section_deletes_no_entities() {
    for text in [r#"{"metrics":{}}"#, r#"{"microdao":null,"nodes":7,"agents":"x"}"#] {
        let upstream = Upstream::fixed(200, text).await;
        let answer = poll(Service::City, &short_limits(&upstream)).await.unwrap();
        assert!(answer.entities.is_empty() && answer.complete.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn transient_failures_are_retried_and_others_are_not() {
    for (status, requests) in [(500, 3), (503, 3), (429, 3), (404, 1), (422, 1), (401, 1)] {
        let upstream = Upstream::fixed(status, "Internal Server Error").await;
        let error = failure(Service::City, &short_limits(&upstream)).await;
        assert_eq!(error, ErrorKind::Status { status, body: "Internal Server Error".into() });
        assert_eq!(upstream.requests().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn a_retry_that_succeeds_is_a_success() {
    let requests = Arc::new(AtomicUsize::new(0));
    let snapshot = body("city/snapshot.json");
    let upstream = Upstream::serve(move |_, _| {
        let first = requests.fetch_add(1, Ordering::SeqCst) == 0;
        std::future::ready(if first { plain(502, "") } else { plain(200, snapshot.clone()) })
    })
    .await;
    assert!(poll(Service::City, &short_limits(&upstream)).await.is_ok());
}

#[tokio::test]
async fn errors_have_the_reason_of_a_recorded_failure() {
    let upstream = Upstream::fixed(500, body("agents/list_agents_error_500.json")).await;
    let error = poll(Service::Agents, &short_limits(&upstream)).await.unwrap_err();
    assert!(error.to_string().ends_with("answered 500: Internal Server Error"), "{error}");
    let upstream = Upstream::fixed(422, body("usage/summary_error_422.json")).await;
    let error = poll(Service::Usage, &short_limits(&upstream)).await.unwrap_err();
    assert!(error.to_string().starts_with("usage /internal/usage/summary?period_hours=24: answered 422: {"), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let upstream = Upstream::serve(|uri, _| {
        let mut response = plain(302, "");
        response.headers_mut().insert("location", uri.parse().unwrap());
        std::future::ready(response)
    })
    .await;
    let error = failure(Service::City, &short_limits(&upstream)).await;
    assert_eq!(error, ErrorKind::Status { status: 302, body: String::new() });
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_error_of_a_missing_service_has_no_password() {
    // bound and released, so that no process listens there
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Endpoint::new(&format!("http://user:hunter2@127.0.0.1:{port}"), None).unwrap();
    let config = AdaptersConfig {
        endpoints: Endpoints::new(|_| endpoint.clone()),
        retry_delay: Duration::from_millis(1),
        ..AdaptersConfig::default()
    };
    let error = poll(Service::Dao, &config).await.unwrap_err().to_string();
    assert!(error.starts_with("dao /dao: ") && error.contains("refused") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_token_repeated_in_an_error_is_masked() {
    let upstream = Upstream::fixed(401, format!("bad token {TOKEN}")).await;
    let error = poll(Service::Dao, &upstream.config(Some(TOKEN))).await.unwrap_err().to_string();
    assert_eq!(error, "dao /dao: answered 401: bad token …");
}

#[tokio::test]
async fn hanging_details_do_not_fail_the_poll() {
    let list = body("dao/list.json");
    let upstream = Upstream::serve(move |uri, _| {
        let list = list.clone();
        async move { if uri == "/dao" { plain(200, list) } else { std::future::pending().await } }
    })
    .await;
    let answer = poll(Service::Dao, &short_limits(&upstream)).await.unwrap();
    assert_eq!(ids(&answer), ["dao:aurora-circle", "dao:daarion-governance"]);
    assert!(answer.entities.iter().all(|facts| !facts.fields.contains_key("treasury")));
}

#[tokio::test]
async fn fields_of_a_failed_detail_are_left_out_not_emptied() {
    for (service, list) in [(Service::Dao, "/dao"), (Service::Microdao, "/microdao")] {
        let recording = Arc::new(Recording::of(service));
        let upstream = Upstream::serve(move |uri, token| {
            let fails = uri.starts_with(&format!("{list}/"));
            let answer = if fails { plain(500, "") } else { recording.answer(&uri, token.as_deref()) };
            std::future::ready(answer)
        })
        .await;
        let answer = poll(service, &upstream.config(Some(TOKEN))).await.unwrap();
        assert_eq!(answer.entities.len(), 2);
        for facts in &answer.entities {
            assert!(facts.partial && !facts.fields.contains_key("treasury") && facts.fields.contains_key("name"));
        }
    }
    let upstream = Upstream::recorded(Service::Dao).await;
    let whole = poll(Service::Dao, &upstream.config(Some(TOKEN))).await.unwrap();
    assert!(!entity(&whole, "dao:aurora-circle").partial);
}

#[tokio::test]
async fn an_agent_whose_usage_hangs_does_not_delay_the_others() {
    let upstream = Upstream::serve(|uri, _| async move {
        if uri.contains("agent%3Aa") {
            return std::future::pending().await;
        }
        plain(200, json!({"summary": {"llm_calls_total": 1}, "agents": []}).to_string())
    })
    .await;
    let config = AdaptersConfig { usage_agents_per_poll: 1, ..short_limits(&upstream) };
    let upstreams = Upstreams::new(&config, &Journal::default()).unwrap();
    let agents = ["agent:a", "agent:b"];
    assert!(poll_with(&upstreams, Service::Usage, &agents).await.unwrap().entities.is_empty());
    assert_eq!(ids(&poll_with(&upstreams, Service::Usage, &agents).await.unwrap()), ["agent:b"]);
}

#[tokio::test]
async fn one_hanging_service_does_not_delay_another() {
    let hanging = Upstream::serve(|_, _| std::future::pending()).await;
    let city = Upstream::recorded(Service::City).await;
    let endpoint = |service| {
        let url = if service == Service::City { &city.url } else { &hanging.url };
        Endpoint::new(url, None).unwrap()
    };
    let config = AdaptersConfig { endpoints: Endpoints::new(endpoint), ..AdaptersConfig::default() };
    let upstreams = Upstreams::new(&config, &Journal::default()).unwrap();
    let others = Service::ALL.iter().filter(|service| **service != Service::City);
    let others = futures::future::select_all(others.map(|&service| Box::pin(poll_with(&upstreams, service, &[]))));
    tokio::select! {
        biased;
        answer = poll_with(&upstreams, Service::City, &[]) => assert!(answer.is_ok()),
        _ = others => panic!("a hanging service answered"),
    }
}
