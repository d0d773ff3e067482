//! Requests to every route: without a credential, with invalid ones, and with each role.
//!
//! [`living_map::http::RULES`] has the required role of each route. `Fixtures::calls` has a valid request for each route, so
//! that a permitted request succeeds. A route without a request fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use living_map::access::Role;
use living_map::http::{RULES, RequiredRole};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::access::{SECRET, generate_token, jwt};
use super::faults::environment;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// Routes that are not in the OpenAPI document: the web page and the explorer.
const UNDOCUMENTED: [&str; 5] = ["/assets/{*path}", "/openapi.json", "/docs", "/docs/", "/docs/{*path}"];

/// Route of the WebSocket, which needs a handshake.
const SOCKET: &str = "/living-map/stream";

/// An invalid credential, and the expected status on routes that require a role.
struct InvalidCredential {
    name: &'static str,
    token: Option<String>,
    status: u16,
}

/// A request to a route, and the expected status with a sufficient role.
struct Call {
    method: &'static str,
    path: &'static str,
    uri: String,
    body: Option<Value>,
    status: u16,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

async fn ask(server: &Process, method: &str, uri: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
    // shared, since each client reads the system's certificates; no idle connections of finished tests
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        let client = Client::builder().redirect(Policy::none()).pool_max_idle_per_host(0).timeout(PATIENCE);
        client.build().expect("a client")
    });
    let method: Method = method.parse().unwrap();
    let mut request = CLIENT.request(method, server.url(uri));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    // streams are endless
    let endless = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let body = if endless { Vec::new() } else { answer.bytes().await.unwrap().to_vec() };
    Answer { status, headers, body }
}

async fn handshake(server: &Process, token: Option<&str>) -> Answer {
    let mut request = server.ws_url(SOCKET).into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body: vec![] },
        Err(Error::Http(answer)) => Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body().clone().unwrap_or_default(),
        },
        Err(error) => panic!("{error}"),
    }
}

impl Call {
    async fn send(&self, server: &Process, token: Option<&str>) -> Answer {
        if self.path == SOCKET {
            return handshake(server, token).await;
        }
        ask(server, self.method, &self.uri, token, self.body.as_ref()).await
    }
}

/// Ids of the objects that the requests read and change.
struct Fixtures {
    snapshot: String,
    /// Position of the snapshot.
    cursor: String,
    alert: String,
    silence: String,
    lesson: String,
    /// Dead letters: one to replay, one to discard.
    letters: [String; 2],
}

