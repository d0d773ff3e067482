//! The whole map, as bytes that were encoded in advance.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::answer;
use super::auth;
use super::error::Problem;
use super::negotiate;
use super::query::{FromParams, Params, Query};
use super::requester::Requester;
use super::responses::TimeTravelErrors;
use super::state::AppState;
use super::time_travel::PointInTime;
use crate::access::Denied;
use crate::live::{Encoding, SnapshotBytes};
use crate::log::Bounds;
use crate::model::{Cursor, Layer, Service, Snapshot};

/// Response header: upstreams whose last good data is served after a failed poll.
pub const RESCUED: HeaderName = HeaderName::from_static("x-living-map-rescued");
/// Response header: log position of the snapshot.
pub const CURSOR: HeaderName = HeaderName::from_static("x-living-map-cursor");

/// Interval of checks for a fresh snapshot; a fraction of the time in which one is built.
const FRESH_CHECK: Duration = Duration::from_millis(20);

/// Layers and moment of the snapshot.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SnapshotQuery {
    /// Comma-separated layers to include; the others are `null`. All layers if absent.
    #[param(value_type = Option<Vec<Layer>>, style = Form, explode = false, example = json!(["city", "agents"]))]
    layers: Vec<Layer>,
    /// Poll the upstreams first, then wait for a bounded time until the map shows their answers and every event accepted
    /// before the request. A poll in progress, or one that ended less than a second ago, is reused.
    #[param(value_type = Option<bool>, default = false)]
    fresh: bool,
    /// Past moment to show instead of the present: a cursor, or an ISO 8601 time, which selects the last event that the
    /// log took at or before it. `meta.sources` is then empty, since the log does not contain upstream health.
    #[param(value_type = Option<String>, format = "moment", example = "2026-01-19T12:00:00Z")]
    at: Option<PointInTime>,
}

impl FromParams for SnapshotQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let mut layers: Vec<Layer> = params.list("layers")?;
        if layers.len() == Layer::ALL.len() {
            layers.clear();
        }
        let (fresh, at) = (params.flag("fresh")?, PointInTime::parse(params, "at")?);
        if fresh && at.is_some() {
            return Err(Problem::bad_request(
                "fresh",
                "expected either 'at' or 'fresh', not both: a past moment cannot be polled again",
            ));
        }
        Ok(Self { layers, fresh, at })
    }
}

/// Get the whole map
///
/// The response is encoded in advance: no upstream is polled unless `fresh=true`. A stream resumed from `meta.cursor`
/// continues without a gap. Supports `zstd` and `gzip` compression through `Accept-Encoding`.
///
/// With `PUBLIC=snapshot`, requests without a token get the layers' totals and empty lists.
#[utoipa::path(
    get, path = "/living-map/snapshot", tag = "map", operation_id = "snapshot",
    params(
        SnapshotQuery,
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the snapshot that the client already has"),
    ),
    responses(
        (status = 200, body = Snapshot, headers(
            ("ETag" = String, description = "Validator of the response body, for `If-None-Match`"),
            ("X-Living-Map-Cursor" = String, description = "Log position of the snapshot, equal to `meta.cursor`"),
            ("X-Living-Map-Rescued" = String,
                description = "Upstreams whose last good data is served after a failed poll, such as `agents, dao`"),
        )),
        (status = 304, description = "The client already has this snapshot"),
        (status = 406, description = "`Accept-Encoding` excludes every encoding that the server supports"),
        TimeTravelErrors,
    )
)]
pub async fn snapshot(
    State(state): State<AppState>,
    Query(query): Query<SnapshotQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let Some(encoding) = negotiate::encoding(headers) else {
        let detail = "Accept-Encoding excludes zstd, gzip and identity, the only encodings available";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail).parameter("Accept-Encoding"));
    };
    let live = state.map()?;
    let requester = Requester::of(request.extensions());
    if requester.is_anonymous() {
        if query.at.is_some() || query.fresh {
            return Err(auth::denied(Denied::Missing));
        }
        let figures = live.with(|map| SnapshotBytes::figures(map, &query.layers));
        return respond(&figures, encoding, headers, async |parts| Ok(answer::owned(&parts))).await;
    }
    if let Some(at) = query.at {
        // its slot is held until the answer is encoded
        let mut request = state.time_travel.request(requester.client());
        let past = at.map(&state, &mut request, "at").await?;
        let layers = query.layers;
        let snapshot = answer::blocking(move || Ok(SnapshotBytes::of(&past, &layers))).await?;
        return respond(&snapshot, encoding, headers, async |parts| Ok(answer::owned(&parts))).await;
    }
    let client = requester.client();
    let snapshot = if query.fresh { fresh(&state, &query.layers).await } else { live.snapshot(&query.layers).await };
    respond(&snapshot, encoding, headers, async |parts| answer::shared(&state.responses, &client, parts).await).await
}

