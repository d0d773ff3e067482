//! Tickets for streams.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Document, Problem};
use super::limits::{self, Visitor};
use super::state::AppState;

/// What opens one stream.
#[derive(Serialize, ToSchema)]
pub struct StreamTicket {
    /// For `?ticket=`; null where nobody is asked for a token: open the stream without one.
    #[schema(required)]
    ticket: Option<String>,
    /// Until when it can be used.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// A ticket for a stream
///
/// In place of a token, which a browser cannot send when it opens a stream: `?ticket=`, once, within 30 seconds. The stream
/// has the rights of the token that the ticket was got with, and ends with it.
#[utoipa::path(
    post, path = "/living-map/stream/ticket", tag = "stream", operation_id = "stream_ticket",
    responses(
        (status = 200, body = StreamTicket),
        (status = 503, description = "Too many tickets are outstanding", body = Document,
            content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn stream_ticket(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let visitor = Visitor::of(request.extensions());
    let answer = match (&state.access, visitor.identity()) {
        (Some(access), Some(identity)) => {
            let ticket = access.ticket(identity).map_err(|wait| {
                limits::refused("tickets");
                Problem::unavailable("too many tickets are outstanding", wait)
            })?;
            StreamTicket { ticket: Some(ticket.text), expires_at: Some(ticket.expires_at) }
        }
        _ => StreamTicket { ticket: None, expires_at: None },
    };
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
