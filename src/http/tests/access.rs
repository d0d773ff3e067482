//! Authorization of requests.

use std::collections::BTreeSet;

use axum::http::Method;

use super::*;
use crate::access::rate::Rate;
use crate::access::{Access, NewToken, Role, Scheme, TicketConfig, Tokens};
use crate::http::rules::RULES;
use crate::journal::Journal;

/// Token verification with one token of each role.
struct Credentials {
    access: Access,
    tokens: Vec<(Role, String)>,
}

impl Credentials {
    fn new(tickets: TicketConfig) -> Self {
        let made: Vec<_> = Role::ALL.iter().map(|role| NewToken::make(role.as_str(), *role).unwrap()).collect();
        let known = Tokens::parse(made.iter().map(|token| token.line.as_str())).unwrap();
        let access = Access::new(Scheme::Tokens(known), tickets, Journal::default()).unwrap();
        let tokens = Role::ALL.into_iter().zip(made.into_iter().map(|token| token.token)).collect();
        Self { access, tokens }
    }

    fn token(&self, role: Role) -> &str {
        &self.tokens.iter().find(|(known, _)| *known == role).unwrap().1
    }

    async fn router(&self, change: impl FnOnce(&mut Services)) -> Router {
        let mut services = services_with_map().await;
        services.access = Some(self.access.clone());
        change(&mut services);
        router(AppState::from(services)).unwrap()
    }
}

async fn ask(router: &Router, method: &str, uri: &str, token: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    // streams are endless
    let endless = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let body = if endless { Vec::new() } else { to_bytes(body, 64 * 1024 * 1024).await.unwrap().to_vec() };
    Answer { status: head.status, headers: head.headers, body }
}

/// Method and path of every route.
fn routes() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in
            item.as_object().unwrap().keys().filter(|key| Method::from_bytes(key.to_uppercase().as_bytes()).is_ok())
        {
            routes.insert((method.to_uppercase(), path.clone()));
        }
    }
    routes.extend(UNDOCUMENTED.map(|path| ("GET".to_owned(), path.to_owned())));
    routes
}

#[test]
fn the_table_has_exactly_the_routes() {
    let known: BTreeSet<_> = RULES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(known.len(), RULES.len(), "a route is listed twice");
    let routes = routes();
    let missing: Vec<_> = routes.difference(&known).collect();
    let unknown: Vec<_> = known.difference(&routes).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "RULES in src/http/rules.rs: {missing:?} is missing, {unknown:?} has no route"
    );
}

#[tokio::test]
async fn an_unsupported_method_returns_405_for_any_role() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    for (method, path) in [("DELETE", "/living-map/events"), ("TRACE", "/living-map/health"), ("PUT", "/docs/")] {
        for token in
            [None, Some("lm_unknown"), Some(credentials.token(Role::Viewer)), Some(credentials.token(Role::Admin))]
        {
            let answer = ask(&router, method, path, token).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(!answer.headers["allow"].is_empty(), "{method} {path}");
        }
    }
    assert_eq!(ask(&router, "GET", "/nothing/here", None).await.status, 404);
    assert_eq!(ask(&router, "HEAD", "/living-map/snapshot", None).await.status, 401);
}

#[tokio::test]
async fn a_ticket_opens_one_stream_only() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    let viewer = Some(credentials.token(Role::Viewer));
    let got = ask(&router, "POST", "/living-map/stream/ticket", viewer).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.headers["cache-control"], "no-store");
    let ticket = got.json()["ticket"].as_str().unwrap().to_owned();
    let history = ask(&router, "GET", &format!("/living-map/history?ticket={ticket}"), None).await;
    assert_eq!(history.status, 401);
    let stream = format!("/living-map/events/stream?snapshot=false&ticket={ticket}");
    assert_eq!(ask(&router, "GET", &stream, None).await.status, 200);
    let again = ask(&router, "GET", &stream, None).await;
    assert_eq!(again.status, 401);
    assert!(!again.problem().to_string().contains(&ticket));
    assert_eq!(ask(&router, "GET", &stream, viewer).await.status, 200, "a token takes precedence over a ticket");
}

#[tokio::test]
async fn unused_tickets_are_limited() {
    let credentials = Credentials::new(TicketConfig { max: 1, ..TicketConfig::default() });
    let router = credentials.router(|_| ()).await;
    let viewer = Some(credentials.token(Role::Viewer));
    assert_eq!(ask(&router, "POST", "/living-map/stream/ticket", viewer).await.status, 200);
    let full = ask(&router, "POST", "/living-map/stream/ticket", viewer).await;
    assert_eq!(full.status, 503);
    assert!(full.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 31);
}

