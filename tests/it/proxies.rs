//! The server behind nginx: under a path, with decoded slashes, with another host.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Url};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::nginx::{Nginx, UPGRADE};
use crate::support::process::Process;
use crate::support::wait::until;

const TRUSTED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

/// The location in the documentation, for this server.
fn documented_location(server: &Process) -> String {
    let page = include_str!("../../docs/operating.md");
    let block = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a location");
    let documented = "http://127.0.0.1:7017/";
    assert_eq!(block.matches(documented).count(), 1);
    // what the test's nginx has for all locations must come once
    let lines =
        block.lines().filter(|line| !["proxy_http_version", "proxy_buffering"].iter().any(|name| line.contains(name)));
    lines.collect::<Vec<_>>().join("\n").replace(documented, &server.url("/"))
}

/// A location that passes on the host.
fn location(path: &str, target: &str, more: &str) -> String {
    format!("location {path} {{ proxy_pass {target}; proxy_set_header Host $http_host; {UPGRADE} {more} }}")
}

async fn with_map(environment: &[(&str, &str)]) -> Process {
    let server = Process::serve(environment).await;
    until("the map to be complete", || async {
        reqwest::get(server.url("/living-map/ready")).await.ok()?.status().is_success().then_some(())
    })
    .await;
    server
}

async fn json_of(url: &str) -> Value {
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status();
    answer.json().await.unwrap_or_else(|error| panic!("{url}: {status}: {error}"))
}

/// Follows every link that the server gives under a path.
async fn check_links(nginx: &Nginx, at: &str) {
    let root = json_of(&nginx.url(&format!("{at}/"))).await;
    let endpoints: BTreeMap<String, String> = serde_json::from_value(root["endpoints"].clone()).unwrap();
    for (name, path) in endpoints {
        assert!(path.starts_with(&format!("{at}/")), "{name}: {path}");
        if !["events", "stream", "event_stream"].contains(&name.as_str()) {
            assert_eq!(reqwest::get(nginx.url(&path)).await.unwrap().status(), 200, "{name}: {path}");
        }
    }
    let problem = json_of(&nginx.url(&format!("{at}/living-map/entities?limit=0"))).await;
    assert_eq!(problem["instance"], format!("{at}/living-map/entities"));

    let client = Client::new();
    let page = client.get(nginx.url(at)).header(ACCEPT, "text/html").send().await.unwrap();
    assert_eq!(page.url().path(), format!("{at}/"), "the page's addresses are relative to the path with a slash");
    assert!(page.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));

    let explorer = reqwest::get(nginx.url(&format!("{at}/docs"))).await.unwrap();
    assert_eq!((explorer.status().as_u16(), explorer.url().path()), (200, format!("{at}/docs/").as_str()));
    let index = explorer.url().clone();
    let script = reqwest::get(index.join("swagger-initializer.js").unwrap()).await.unwrap().text().await.unwrap();
    let document = script.split("\"url\": \"").nth(1).and_then(|rest| rest.split('"').next());
    let document = index.join(document.unwrap_or_else(|| panic!("no address in {script}"))).unwrap();
    assert_eq!(document.path(), format!("{at}/openapi.json"));
    let document = json_of(document.as_str()).await;
    let server: Url = index.join(document["servers"][0]["url"].as_str().unwrap()).unwrap();
    assert_eq!(server.path(), at);
}

