use std::time::Duration;

use serde_json::{Value, json};

use super::ItemStatus::{Accepted, Duplicate, Rejected};
use super::*;
use crate::http::fakes::{FakeHistory, FakeLog, at};
use crate::log::LogError;

async fn publish(log: &FakeLog, history: &FakeHistory, body: Value) -> Result<Vec<ItemResult>, Problem> {
    let Value::Array(values) = body else { panic!("a batch is an array: {body}") };
    let context = RequestContext { now: Utc::now(), trace: None, form: super::publish::Form::Any };
    let parsed = values.into_iter().map(|value| Ok(value.into())).collect();
    super::publish::publish(log, history, parsed, &context, Duration::from_secs(1)).await
}

fn statuses(results: &[ItemResult]) -> Vec<ItemStatus> {
    results.iter().map(|result| result.status).collect()
}

#[tokio::test]
async fn each_event_has_a_result_with_its_index() {
    let log = FakeLog::default();
    let batch = json!([
        {"event_type": "agent.event.created", "event_id": "e1", "payload": {}},
        {"event_type": "agent.*", "payload": {}},
        {"event_type": "agent.event.created", "event_id": "e1", "payload": {}},
        {"event_type": "agent.event.deleted", "event_id": "e2", "payload": {}},
        7,
    ]);
    let results = publish(&log, &FakeHistory::default(), batch).await.unwrap();
    assert_eq!(statuses(&results), [Accepted, Rejected, Duplicate, Accepted, Rejected]);
    assert_eq!(results.iter().map(|result| result.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(results[0].cursor, Some(at(1)));
    assert_eq!((results[2].id, results[2].cursor), (results[0].id, results[0].cursor));
    assert_eq!(results[1].field, Some("event_type"));
    assert_eq!(results[4].field, Some("event"));
    assert!(results[1].error.as_deref().is_some_and(|error| error.starts_with("event_type: ")));
    assert_eq!(log.subjects(), ["agent.event.created", "agent.event.deleted"]);
}

#[tokio::test]
async fn an_event_in_the_history_is_a_duplicate_with_its_cursor() {
    let event = json!([{"event_type": "a.b", "idempotency_key": "k", "payload": 1}]);
    let log = FakeLog::default();
    let id = publish(&log, &FakeHistory::default(), event.clone()).await.unwrap()[0].id.unwrap();
    let new_log = FakeLog::default();
    let history = FakeHistory { known: [(id, Some(at(42)))].into(), ..FakeHistory::default() };
    let results = publish(&new_log, &history, event).await.unwrap();
    assert_eq!((results[0].status, results[0].cursor), (Duplicate, Some(at(42))));
    assert_eq!(new_log.subjects(), Vec::<String>::new());
}

#[tokio::test]
async fn an_unavailable_history_does_not_block_publishing() {
    let history = FakeHistory { unavailable: true, ..FakeHistory::default() };
    let results = publish(&FakeLog::default(), &history, json!([{"event_type": "a.b"}])).await.unwrap();
    assert_eq!(statuses(&results), [Accepted]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_history_does_not_block_publishing() {
    let history = FakeHistory { hangs: true, ..FakeHistory::default() };
    let results = publish(&FakeLog::default(), &history, json!([{"event_type": "a.b"}])).await.unwrap();
    assert_eq!(statuses(&results), [Accepted]);
}

#[tokio::test]
async fn reserved_subjects_are_rejected() {
    let log = FakeLog::default();
    let batch = json!([{"event_type": "living_map.sync.agents"}, {"event_type": "living_map"}, {"event_type": "living_mapper.x"}]);
    let results = publish(&log, &FakeHistory::default(), batch).await.unwrap();
    assert_eq!(statuses(&results), [Rejected, Rejected, Accepted]);
    assert_eq!(log.subjects(), ["living_mapper.x"]);
}

#[tokio::test]
async fn an_unavailable_log_accepts_nothing() {
    let log = FakeLog::failing(&[("a.b", || LogError::Unavailable("gone".into()))]);
    let problem = publish(&log, &FakeHistory::default(), json!([{"event_type": "a.b"}, {}])).await.unwrap_err();
    assert_eq!(problem.status(), 503);

    let mixed = json!([
        {"event_type": "a.b", "event_id": "1"},
        {"event_type": "c.d", "event_id": "2"},
        {"event_type": "a.b", "event_id": "1"},
    ]);
    let results = publish(&log, &FakeHistory::default(), mixed).await.unwrap();
    assert_eq!(statuses(&results), [Rejected, Accepted, Rejected]);
    assert_eq!(results[2].index, 2);
}

#[tokio::test]
async fn a_rejection_by_the_log_names_the_field() {
    let log = FakeLog::failing(&[
        ("not.recorded", || LogError::NotRecorded("not.recorded".into())),
        ("too.large", || LogError::TooLarge { size: 9, limit: 8 }),
    ]);
    let batch = json!([{"event_type": "not.recorded"}, {"event_type": "too.large"}]);
    let results = publish(&log, &FakeHistory::default(), batch).await.unwrap();
    assert_eq!(statuses(&results), [Rejected; 2]);
    assert_eq!(results.iter().map(|result| result.field).collect::<Vec<_>>(), [Some("event_type"), Some("payload")]);
    assert_eq!(respond(results).status(), 422);
}
