//! Every event, newest first.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{Document, Problem};
use super::paging;
use super::query::{FromParams, MAX_ID_BYTES, Params, Query};
use super::state::AppState;
use crate::history::{HistoryQuery, PagePosition, Record};
use crate::model::envelope::MAX_NAME_BYTES;
use crate::model::subject::Pattern;
use crate::model::{Cursor, EntityType};

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1_000;
/// Rows an `offset` may skip: the database reads them all. Cursors cost nothing.
const MAX_OFFSET: u32 = 100_000;

/// Which events are wanted; all filters must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsFilter {
    /// From this time on (the producer's). ISO 8601 with `Z` or an offset; without one it is taken as UTC.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Before this time.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    until: Option<DateTime<Utc>>,
    /// Subject; `*` stands for one token, `>` for the rest.
    #[param(value_type = Option<String>, format = "subject-pattern", max_length = 256, example = "dao.event.>")]
    event_type: Option<Pattern>,
    /// About this entity, by any of its names.
    #[param(example = "agent:sofia", max_length = 512)]
    entity_id: Option<String>,
    /// About entities of this type.
    entity_type: Option<EntityType>,
    /// Sent by this service.
    #[param(max_length = 512)]
    source_service: Option<String>,
}

impl FromParams for EventsFilter {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let filter = Self {
            since: params.time("since")?,
            until: params.time("until")?,
            event_type: params.parsed("event_type")?,
            entity_id: params.short_text("entity_id", MAX_ID_BYTES)?,
            entity_type: params.parsed("entity_type")?,
            source_service: params.short_text("source_service", MAX_NAME_BYTES)?,
        };
        if let (Some(since), Some(until)) = (filter.since, filter.until)
            && since > until
        {
            return Err(Problem::bad_request("since", "expected a time not after 'until'"));
        }
        Ok(filter)
    }
}

impl EventsFilter {
    /// `since` and `until`.
    pub const fn times(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        (self.since, self.until)
    }

    /// As the record is asked; an entity is meant by any of its names.
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

/// Which page of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    #[param(ignore)]
    filter: EventsFilter,
    /// Events on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 200)]
    limit: u32,
    /// Events to skip; to read on and on, use `cursor`.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the page before, or an event's `cursor` to continue behind it.
    #[param(value_type = Option<String>, format = "page-of-events", pattern = "^([A-Za-z0-9_-]{32}|[0-9a-f]{1,16}[.][0-9]{1,19})?$")]
    cursor: Option<After>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    Row(PagePosition),
    Event(Cursor),
}

impl FromParams for EventsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let query = Self {
            filter: EventsFilter::from_params(params)?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            offset: params
                .number("offset", 0..=MAX_OFFSET, 0)
                .map_err(|problem| problem.with("hint", "use 'cursor' to read on and on".into()))?,
            cursor: params.text("cursor")?.map(read_after).transpose()?,
        };
        if query.cursor.is_some() && query.offset > 0 {
            return Err(Problem::bad_request("offset", "expected either 'offset' or 'cursor', not both"));
        }
        Ok(query)
    }
}

fn read_after(text: &str) -> Result<After, Problem> {
    // the two forms cannot be mistaken for each other: only a log's cursor has a dot
    text.parse().map(After::Event).or_else(|_| paging::read_position(text).map(After::Row))
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
}))]
pub struct EventList {
    /// The events, newest first by their producers' time.
    items: Vec<HistoryItem>,
    /// Events that match, on all pages.
    total: u64,
    /// Whether `total` is exact; if not, it is an estimate or as far as was counted.
    total_exact: bool,
    /// Whether there are more behind this page.
    has_more: bool,
    /// For `cursor`, to get the next page; null on the last one.
    next_cursor: Option<String>,
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryItem {
    /// Its id.
    id: Uuid,
    /// The producer's time.
    timestamp: DateTime<Utc>,
    /// The NATS subject.
    event_type: String,
    /// What happened: any JSON value.
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// Who sent it.
    source_service: Option<String>,
    /// The entity it is about, by the name the producer used.
    entity_id: Option<String>,
    /// What that entity is.
    entity_type: Option<String>,
    /// Its position in the log; null for events recorded by the service this one replaces.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

impl From<Record> for HistoryItem {
    fn from(record: Record) -> Self {
        let Record { cursor, id, timestamp, event_type, payload, source_service, entity_id, entity_type } = record;
        Self { id, timestamp, event_type, payload, source_service, entity_id, entity_type, cursor }
    }
}

/// Every event, newest first
///
/// Page by `cursor`: it neither skips nor repeats when events arrive meanwhile.
#[utoipa::path(
    get, path = "/living-map/history", tag = "events", operation_id = "history",
    params(EventsFilter, EventsQuery),
    responses(
        (status = 200, body = EventList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away, or the question takes it too long", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn history(
    State(state): State<AppState>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<EventList>, Problem> {
    let after = match query.cursor {
        None => None,
        Some(After::Row(position)) => Some(position),
        Some(After::Event(cursor)) => Some(place_of(&state, cursor).await?),
    };
    let wanted = HistoryQuery { after, offset: query.offset.into(), limit: query.limit, ..query.filter.query(&state) };
    let page = state.history.query(&wanted).await.map_err(|error| state.problem(error))?;
    let last = page.records.last().filter(|_| page.has_more);
    let next_cursor =
        last.map(|record| paging::write_position(PagePosition { timestamp: record.timestamp, id: record.id }));
    Ok(Json(EventList {
        items: page.records.into_iter().map(HistoryItem::from).collect(),
        total: page.total.rows,
        total_exact: page.total.exact,
        has_more: page.has_more,
        next_cursor,
    }))
}

/// Where in the order of pages the event at `cursor` is.
async fn place_of(state: &AppState, cursor: Cursor) -> Result<PagePosition, Problem> {
    let gone = || Problem::bad_request("cursor", "the record does not hold this event, or not any more");
    let before = cursor.seq.checked_sub(1).ok_or_else(gone)?;
    let entries = state.history.read_log(cursor.epoch, before, 1).await.map_err(|error| state.problem(error))?;
    let entry = entries.into_iter().next().filter(|entry| entry.cursor == cursor).ok_or_else(gone)?;
    Ok(PagePosition { timestamp: entry.event.timestamp, id: entry.event.id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<EventsQuery, Problem> {
        EventsQuery::from_params(&Params::parse(query).unwrap())
    }

    #[test]
    fn absurd_queries_are_refused_by_name() {
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
            let problem = read(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(
                format!("{problem:?}").contains(&format!("parameter: Some(\"{parameter}\")")),
                "{query} {problem:?}"
            );
        }
    }

    #[test]
    fn both_kinds_of_cursor_are_read() {
        let position = PagePosition { timestamp: DateTime::UNIX_EPOCH, id: Uuid::from_u128(7) };
        assert_eq!(read_after(&paging::write_position(position)).unwrap(), After::Row(position));
        assert_eq!(read_after("5f3a9c.1042").unwrap(), After::Event("5f3a9c.1042".parse().unwrap()));
    }

    #[test]
    fn what_is_not_given_has_the_defaults_of_old() {
        let query = read("since=&limit=&_=1").unwrap();
        assert_eq!((query.limit, query.offset, query.filter.since), (200, 0, None));
    }
}