impl Fixtures {
    /// Creates one object of each kind. Restarts the server, which saves a snapshot.
    async fn create(server: &mut Process, admin: &str, before_restart: impl FnOnce()) -> Self {
        let failure = |number: i64| {
            let timestamp = Utc::now() - TimeDelta::seconds(60 - number);
            json!({"event_type": "agent.experience.v1.agent:one", "payload": {
                "event_id": format!("failure-{number}"), "agent_id": "agent:one", "task": "answer", "outcome": "error",
                "error_class": "rate_limited", "timestamp": timestamp, "version": 1,
            }})
        };
        let unreadable =
            |number: i64| json!({"event_type": "agent.experience.v1.agent:two", "payload": {"number": number}});
        let events = json!([
            {"event_type": "agent.event.created", "payload": {"agent_id": "agent:one"}},
            {"event_type": "ops.alert.critical", "payload": {"alert_id": "fire", "title": "It burns"}},
            failure(0), failure(1), failure(2), unreadable(0), unreadable(1),
        ]);
        let published = ask(server, "POST", "/living-map/events", Some(admin), Some(&events)).await;
        assert_eq!(published.status, 200);
        let silence = json!({"rule": "none", "minutes": 600});
        let silence = ask(server, "POST", "/living-map/alerts/silences", Some(admin), Some(&silence)).await;
        assert_eq!(silence.status, 201);
        let alert = items(server, admin, "/living-map/alerts", 1).await.remove(0);
        let lesson = items(server, admin, "/living-map/lessons", 1).await.remove(0);
        let letters = items(server, admin, "/living-map/dead-letters?status=dead", 2).await;
        assert!(server.stop().await.success());
        before_restart();
        server.restart().await;
        let snapshot = items(server, admin, "/living-map/snapshots", 1).await.remove(0);
        items(server, admin, "/living-map/alerts", 1).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            snapshot: text(&snapshot["id"]),
            cursor: text(&snapshot["cursor"]),
            alert: text(&alert["id"]),
            silence: text(&silence.json()["id"]),
            lesson: text(&lesson["lesson_key"]),
            letters: [text(&letters[0]["id"]), text(&letters[1]["id"])],
        }
    }

    /// A request for every route, ordered so that each finds its object.
    fn calls(&self) -> Vec<Call> {
        let Self { snapshot, cursor, alert, silence, lesson, letters: [replayed, discarded] } = self;
        let get = |path, uri: String| Call { method: "GET", path, uri, body: None, status: 200 };
        let read = |path: &'static str| get(path, path.to_owned());
        let about = |path: &'static str, id: &str| get(path, path.replace("{id}", id).replace("{key}", id));
        let post = |path: &'static str, id: &str, body| Call { method: "POST", body, ..about(path, id) };
        let by_query = |path: &'static str, query: &str, body| Call {
            method: "POST",
            body: Some(body),
            ..get(path, format!("{path}?{query}"))
        };
        let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:walked"}});
        let outcome = json!({"lesson_key": lesson, "helped": true});
        let review = json!({"version": 1, "decision": "confirm"});
        let revision = json!({"version": 1, "text": "Ask the other provider."});
        let retirement = json!({"version": 2, "reason": "it is over"});
        let silencing = json!({"rule": "walked", "minutes": 5});
        vec![
            read("/"),
            Call { status: 404, ..get("/assets/{*path}", "/assets/none.js".into()) },
            Call { status: 308, ..read("/docs") },
            read("/docs/"),
            get("/docs/{*path}", "/docs/swagger-ui.css".into()),
            read("/openapi.json"),
            read("/living-map/health"),
            read("/living-map/ready"),
            read("/living-map/session"),
            read("/living-map/snapshot"),
            read("/living-map/snapshots"),
            about("/living-map/snapshots/{id}", snapshot),
            get("/living-map/diff", format!("/living-map/diff?from={}", urlencoded(&Utc::now().to_rfc3339()))),
            read("/living-map/entities"),
            about("/living-map/entities/{id}", "agent:one"),
            about("/living-map/entities/{id}/relations", "agent:one"),
            get("/living-map/entity", "/living-map/entity?id=agent:one".into()),
            get("/living-map/entity/relations", "/living-map/entity/relations?id=agent:one".into()),
            get("/living-map/frames", format!("/living-map/frames?cursor={cursor}")),
            read("/living-map/history"),
            read("/living-map/history/aggregate"),
            Call { status: 101, ..read(SOCKET) },
            read("/living-map/events/stream"),
            post("/living-map/stream/ticket", "", None),
            read("/living-map/errors"),
            read("/living-map/errors/health"),
            read("/living-map/alerts"),
            read("/living-map/alerts/silences"),
            read("/living-map/dead-letters"),
            about("/living-map/dead-letters/{id}", replayed),
            read("/living-map/lessons"),
            about("/living-map/lessons/{key}", lesson),
            about("/living-map/lessons/{key}/history", lesson),
            about("/living-map/agents/{id}/preamble", "agent:one"),
            get("/living-map/preamble", "/living-map/preamble?agent=agent:one".into()),
            read("/metrics"),
            post("/living-map/events", "", Some(event)),
            post("/living-map/agents/{id}/outcomes", "agent:one", Some(outcome.clone())),
            by_query("/living-map/outcomes", "agent=agent:one", outcome),
            post("/living-map/errors/flush", "", None),
            post("/living-map/alerts/{id}/acknowledge", alert, Some(json!({"note": "on it"}))),
            by_query("/living-map/alerts/acknowledge", &format!("id={}", urlencoded(alert)), json!({"note": "still"})),
            Call { status: 201, ..post("/living-map/alerts/silences", "", Some(silencing)) },
            Call { method: "DELETE", status: 204, ..about("/living-map/alerts/silences/{id}", silence) },
            post("/living-map/dead-letters/{id}/replay", replayed, None),
            post("/living-map/dead-letters/{id}/discard", discarded, None),
            post("/living-map/dead-letters/replay", "", None),
            post("/living-map/lessons/{key}/review", lesson, Some(review)),
            post("/living-map/lessons/{key}/revise", lesson, Some(revision)),
            post("/living-map/lessons/{key}/retire", lesson, Some(retirement)),
            post("/living-map/errors/compact", "", None),
        ]
    }
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Items of a list; waits until there are at least `count`.
async fn items(server: &Process, token: &str, uri: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} of {uri}"), || async {
        let answer = ask(server, "GET", uri, Some(token), None).await;
        if answer.status != 200 {
            return None;
        }
        answer.json()["items"].as_array().filter(|items| items.len() >= count).cloned()
    })
    .await
}

