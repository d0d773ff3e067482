//! A local HTTP server that takes the place of an upstream.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use living_map::adapters::{AdaptersConfig, Endpoint, Endpoints, Secret};
use living_map::model::Service;
use serde_json::Value;
use tokio::task::AbortHandle;

/// The token that the recorded services accept.
pub const TOKEN: &str = "recorded-token";

/// A running server; it stops when dropped.
pub struct Upstream {
    pub url: String,
    /// Path and query of every request, in order.
    pub seen: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Upstream {
    /// Serves responses of `answer`, which gets the path with the query, and the bearer token.
    pub async fn serve<F>(answer: impl Fn(String, Option<String>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let handler = move |request: Request| {
            let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
            log.lock().unwrap().push(uri.clone());
            answer(uri, token)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handler);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, task: task.abort_handle() }
    }

    /// Serves the same response for every request.
    pub async fn fixed(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self::serve(move |_, _| std::future::ready(plain(status, body.clone()))).await
    }

    /// Serves the recorded responses of `service`; 404 for other requests.
    pub async fn recorded(service: Service) -> Self {
        let recording = Arc::new(Recording::of(service));
        Self::serve(move |uri, token| {
            let recording = Arc::clone(&recording);
            async move { recording.answer(&uri, token.as_deref()) }
        })
        .await
    }

    /// A configuration in which this server is every service.
    pub fn config(&self, token: Option<&str>) -> AdaptersConfig {
        let endpoint = Endpoint::new(&self.url, token.map(Secret::new)).unwrap();
        AdaptersConfig { endpoints: Endpoints::new(|_| endpoint.clone()), ..AdaptersConfig::default() }
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn plain(status: u16, body: impl Into<Body>) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.into()).into_response()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upstreams")
}

/// A recorded body, by its file name in the index.
pub fn body(file: &str) -> String {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value.get("_non_json_body").and_then(Value::as_str).map_or(text, str::to_owned)
}

/// The recorded responses of one service.
pub struct Recording(Vec<Row>);

struct Row {
    path: String,
    query: BTreeSet<String>,
    needs_token: bool,
    status: u16,
    body: String,
}

impl Recording {
    pub fn of(service: Service) -> Self {
        let index = std::fs::read_to_string(folder().join("index.tsv")).unwrap();
        let rows = index.lines().skip(1).filter_map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [file, _, uri, auth, status] = columns[..] else { panic!("{line}") };
            file.starts_with(&format!("{service}/")).then(|| {
                let (path, query) = split(uri);
                Row { path, query, needs_token: auth == "Bearer", status: status.parse().unwrap(), body: body(file) }
            })
        });
        Self(rows.collect())
    }

    pub fn answer(&self, uri: &str, token: Option<&str>) -> Response {
        let (path, query) = split(uri);
        let rows: Vec<_> = self.0.iter().filter(|row| row.path == path && row.query == query).collect();
        let secured = rows.iter().any(|row| row.needs_token);
        let wanted = match token {
            Some(TOKEN) => rows.iter().find(|row| row.status == 200),
            Some(_) if secured => rows.iter().find(|row| row.needs_token && row.status == 401),
            None if secured => rows.iter().find(|row| !row.needs_token && row.status == 401),
            _ => rows.first(),
        };
        match wanted.or(rows.first()) {
            Some(row) => plain(row.status, row.body.clone()),
            None => plain(404, r#"{"detail":"Not Found"}"#),
        }
    }
}

fn split(uri: &str) -> (String, BTreeSet<String>) {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let query = query.replace("%3A", ":");
    (path.to_owned(), query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect())
}
