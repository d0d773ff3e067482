//! The route of the server-sent events; the stream itself is [`crate::stream`]'s.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;

use super::error::{Document, Problem};
use super::state::AppState;
use super::stream;
use crate::model::{Cursor, Layer};
use crate::stream::{Connection, OpenError};

/// The `id` of the last event that a client got, which a browser sends when it comes back.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The same, as it is spelt.
const LAST_EVENT_ID_NAME: &str = "Last-Event-ID";

/// Live changes (server-sent events)
///
/// The frames of the WebSocket stream as `event` (the kind), `id` (the cursor) and `data` (the JSON). A browser's
/// `EventSource` comes back by itself with `Last-Event-ID` and gets exactly what it missed.
#[utoipa::path(
    get, path = "/living-map/events/stream", tag = "stream", operation_id = "event_stream",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "Resume behind this position; goes before `cursor`"),
        ("cursor" = Option<String>, Query, description = "Resume behind this position: no snapshot, the first frame is \
            the first missed event"),
        ("layers" = Option<Vec<Layer>>, Query, style = Form, explode = false,
            description = "Only events that change these layers, comma-separated"),
        ("types" = Option<Vec<String>>, Query, style = Form, explode = false,
            description = "Only events of these subjects, with wildcards, comma-separated"),
        ("entity" = Option<Vec<String>>, Query, style = Form, explode = false,
            description = "Only events about these entities, by any of their names, comma-separated"),
        ("snapshot" = Option<bool>, Query, description = "`false`: begin with the next event"),
        ("ticket" = Option<String>, Query, description = "In place of a token: from `POST /living-map/stream/ticket`"),
    ),
    responses(
        (status = 200, description = "Frames, until one side ends it", body = String, content_type = "text/event-stream"),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 410, description = "The cursor cannot be resumed from: it is too old, of another log, or of the future. \
            `oldest_cursor` is the oldest that can. Begin anew, without a cursor",
            body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many clients, the map is not complete yet, or what follows the cursor cannot be had \
            right now; come back later", body = Document,
            content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn event_stream(State(state): State<AppState>, mut request: Request) -> Result<Response, Problem> {
    let mut options = stream::options(&state, request.uri().query())?;
    let by_header = last_event_id(request.headers())?;
    options.cursor = by_header.or(options.cursor);
    stream::catch_up_with(&state, options.cursor).await;
    options.client = stream::client_info(request.extensions());
    let connection = request.extensions_mut().remove::<Connection>().unwrap_or_default();
    state.streams.open(options, connection).await.map_err(|error| {
        let problem = Problem::from(error);
        match error {
            OpenError::Gone { .. } => problem.parameter(by_header.map_or("cursor", |_| LAST_EVENT_ID_NAME)),
            OpenError::Full { .. } | OpenError::Stopping { .. } | OpenError::Unavailable { .. } => problem,
        }
    })
}

/// An empty one is none: a browser has it before the first event with an `id`.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let refuse = |why: &str| Problem::bad_request(LAST_EVENT_ID_NAME, why);
    let mut values = headers.get_all(LAST_EVENT_ID).iter().filter(|value| !value.is_empty());
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("expected once"));
    }
    let text = value.to_str().unwrap_or_default();
    text.parse::<Cursor>().map(Some).map_err(|error| refuse(&error.to_string()))
}