/// Everything that these requests can change.
async fn state(server: &Process, admin: &str) -> Vec<Value> {
    let mut lists = Vec::new();
    for uri in [
        "/living-map/history?event_type=agent.event.*&limit=1000",
        "/living-map/history?event_type=living_map.alert.*&limit=1000",
        "/living-map/alerts",
        "/living-map/alerts/silences",
        "/living-map/dead-letters",
        "/living-map/lessons?status=candidate,active,rejected,superseded,retired",
    ] {
        lists.push(json!(items(server, admin, uri, 0).await));
    }
    lists
}

/// Required role of every route, after checking that the OpenAPI document and the table agree.
fn routes(document: &Value) -> Vec<(&'static str, &'static str, RequiredRole)> {
    let mut served: BTreeSet<(String, String)> =
        UNDOCUMENTED.map(|path| ("GET".to_owned(), path.to_owned())).into_iter().collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            served.insert((method.to_uppercase(), path.clone()));
            let (method, path) = (method.to_uppercase(), path.as_str());
            let rule = RULES.iter().find(|rule| (rule.0, rule.1) == (method.as_str(), path));
            let (.., required) = rule.unwrap_or_else(|| panic!("{method} {path} is missing in the table"));
            let token = &operation["security"][0]["token"][0];
            assert_eq!(
                token.as_str(),
                required.role().map(Role::as_str),
                "the document of {method} {path}: {operation}"
            );
        }
    }
    let table: BTreeSet<_> = RULES.iter().map(|(method, path, _)| ((*method).into(), (*path).into())).collect();
    assert_eq!(served, table, "left: served routes, right: the table");
    RULES.to_vec()
}

