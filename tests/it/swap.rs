//! The recorded answers of the service that this one replaces, compared field by field with this one's in the same situation:
//! over the same six services, after the same messages. Each difference is in one table, from which `docs/replacing.md` is
//! made.

mod compare;
mod differences;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::Method;
use axum::response::Response;
use futures::StreamExt;
use living_map::model::Service;
use living_map::stream::StreamConfig;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio_tungstenite::tungstenite::Message;

use self::compare::{Comparison, Difference};
use crate::adapters::upstream::{Recording, TOKEN, Upstream, plain};
use crate::support::daemon::free_port;
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const OLD_SCHEMA: &str = include_str!("../fixtures/old_schema.sql");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/living-map-service")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A line of `index.tsv` that names a recorded answer.
struct Recorded {
    file: String,
    method: String,
    path: String,
    status: u16,
}

fn index() -> Vec<Recorded> {
    let lines = text("index.tsv");
    let rows = lines.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0] != "-" && row[1] != "-")
        .map(|row| Recorded {
            file: row[0].to_owned(),
            method: row[1].to_owned(),
            path: row[2].to_owned(),
            status: row[3].parse().unwrap_or(0),
        })
        .collect()
}

/// The six services in the situation of one folder of the recordings, and this server over them.
struct Situation {
    server: Process,
    nats: NatsServer,
    _upstreams: Vec<Upstream>,
}

impl Situation {
    async fn start(folder: &str) -> Self {
        let (nats, database) = (NatsServer::start().await, postgres::database().await);
        let mut connection = PgConnection::connect(&database).await.unwrap();
        connection.execute(AssertSqlSafe(OLD_SCHEMA)).await.unwrap();
        let mut environment: Vec<(&str, String)> = vec![
            ("DATABASE_URL", database),
            ("NATS_URL", nats.url()),
            ("COMPATIBLE", "prototype".to_owned()),
            ("SYNC_INTERVAL_SECONDS", "1".to_owned()),
        ];
        let mut upstreams = Vec::new();
        for (service, url, token) in [
            (Service::Agents, "AGENTS_SERVICE_URL", "AGENTS_TOKEN"),
            (Service::Microdao, "MICRODAO_SERVICE_URL", "MICRODAO_TOKEN"),
            (Service::Dao, "DAO_SERVICE_URL", "DAO_TOKEN"),
            (Service::Usage, "USAGE_ENGINE_URL", "USAGE_TOKEN"),
            (Service::City, "CITY_SERVICE_URL", "CITY_TOKEN"),
            (Service::Space, "SPACE_SERVICE_URL", "SPACE_TOKEN"),
        ] {
            if is_down(folder, service) {
                environment.push((url, format!("http://127.0.0.1:{}", free_port())));
                continue;
            }
            let upstream = upstream(folder, service).await;
            environment.push((url, upstream.url.clone()));
            // in `asis` no token is sent to any service
            if !folder.contains("asis") {
                environment.push((token, TOKEN.to_owned()));
            }
            upstreams.push(upstream);
        }
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Process::serve(&environment).await;
        let situation = Self { server, nats, _upstreams: upstreams };
        until("each service to be polled, and the map to have the answers", || async {
            let ready = situation.get("/living-map/ready").await?;
            let checks = &ready["checks"];
            let polled = checks["sources"].as_array()?.iter().all(|source| source["status"] != "unknown");
            (polled && checks["map"]["lag"] == 0 && checks["writer"]["lag"] == 0).then_some(())
        })
        .await;
        assert_eq!(situation.get("/living-map/ready").await.unwrap()["checks"]["map"]["compatible"], "prototype");
        situation
    }

    async fn get(&self, path: &str) -> Option<Value> {
        reqwest::get(self.server.url(path)).await.ok()?.json().await.ok()
    }

    /// Publishes the recorded messages, and waits until those of which the old service wrote a row are rows here too.
    async fn publish(&self) {
        let client = self.nats.client().await;
        let published: Vec<Value> = text("published.jsonl").lines().map(json_of).collect();
        for message in &published {
            let subject = message["subject"].as_str().unwrap().to_owned();
            let raw = message["payload_raw"].as_str().map(str::to_owned);
            client.publish(subject, raw.unwrap_or_else(|| message["payload"].to_string()).into()).await.unwrap();
            client.flush().await.unwrap();
        }
        until("the published events to be in history", || async {
            let history = self.get("/living-map/history?limit=1000").await?;
            let rows = history["items"].as_array()?;
            let has = |message: &&Value| {
                rows.iter().any(|row| {
                    row["event_type"] == message["subject"]
                        && (row["payload"] == message["payload"] || message["payload"]["event_id"] == "env-1")
                })
            };
            published.iter().filter(|message| message["frame"] == true).all(|message| has(&message)).then_some(())
        })
        .await;
    }