#[tokio::test]
async fn links_and_redirects_ignored_a_path_prefix() {
    let forwarded = with_map(&[TRUSTED]).await;
    let header = "proxy_set_header X-Forwarded-Prefix /map;";
    check_links(&Nginx::start(&location("/map/", &forwarded.url("/"), header)).await, "/map").await;

    let configured = with_map(&[("BASE_PATH", "/team/map/")]).await;
    let removes = Nginx::start(&location("/team/map/", &configured.url("/"), "")).await;
    check_links(&removes, "/team/map").await;
    let keeps = Nginx::start(&location("/team/map", &configured.url(""), "")).await;
    check_links(&keeps, "/team/map").await;
    // probes do not come through the proxy
    assert_eq!(reqwest::get(configured.url("/living-map/health")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(configured.url("/team/mapping")).await.unwrap().status(), 404);

    let untrusted = with_map(&[]).await;
    let nginx = Nginx::start(&location("/map/", &untrusted.url("/"), header)).await;
    assert_eq!(json_of(&nginx.url("/map/")).await["endpoints"]["docs"], "/docs/", "not a trusted proxy");
}

#[tokio::test]
async fn the_documented_location_works() {
    let server = with_map(&[TRUSTED]).await;
    let nginx = Nginx::start(&documented_location(&server)).await;
    check_links(&nginx, "/map").await;
    assert_eq!(handshake(&nginx).await.0, 101);
}

#[tokio::test]
async fn a_forged_prefix_named_another_host() {
    let server = with_map(&[TRUSTED]).await;
    for prefix in ["//evil.example", "https://evil.example", "/a\"b", "/..", "/map, //evil.example"] {
        let client = Client::new();
        let ask = |path: &str| client.get(server.url(path)).header("x-forwarded-prefix", prefix).send();
        let root: Value = ask("/").await.unwrap().json().await.unwrap();
        assert_eq!(root["endpoints"]["docs"], "/docs/", "{prefix}");
        let document: Value = ask("/openapi.json").await.unwrap().json().await.unwrap();
        assert_eq!(document["servers"][0]["url"], "/", "{prefix}");
    }
}

#[tokio::test]
async fn ids_with_slashes_were_lost_behind_a_proxy_that_decodes() {
    let server = with_map(&[]).await;
    let nginx = Nginx::start(&location("/map/", &server.url("/"), "")).await;
    let client = Client::new();
    let failure = |number: u32| {
        json!({"event_type": "agent.experience.v1.x", "payload": {
            "event_id": format!("failure-{number}"), "agent_id": "agent:team/one", "task": "answer", "outcome": "error",
            "error_class": "rate_limited", "timestamp": chrono::Utc::now(), "version": 1,
        }})
    };
    let events = json!([
        {"event_type": "agent.event.created", "payload": {"agent_id": "agent:team/one", "name": "One"}},
        {"event_type": "ops.alert.critical", "payload": {"alert_id": "disk:/var/log", "title": "It is full"}},
        failure(0), failure(1), failure(2),
    ]);
    let sent = client.post(nginx.url("/map/living-map/events")).json(&events).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let direct = server.url("/living-map/entities/agent:team%2Fone");
    until("the agent", || async { reqwest::get(&direct).await.ok()?.status().is_success().then_some(()) }).await;
    let lesson = until("a lesson", || async {
        let lessons = json_of(&server.url("/living-map/lessons?agent=agent:team/one&status=candidate,active")).await;
        lessons["items"][0]["lesson_key"].as_str().map(str::to_owned)
    })
    .await;

    let decoded = reqwest::get(nginx.url("/map/living-map/entities/agent:team%2Fone")).await.unwrap();
    assert_eq!(decoded.status(), 404, "this proxy decodes the path");
    let id = "agent%3Ateam%2Fone";
    for (by_path, by_query) in [
        ("entities/agent:team%2Fone", format!("entity?id={id}")),
        ("entities/agent:team%2Fone/relations", format!("entity/relations?id={id}")),
        ("agents/agent:team%2Fone/preamble", format!("preamble?agent={id}&max_tokens=500")),
    ] {
        let ask = async |url: String| {
            let answer = client.get(url).header(ACCEPT, "application/json").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{by_query}");
            answer.json::<Value>().await.unwrap()
        };
        let through = ask(nginx.url(&format!("/map/living-map/{by_query}"))).await;
        assert_eq!(through, ask(server.url(&format!("/living-map/{by_path}"))).await, "{by_query}");
    }
    let post = async |path: &str, body: Value| {
        let answer = client.post(nginx.url(path)).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let outcome = json!({"lesson_key": lesson, "helped": true});
    let (status, counted) = post(&format!("/map/living-map/outcomes?agent={id}"), outcome).await;
    assert_eq!((status, &counted["lesson_key"]), (200, &json!(lesson)), "{counted}");
    let (status, alert) =
        post("/map/living-map/alerts/acknowledge?id=disk%3A%2Fvar%2Flog", json!({"by": "olena"})).await;
    assert_eq!((status, &alert["acknowledged_by"]), (200, &json!("olena")), "{alert}");
    for (path, parameter) in [("entity", "id"), ("entity/relations?id=", "id"), ("preamble?task=x", "agent")] {
        let problem = json_of(&nginx.url(&format!("/map/living-map/{path}"))).await;
        assert_eq!((&problem["status"], &problem["parameter"]), (&json!(400), &json!(parameter)), "{path}");
    }
}

/// Status of a WebSocket's handshake through nginx, and the detail of a rejection.
async fn handshake(nginx: &Nginx) -> (u16, String) {
    let origin = nginx.url("");
    let url = nginx.url("/map/living-map/stream").replacen("http", "ws", 1);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => (answer.status().as_u16(), String::new()),
        Err(Error::Http(answer)) => {
            let problem: Value =
                serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap_or_default();
            (answer.status().as_u16(), problem["detail"].as_str().unwrap_or_default().to_owned())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_stream_with_the_default_host_of_nginx_was_rejected_without_advice() {
    let server = with_map(&[TRUSTED]).await;
    let target = server.url("/");
    let default_host = format!("location /map/ {{ proxy_pass {target}; {UPGRADE} }}");
    let nginx = Nginx::start(&default_host).await;
    let (status, detail) = handshake(&nginx).await;
    assert_eq!(status, 403, "{detail}");
    for advice in ["proxy_set_header Host", "ALLOWED_ORIGINS", &nginx.url("")] {
        assert!(detail.contains(advice), "{advice}: {detail}");
    }
    let flush = |nginx: &Nginx| {
        let request = Client::new().post(nginx.url("/map/living-map/errors/flush")).header("origin", nginx.url(""));
        request.send()
    };
    let rejected: Value = flush(&nginx).await.unwrap().json().await.unwrap();
    assert!(rejected["detail"].as_str().unwrap().contains("proxy_set_header Host"), "{rejected}");
    let listed = with_map(&[("ALLOWED_ORIGINS", &nginx.url(""))]).await;

    let passed_on = Nginx::start(&location("/map/", &target, "")).await;
    assert_eq!(handshake(&passed_on).await.0, 101);
    let forwarding = "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;";
    let forwarded = Nginx::start(&format!("location /map/ {{ proxy_pass {target}; {UPGRADE} {forwarding} }}")).await;
    assert_eq!(handshake(&forwarded).await.0, 101);
    assert_eq!(flush(&forwarded).await.unwrap().status(), 200);
    let secure = "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto https;";
    let secure = Nginx::start(&format!("location /map/ {{ proxy_pass {target}; {UPGRADE} {secure} }}")).await;
    assert_eq!(handshake(&secure).await.0, 403, "a page without TLS is not that of a server with TLS");

    let untrusting = with_map(&[]).await;
    let target = untrusting.url("/");
    let forged = Nginx::start(&format!("location /map/ {{ proxy_pass {target}; {UPGRADE} {forwarding} }}")).await;
    assert_eq!(handshake(&forged).await.0, 403, "not a trusted proxy");

    // the same origin in the list
    let request = |origin: String| {
        let mut request = listed.ws_url("/living-map/stream").into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        tokio_tungstenite::connect_async(request)
    };
    assert!(request(nginx.url("")).await.is_ok());
}