/// Sends every request with insufficient credentials, which must change nothing, then with sufficient ones.
async fn check_all(server: &Process, fixtures: &Fixtures, roles: &[(Role, String)], invalid: &[InvalidCredential]) {
    let admin = &roles.iter().find(|(role, _)| *role == Role::Admin).unwrap().1;
    let routes = routes(&ask(server, "GET", "/openapi.json", None, None).await.json());
    let calls = fixtures.calls();
    for call in &calls {
        let known = routes.iter().any(|(method, path, _)| (call.method, call.path) == (*method, *path));
        assert!(known, "{} {} is not in the table", call.method, call.path);
    }
    let call_of = |method: &str, path: &str| {
        let call = calls.iter().find(|call| (call.method, call.path) == (method, path));
        call.unwrap_or_else(|| panic!("no request for {method} {path}: add one to `calls`"))
    };

    for (role, token) in roles {
        session_agrees(server, *role, token).await;
    }
    let before = state(server, admin).await;
    for (method, path, required) in &routes {
        let call = call_of(method, path);
        let Some(least) = required.role() else { continue };
        for InvalidCredential { name, token, status } in invalid {
            let answer = call.send(server, token.as_deref()).await;
            assert_eq!(answer.status, *status, "{method} {path} {name}: {}", answer.json());
            problem(&answer, token.is_some(), &format!("{method} {path} {name}"));
            if *method == "GET" && *path != SOCKET {
                let head = ask(server, "HEAD", &call.uri, token.as_deref(), None).await;
                assert_eq!((head.status, head.body.len()), (*status, 0), "HEAD {path} {name}");
            }
        }
        for (role, token) in roles.iter().filter(|(role, _)| *role < least) {
            let answer = call.send(server, Some(token)).await;
            assert_eq!(answer.status, 403, "{method} {path} as {role}");
            problem(&answer, true, &format!("{method} {path} as {role}"));
        }
    }
    assert_eq!(state(server, admin).await, before, "a rejected request changed something");

    // in order, since requests depend on earlier ones
    for call in &calls {
        let (.., required) = routes.iter().find(|route| (route.0, route.1) == (call.method, call.path)).unwrap();
        if required.role().is_none() {
            for InvalidCredential { name, token, .. } in invalid {
                let answer = call.send(server, token.as_deref()).await;
                assert_eq!(answer.status, call.status, "{} {} {name}", call.method, call.path);
            }
        }
        let mut allowed = roles.iter().filter(|(role, _)| required.role().is_none_or(|least| *role >= least));
        let (role, token) = allowed.next().unwrap();
        let answer = call.send(server, Some(token)).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, call.status, "{} {} as {role}: {body}", call.method, call.path);
        for (role, token) in allowed {
            // a repeated request may find the object changed (409) or gone (404)
            let status = call.send(server, Some(token)).await.status;
            let again = [call.status, 404, 409].contains(&status);
            assert!(again, "{} {} as {role}: {status}", call.method, call.path);
        }
    }
    assert_ne!(state(server, admin).await, before, "the permitted requests changed nothing");
}

/// Checks that the session of a token permits exactly the operations whose routes its role may use: the page offers what the
/// session permits, and [`check_all`] sends the requests.
async fn session_agrees(server: &Process, role: Role, token: &str) {
    let session = ask(server, "GET", "/living-map/session", Some(token), None).await;
    assert_eq!(session.headers["cache-control"], "no-store");
    let session = session.json();
    assert_eq!(session["role"], role.as_str());
    let document = ask(server, "GET", "/openapi.json", None, None).await.json();
    let mut expected = Vec::new();
    for (method, path, required) in RULES {
        let operation = &document["paths"][*path][method.to_lowercase()];
        if let Some(id) = operation["operationId"].as_str() {
            let least = required.role();
            let allowed = least.is_none_or(|least| role >= least);
            expected.push(json!({"id": id, "role": least.map(Role::as_str), "allowed": allowed}));
        }
    }
    expected.sort_by(|one, other| one["id"].as_str().cmp(&other["id"].as_str()));
    assert_eq!(session["operations"], json!(expected), "{role}");
}

