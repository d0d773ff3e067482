//! Tickets, with which browsers open streams.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;

use super::requester::Requester;
use super::state::AppState;
use crate::instruments::{Limit, count_rejected};

/// A ticket for one stream connection.
#[derive(Serialize, ToSchema)]
pub struct StreamTicket {
    /// Value of the `ticket` parameter; null if the server requires no tokens, so that streams need no ticket.
    #[schema(required)]
    ticket: Option<String>,
    /// Time until which it can be used.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// Create a ticket for a stream
///
/// Browsers cannot send a token when they open a stream; they pass a ticket as `?ticket=` instead. It is valid once, within
/// 30 seconds. The stream has the role of the token that requested the ticket, and ends when that token expires.
#[utoipa::path(
    post, path = "/living-map/stream/ticket", tag = "stream", operation_id = "stream_ticket",
    responses(
        (status = 200, body = StreamTicket),
        (status = 503, description = "Too many tickets are outstanding"),
    )
)]
pub async fn stream_ticket(State(state): State<AppState>, requester: Requester) -> Result<Response, Problem> {
    let answer = match (&state.access, requester.identity()) {
        (Some(access), Some(identity)) => {
            let ticket = access.ticket(identity).map_err(|wait| {
                count_rejected(Limit::Tickets);
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
