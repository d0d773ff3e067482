//! Recorded frames of the event log: with the map at their beginning, they give the map at every later moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::ser::{Error, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::error::{DEFAULT_RETRY_AFTER, Problem};
use super::paging::{Found, Items, Page, PageBounds};
use super::query::{FromParams, MAX_ID_BYTES, Params, Query};
use super::requester::Requester;
use super::state::AppState;
use super::time_travel::{self, PointInTime};
use crate::access::shares::Client;
use crate::live::{ReplayError, TimeTravelError};
use crate::model::Cursor;
use crate::stream::{Frame, FrameBatch};

const DEFAULT_LIMIT: u32 = 1_000;
const MAX_LIMIT: u32 = 5_000;

/// Batches that one page reads at most, so that a page of one entity's frames ends in a log that hardly mentions it.
const MAX_BATCHES: usize = 16;
/// A page ends after the batch that is read at this time.
const MAX_TIME: Duration = Duration::from_secs(5);

/// A span of the event log.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FramesQuery {
    /// Position after which the frames begin: `meta.cursor` of a snapshot, the `cursor` of a frame, or `next_cursor` of the
    /// previous page.
    #[param(value_type = String, format = "cursor", pattern = "^[0-9a-f]{1,16}[.][0-9]{1,19}$", example = "5f3a9c.1042")]
    cursor: Cursor,
    /// Last moment: a cursor, or an ISO 8601 time, which selects the last event that the log took at or before it. The present
    /// if absent.
    #[param(value_type = Option<String>, format = "moment", example = "2026-01-19T12:00:00Z")]
    until: Option<PointInTime>,
    /// Id or alias of an entity: only frames of events that are about it, or that changed it.
    #[param(example = "agent:sofia", max_length = 512)]
    entity_id: Option<String>,
    /// Maximum number of frames on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 5000, default = 1000)]
    limit: u32,
}

impl FromParams for FramesQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let cursor: Option<Cursor> = params.parsed("cursor")?;
        let cursor = cursor.ok_or_else(|| Problem::bad_request("cursor", "expected a cursor, such as 5f3a9c.1042"))?;
        let until = PointInTime::parse(params, "until")?;
        if matches!(until, Some(PointInTime::Cursor(until)) if until.epoch != cursor.epoch) {
            return Err(Problem::bad_request("until", "expected a position in the same event log as 'cursor'"));
        }
        let entity_id = params.short_text("entity_id", MAX_ID_BYTES)?;
        Ok(Self { cursor, until, entity_id, limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)? })
    }
}

/// A page of recorded frames.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrameList {
    /// Frames, oldest first.
    #[schema(value_type = Vec<RecordedFrame>)]
    items: Items,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
}

/// A frame, and when the log took its event.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes an item in the OpenAPI document")]
pub struct RecordedFrame {
    /// Time at which the log took the event. Never later than that of the next frame by more than the clocks of its servers
    /// differ.
    logged_at: DateTime<Utc>,
    /// The `event` frame, as the stream sends it.
    #[schema(value_type = Object)]
    frame: serde_json::Value,
}

/// An item of a page, encoded as [`RecordedFrame`].
struct FrameItem {
    position: Cursor,
    frame: Arc<Frame>,
}

impl Serialize for FrameItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.frame.json();
        let frame: &RawValue = serde_json::from_slice(&json).map_err(S::Error::custom)?;
        let mut item = serializer.serialize_struct("RecordedFrame", 2)?;
        item.serialize_field("logged_at", &self.frame.logged_at())?;
        item.serialize_field("frame", frame)?;
        item.end()
    }
}

/// List recorded frames
///
/// The `event` frames of the stream from a position to a moment, oldest first, with the times at which the log took their
/// events. Applied in order to the snapshot at `cursor`, their `changes` give the map at every later moment. A page may have
/// no frames and a `next_cursor`. A stream resumed from the last frame's `cursor` continues without a gap.
#[utoipa::path(
    get, path = "/living-map/frames", tag = "events", operation_id = "frames",
    params(FramesQuery),
    responses(
        (status = 200, body = FrameList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size or of \
                the events that were read for it"),
        )),
        (status = 410, description = "The events after the position are deleted, or it is in another event log; \
            `oldest_cursor` in the problem is the oldest position available"),
        (status = 503, description = "The map is not complete yet, or the frames cannot be computed at present"),
    )
)]
pub async fn frames(
    State(state): State<AppState>,
    requester: Requester,
    Query(query): Query<FramesQuery>,
) -> Result<Page<FrameList>, Problem> {
    let newest = state.map()?.cursor();
    let mut span = Span::new(&state, &query, newest)?;
    span.read(&state, &requester.client()).await?;
    let Span { position, items, has_more, .. } = span;
    let bounds = PageBounds::new(&state, query.limit, 0, Some(&position));
    let last = items.last().map(|item| item.position.to_string());
    let found = Found { items, has_more };
    Page::new(
        found,
        bounds,
        |item| item.position.to_string(),
        move |next| {
            // the events after the last frame that are read already are not read again, unless the page ends before that frame
            let is_whole = next.cursor == last;
            let end = if is_whole { Some(position.to_string()) } else { next.cursor };
            FrameList { items: Items, has_more: next.has_more, next_cursor: end.filter(|_| next.has_more) }
        },
    )
    .await
}

