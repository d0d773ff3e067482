//! Data that the previous release wrote: this release opens it, serves the same from it, and goes on with it. And
//! replicas of both releases side by side, as in a rolling update.

mod fixture;
mod recorded;
mod rolling_update;

use serde_json::{Value, json};

use self::fixture::{Embedded, Production};
use self::recorded::{Recorded, get};
use crate::support::process::Process;
use crate::support::receiver::Receiver;
use crate::support::wait::until;

/// The server serves what the fixture's server served, byte for byte where it is the map.
async fn assert_serves(server: &Process, recorded: &Recorded) {
    let now = until("the map", || async {
        let now = Recorded::of(server, &recorded.past_cursor).await?;
        (now.cursor == recorded.cursor).then_some(now)
    })
    .await;
    assert_same_layers(&now.layers, &recorded.layers, &recorded.cursor);
    assert_same_layers(&now.past_layers, &recorded.past_layers, &recorded.past_cursor);
    assert_eq!(without_additions(&now.history, &recorded.history), recorded.history);
    assert_eq!(now.lessons, recorded.lessons);
    assert_eq!(now.dead_letters, recorded.dead_letters);
    assert_eq!(now.alerts, recorded.alerts);
    assert_eq!(now.saved_snapshots, recorded.saved_snapshots);
}

/// Asserts that the layers are the recorded ones, except for what the release changed by decision: new fields, calls and tokens
/// of agents for which the usage service was not asked, and the total of calls, which is at least the sum of the agents'.
fn assert_same_layers(now: &Value, recorded: &Value, position: &str) {
    let (mut now, mut recorded) = (now.clone(), with_unknown_numbers(recorded, now));
    for (name, layer) in now.as_object_mut().into_iter().flatten() {
        if let Some(layer) = layer.as_object_mut() {
            layer.retain(|field, _| recorded[name].get(field).is_some());
        }
    }
    for layers in [&mut now, &mut recorded] {
        layers["agents"]["total_llm_calls_24h"].take();
    }
    let items = now["agents"]["items"].as_array().into_iter().flatten();
    for (agent, recorded) in items.zip(recorded["agents"]["items"].as_array_mut().into_iter().flatten()) {
        for figure in ["llm_calls_24h", "tokens_24h"] {
            if agent["usage"][figure].is_null() {
                recorded["usage"][figure].take();
            }
        }
    }
    assert_eq!(now, recorded, "the map at {position}");
}

/// `now` with the fields of `recorded` only: a release may add fields to an answer.
fn without_additions(now: &Value, recorded: &Value) -> Value {
    let mut now = now.clone();
    if let (Some(fields), Some(known)) = (now.as_object_mut(), recorded.as_object()) {
        fields.retain(|field, _| known.contains_key(field));
    }
    now
}

/// `recorded` with null for the numbers that nobody has counted: the previous release counted them from 0.
fn with_unknown_numbers(recorded: &Value, now: &Value) -> Value {
    let mut corrected = recorded.clone();
    for (list, number) in [("/city/items", "members"), ("/space/planets", "active_proposals")] {
        let items = corrected.pointer_mut(list).and_then(Value::as_array_mut).expect("a list");
        let shown = now.pointer(list).and_then(Value::as_array).expect("a list");
        for (item, shown) in items.iter_mut().zip(shown).filter(|(_, shown)| shown[number].is_null()) {
            assert_eq!(item[number], 0, "{item}");
            item[number] = shown[number].clone();
        }
    }
    corrected
}

/// New events are folded behind the old ones, the pending webhook message is delivered, once, and the dead letter is replayed.
async fn assert_continues(server: &Process, receiver: &Receiver, recorded: &Recorded) {
    let pending = ("memory".to_owned(), "raised".to_owned());
    until("the pending message", || async { receiver.taken().contains(&pending).then_some(()) }).await;

    let letter = recorded.dead_letters[0]["id"].as_str().expect("the fixture has a dead letter");
    let url = server.url(&format!("/living-map/dead-letters/{letter}/replay"));
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    until("the replayed event in history", || async {
        let page = get(server, "/living-map/history?entity_id=agent:poisoned&limit=10").await?;
        page["items"].as_array()?.iter().any(|item| item["payload"]["status"] == "online").then_some(())
    })
    .await;

    let event =
        json!({"event_type": "agent.event.status", "payload": {"agent_id": "agent:newcomer", "status": "online"}});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["results"][0]["status"], "accepted", "{answer}");
    until("the new event on the map", || async { get(server, "/living-map/entities/agent:newcomer").await }).await;
    // the old log's positions still mean what they meant
    let past = get(server, &format!("/living-map/snapshot?at={}", recorded.past_cursor)).await.expect("the past");
    assert_same_layers(&past["layers"], &recorded.past_layers, &recorded.past_cursor);
    assert_eq!(receiver.taken().iter().filter(|message| **message == pending).count(), 1);
    // that it is cleared is news: alerts expire, and the fixture gets older
    let delivered = ("disk".to_owned(), "raised".to_owned());
    assert!(!receiver.taken().contains(&delivered), "it was delivered before");
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_sqlite_file_is_served_and_continued() {
    let fixture = Embedded::unpack();
    let mut server = Process::serve(&fixture.quiet()).await;
    assert_serves(&server, &fixture.recorded).await;
    assert!(server.stop().await.success());

    let receiver = Receiver::start().await;
    let server = Process::serve(&fixture.active(&receiver)).await;
    assert_continues(&server, &receiver, &fixture.recorded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_postgres_and_jetstream_are_served_and_continued() {
    let fixture = Production::unpack().await;
    let mut server = Process::serve(&fixture.quiet()).await;
    assert_serves(&server, &fixture.recorded).await;
    assert!(server.stop().await.success());

    let receiver = Receiver::start().await;
    let server = Process::serve(&fixture.active(&receiver)).await;
    assert_continues(&server, &receiver, &fixture.recorded).await;
    fixture.assert_experiences_go_on(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixtures with the binary that PREVIOUS_BIN names: make previous-fixtures"]
async fn write_fixtures() {
    let embedded = fixture::write_embedded().await;
    fixture::write_production(&embedded).await;
}
