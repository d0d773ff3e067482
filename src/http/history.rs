//! History of all events, newest first.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::Problem;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, MAX_ID_BYTES, Params, Period, Query};
use super::responses::DatabaseErrors;
use super::state::AppState;
use crate::history::{HistoryQuery, HistoryRow, PagePosition};
use crate::model::envelope::MAX_NAME_BYTES;
use crate::model::subject::Pattern;
use crate::model::{Cursor, EntityType, Notes};

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1_000;

/// Filters; an event must match all of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsFilter {
    /// At or after this time, by the producer's clock. ISO 8601; UTC if it has no offset.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Before this time.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    until: Option<DateTime<Utc>>,
    /// Subject of the event. `*` matches one token, `>` or `**` all remaining tokens.
    #[param(value_type = Option<String>, format = "subject-pattern", max_length = 256, example = "dao.event.>")]
    event_type: Option<Pattern>,
    /// Id or alias of the entity that the event is about.
    #[param(example = "agent:sofia", max_length = 512)]
    entity_id: Option<String>,
    /// Type of the entity that the event is about.
    entity_type: Option<EntityType>,
    /// Service that sent the event.
    #[param(max_length = 512)]
    source_service: Option<String>,
}

impl FromParams for EventsFilter {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let (since, until) = params.period()?;
        Ok(Self {
            since,
            until,
            event_type: params.parsed("event_type")?,
            entity_id: params.short_text("entity_id", MAX_ID_BYTES)?,
            entity_type: params.parsed("entity_type")?,
            source_service: params.short_text("source_service", MAX_NAME_BYTES)?,
        })
    }
}

impl EventsFilter {
    /// `since` and `until`.
    pub const fn period(&self) -> Period {
        (self.since, self.until)
    }

    /// Query for the history store. The entity is looked up by all its ids and aliases.
    pub fn query(self, state: &AppState) -> HistoryQuery {
        HistoryQuery {
            since: self.since,
            until: self.until,
            event_type: self.event_type,
            entity_ids: self.entity_id.map(|id| state.live.with(|map| map.names(&id))).unwrap_or_default(),
            entity_type: self.entity_type,
            source_service: self.source_service,
            ..HistoryQuery::default()
        }
    }
}

/// Page of the history.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    #[param(ignore)]
    filter: EventsFilter,
    /// Maximum number of events on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 200)]
    limit: u32,
    /// Number of events to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page, or the `cursor` of an event to continue after it.
    #[param(value_type = Option<String>, format = "page-of-events", pattern = "^([A-Za-z0-9_-]{32}|[0-9a-f]{1,16}[.][0-9]{1,19})?$")]
    cursor: Option<After>,
}

/// Start of a page: after a row of the history or after an event of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    Row(PagePosition),
    Event(Cursor),
}

impl FromParams for EventsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let filter = EventsFilter::from_params(params)?;
        let limit = params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?;
        let (offset, cursor) = paging::start(params, parse_after)?;
        Ok(Self { filter, limit, offset, cursor })
    }
}

fn parse_after(text: &str) -> Result<After, Problem> {
    // the two forms are distinct: only a log cursor contains a dot
    text.parse().map(After::Event).or_else(|_| paging::decode_position(text).map(After::Row))
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{
        "id": "5b0d7c0e-3c43-5f5e-9d4e-0f8f7f1f5f10", "timestamp": "2026-01-19T12:00:00Z",
        "event_type": "agent.event.status", "payload": {"agent_id": "agent:sofia", "status": "online"},
        "source_service": "gateway", "entity_id": "agent:sofia", "entity_type": "agent", "cursor": "5f3a9c.1042",
    }],
    "total": 1, "total_exact": true, "has_more": false, "next_cursor": null,
    "next_offset": null,
}))]
pub struct EventList {
    /// Events, newest first by the producers' time.
    #[schema(value_type = Vec<HistoryItem>)]
    items: Items,
    /// Number of matching events on all pages.
    total: u64,
    /// True if `total` is exact; otherwise it is an estimate, the point at which counting stopped, or a few seconds old.
    total_exact: bool,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
}