/// Checks that a rejection is a problem document, and that a 401 has a challenge (RFC 9110, 11.6.1).
fn problem(answer: &Answer, with_token: bool, request: &str) {
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{request}");
    assert_eq!(answer.json()["status"], answer.status, "{request}");
    let challenge = answer.headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
    let expected = match (answer.status, with_token) {
        (401, false) => Some(r#"Bearer realm="living-map""#),
        (401, true) => Some(r#"Bearer realm="living-map", error="invalid_token""#),
        _ => None,
    };
    assert_eq!(challenge, expected, "{request}");
}

fn invalid(name: &'static str, token: impl Into<String>) -> InvalidCredential {
    InvalidCredential { name, token: Some(token.into()), status: 401 }
}

const NO_TOKEN: InvalidCredential = InvalidCredential { name: "without a token", token: None, status: 401 };

/// Short retries of dead letters, and no automatic review of lessons.
const SETTINGS: [(&str, &str); 2] = [("DEAD_LETTER_RETRY_SECONDS", "0.05"), ("LESSON_REVIEW_SECONDS", "86400")];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_api_tokens() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let tokens = Role::ALL.map(|role| (role, generate_token(role.as_str(), role.as_str())));
    let lines: Vec<&str> = tokens.iter().map(|(_, (_, line))| line.as_str()).collect();
    let (revoked, revoked_line) = generate_token("revoked", "admin");
    fs::write(file.path(), format!("{}\n{revoked_line}\n", lines.join("\n"))).unwrap();
    let access = [("AUTH", "token"), ("AUTH_TOKENS_FILE", file.path().to_str().unwrap())];
    let mut server = Process::serve(&environment(&[&SETTINGS[..], &access].concat())).await;
    let errors = "/living-map/errors";
    assert_eq!(ask(&server, "GET", errors, Some(&revoked), None).await.status, 200, "not revoked yet");
    let revoke = || fs::write(file.path(), lines.join("\n")).unwrap();
    let roles = tokens.clone().map(|(role, (token, _))| (role, token));
    let fixtures = Fixtures::create(&mut server, &roles[3].1, revoke).await;
    let credentials = [
        NO_TOKEN,
        invalid("with an unknown token", "lm_unknown"),
        invalid("with a JSON Web Token", jwt(&json!({"role": "admin"}))),
        invalid("with the line of a token", lines[3]),
        invalid("with a revoked token", revoked),
    ];
    check_all(&server, &fixtures, &roles, &credentials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_json_web_tokens() {
    let access =
        [("AUTH", "jwt"), ("JWT_SECRET", SECRET), ("JWT_ISSUER", "https://issuer.example"), ("JWT_AUDIENCE", "map")];
    let mut server = Process::serve(&environment(&[&SETTINGS[..], &access].concat())).await;
    let whole = |role: &str| json!({"role": role, "iss": "https://issuer.example", "aud": ["other", "map"]});
    let admin = |changes: Value| {
        let mut claims = whole("admin");
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let without = |claim: &str| {
        let mut claims = whole("admin");
        claims.as_object_mut().unwrap().remove(claim);
        jwt(&claims)
    };
    let roles = Role::ALL.map(|role| (role, jwt(&whole(role.as_str()))));
    let fixtures = Fixtures::create(&mut server, &roles[3].1, || ()).await;

    let now = Utc::now().timestamp();
    let signed = |algorithm, secret: &str| {
        let claims = admin(json!({"sub": "sofia", "exp": now + 3600}));
        encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    };
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = part(admin(json!({"exp": now + 3600})));
    let unsigned = |algorithm: &str| format!("{}.{claims}.", part(json!({"alg": algorithm, "typ": "JWT"})));
    let viewer = &roles[0].1;
    let parts: Vec<&str> = viewer.split('.').collect();
    let raised = format!("{}.{claims}.{}", parts[0], parts[2]);
    let credentials = [
        NO_TOKEN,
        invalid("with a malformed token", "eyJ.unknown"),
        invalid("with an API token", generate_token("admin", "admin").0),
        invalid("with an expired token", jwt(&admin(json!({"exp": now - 60})))),
        invalid("with a token without expiry", without_expiry(&admin(json!({})))),
        invalid("with a token that is not valid yet", jwt(&admin(json!({"nbf": now + 86_400})))),
        invalid("with another issuer's token", jwt(&admin(json!({"iss": "https://elsewhere.example"})))),
        invalid("with a token without issuer", without("iss")),
        invalid("with a token for another audience", jwt(&admin(json!({"aud": "elsewhere"})))),
        invalid("with a token without audience", without("aud")),
        invalid("with alg none", unsigned("none")),
        invalid("with alg NONE", unsigned("NONE")),
        invalid("with HS256 and no signature", unsigned("HS256")),
        invalid("with another key's token", signed(Algorithm::HS256, "another secret, which is long enough too")),
        invalid("with another algorithm's token", signed(Algorithm::HS512, SECRET)),
        invalid("with the signature of another token", raised),
        InvalidCredential {
            status: 403,
            ..invalid("with a token without a role", jwt(&admin(json!({"role": "king"}))))
        },
    ];
    check_all(&server, &fixtures, &roles, &credentials).await;
}

fn without_expiry(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}
