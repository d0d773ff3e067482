//! Route of the WebSocket stream, which [`crate::stream`] implements.

use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::response::Response;
use chrono::Utc;
use tokio::time::{Instant, timeout};
use utoipa::IntoParams;

use super::auth;
use super::error::Problem;
use super::requester::Requester;
use super::responses::StreamErrors;
use super::state::AppState;
use crate::model::{Cursor, Layer};
use crate::stream::{ClientInfo, StreamOptions};

/// Options of a stream, common to WebSocket and server-sent events. Read by [`StreamOptions::from_query`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in the OpenAPI document")]
pub struct StreamParams {
    /// Comma-separated layers; only events that change one of them are sent.
    #[param(style = Form, explode = false)]
    layers: Option<Vec<Layer>>,
    /// Comma-separated subjects, with the wildcards `*` for one token and `>` or `**` for all remaining tokens; only events with a
    /// matching subject are sent.
    #[param(style = Form, explode = false)]
    types: Option<Vec<String>>,
    /// Comma-separated entity ids or aliases; only events about one of them are sent.
    #[param(style = Form, explode = false)]
    entity: Option<Vec<String>>,
    /// `false`: start with the next event instead of a snapshot.
    snapshot: Option<bool>,
    /// Synonym of `cursor`, which takes precedence over it: a client that replaces `EventSource` adds it to the address
    /// with which it began. `earliest`: after the oldest position from which all events are kept.
    #[param(rename = "lastEventId")]
    last_event_id: Option<String>,
    /// Like `lastEventId`, as other such clients spell it. Of several, the last one counts.
    #[param(rename = "lastEventID")]
    last_event_id_of_mercure: Option<String>,
    /// Like `lastEventId`, as other such clients spell it. Of several, the last one counts.
    #[param(rename = "Last-Event-ID")]
    last_event_id_like_the_header: Option<String>,
    /// Ticket from `POST /living-map/stream/ticket`, as a replacement for a token.
    ticket: Option<String>,
}

/// Stream live changes (WebSocket)
///
/// Sends a `snapshot` frame, then an `event` frame with `cursor` and `changes` for each event, and `ping` frames when
/// idle. A client that reconnects with the last `cursor` gets exactly the events it missed.
#[utoipa::path(
    get, path = "/living-map/stream", tag = "stream", operation_id = "stream",
    params(
        ("cursor" = Option<String>, Query, description = "Resume after this position: the first frame is the first missed \
            event instead of a snapshot. If the events after it are no longer available, a new snapshot is sent."),
        StreamParams,
    ),
    responses(
        (status = 101, description = "The connection is now a WebSocket"),
        (status = 403, description = "The page's origin is not allowed, or the token's role does not permit this"),
        (status = 426, description = "The request is not a WebSocket handshake"),
        StreamErrors,
    )
)]
pub async fn stream(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let (mut head, _no_body) = request.into_parts();
    let mut options = options(&state, head.uri.query())?;
    options.client = client_info(&head.extensions);
    state.streams.find_earliest(&mut options).await?;
    catch_up_with(&state, options.cursor).await;
    let ticket = auth::ticket(&head);
    state.streams.upgrade(&mut head, options, || auth::redeem(state.access.as_ref(), ticket.as_deref()))
}

/// Address and token expiry of the client; the stream ends when the token expires.
pub fn client_info(extensions: &Extensions) -> ClientInfo {
    let requester = Requester::of(extensions);
    let end = requester.identity().and_then(|identity| identity.expires_at);
    let left = end.map(|end| (end - Utc::now()).to_std().unwrap_or_default());
    // an expiry beyond the range of the clock counts as none
    let expires_at = left.and_then(|left| Instant::now().checked_add(left));
    ClientInfo { address: Some(requester.address), client: requester.client(), expires_at }
}

/// Reads the stream options and resolves the aliases of entities in them.
pub fn options(state: &AppState, query: Option<&str>) -> Result<StreamOptions, Problem> {
    let mut options = StreamOptions::from_query(query.unwrap_or_default())?;
    let live = state.map()?;
    for name in &mut options.entities {
        // an unknown name is kept: it may become the canonical id of an entity later
        if let Some(id) = live.with(|map| map.resolve(name).map(str::to_owned)) {
            *name = id;
        }
    }
    Ok(options)
}

/// Waits until this replica has folded the client's position, for `catch_up_timeout` at most: the client may come from a
/// replica that was slightly ahead. Does not wait for positions that the log does not have.
pub async fn catch_up_with(state: &AppState, cursor: Option<Cursor>) {
    let own = state.live.cursor();
    let Some(cursor) = cursor.filter(|cursor| cursor.epoch == own.epoch && cursor.seq > own.seq) else { return };
    let caught_up = async {
        if state.log.bounds().await.is_ok_and(|bounds| cursor.epoch == bounds.epoch && cursor.seq <= bounds.last) {
            state.live.folded(cursor).await;
        }
    };
    if timeout(state.config.catch_up_timeout, caught_up).await.is_err() {
        tracing::debug!(%cursor, %own, "this replica has not reached the position of a resuming client");
    }
}