/// An event of the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryItem {
    /// Id of the event.
    id: Uuid,
    /// Producer's time.
    timestamp: DateTime<Utc>,
    /// NATS subject.
    event_type: String,
    /// Payload, any JSON value.
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// Service that sent the event.
    source_service: Option<String>,
    /// Id or alias of the entity that the event is about, as the producer wrote it.
    entity_id: Option<String>,
    /// Type of that entity.
    entity_type: Option<String>,
    /// Position in the event log; null for events recorded by the service that this one replaces.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// What was repaired, or could not be read, in what the producer sent; absent where nothing was.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    #[schema(required = false)]
    notes: Notes,
}

impl From<HistoryRow> for HistoryItem {
    fn from(record: HistoryRow) -> Self {
        let HistoryRow { cursor, id, timestamp, event_type, payload, source_service, entity_id, entity_type, notes } =
            record;
        Self { id, timestamp, event_type, payload, source_service, entity_id, entity_type, cursor, notes }
    }
}

/// List events
///
/// All events, newest first. Pages by `cursor` neither skip nor repeat events while new ones arrive.
#[utoipa::path(
    get, path = "/living-map/history", tag = "events", operation_id = "history",
    params(EventsFilter, EventsQuery),
    responses((status = 200, body = EventList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), DatabaseErrors)
)]
pub async fn history(
    State(state): State<AppState>,
    Query(query): Query<EventsQuery>,
) -> Result<Page<EventList>, Problem> {
    let bounds = PageBounds::new(&state, query.limit, query.offset, query.cursor.as_ref());
    let after = match query.cursor {
        None => None,
        Some(After::Row(position)) => Some(position),
        Some(After::Event(cursor)) => Some(position_of(&state, cursor).await?),
    };
    let wanted = HistoryQuery { after, offset: query.offset.into(), limit: query.limit, ..query.filter.query(&state) };
    let page = state.history.query(&wanted).await.map_err(|error| state.problem(error))?;
    let found = Found { items: page.rows.into_iter().map(HistoryItem::from), has_more: page.has_more };
    let cursor = |item: &HistoryItem| paging::encode_position(PagePosition { timestamp: item.timestamp, id: item.id });
    Page::new(found, bounds, cursor, move |next| EventList {
        items: Items,
        total: page.total.rows,
        total_exact: page.total.exact,
        has_more: next.has_more,
        next_cursor: next.cursor,
        next_offset: next.offset,
    })
    .await
}

/// Position of the event at `cursor` in the order of the pages.
async fn position_of(state: &AppState, cursor: Cursor) -> Result<PagePosition, Problem> {
    let gone = || Problem::bad_request("cursor", "the history does not contain this event, or no longer does");
    let before = cursor.seq.checked_sub(1).ok_or_else(gone)?;
    let entries = state.history.read_log(cursor.epoch, before, 1).await.map_err(|error| state.problem(error))?;
    let entry = entries.into_iter().next().filter(|entry| entry.cursor == cursor).ok_or_else(gone)?;
    Ok(PagePosition { timestamp: entry.event.timestamp, id: entry.event.id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<EventsQuery, Problem> {
        EventsQuery::from_params(&Params::parse(query).unwrap())
    }

    #[test]
    fn invalid_parameters_are_named() {
        for (query, parameter) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("offset=100001", "offset"),
            ("offset=-1", "offset"),
            ("since=yesterday", "since"),
            ("since=2026-01-02&until=2026-01-01", "since"),
            ("event_type=a..b", "event_type"),
            ("event_type=a.%3E.b", "event_type"),
            ("entity_type=daos", "entity_type"),
            ("cursor=nonsense", "cursor"),
            ("cursor=1.x", "cursor"),
            ("cursor=1.2&offset=1", "offset"),
        ] {
            let problem = parse(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(
                format!("{problem:?}").contains(&format!("parameter: Some(\"{parameter}\")")),
                "{query} {problem:?}"
            );
        }
    }

    #[test]
    fn both_kinds_of_cursor_are_accepted() {
        let position = PagePosition { timestamp: DateTime::UNIX_EPOCH, id: Uuid::from_u128(7) };
        assert_eq!(parse_after(&paging::encode_position(position)).unwrap(), After::Row(position));
        assert_eq!(parse_after("5f3a9c.1042").unwrap(), After::Event("5f3a9c.1042".parse().unwrap()));
    }

    #[test]
    fn absent_parameters_have_compatible_defaults() {
        let query = parse("since=&limit=&_=1").unwrap();
        assert_eq!((query.limit, query.offset, query.filter.since), (200, 0, None));
    }
}
