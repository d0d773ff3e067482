//! The whole map, as ready-made bytes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::error::{Document, Problem};
use super::gate;
use super::limits::Visitor;
use super::negotiate;
use super::past::Moment;
use super::query::{FromParams, Params, Query};
use super::state::AppState;
use crate::access::Denied;
use crate::live::{Encoding, SnapshotBytes};
use crate::log::Bounds;
use crate::model::{Cursor, Layer, Service, Snapshot};

/// Names the upstreams whose last good data stands in for a failed poll.
pub const RESCUED: HeaderName = HeaderName::from_static("x-living-map-rescued");
/// The position a snapshot is exact at.
pub const CURSOR: HeaderName = HeaderName::from_static("x-living-map-cursor");

/// How often a fresh snapshot is looked for; a fraction of the time in which one is built.
const FRESH_CHECK: Duration = Duration::from_millis(20);

/// What of the map is wanted.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SnapshotQuery {
    /// Only these layers, comma-separated; the others are `null`. All when not given.
    #[param(value_type = Option<Vec<Layer>>, style = Form, explode = false, example = json!(["city", "agents"]))]
    layers: Vec<Layer>,
    /// Poll the upstreams first, and wait for a bounded time until the map shows what they said and every event that was
    /// accepted before. A poll that is under way, or ended less than a second ago, counts.
    #[param(value_type = Option<bool>, default = false)]
    fresh: bool,
    /// The map of this moment instead: a cursor, or a time of the log (ISO 8601; the last event that the log took at or
    /// before it). `meta.sources` is empty then: how the upstreams were doing is not in the log.
    #[param(value_type = Option<String>, format = "moment", example = "2026-01-19T12:00:00Z")]
    at: Option<Moment>,
}

impl FromParams for SnapshotQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let mut layers: Vec<Layer> = params.list("layers")?;
        if layers.len() == Layer::ALL.len() {
            layers.clear();
        }
        let (fresh, at) = (params.flag("fresh")?, Moment::read(params, "at")?);
        if fresh && at.is_some() {
            return Err(Problem::bad_request("fresh", "the past cannot be polled anew: expected 'at' or 'fresh'"));
        }
        Ok(Self { layers, fresh, at })
    }
}

/// The whole map
///
/// Ready-made bytes: no upstream is asked unless `fresh=true` says so. A stream resumed from `meta.cursor` continues
/// without a gap. Compressed as `Accept-Encoding` likes it (`zstd`, `gzip`).
///
/// Where anonymous readers are let in (`PUBLIC=snapshot`), they get the layers' own figures, and empty lists.
#[utoipa::path(
    get, path = "/living-map/snapshot", tag = "map", operation_id = "snapshot",
    params(
        SnapshotQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the snapshot that the client has"),
    ),
    responses(
        (status = 200, body = Snapshot, headers(
            ("ETag" = String, description = "Validator of these bytes, for `If-None-Match`"),
            ("X-Living-Map-Cursor" = String, description = "The same as `meta.cursor`"),
            ("X-Living-Map-Rescued" = String,
                description = "Upstreams whose last good data stands in for a failed poll: `agents, dao`"),
        )),
        (status = 304, description = "The client has it already"),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 410, body = Document, content_type = "application/problem+json",
            description = "`at` is before what is kept, or of another log; `oldest_cursor` and `oldest_time` say where the \
                past begins"),
        (status = 503, description = "The log is still being read for the first time",
            body = Document, content_type = "application/problem+json"),
        (status = 406, body = Document, content_type = "application/problem+json",
            description = "`Accept-Encoding` excludes every encoding there is"),
    )
)]
pub async fn snapshot(
    State(state): State<AppState>,
    Query(query): Query<SnapshotQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let Some(encoding) = negotiate::encoding(headers) else {
        let detail = "none of zstd, gzip and identity is acceptable to the client";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail).parameter("Accept-Encoding"));
    };
    let live = state.map()?;
    if Visitor::of(request.extensions()).is_anonymous() {
        if query.at.is_some() || query.fresh {
            return Err(gate::denied(Denied::Missing));
        }
        return answer(&Arc::new(live.with(|map| SnapshotBytes::figures(map, &query.layers))), encoding, headers).await;
    }
    if let Some(at) = query.at {
        let past = at.map(&state, "at").await?;
        let layers = query.layers;
        let made = tokio::task::spawn_blocking(move || SnapshotBytes::of(&past, &layers)).await;
        return answer(&Arc::new(made.map_err(Problem::internal)?), encoding, headers).await;
    }
    let snapshot = if query.fresh { fresh(&state, &query.layers).await } else { live.snapshot(&query.layers).await };
    answer(&snapshot, encoding, headers).await
}