    /// The answer in the form in which answers are recorded.
    async fn ask(&self, recorded: &Recorded, with_headers: &Value) -> (u16, Value) {
        let method: Method = recorded.method.parse().unwrap();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        // an unescaped `+` must reach the server as it is
        let mut request = client.request(method, self.server.url(&self.moved(&recorded.path).await));
        if recorded.file.starts_with("cors/") {
            request = request.header("origin", "http://map.example.com");
        }
        if recorded.file == "cors/get_with_cookie.json" {
            request = request.header("cookie", "session=1");
        }
        if recorded.file == "cors/preflight.json" {
            request = request.header("access-control-request-method", "GET");
            request = request.header("access-control-request-headers", "authorization");
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = answer.text().await.unwrap();
        let body = serde_json::from_str(&body).unwrap_or_else(|_| json!(body));
        let Some(names) = with_headers.as_object() else { return (status, body) };
        let value = |name: &String| {
            let value = headers.get(name)?.to_str().ok()?.replace(&self.server.url(""), "http://localhost:7017");
            Some((name.clone(), json!(value)))
        };
        let headers: serde_json::Map<String, Value> = names.keys().filter_map(value).collect();
        (status, json!({"_headers": headers, "_body": body}))
    }

    /// The path with the time of the fifth newest row in place of the recorded one.
    async fn moved(&self, path: &str) -> String {
        const RECORDED: &str = "2026-11-29T10:49:59.205382";
        if !path.contains(RECORDED) {
            return path.to_owned();
        }
        let newest = self.get("/living-map/history?limit=5").await.unwrap();
        let fifth = newest["items"][4]["timestamp"].as_str().unwrap().trim_end_matches('Z').to_owned();
        path.replace(RECORDED, &fifth)
    }

    /// The first frames of the stream: the snapshot, and after `publish` the events, up to the last recorded one, and the
    /// `ping` that follows when nothing is sent.
    async fn frames(&self, publish: bool) -> Vec<Value> {
        let (mut stream, _) = tokio_tungstenite::connect_async(self.server.ws_url("/living-map/stream")).await.unwrap();
        let patience = PATIENCE + StreamConfig::default().ping_interval;
        let mut frames = Vec::new();
        let mut published = !publish;
        loop {
            let message = tokio::time::timeout(patience, stream.next()).await.expect("a frame").unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let frame = json_of(&text);
            if frame["event_type"].as_str().is_some_and(|subject| subject.starts_with("living_map.")) {
                continue;
            }
            frames.push(frame);
            if !published {
                self.publish().await;
                published = true;
            }
            // the last message but one of those that the old service did not send
            let has_last = frames.iter().any(|frame| frame["event_type"] == "city.event.broken");
            if !publish || has_last && frames.last().is_some_and(|frame| frame["kind"] == "ping") {
                return frames;
            }
        }
    }
}

/// `down_agents_dao`, `down_asis_city_space`: the two last words are services that refuse connections.
fn is_down(folder: &str, service: Service) -> bool {
    folder.strip_prefix("down_").is_some_and(|names| names.split('_').any(|name| name == service.as_str()))
}

async fn upstream(folder: &str, service: Service) -> Upstream {
    let fails = folder.starts_with("agents500") && service == Service::Agents;
    let recording = Arc::new(Recording::of(service));
    Upstream::serve(move |uri, token| {
        let recording = Arc::clone(&recording);
        async move { if fails { failure() } else { recording.answer(&uri, token.as_deref()) } }
    })
    .await
}

fn failure() -> Response {
    plain(500, "Internal Server Error")
}

/// The recorded answers of one folder, compared.
async fn differences_in(folders: &[&str]) -> Vec<Difference> {
    let situation = Situation::start(folders[0]).await;
    let mut found = Vec::new();
    for recorded in index() {
        let in_folder = recorded.file.split_once('/').map_or("asis", |(folder, _)| folder);
        if !folders.contains(&in_folder) || recorded.method == "NATS" {
            continue;
        }
        let mut comparison = Comparison { file: &recorded.file, found: Vec::new() };
        if recorded.method == "WS" {
            let frames: Vec<Value> = text(&recorded.file).lines().map(json_of).collect();
            let ours = situation.frames(frames.len() > 1).await;
            comparison.compare("", &frames[0], &ours[0]);
            let events = |frames: &[Value]| {
                Value::Array(frames.iter().filter(|frame| frame["kind"] == "event").cloned().collect())
            };
            comparison.compare("frames", &events(&frames), &events(&ours));
            if let (Some(ping), Some(our_ping)) = (frames.get(1..).and_then(<[_]>::last), ours.last()) {
                comparison.compare("ping", ping, our_ping);
            }
        } else {
            let body = json_of(&text(&recorded.file));
            let body = body.get("_non_json_body").unwrap_or(&body);
            let (status, ours) = situation.ask(&recorded, &body["_headers"]).await;
            comparison.compare("(status)", &json!(recorded.status), &json!(status));
            comparison.compare("", body, &ours);
        }
        found.append(&mut comparison.found);
    }
    found
}

/// Every difference from the recorded answers has its row in the table, and every row is needed.
#[tokio::test(flavor = "multi_thread")]
async fn differences_from_the_prototype_are_those_listed() {
    let situations: [&[&str]; 8] = [
        &["asis", "as_committed", "errors", "cors"],
        &["filled"],
        &["filled_scene"],
        &["down_city_space"],
        &["down_agents_dao"],
        &["down_asis_city_space"],
        &["agents500"],
        &["agents500_asis"],
    ];
    let mut found = Vec::new();
    for folders in situations {
        found.extend(differences_in(folders).await);
    }
    differences::check(&found);
}

/// Generated; `make differences`, or this test with `UPDATE_DIFFERENCES=1`, writes it.
#[test]
fn the_guide_lists_the_differences_of_the_comparison() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/replacing.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(differences::BEGIN).expect("the beginning of the table");
    let (table, after) = rest.split_once(differences::END).expect("its end");
    let generated = differences::table();
    if std::env::var_os("UPDATE_DIFFERENCES").is_some() {
        let page = [before, differences::BEGIN, &generated, differences::END, after].concat();
        std::fs::write(&path, page).unwrap();
        return;
    }
    assert_eq!(table, generated, "`make differences` writes it");
}