/// Polls the upstreams, then waits until a snapshot shows their answers and every event that was in the log at the time
/// of the request.
async fn fresh(state: &AppState, layers: &[Layer]) -> Arc<SnapshotBytes> {
    let limit = state.config.fresh_timeout;
    let deadline = Instant::now() + limit;
    let (polled, folded) =
        tokio::join!(state.refresher.refresh(Service::ALL, limit), timeout_at(deadline, folded(state)));
    if !polled || folded.is_err() {
        tracing::debug!(
            polled,
            folded = folded.is_ok(),
            "a fresh snapshot was not ready in time, serving the newest one"
        );
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

/// Waits until the map has folded every event that the log holds now. Returns at once if the log is unavailable.
async fn folded(state: &AppState) {
    if let Ok(Bounds { epoch, first, last, .. }) = state.log.bounds().await
        && first <= last
    {
        state.live.folded(Cursor { epoch, seq: last }).await;
    }
}

/// Response with a snapshot; `send` makes the response of its parts, unless the client already has them.
async fn respond(
    snapshot: &SnapshotBytes,
    encoding: Encoding,
    request: &HeaderMap,
    send: impl AsyncFnOnce(Arc<[Bytes]>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let known = negotiate::not_modified(request, &etag_of(&snapshot.etag, encoding));
    let (encoding, mut response) = if known {
        (encoding, StatusCode::NOT_MODIFIED.into_response())
    } else {
        let (encoding, parts) = snapshot.encoded(encoding).await;
        (encoding, send(parts).await?)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ETAG, text(&etag_of(&snapshot.etag, encoding))?);
    headers.insert(CURSOR, text(&snapshot.cursor.to_string())?);
    if let Some(rescued) = &snapshot.rescued {
        headers.insert(RESCUED, text(rescued)?);
    }
    if known {
        return Ok(response);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if encoding != Encoding::Identity {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    Ok(response)
}

/// Entity tag of an encoding: a strong validator identifies bytes, so each encoding needs its own.
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
    fn each_encoding_has_its_own_etag() {
        assert_eq!(etag_of(r#""1.2""#, Encoding::Identity), r#""1.2""#);
        assert_eq!(etag_of(r#""1.2""#, Encoding::Gzip), r#""1.2-gzip""#);
        assert_eq!(etag_of(r#""1.2""#, Encoding::Zstd), r#""1.2-zstd""#);
    }

    #[test]
    fn naming_all_layers_equals_naming_none() {
        let parse = |query| SnapshotQuery::from_params(&Params::parse(query).unwrap());
        assert_eq!(parse("layers=agents,nodes,space,city").unwrap().layers, []);
        assert_eq!(parse("layers=agents,city,agents").unwrap().layers, [Layer::City, Layer::Agents]);
        assert!(parse("fresh=true").unwrap().fresh);
        assert!(parse("layers=moon").is_err());
        assert!(parse("fresh=soon").is_err());
        assert!(parse("at=5f.1").unwrap().at.is_some());
        for query in ["at=yesterday", "at=5f.x", "at=5f.1&fresh=true"] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}
