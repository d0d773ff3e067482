//! History: one suite for both databases, and faults of `PostgreSQL`.

/// Runs each test on a new database of both kinds, and through a pooler in transaction mode.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::postgres(&Default::default()).await).await;
            })+
        }
        mod through_pooler {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::pooled(&Default::default()).await).await;
            })+
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::sqlite(&Default::default()).await).await;
            })+
        }
    };
}
pub(crate) use on_both;

mod adoption;
mod bases;
mod cost;
mod dead_letters;
mod faults;
mod filters;
mod json;
mod leases;
mod limits;
mod outbox;
mod retention;
mod snapshots;
mod speed;
mod suite;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use living_map::history::{self, History, HistoryConfig, HistoryPage, HistoryQuery, HistoryRow, Pooler};
use living_map::model::{Cursor, Epoch, Event, LogEntry, Notes};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::daemon::Folder;
use crate::support::{pgbouncer, postgres};

/// A history store with a new database.
pub struct Private {
    pub history: Arc<dyn History>,
    pub url: String,
    pub pooler: Pooler,
    _folder: Option<Folder>,
}

/// A very large epoch.
pub const EPOCH: Epoch = Epoch(u64::MAX - 5);

pub async fn sqlite(config: &HistoryConfig) -> Private {
    let folder = Folder::new("history");
    let url = format!("sqlite://{}", folder.path().join("living map.db").display());
    Private { history: open(&url, config).await, url, pooler: Pooler::None, _folder: Some(folder) }
}

pub async fn postgres(config: &HistoryConfig) -> Private {
    let url = postgres::database().await;
    Private { history: open(&url, config).await, url, pooler: Pooler::None, _folder: None }
}

/// `PostgreSQL` behind a pooler in transaction mode.
pub async fn pooled(config: &HistoryConfig) -> Private {
    let (url, pooler) = (pgbouncer::database().await, Pooler::Transaction);
    let history = open(&url, &HistoryConfig { pooler, ..config.clone() }).await;
    Private { history, url, pooler, _folder: None }
}

pub async fn open(url: &str, config: &HistoryConfig) -> Arc<dyn History> {
    history::open(url, config).await.unwrap_or_else(|error| panic!("{error}")).history
}

/// 2026-11-20 00:00 plus `millis`.
pub fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_132_800, 0).unwrap() + TimeDelta::milliseconds(millis)
}

/// The entry at a position, with a new id.
pub fn entry(seq: u64) -> LogEntry {
    let millis = i64::try_from(seq).unwrap();
    let event = Event {
        id: Uuid::new_v4(),
        event_type: "agent.event.status".into(),
        timestamp: at(millis),
        payload: json!({"agent_id": "agent:sofia", "number": seq}),
        source_service: Some("agents".into()),
        entity_id: Some("agent:sofia".into()),
        entity_type: Some(living_map::model::EntityType::Agent),
        trace_id: None,
        idempotency_key: None,
        envelope: None,
        notes: Notes::NONE,
    };
    LogEntry { cursor: Cursor { epoch: EPOCH, seq }, logged_at: at(millis + 1), event, raw: None }
}

pub fn number(payload: &Value) -> u64 {
    payload["number"].as_u64().expect("a number")
}

pub fn payload(row: &HistoryRow) -> Value {
    serde_json::from_str(row.payload.get()).expect("JSON")
}

/// The fields of an event that a page has.
pub fn event(row: &HistoryRow) -> Event {
    Event {
        id: row.id,
        timestamp: row.timestamp,
        event_type: row.event_type.clone(),
        payload: payload(row),
        source_service: row.source_service.clone(),
        entity_id: row.entity_id.clone(),
        entity_type: row.entity_type.as_ref().and_then(|name| name.to_ascii_lowercase().parse().ok()),
        trace_id: None,
        idempotency_key: None,
        envelope: None,
        notes: row.notes.clone(),
    }
}

/// Everything that matches, page by page of `limit` rows, by keyset.
pub async fn all_pages(history: &dyn History, query: &HistoryQuery, limit: u32) -> Vec<Event> {
    let mut query = HistoryQuery { limit, ..query.clone() };
    let mut events: Vec<Event> = Vec::new();
    loop {
        let HistoryPage { rows, has_more, .. } = history.query(&query).await.expect("a page");
        assert!(rows.len() <= limit as usize && (rows.len() == limit as usize || !has_more));
        events.extend(rows.iter().map(event));
        if !has_more {
            return events;
        }
        let last = events.last().expect("more than nothing");
        query.after = Some(history::PagePosition { timestamp: last.timestamp, id: last.id });
    }
}