#[tokio::test]
async fn without_authentication_everything_is_public() {
    let router = router(AppState::from(services_with_map().await)).unwrap();
    let ticket = ask(&router, "POST", "/living-map/stream/ticket", None).await;
    assert_eq!((ticket.status.as_u16(), ticket.json()), (200, json!({"ticket": null, "expires_at": null})));
    assert_eq!(ask(&router, "GET", "/living-map/errors", Some("whatever")).await.status, 200);
    assert!(ask(&router, "GET", "/living-map/ready", None).await.json()["checks"].is_object());
}

#[tokio::test]
async fn a_session_names_the_caller_and_its_permissions() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    let acknowledges = |session: &Value| {
        let mut operations = session["operations"].as_array().unwrap().iter();
        operations.find(|operation| operation["id"] == "acknowledge_alert").unwrap().clone()
    };
    for (role, token) in &credentials.tokens {
        let session = ask(&router, "GET", "/living-map/session", Some(token)).await.json();
        assert_eq!(session["name"], role.as_str());
        assert_eq!((&session["role"], &session["expires_at"]), (&json!(role), &Value::Null));
        let allowed = *role >= Role::Operator;
        assert_eq!(acknowledges(&session), json!({"id": "acknowledge_alert", "role": "operator", "allowed": allowed}));
    }
    assert_eq!(ask(&router, "GET", "/living-map/session", None).await.status, 401);
    let open = crate::http::router(AppState::from(services_with_map().await)).unwrap();
    let session = ask(&open, "GET", "/living-map/session", None).await.json();
    assert_eq!((&session["name"], &session["role"]), (&Value::Null, &Value::Null));
    assert_eq!(acknowledges(&session)["allowed"], true);
}

#[test]
fn a_role_is_serialized_by_its_name() {
    for role in Role::ALL {
        assert_eq!(json!(role), role.as_str());
    }
}

#[tokio::test]
async fn readiness_checks_are_hidden_without_a_token() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    for token in [None, Some("lm_unknown")] {
        let ready = ask(&router, "GET", "/living-map/ready", token).await.json();
        assert!(ready["status"].is_string() && ready["checks"].is_null(), "{ready}");
    }
    let ready = ask(&router, "GET", "/living-map/ready", Some(credentials.token(Role::Viewer))).await.json();
    assert!(ready["checks"]["log"].is_object(), "{ready}");
}

#[tokio::test]
async fn verbose_readiness_shows_each_pool_to_operators() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    let path = "/living-map/ready?verbose";
    for (token, status) in [(None, 401), (Some("lm_unknown"), 401), (Some(credentials.token(Role::Viewer)), 403)] {
        assert_eq!(ask(&router, "GET", path, token).await.status, status, "{token:?}");
    }
    let viewer = Some(credentials.token(Role::Viewer));
    ask(&router, "POST", "/living-map/stream/ticket", viewer).await;
    let operator = Some(credentials.token(Role::Operator));
    let ready = ask(&router, "GET", path, operator).await;
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    let pool = |name: &str| ready["pools"].as_array().unwrap().iter().find(|pool| pool["name"] == name).cloned();
    let expected = json!({"name": "tickets", "slots": 10_000, "in_use": 1, "waiting": 0, "clients": 1});
    assert_eq!(pool("tickets"), Some(expected));
    assert_eq!(pool("response_bytes").unwrap()["slots"], HttpConfig::default().max_response_bytes, "{ready}");
    for name in ["queries", "bodies", "parsed_bodies", "used_tickets"] {
        assert!(pool(name).is_some(), "{name}: {ready}");
    }
    for other in ["", "?verbose=false"] {
        let ready = ask(&router, "GET", &format!("/living-map/ready{other}"), viewer).await.json();
        assert!(ready.get("pools").is_none() && ready["checks"].is_object(), "{ready}");
    }
    assert_eq!(ask(&router, "GET", "/living-map/ready?verbose=maybe", operator).await.status, 400);
}

