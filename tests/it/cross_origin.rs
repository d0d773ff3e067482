//! Pages of other sites that a visitor's browser lets address the server: by a name that resolves to it, or by requests that
//! change something. Every route is tried over a real socket.

use living_map::http::{RULES, RequiredRole};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::access::{SECRET, generate_token, jwt};
use crate::support::daemon::free_port;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const LOCAL: &str = "127.0.0.1:7017";
const EVIL: &str = "https://evil.example";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Status of the answer to a request, and the body of an error.
async fn raw(port: u16, request: &str) -> (u16, Value) {
    let exchange = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap_or_else(|_| panic!("no answer to {request}")));
        }
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head[9..12].parse().unwrap();
        let mut body = Vec::new();
        if status >= 400 && !request.starts_with("HEAD") {
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            body.resize(length.unwrap_or_else(|| panic!("no length: {head}")), 0);
            socket.read_exact(&mut body).await.unwrap();
        }
        (status, serde_json::from_slice(&body).unwrap_or_default())
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer to {request}"))
}

/// Sends a request with these header lines, each with its end.
async fn ask(port: u16, method: &str, path: &str, headers: &str) -> (u16, Value) {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let upgrade = if path == "/living-map/stream" { HANDSHAKE } else { "Connection: close\r\n" };
    raw(port, &format!("{method} {path} HTTP/1.1\r\n{length}{upgrade}{headers}\r\n")).await
}

/// Every route with its parameters filled in.
fn routes() -> impl Iterator<Item = (&'static str, String, RequiredRole)> {
    RULES.iter().map(|(method, path, role)| {
        let path = path.replace("{*path}", "none").replace("{id}", "none").replace("{key}", "none");
        (*method, path, *role)
    })
}