/// Polls the upstreams, then waits until a snapshot shows what they said and what was in the log when it was asked for.
async fn fresh(state: &AppState, layers: &[Layer]) -> Arc<SnapshotBytes> {
    let patience = state.config.fresh_timeout;
    let deadline = Instant::now() + patience;
    let (polled, folded) =
        tokio::join!(state.refresher.refresh(Service::ALL, patience), timeout_at(deadline, folded(state)));
    if !polled || folded.is_err() {
        tracing::debug!(polled, folded = folded.is_ok(), "a fresh snapshot is not waited for any longer");
    }
    let wanted = state.live.cursor();
    loop {
        let snapshot = state.live.snapshot(layers).await;
        let shown = snapshot.cursor.epoch != wanted.epoch || snapshot.cursor.seq >= wanted.seq;
        if shown || Instant::now() >= deadline {
            return snapshot;
        }
        tokio::time::sleep(FRESH_CHECK).await;
    }
}

/// Returns once the map has all that the log holds now. A log that is away has nothing to wait for.
async fn folded(state: &AppState) {
    if let Ok(Bounds { epoch, first, last, .. }) = state.log.bounds().await
        && first <= last
    {
        state.live.folded(Cursor { epoch, seq: last }).await;
    }
}

async fn answer(snapshot: &Arc<SnapshotBytes>, encoding: Encoding, request: &HeaderMap) -> Result<Response, Problem> {
    let known = negotiate::has_already(request, &etag_of(&snapshot.etag, encoding));
    let (encoding, body) = if known { (encoding, Bytes::new()) } else { snapshot.encoded(encoding).await };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ETAG, text(&etag_of(&snapshot.etag, encoding))?);
    headers.insert(CURSOR, text(&snapshot.cursor.to_string())?);
    if let Some(rescued) = &snapshot.rescued {
        headers.insert(RESCUED, text(rescued)?);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if encoding != Encoding::Identity {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    *response.body_mut() = Body::from(body);
    Ok(response)
}

/// A strong validator names bytes, so each encoding has its own.
fn etag_of(identity: &str, encoding: Encoding) -> String {
    if encoding == Encoding::Identity {
        return identity.to_owned();
    }
    format!("{}-{}\"", identity.strip_suffix('"').unwrap_or(identity), encoding.as_str())
}

fn text(value: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(value).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_has_a_tag_of_its_own() {
        assert_eq!(etag_of(r#""1.2""#, Encoding::Identity), r#""1.2""#);
        assert_eq!(etag_of(r#""1.2""#, Encoding::Gzip), r#""1.2-gzip""#);
        assert_eq!(etag_of(r#""1.2""#, Encoding::Zstd), r#""1.2-zstd""#);
    }

    #[test]
    fn all_layers_are_the_same_as_none_named() {
        let read = |query| SnapshotQuery::from_params(&Params::parse(query).unwrap());
        assert_eq!(read("layers=agents,nodes,space,city").unwrap().layers, []);
        assert_eq!(read("layers=agents,city,agents").unwrap().layers, [Layer::City, Layer::Agents]);
        assert!(read("fresh=true").unwrap().fresh);
        assert!(read("layers=moon").is_err());
        assert!(read("fresh=soon").is_err());
        assert!(read("at=5f.1").unwrap().at.is_some());
        for query in ["at=yesterday", "at=5f.x", "at=5f.1&fresh=true"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