#[tokio::test]
async fn the_public_snapshot_has_totals_and_no_entities() {
    let (credentials, log) = (Credentials::new(TicketConfig::default()), Arc::new(FakeLog::default()));
    let router = credentials
        .router(|services| {
            services.config.public_snapshot = true;
            let live = LiveMap::new(LiveConfig::default(), services.upstreams.clone(), Journal::default());
            let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(7)));
            let follow = live::follow(live.clone(), log.clone(), hub, LiveConfig::default(), CancellationToken::new());
            tokio::spawn(follow);
            services.live = live;
        })
        .await;
    let seq = append(&*log).await;
    log.readable.send_replace(seq);
    let viewer = Some(credentials.token(Role::Viewer));
    let full = loop {
        let answer = ask(&router, "GET", "/living-map/snapshot", viewer).await;
        if answer.json()["layers"]["agents"]["total_agents"] == 1 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(full.json().to_string().contains("agent:new"));
    let public = ask(&router, "GET", "/living-map/snapshot", None).await;
    assert_eq!(public.status, 200);
    assert!(!public.json().to_string().contains("agent:new"), "{}", public.json());
    assert_eq!(public.json()["layers"]["agents"]["total_agents"], 1);
    assert_eq!(public.json()["meta"]["sources"], json!([]));
    assert_ne!(public.headers["etag"], full.headers["etag"]);
    let read: crate::model::Snapshot =
        serde_json::from_slice(&public.body).expect("a public snapshot has the same schema");
    assert!(read.layers.agents.unwrap().items.is_empty());
    for query in ["?at=7.1", "?fresh=true"] {
        let answer = ask(&router, "GET", &format!("/living-map/snapshot{query}"), None).await;
        assert_eq!(answer.status, 401, "{query}");
    }
    for path in ["/living-map/history", "/living-map/events/stream", "/living-map/entities"] {
        assert_eq!(ask(&router, "GET", path, None).await.status, 401, "{path}");
    }
    assert_eq!(ask(&router, "GET", "/living-map/snapshot", Some("lm_unknown")).await.status, 401);
}

#[tokio::test]
async fn cors_lets_a_page_send_a_token_and_read_a_401() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|services| services.config.cors_origins = vec!["https://map.example".into()]).await;
    let preflight = Request::options("/living-map/history")
        .header("origin", "https://map.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization");
    let answer = router.clone().oneshot(preflight.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    let refused = Request::get("/living-map/history").header("origin", "https://map.example");
    let answer = router.clone().oneshot(refused.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://map.example");
}

#[tokio::test]
async fn malformed_credentials_return_401_and_are_not_quoted() {
    let credentials = Credentials::new(TicketConfig::default());
    let router = credentials.router(|_| ()).await;
    let long = format!("Bearer {}", "x".repeat(20_000));
    for value in ["", "Bearer", "Bearer ", "Basic aHVudGVyMg==", "hunter2", "Bearer hunter2 hunter2", &long] {
        let request = Request::get("/living-map/history").header("authorization", value).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 401, "{value:.40}");
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("hunter2"));
    }
    let token = credentials.token(Role::Viewer);
    let twice = Request::get("/living-map/history").header("authorization", format!("Bearer {token}"));
    let twice = twice.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    assert_eq!(router.clone().oneshot(twice).await.unwrap().status(), 401, "two headers are ambiguous");
    let other_case = Request::get("/living-map/history").header("authorization", format!("bearer {token}"));
    assert_eq!(router.oneshot(other_case.body(Body::empty()).unwrap()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn rate_limits_apply_per_token() {
    let credentials = Credentials::new(TicketConfig::default());
    let rate = Some(Rate { per_second: 0.1, burst: 3 });
    let config = LimitsConfig {
        requests: rate,
        events: rate,
        unlimited: "0.0.0.0/0".parse().into_iter().collect(),
        ..Default::default()
    };
    let router = credentials.router(|services| services.limits = Limits::new(config)).await;
    let (one, other) = (Some(credentials.token(Role::Viewer)), Some(credentials.token(Role::Publisher)));
    for _ in 0..3 {
        assert_eq!(ask(&router, "GET", "/living-map/history", one).await.status, 200);
    }
    let refused = ask(&router, "GET", "/living-map/history", one).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "10");
    refused.problem();
    assert_eq!(ask(&router, "GET", "/living-map/history", other).await.status, 200);
    let publish = |count: usize| {
        let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:x"}});
        let request = Request::post("/living-map/events")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", credentials.token(Role::Publisher)));
        router.clone().oneshot(request.body(Body::from(json!(vec![event; count]).to_string())).unwrap())
    };
    assert_eq!(publish(4).await.unwrap().status(), 429, "one request, four events");
    assert_eq!(publish(2).await.unwrap().status(), 200);
    assert_eq!(publish(1).await.unwrap().status(), 429);
}