fn assert_names(answer: &(u16, Value), status: u16, setting: &str, request: &str) {
    assert_eq!(answer.0, status, "{request}: {}", answer.1);
    let detail = answer.1["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(setting), "{request}: {}", answer.1);
}

async fn with_map(environment: &[(&str, &str)]) -> Process {
    let server = Process::serve(environment).await;
    until("the map to be complete", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    server
}

async fn denied(server: &Process, reason: &str) -> u64 {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let name = format!(r#"living_map_access_denied_total{{reason="{reason}"}} "#);
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn dns_rebinding_is_answered_421() {
    for environment in [&[][..], &[("AUTH", "none"), ("BIND", "0.0.0.0")]] {
        let server = with_map(environment).await;
        for (method, path, _) in routes() {
            for host in ["evil.example", "evil.example:7017", "EVIL.example.", "127.0.0.1.evil.example", "example."] {
                let own = format!("Host: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
                let answer = ask(server.port(), method, &path, &own).await;
                assert_names(&answer, 421, "ALLOWED_HOSTS", &format!("{method} {path} at {host}"));
                assert_eq!(answer.1["parameter"], "Host");
            }
        }
        assert_names(
            &ask(server.port(), "GET", "/nowhere", "Host: evil.example\r\n").await,
            421,
            "ALLOWED_HOSTS",
            "404",
        );
        assert_eq!(denied(&server, "host").await, RULES.len() as u64 * 5 + 1);
    }
}

/// CORS answers preflights itself, before a token could be checked.
#[tokio::test]
async fn a_preflight_is_answered_421_where_no_token_is_asked() {
    let page = "https://page.example";
    let preflight = async |server: &Process, host: &str| {
        let headers = format!("Host: {host}\r\nOrigin: {page}\r\nAccess-Control-Request-Method: POST\r\n");
        ask(server.port(), "OPTIONS", "/living-map/events", &headers).await
    };
    let server = with_map(&[("ALLOWED_ORIGINS", page)]).await;
    assert_names(&preflight(&server, "evil.example").await, 421, "ALLOWED_HOSTS", "preflight");
    assert_eq!(preflight(&server, "localhost").await.0, 200);
    let (_, tokens) = generate_token("someone", "viewer");
    let server = with_map(&[("ALLOWED_ORIGINS", page), ("AUTH", "token"), ("AUTH_TOKENS", &tokens)]).await;
    assert_eq!(preflight(&server, "map.example").await.0, 200, "the request that follows may have a token");
}

#[tokio::test]
async fn an_absolute_target_cannot_hide_its_host() {
    let server = with_map(&[]).await;
    let get = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        raw(server.port(), &request).await.0
    };
    assert_eq!(get("http://evil.example/living-map/snapshot", "Host: evil.example\r\n").await, 421);
    // contradictory heads are rejected before the router
    assert_eq!(get("http://evil.example/living-map/snapshot", "Host: 127.0.0.1\r\n").await, 400);
    assert_eq!(get("http://127.0.0.1/living-map/snapshot", "Host: evil.example\r\n").await, 400);
    assert_eq!(get("http://127.0.0.1/living-map/snapshot", "Host: 127.0.0.1\r\n").await, 200);
}

#[tokio::test]
async fn local_hosts_and_probes_need_no_setting() {
    let server = with_map(&[]).await;
    for host in
        ["127.0.0.1", "[::1]:7017", "localhost", "LOCALHOST.:7017", "map.localhost", "living-map:80", "10.1.2.3:80"]
    {
        for path in ["/", "/living-map/health", "/living-map/snapshot", "/metrics"] {
            assert_eq!(ask(server.port(), "GET", path, &format!("Host: {host}\r\n")).await.0, 200, "{path} at {host}");
        }
        let own = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
        assert_eq!(ask(server.port(), "GET", "/living-map/stream", &own).await.0, 101, "at {host}");
        assert_eq!(ask(server.port(), "POST", "/living-map/errors/flush", &own).await.0, 200, "at {host}");
    }
    assert_eq!(raw(server.port(), "GET /living-map/health HTTP/1.0\r\n\r\n").await.0, 200, "a probe without Host");
}

#[tokio::test]
async fn hosts_in_the_setting_are_accepted_and_no_others() {
    let server = with_map(&[("ALLOWED_HOSTS", "map.example.org, *.internal.example")]).await;
    for (host, status) in [
        ("map.example.org", 200),
        ("Map.Example.Org.:443", 200),
        ("a.internal.example", 200),
        ("internal.example", 421),
        ("other.example.org", 421),
        ("map.example.org.evil.example", 421),
    ] {
        let answer = ask(server.port(), "GET", "/living-map/snapshot", &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.0, status, "{host}");
    }
}

#[tokio::test]
async fn routes_that_ask_for_no_token_check_the_host() {
    let (token, line) = generate_token("admin", "admin");
    let listener = format!("127.0.0.1:{}", free_port());
    let environment =
        [("AUTH", "token"), ("AUTH_TOKENS", &*line), ("PUBLIC", "snapshot"), ("METRICS_BIND", &*listener)];
    let server = Process::serve(&environment).await;
    for (method, path, role) in routes() {
        let expected = if role.role().is_none() || role == RequiredRole::Public { 421 } else { 401 };
        let answer = ask(server.port(), method, &path, "Host: evil.example\r\n").await;
        assert_eq!(answer.0, expected, "{method} {path}: {}", answer.1);
        let authorized = format!("Host: map.example.org\r\nAuthorization: Bearer {token}\r\n");
        let answer = ask(server.port(), method, &path, &authorized).await;
        assert!(![401, 403, 421].contains(&answer.0), "{method} {path} with a token: {}", answer.1);
        let forged = "Host: evil.example\r\nAuthorization: Bearer lm_unknown\r\n";
        let expected = if role.role().is_none() { 421 } else { 401 };
        assert_eq!(ask(server.port(), method, &path, forged).await.0, expected, "{method} {path} with a forged token");
    }
    let port = listener.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_names(&ask(port, "GET", "/metrics", "Host: evil.example\r\n").await, 421, "ALLOWED_HOSTS", "METRICS_BIND");
    assert_eq!(ask(port, "GET", "/metrics", "Host: living-map:9000\r\n").await.0, 200);
}

#[tokio::test]
async fn cross_site_post_without_body_is_rejected() {
    let server = with_map(&[]).await;
    let mut changing = 0;
    for (method, path, _) in routes().filter(|(method, ..)| *method != "GET") {
        changing += 1;
        for page in [
            format!("Origin: {EVIL}\r\n"),
            format!("Origin: {EVIL}\r\nContent-Type: text/plain\r\n"),
            format!("Origin: {EVIL}\r\nSec-Fetch-Site: cross-site\r\n"),
            "Origin: null\r\n".to_owned(),
            "Origin: http://127.0.0.1:3000\r\n".to_owned(),
            "Sec-Fetch-Site: cross-site\r\n".to_owned(),
            "Sec-Fetch-Site: same-site\r\n".to_owned(),
        ] {
            let answer = ask(server.port(), method, &path, &format!("Host: {LOCAL}\r\n{page}")).await;
            assert_names(&answer, 403, "ALLOWED_ORIGINS", &format!("{method} {path} of {page}"));
        }
    }
    assert!(changing >= 12, "the search finds too little: {changing}");
    assert_eq!(denied(&server, "cross_site").await, changing * 7);
    for method in ["PUT", "PATCH", "DELETE", "POST"] {
        let page = format!("Host: {LOCAL}\r\nOrigin: {EVIL}\r\n");
        assert_eq!(
            ask(server.port(), method, "/living-map/health", &page).await.0,
            403,
            "{method} without such a route"
        );
    }
    let socket = ask(server.port(), "GET", "/living-map/stream", &format!("Host: {LOCAL}\r\nOrigin: {EVIL}\r\n")).await;
    assert_names(&socket, 403, "ALLOWED_ORIGINS", "the WebSocket");
    assert_eq!(denied(&server, "cross_site").await, changing * 7 + 5);
}

#[tokio::test]
async fn own_pages_and_programs_may_change_something() {
    let server = with_map(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    for page in [
        format!("Host: {LOCAL}\r\n"),
        format!("Host: {LOCAL}\r\nOrigin: http://{LOCAL}\r\n"),
        format!("Host: {LOCAL}\r\nOrigin: http://{LOCAL}\r\nSec-Fetch-Site: same-origin\r\n"),
        "Host: localhost\r\nOrigin: https://localhost\r\n".to_owned(),
        // behind proxies that rewrite Host
        "Host: living-map:7017\r\nOrigin: https://localhost\r\nSec-Fetch-Site: same-origin\r\n".to_owned(),
        "Host: living-map:7017\r\nX-Forwarded-Host: localhost\r\nOrigin: https://localhost\r\n".to_owned(),
    ] {
        assert_eq!(ask(server.port(), "POST", "/living-map/errors/flush", &page).await.0, 200, "{page}");
        assert_eq!(ask(server.port(), "GET", "/living-map/stream", &page).await.0, 101, "{page}");
    }
    let page = "Host: living-map:7017\r\nX-Forwarded-Host: evil.example\r\nOrigin: http://evil.example\r\n";
    assert_eq!(ask(server.port(), "POST", "/living-map/errors/flush", page).await.0, 421, "the host that is forwarded");
    let untrusted = with_map(&[]).await;
    let page = "Host: living-map:7017\r\nX-Forwarded-Host: localhost\r\nOrigin: https://localhost\r\n";
    assert_eq!(ask(untrusted.port(), "POST", "/living-map/errors/flush", page).await.0, 403, "not a trusted proxy");
}

#[tokio::test]
async fn any_origin_admits_no_write_without_a_token() {
    let flush = "/living-map/errors/flush";
    let page = format!("Host: {LOCAL}\r\nOrigin: {EVIL}\r\n");
    let open = with_map(&[("ALLOWED_ORIGINS", "*")]).await;
    assert_names(&ask(open.port(), "POST", flush, &page).await, 403, "ALLOWED_ORIGINS", "without a token");
    let forged = format!("{page}Authorization: Bearer whatever\r\n");
    assert_eq!(ask(open.port(), "POST", flush, &forged).await.0, 403, "no token is verified here");
    assert_eq!(ask(open.port(), "GET", "/living-map/snapshot", &page).await.0, 200, "reading");
    let listed = with_map(&[("ALLOWED_ORIGINS", EVIL)]).await;
    assert_eq!(ask(listed.port(), "POST", flush, &page).await.0, 200, "a listed origin");
    for (origins, status) in [("*", 200), (EVIL, 200), ("https://other.example", 403)] {
        let server = Process::serve(&[("AUTH", "jwt"), ("JWT_SECRET", SECRET), ("ALLOWED_ORIGINS", origins)]).await;
        let operator = jwt(&serde_json::json!({"role": "operator"}));
        let authorized = format!("{page}Authorization: Bearer {operator}\r\n");
        assert_eq!(ask(server.port(), "POST", flush, &authorized).await.0, status, "{origins}");
    }
}

/// The front-end of the prototype is a page on another origin: `COMPATIBLE=prototype` lets any page read the prototype's
/// routes and open its stream. Hosts, changes and all other routes are checked as before.
#[tokio::test]
async fn the_prototypes_routes_are_open_to_pages_of_any_origin() {
    const OLD: [&str; 6] = [
        "/",
        "/living-map/health",
        "/living-map/snapshot",
        "/living-map/entities",
        "/living-map/entities/{id}",
        "/living-map/history",
    ];
    let server = with_map(&[("COMPATIBLE", "prototype")]).await;
    let client = reqwest::Client::new();
    let readable = |response: &reqwest::Response| response.headers().contains_key("access-control-allow-origin");
    for (method, path, _) in RULES {
        let asked = path.replace("{*path}", "none").replace("{id}", "none").replace("{key}", "none");
        let is_old = *method == "GET" && OLD.contains(path);
        let method: reqwest::Method = method.parse().unwrap();
        let url = server.url(&asked);
        if asked != "/living-map/events/stream" {
            let answer = client.request(method.clone(), &url).header("origin", EVIL).send().await.unwrap();
            assert_eq!(readable(&answer), is_old, "{method} {path}");
            assert!(!answer.headers().contains_key("access-control-allow-credentials"), "{method} {path}");
        }
        let preflight = client.request(reqwest::Method::OPTIONS, &url).header("origin", EVIL);
        let preflight = preflight
            .header("access-control-request-method", method.as_str())
            .header("access-control-request-headers", "x-requested-with");
        assert_eq!(readable(&preflight.send().await.unwrap()), is_old, "preflight of {method} {path}");
    }
    let preflight = client.request(reqwest::Method::OPTIONS, server.url("/living-map/snapshot")).header("origin", EVIL);
    let preflight = preflight.header("access-control-request-method", "POST").send().await.unwrap();
    assert!(!readable(&preflight), "no route of the prototype changes anything");

    let page = format!("Host: {LOCAL}\r\nOrigin: {EVIL}\r\nSec-Fetch-Site: cross-site\r\n");
    assert_eq!(ask(server.port(), "GET", "/living-map/stream", &page).await.0, 101);
    for (method, path, _) in routes().filter(|(method, ..)| *method != "GET") {
        assert_eq!(ask(server.port(), method, &path, &page).await.0, 403, "{method} {path}");
    }
    let rebound = "Host: evil.example\r\nOrigin: http://evil.example\r\n";
    for path in OLD.map(|path| path.replace("{id}", "none")).into_iter().chain(["/living-map/stream".to_owned()]) {
        assert_eq!(ask(server.port(), "GET", &path, rebound).await.0, 421, "{path}");
    }

    // with tokens a page of any origin reads what its token permits, and nothing without one
    let server = Process::serve(&[("AUTH", "jwt"), ("JWT_SECRET", SECRET), ("COMPATIBLE", "prototype")]).await;
    let page = format!("Host: {LOCAL}\r\nOrigin: {EVIL}\r\n");
    assert_eq!(ask(server.port(), "GET", "/living-map/history", &page).await.0, 401);
    assert_eq!(ask(server.port(), "GET", "/living-map/stream", &page).await.0, 401);
    let operator = jwt(&serde_json::json!({"role": "operator"}));
    let authorized = format!("{page}Authorization: Bearer {operator}\r\n");
    assert_eq!(ask(server.port(), "GET", "/living-map/history", &authorized).await.0, 200);
    assert_eq!(ask(server.port(), "POST", "/living-map/errors/flush", &authorized).await.0, 403);
}
