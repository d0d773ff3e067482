//! Tokens, tickets and their ends, against a real server.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::routing::get;
use futures::StreamExt;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::daemon::{Folder, free_port};
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// What the tokens of [`jwt`] are signed with.
pub const SECRET: &str = "the secret of these tests, which is long enough";

/// A token and its line, as `living-map token` prints them.
pub fn made(name: &str, role: &str) -> (String, String) {
    let arguments = ["token", "--name", name, "--role", role];
    let output = Command::new(env!("CARGO_BIN_EXE_living-map")).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let token = told.split_whitespace().find(|word| word.starts_with("lm_")).expect("it shows the token").to_owned();
    (token, String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A token of a viewer for an hour, with these claims beside or instead.
pub fn jwt(changes: &Value) -> String {
    let mut claims = json!({"sub": "sofia", "role": "viewer", "exp": chrono::Utc::now().timestamp() + 3600});
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn status(server: &Process, path: &str, token: Option<&str>) -> StatusCode {
    let request = Client::new().get(server.url(path)).timeout(PATIENCE);
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    request.send().await.unwrap().status()
}

async fn ticket(server: &Process, token: &str) -> String {
    let request = Client::new().post(server.url("/living-map/stream/ticket")).bearer_auth(token).timeout(PATIENCE);
    let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    answer["ticket"].as_str().unwrap().to_owned()
}

async fn socket(server: &Process, query: &str, token: Option<&str>) -> Result<Socket, u16> {
    let mut request = server.ws_url(&format!("/living-map/stream?{query}")).into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn frame(socket: &mut Socket) -> Message {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame").unwrap().unwrap();
        if !matches!(message, Message::Ping(_)) {
            return message;
        }
    }
}

async fn publish(server: &Process, token: &str, id: &str) {
    let event =
        json!({"event_type": "agent.event.created", "event_id": id, "payload": {"agent_id": format!("agent:{id}")}});
    let request = Client::new().post(server.url("/living-map/events")).bearer_auth(token).json(&event);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn no_credential_is_in_the_log_whatever_becomes_of_it() {
    let ((viewer, viewer_line), (publisher, publisher_line)) = (made("reader", "viewer"), made("writer", "publisher"));
    let tokens = format!("{viewer_line},{publisher_line}");
    let key = "a key for tickets that nobody must see";
    let environment = [("AUTH", "token"), ("AUTH_TOKENS", &tokens), ("LOG_LEVEL", "trace"), ("TICKET_KEY", key)];
    let server = Process::serve(&environment).await;
    assert_eq!(status(&server, "/living-map/snapshot", None).await, 401);
    until("the map to be complete", || async {
        (status(&server, "/living-map/snapshot", Some(&viewer)).await == 200).then_some(())
    })
    .await;
    let strangers = ["lm_stranger-hunter2", "eyJhbGciOiJub25lIn0.eyJodW50ZXIyIjoxfQ.hunter2"];
    for stranger in strangers {
        assert_eq!(status(&server, "/living-map/history?limit=hunter2", Some(stranger)).await, 401);
    }
    assert_eq!(status(&server, "/living-map/history?token=hunter2", None).await, 401);
    publish(&server, &publisher, "one").await;
    let refused = Client::new().post(server.url("/living-map/events")).bearer_auth(&viewer).json(&json!({}));
    assert_eq!(refused.send().await.unwrap().status(), 403);

    let (for_socket, for_events) = (ticket(&server, &viewer).await, ticket(&server, &publisher).await);
    let mut open = socket(&server, &format!("ticket={for_socket}"), None).await.unwrap();
    assert!(frame(&mut open).await.into_text().unwrap().contains("snapshot"));
    assert_eq!(socket(&server, &format!("ticket={for_socket}"), None).await.err(), Some(401), "it is used");
    assert_eq!(socket(&server, "ticket=hunter2", None).await.err(), Some(401));
    assert!(socket(&server, "", Some(&viewer)).await.is_ok());
    let events = format!("/living-map/events/stream?snapshot=false&ticket={for_events}");
    assert_eq!(status(&server, &events, None).await, 200);
    assert_eq!(status(&server, &events, None).await, 401);

    let metrics =
        Client::new().get(server.url("/metrics")).bearer_auth(&viewer).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"living_map_access_denied_total{reason="unknown"}"#), "{metrics}");
    let log = server.output();
    assert!(log.contains("TRACE"), "everything is logged: {log}");
    let hashes = tokens.split([':', ',']).filter(|part| part.len() == 64);
    for secret in [viewer.as_str(), &publisher, &for_socket, &for_events, key, "hunter2"].into_iter().chain(hashes) {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_goes_on_with_the_next_one() {
    let environment = [("AUTH", "jwt"), ("JWT_SECRET", SECRET), ("JWT_LEEWAY_SECONDS", "0")];
    let server = Process::serve(&environment).await;
    let publisher = jwt(&json!({"role": "publisher"}));
    publish(&server, &publisher, "before").await;
    until("the event on the map", || async {
        (status(&server, "/living-map/entities/agent:before", Some(&publisher)).await == 200).then_some(())
    })
    .await;
    let end = chrono::Utc::now().timestamp() + 4;
    let short = jwt(&json!({"exp": end}));
    let mut by_header = socket(&server, "", Some(&short)).await.unwrap();
    let mut by_ticket = socket(&server, &format!("ticket={}", ticket(&server, &short).await), None).await.unwrap();
    let events = Client::new().get(server.url("/living-map/events/stream?snapshot=false")).bearer_auth(&short);
    let events = events.send().await.unwrap();
    assert_eq!(events.status(), 200);
    let snapshot: Value = serde_json::from_str(&frame(&mut by_header).await.into_text().unwrap()).unwrap();
    let cursor = snapshot["data"]["meta"]["cursor"].as_str().unwrap().to_owned();
    frame(&mut by_ticket).await;

    for socket in [&mut by_header, &mut by_ticket] {
        let Message::Close(Some(close)) = frame(socket).await else { panic!("no close") };
        assert_eq!(u16::from(close.code), 4401, "{close:?}");
    }
    assert!(chrono::Utc::now().timestamp() >= end, "not before its time");
    let text = tokio::time::timeout(PATIENCE, events.text()).await.expect("it ends").unwrap();
    assert!(text.contains(r#""code":"token_expired""#), "{text}");

    publish(&server, &publisher, "meanwhile").await;
    let resume = format!("cursor={cursor}");
    assert_eq!(socket(&server, &resume, Some(&short)).await.err(), Some(401), "who may resume is asked again");
    let mut resumed = socket(&server, &resume, Some(&jwt(&json!({})))).await.unwrap();
    let event: Value = serde_json::from_str(&frame(&mut resumed).await.into_text().unwrap()).unwrap();
    assert_eq!(event["payload"]["agent_id"], "agent:meanwhile", "{event}");
}

#[tokio::test]
async fn a_ticket_of_one_server_opens_a_stream_on_another_with_the_same_key() {
    let (token, line) = made("reader", "viewer");
    let key = "one key for all servers of this network";
    let environment = [("AUTH", "token"), ("AUTH_TOKENS", line.as_str()), ("TICKET_KEY", key)];
    let (one, other) = tokio::join!(Process::serve(&environment), Process::serve(&environment));
    let apart = Process::serve(&environment[..2]).await;
    let ticket = ticket(&one, &token).await;
    let path = format!("/living-map/events/stream?snapshot=false&ticket={ticket}");
    assert_eq!(status(&apart, &path, None).await, 401, "it has another key");
    until("a stream on the other server", || async { (status(&other, &path, None).await != 503).then_some(()) }).await;
    assert_eq!(status(&other, &path, None).await, 401, "it was used there");
}

/// An issuer whose keys can be changed.
struct Issuer {
    keys: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let (keys, asked) = (Arc::new(Mutex::new(json!({"keys": []}))), Arc::new(AtomicUsize::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let answer = {
            let (keys, asked) = (Arc::clone(&keys), Arc::clone(&asked));
            move || async move {
                asked.fetch_add(1, Ordering::SeqCst);
                keys.lock().unwrap().to_string()
            }
        };
        let router = axum::Router::new().route("/jwks.json", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { keys, asked, url }
    }

    /// Publishes one new key, and gives a token signed with it.
    fn rotate(&self, id: &str) -> String {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ed_der(pkcs8.as_ref());
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap()).unwrap();
        public["kid"] = json!(id);
        *self.keys.lock().unwrap() = json!({"keys": [public]});
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &json!({"role": "operator", "exp": chrono::Utc::now().timestamp() + 600}), &key).unwrap()
    }
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_when_they_change_and_not_for_made_up_names() {
    let issuer = Issuer::start().await;
    let first = issuer.rotate("first");
    let environment = [("AUTH", "jwt"), ("JWT_JWKS", issuer.url.as_str()), ("JWT_JWKS_REFRESH_SECONDS", "1")];
    let server = Process::serve(&environment).await;
    let path = "/living-map/errors";
    until("the first key", || async { (status(&server, path, Some(&first)).await == 200).then_some(()) }).await;
    let second = issuer.rotate("second");
    until("the second key", || async { (status(&server, path, Some(&second)).await == 200).then_some(()) }).await;
    assert_eq!(status(&server, path, Some(&first)).await, 401, "its key is gone");

    *issuer.keys.lock().unwrap() = json!("not keys any more");
    let ready = || async {
        let request = Client::new().get(server.url("/living-map/ready")).bearer_auth(&second);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let keys = until("the failure to be told", || async {
        let keys = ready().await["checks"]["keys"].clone();
        (keys["status"] == "down").then_some(keys)
    })
    .await;
    assert_eq!(keys["keys"], 1, "the last good one stays: {keys}");
    assert_eq!(status(&server, path, Some(&second)).await, 200);
}

#[tokio::test]
async fn made_up_key_names_are_not_requests_to_the_issuer() {
    let issuer = Issuer::start().await;
    let token = issuer.rotate("real");
    let server = Process::serve(&[("AUTH", "jwt"), ("JWT_JWKS", &issuer.url)]).await;
    until("the key", || async { (status(&server, "/living-map/errors", Some(&token)).await == 200).then_some(()) })
        .await;
    let before = issuer.asked.load(Ordering::SeqCst);
    let forged = Issuer::start().await;
    let begun = std::time::Instant::now();
    for number in 0..30 {
        let token = forged.rotate(&format!("made-up-{number}"));
        assert_eq!(status(&server, "/living-map/errors", Some(&token)).await, 401);
    }
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    let asked = issuer.asked.load(Ordering::SeqCst) - before;
    assert!(asked <= most, "{asked} fetches for 30 made-up names in {:?}", begun.elapsed());
}

#[test]
fn tokens_that_cannot_work_are_refused_at_the_start_and_not_shown() {
    let start = |environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.arg("serve").env_clear().env("PORT", "0").env("DATABASE_URL", "sqlite::memory:");
        let output = command.envs(environment.iter().copied()).output().expect("the program starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# tokens\nhunter2\n").unwrap();
    for (environment, expected) in [
        (&[("AUTH", "token")][..], "AUTH_TOKENS"),
        (&[("AUTH_TOKENS", "hunter2")], "AUTH is not"),
        (&[("AUTH", "token"), ("AUTH_TOKENS", "hunter2")], "line 1"),
        (&[("AUTH", "token"), ("AUTH_TOKENS_FILE", file.path().to_str().unwrap())], "line 2"),
        (&[("AUTH", "token"), ("AUTH_TOKENS_FILE", "/nowhere/tokens")], "AUTH_TOKENS_FILE"),
        (&[("AUTH", "jwt")], "JWT_SECRET or JWT_JWKS"),
        (&[("AUTH", "jwt"), ("JWT_SECRET", "hunter2")], "JWT_SECRET"),
        (&[("AUTH", "jwt"), ("JWT_SECRET", "hunter2"), ("JWT_JWKS", "keys.json")], "JWT_SECRET or JWT_JWKS"),
        (&[("AUTH", "jwt"), ("JWT_JWKS", "/nowhere/hunter2.json")], "JWT_JWKS"),
        (&[("AUTH", "jwt"), ("JWT_JWKS", "ftp://me:hunter2@issuer")], "JWT_JWKS"),
        (&[("AUTH", "none"), ("TICKET_KEY", "hunter2")], "TICKET_KEY"),
    ] {
        let error = start(environment);
        assert!(error.contains(expected) && !error.contains("hunter2"), "{environment:?}: {error}");
    }
}

#[tokio::test]
async fn tail_shows_its_token() {
    let (token, line) = made("me", "viewer");
    let (writer, writer_line) = made("writer", "publisher");
    let server = Process::serve(&[("AUTH", "token"), ("AUTH_TOKENS", &format!("{line},{writer_line}"))]).await;
    let tail = |token: Option<&str>| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_living-map"));
        // also what was published before it listens
        command
            .args(["tail", "--output", "json", "--since", "1h"])
            .env("LIVING_MAP_URL", server.url(""))
            .kill_on_drop(true);
        command.envs(token.map(|token| ("LIVING_MAP_TOKEN", token)));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("the program starts")
    };
    until("the map to be complete", || async {
        (status(&server, "/living-map/snapshot", Some(&token)).await == 200).then_some(())
    })
    .await;
    let refused = tail(None).wait_with_output().await.unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("Authorization"), "{told}");
    publish(&server, &writer, "tailed").await;
    let mut following = tail(Some(&token));
    let mut lines = tokio::io::BufReader::new(following.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("tailed") {
        line.clear();
        let read = tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line);
        assert_ne!(tokio::time::timeout(PATIENCE, read).await.expect("a line").unwrap(), 0, "it ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_for_metrics_asks_for_no_token_and_has_nothing_else() {
    let (_, line) = made("operator", "operator");
    let address = format!("127.0.0.1:{}", free_port());
    let settings = [("AUTH", "token"), ("AUTH_TOKENS", &*line), ("METRICS_BIND", &*address)];
    let server = Process::serve(&settings).await;
    assert_eq!(status(&server, "/metrics", None).await, 401, "the main listener has rules of its own");
    let alone = |path: &str| Client::new().get(format!("http://{address}{path}")).timeout(PATIENCE).send();
    let metrics = alone("/metrics").await.unwrap();
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text().await.unwrap().contains("living_map_http_connections"));
    for path in ["/", "/living-map/health", "/living-map/snapshot", "/docs/"] {
        let answer = alone(path).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let folder = Folder::new("metrics");
    let second = Command::new(env!("CARGO_BIN_EXE_living-map"))
        .args(["serve", "--port", "0"])
        .env("METRICS_BIND", &address)
        .current_dir(folder.path())
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("METRICS_BIND"), "{told}");
}
