//! Route of the server-sent events, which [`crate::stream`] implements.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::Response;

use super::auth;
use super::error::Problem;
use super::responses::StreamErrors;
use super::state::AppState;
use super::stream::{self, StreamParams};
use crate::stream::{Connection, LastEventId};

/// Request header: `id` of the last event that the client received. Browsers send it when they reconnect.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The header's usual spelling, for problem documents.
const LAST_EVENT_ID_NAME: &str = "Last-Event-ID";

/// Stream live changes (server-sent events)
///
/// The frames of the WebSocket stream as `event` (kind), `id` (cursor), and `data` (JSON). A browser's `EventSource`
/// reconnects with `Last-Event-ID` and gets exactly the events it missed.
#[utoipa::path(
    get, path = "/living-map/events/stream", tag = "stream", operation_id = "event_stream",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after this position, or `earliest`; \
            takes precedence over `cursor`"),
        ("cursor" = Option<String>, Query, description = "Resume after this position: the first frame is the first missed \
            event instead of a snapshot"),
        StreamParams,
    ),
    responses(
        (status = 200, description = "Frames, until either side closes the stream", body = String,
            content_type = "text/event-stream"),
        (status = 410, description = "The events after the cursor are not available: it is too old, ahead of the log, or from \
            another log. `oldest_cursor` is the oldest one that can be resumed from. Reconnect without a cursor"),
        StreamErrors,
    )
)]
pub async fn event_stream(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let (mut head, _no_body) = request.into_parts();
    let mut options = stream::options(&state, head.uri.query())?;
    let by_header = last_event_id(&head.headers)?;
    if let Some(last) = by_header {
        options.resume(last);
    }
    options.client = stream::client_info(&head.extensions);
    state.streams.find_earliest(&mut options).await?;
    stream::catch_up_with(&state, options.cursor).await;
    let connection = head.extensions.remove::<Connection>().unwrap_or_default();
    // HEAD opens no stream
    let ticket = auth::ticket(&head).filter(|_| head.method != Method::HEAD);
    let admit = || auth::redeem(state.access.as_ref(), ticket.as_deref());
    state.streams.open(options, connection, admit).await.map_err(|problem| match problem.status() {
        StatusCode::GONE => problem.parameter(by_header.map_or("cursor", |_| LAST_EVENT_ID_NAME)),
        _ => problem,
    })
}

/// Value of `Last-Event-ID`. An empty one counts as absent: browsers send it before the first event with an `id`.
fn last_event_id(headers: &HeaderMap) -> Result<Option<LastEventId>, Problem> {
    let invalid = |why: &str| Problem::bad_request(LAST_EVENT_ID_NAME, why);
    let mut values = headers.get_all(LAST_EVENT_ID).iter().filter(|value| !value.is_empty());
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("expected once"));
    }
    let text = value.to_str().unwrap_or_default();
    text.parse::<LastEventId>().map(Some).map_err(|error| invalid(&error.to_string()))
}