/// Frames that are read for one page.
struct Span {
    /// Position up to which events are read.
    position: Cursor,
    /// Last position of the span.
    end: u64,
    /// Time of the log at which the span ends.
    end_time: Option<DateTime<Utc>>,
    /// Ids of the entity whose frames are read; empty for all frames.
    entity_ids: Vec<String>,
    limit: usize,
    max_bytes: usize,
    items: Vec<FrameItem>,
    bytes: usize,
    /// True if the span continues after `position`.
    has_more: bool,
}

impl Span {
    fn new(state: &AppState, query: &FramesQuery, newest: Cursor) -> Result<Self, Problem> {
        let position = query.cursor;
        if position.epoch == newest.epoch && position.seq > newest.seq {
            return Err(time_travel::problem(TimeTravelError::Ahead { newest }, "cursor"));
        }
        let (end, end_time) = match query.until {
            Some(PointInTime::Cursor(until)) => (until.seq.min(newest.seq), None),
            Some(PointInTime::Time(time)) => (newest.seq, Some(time)),
            None => (newest.seq, None),
        };
        let names = |id: &String| state.live.with(|map| map.names(id));
        Ok(Self {
            position,
            end,
            end_time,
            entity_ids: query.entity_id.as_ref().map(names).unwrap_or_default(),
            limit: query.limit as usize,
            max_bytes: state.config.max_page_bytes,
            items: Vec::new(),
            bytes: 0,
            has_more: true,
        })
    }

    /// Reads frames until the page is full or the span ends.
    async fn read(&mut self, state: &AppState, client: &Client) -> Result<(), Problem> {
        let started = Instant::now();
        for _ in 0..MAX_BATCHES {
            // a position of another log has no end here, but an error
            if self.position.epoch == state.live.cursor().epoch && self.position.seq >= self.end {
                self.has_more = false;
            }
            if !self.has_more || started.elapsed() > MAX_TIME {
                break;
            }
            let batch = match state.replay.recorded_batch_after(client.clone(), self.position).await {
                Ok(batch) => batch,
                Err(error) => return Err(problem(state, error).await),
            };
            if self.add(&batch) {
                break;
            }
        }
        Ok(())
    }

    /// Adds the frames of a batch. Returns true if the page or the span ends in it.
    fn add(&mut self, batch: &FrameBatch) -> bool {
        for frame in batch.frames_after(self.position) {
            if frame.seq() > self.end || self.end_time.is_some_and(|end| frame.logged_at() > end) {
                self.has_more = false;
                return true;
            }
            let position = Cursor { seq: frame.seq(), ..self.position };
            if self.entity_ids.is_empty() || self.entity_ids.iter().any(|id| frame.concerns(id)) {
                if self.items.len() == self.limit || self.bytes > self.max_bytes {
                    return true;
                }
                self.bytes += frame.json().len();
                self.items.push(FrameItem { position, frame: Arc::clone(frame) });
            }
            self.position = position;
        }
        self.position = batch.upto;
        self.has_more = self.position.seq < self.end;
        !self.has_more
    }
}

async fn problem(state: &AppState, error: ReplayError) -> Problem {
    match error {
        ReplayError::Gone => {
            let oldest = state.replay.oldest_recorded().await;
            Problem::new(
                StatusCode::GONE,
                "cursor: the events after this position are not kept, or it is in another event log",
            )
            .parameter("cursor")
            .with("oldest_cursor", json!(oldest))
        }
        ReplayError::Unavailable(cause) => state.problem(
            Problem::unavailable("the recorded frames cannot be computed at present", DEFAULT_RETRY_AFTER).cause(cause),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_parameters_are_named() {
        for (query, parameter) in [
            ("", "cursor"),
            ("cursor=yesterday", "cursor"),
            ("cursor=1.2&until=soon", "until"),
            ("cursor=1.2&until=2.9", "until"),
            ("cursor=1.2&limit=0", "limit"),
            ("cursor=1.2&limit=5001", "limit"),
        ] {
            let problem = FramesQuery::from_params(&Params::parse(query).unwrap()).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            let expected = format!("parameter: Some(\"{parameter}\")");
            assert!(format!("{problem:?}").contains(&expected), "{query} {problem:?}");
        }
    }
}
