//! The WebSocket's route; the stream itself is [`crate::stream`]'s.

use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::response::Response;
use chrono::Utc;
use tokio::time::{Instant, timeout};

use super::error::{Document, Problem};
use super::limits::Visitor;
use super::state::AppState;
use crate::model::{Cursor, Layer};
use crate::stream::{ClientInfo, StreamOptions};

/// Live changes (WebSocket)
///
/// A `snapshot` frame first, then an `event` frame for each event, with `cursor` and `changes`; `ping` when idle. Come
/// back with the last `cursor` to get exactly what was missed.
#[utoipa::path(
    get, path = "/living-map/stream", tag = "stream", operation_id = "stream",
    params(
        ("cursor" = Option<String>, Query, description = "Resume behind this position: no snapshot, the first frame is \
            the first missed event. A position that cannot be resumed from gets a fresh snapshot."),
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
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 403, description = "The page's origin may not connect",
            body = Document, content_type = "application/problem+json"),
        (status = 426, description = "No WebSocket handshake",
            body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many clients, or the map is not complete yet; come back later", body = Document,
            content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn stream(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let (mut head, _no_body) = request.into_parts();
    let mut options = options(&state, head.uri.query())?;
    options.client = client_info(&head.extensions);
    catch_up_with(&state, options.cursor).await;
    Ok(state.streams.upgrade(&mut head, options)?)
}

/// The address of the client, and the expiry of its token, which ends the stream.
pub fn client_info(extensions: &Extensions) -> ClientInfo {
    let visitor = Visitor::of(extensions);
    let end = visitor.identity().and_then(|identity| identity.expires_at);
    let left = end.map(|end| (end - Utc::now()).to_std().unwrap_or_default());
    // a token that ends further away than a clock reaches does not
    ClientInfo { address: Some(visitor.address), expires_at: left.and_then(|left| Instant::now().checked_add(left)) }
}

/// Reads the connect options, and looks up the entities that they name.
pub fn options(state: &AppState, query: Option<&str>) -> Result<StreamOptions, Problem> {
    let mut options = StreamOptions::from_query(query.unwrap_or_default())?;
    let live = state.map()?;
    for name in &mut options.entities {
        // a name that the map does not know yet may be an entity's canonical one later
        if let Some(id) = live.with(|map| map.resolve(name).map(str::to_owned)) {
            *name = id;
        }
    }
    Ok(options)
}

/// Waits until this server is where its client is: another one, from which the client comes, may have been ahead of it by
/// a moment. Not for a position that the log does not have, and not for longer than the map may be behind.
pub async fn catch_up_with(state: &AppState, cursor: Option<Cursor>) {
    let own = state.live.cursor();
    let Some(cursor) = cursor.filter(|cursor| cursor.epoch == own.epoch && cursor.seq > own.seq) else { return };
    let arrives = async {
        if state.log.bounds().await.is_ok_and(|bounds| cursor.epoch == bounds.epoch && cursor.seq <= bounds.last) {
            state.live.folded(cursor).await;
        }
    };
    if timeout(state.config.catch_up_timeout, arrives).await.is_err() {
        tracing::debug!(%cursor, %own, "a client that resumes is ahead of this server");
    }
}
