//! The learner in our own binary, with real NATS and PostgreSQL, and with SQLite alone.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::PublishErrorKind;
use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};

use crate::support::nats::NatsServer;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

pub(super) const DURABLE: &str = "experience-learner-v1";

/// An experience of one minute ago, plus `number` seconds.
pub(super) fn experience(agent: &str, number: i64, outcome: &str) -> Value {
    json!({
        "event_id": format!("{agent}-{outcome}-{number}"), "agent_id": agent, "task": "answer", "outcome": outcome,
        "latency_ms": 700, "error_class": (outcome == "error").then_some("rate_limited"), "model": "m1", "version": 1,
        "timestamp": Utc::now() - TimeDelta::seconds(60 - number), "stranger": {"kept": true},
    })
}

/// Three failures of one class.
pub(super) fn burst(agent: &str) -> Vec<Value> {
    (0..3).map(|number| experience(agent, number, "error")).collect()
}

pub(super) async fn publish(client: &async_nats::Client, experiences: &[Value]) {
    let jetstream = async_nats::jetstream::new(client.clone());
    for experience in experiences {
        let subject = format!("agent.experience.v1.{}", experience["agent_id"].as_str().unwrap());
        let body = experience.to_string();
        // nats-server reports a new stream before it receives messages for it
        until("the stream to accept a message", || async {
            let sent = jetstream.publish(subject.clone(), body.clone().into()).await.expect("the server accepts it");
            match sent.await {
                Ok(_) => Some(()),
                Err(error) if error.kind() == PublishErrorKind::StreamNotFound => None,
                Err(error) => panic!("the stream rejects a message: {error}"),
            }
        })
        .await;
    }
}

pub(super) async fn metric(server: &Process, name: &str) -> f64 {
    let text = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub(super) async fn get(server: &Process, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

async fn post(server: &Process, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = reqwest::Client::new().post(server.url(path)).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The open lessons of an agent on the map; none while the agent is unknown.
pub(super) async fn open_lessons(server: &Process) -> Option<Value> {
    let answer = reqwest::get(server.url("/living-map/entities/agent:one")).await.ok()?;
    let agent: Value = answer.error_for_status().ok()?.json().await.ok()?;
    Some(agent["data"]["open_lessons"].clone())
}

/// Number of rows of the last 30 minutes, and of distinct keys.
pub(super) async fn rows(connection: &mut PgConnection) -> (i64, i64) {
    let sql = "SELECT count(*), count(distinct lesson_key) FROM agent_lessons WHERE ts > now() - interval '30 minutes'";
    let row = connection.fetch_one(sql).await.unwrap();
    (row.get(0), row.get(1))
}

pub(super) async fn wait_for_rows(url: &str, wanted: i64) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let connection = tokio::sync::Mutex::new(&mut connection);
    until(&format!("{wanted} lessons"), || async {
        let (rows, keys) = rows(&mut **connection.lock().await).await;
        assert_eq!(rows, keys, "a key occurs twice");
        (rows >= wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_are_learned_once_over_kills_and_redeliveries() {
    let (nats, url) = (NatsServer::start().await, database().await);
    let environment = [
        ("DATABASE_URL", &*url),
        ("NATS_URL", &*nats.url()),
        ("EXPERIENCE_ACK_WAIT_SECONDS", "1"),
        ("LEASE_SECONDS", "2"),
    ];
    let mut server = Process::start(&["serve"], &environment).await;
    let client = nats.client().await;
    let jetstream = async_nats::jetstream::new(client.clone());
    until("the stream of experiences", || async { jetstream.get_stream("EXPERIENCE").await.ok() }).await;

    // two agents with different symptoms
    publish(&client, &burst("agent:one")).await;
    publish(&client, &(0..5).map(|n| experience("agent:two", n, "silent")).collect::<Vec<_>>()).await;
    wait_for_rows(&url, 2).await;
    until("acknowledgements", || async { (metric(&server, "js_messages_acked_total").await >= 8.0).then_some(()) })
        .await;
    until("the lesson in the log and on the map", || async {
        let history = get(&server, "/living-map/history?event_type=agent.lesson.v1&limit=10").await;
        let agent = get(&server, "/living-map/snapshot").await["layers"]["agents"]["items"]
            .as_array()
            .and_then(|agents| agents.iter().find(|agent| agent["id"] == "agent:one").cloned());
        let shown = agent.is_some_and(|agent| agent["open_lessons"]["count"] == 1);
        (shown && history["items"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;

    // an unreadable event does not block others
    client.publish("agent.experience.v1.agent:bad", "{no json".into()).await.unwrap();
    client.flush().await.unwrap();
    until("the unreadable event to be counted", || async {
        (metric(&server, "lessons_unreadable_total").await >= 1.0).then_some(())
    })
    .await;
    until("its dead letter", || async {
        let letters = get(&server, "/living-map/dead-letters?subject=agent.experience.v1.%3E").await;
        let letter = letters["items"][0].clone();
        (letter["processor"] == "learner" && letter["origin_stream"] == "EXPERIENCE").then_some(())
    })
    .await;

    // kill -9 between the second and the third failure: the state is rebuilt
    publish(&client, &burst("agent:three")[..2]).await;
    until("two more experiences", || async {
        (metric(&server, "js_messages_acked_total").await >= 11.0).then_some(())
    })
    .await;
    server.kill();
    publish(&client, &burst("agent:three")[2..]).await;
    server.restart().await;
    wait_for_rows(&url, 3).await;

    // another client fetches experiences and does not acknowledge them: they are delivered again
    server.stop().await;
    publish(&client, &burst("agent:four")).await;
    let consumer: async_nats::jetstream::consumer::Consumer<pull::Config> =
        jetstream.get_consumer_from_stream(DURABLE, "EXPERIENCE").await.unwrap();
    let mut withheld = consumer.fetch().max_messages(3).messages().await.unwrap();
    while let Some(Ok(_)) = withheld.next().await {}
    server.restart().await;
    wait_for_rows(&url, 4).await;
    until("redeliveries", || async { (metric(&server, "js_messages_redelivered_total").await >= 3.0).then_some(()) })
        .await;

    // again from the beginning of the stream: no duplicates
    server.stop().await;
    jetstream.delete_consumer_from_stream(DURABLE, "EXPERIENCE").await.unwrap();
    server.restart().await;
    until("everything to be processed again", || async {
        (metric(&server, "js_messages_acked_total").await >= 15.0).then_some(())
    })
    .await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    assert_eq!(rows(&mut connection).await, (4, 4));
    let items = get(&server, "/living-map/lessons?agent=agent:one").await["items"].clone();
    assert_eq!((items.as_array().unwrap().len(), &items[0]["replay_count"]), (1, &json!(1)), "{items}");
    assert_eq!(get(&server, "/living-map/ready").await["checks"]["learner"]["status"], "ok");
}

async fn send(server: &Process, experiences: &[Value]) {
    let envelopes: Vec<Value> = experiences
        .iter()
        .map(|experience| {
            let subject = format!("agent.experience.v1.{}", experience["agent_id"].as_str().unwrap());
            json!({"event_type": subject, "payload": experience})
        })
        .collect();
    let (status, answer) = post(server, "/living-map/events", &json!(envelopes)).await;
    assert_eq!(status, 200, "{answer}");
}

async fn lessons(server: &Process, query: &str, wanted: usize) -> Vec<Value> {
    until(&format!("{wanted} lessons of {query}"), || async {
        let list = get(server, &format!("/living-map/lessons?{query}")).await;
        let items = list["items"].as_array().unwrap().clone();
        (items.len() >= wanted).then_some(items)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_on_sqlite_are_reviewed_revised_and_handed_out() {
    let mut server = Process::start(&["serve"], &[("LESSON_REVIEW_SECONDS", "86400")]).await;
    send(&server, &burst("agent:one")[..2]).await;
    until("two experiences", || async { (metric(&server, "js_messages_acked_total").await >= 2.0).then_some(()) })
        .await;
    server.kill();
    server.restart().await;
    send(&server, &burst("agent:one")[2..]).await;
    let lesson = lessons(&server, "agent=one&q=rate+limited", 1).await.remove(0);
    assert_eq!(
        (&lesson["status"], &lesson["rule"], &lesson["version"]),
        (&json!("candidate"), &json!("error_burst"), &json!(1))
    );
    assert_eq!(lesson["evidence"].as_array().unwrap().len(), 3);
    let path = format!("/living-map/lessons/{}", lesson["lesson_key"].as_str().unwrap());

    // a candidate is not in the preamble before its review
    let preamble = reqwest::get(server.url("/living-map/agents/one/preamble?task=answer")).await.unwrap();
    assert_eq!(preamble.headers()["content-type"], "text/markdown; charset=utf-8");
    assert_eq!(preamble.text().await.unwrap(), "");
    let review = json!({"version": 1, "decision": "confirm", "reason": "seen"});
    assert_eq!(post(&server, &format!("{path}/review"), &review).await.1["status"], "active");
    assert_eq!(post(&server, &format!("{path}/review"), &review).await.0, 200, "sent again");
    let rejected = json!({"version": 1, "decision": "reject"});
    let (status, problem) = post(&server, &format!("{path}/review"), &rejected).await;
    assert_eq!((status, &problem["current"]["status"]), (StatusCode::CONFLICT, &json!("active")));
    let preamble = reqwest::get(server.url("/living-map/agents/agent:one/preamble?task=rate+limit&max_tokens=300"));
    let preamble = preamble.await.unwrap().text().await.unwrap();
    assert!(preamble.starts_with("## Lessons") && preamble.contains("rate_limited"), "{preamble}");

    // revise: the old version is superseded, and its key returns the new one
    let revision = json!({"version": 1, "text": "Ask the other provider.", "reason": "it was the provider"});
    let (status, second) = post(&server, &format!("{path}/revise"), &revision).await;
    assert_eq!((status, &second["version"], &second["status"]), (StatusCode::OK, &json!(2), &json!("active")));
    assert_eq!(post(&server, &format!("{path}/revise"), &revision).await.1, second, "sent again");
    let stale = json!({"version": 1, "text": "Another text."});
    assert_eq!(post(&server, &format!("{path}/revise"), &stale).await.0, StatusCode::CONFLICT);
    for (body, field) in [(json!({"version": 2}), "text"), (json!({"text": "x"}), "version"), (json!([]), "body")] {
        let (status, problem) = post(&server, &format!("{path}/revise"), &body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{problem}");
    }
    assert_eq!(get(&server, &path).await, second);
    let life = get(&server, &format!("{path}/history")).await;
    assert_eq!(life["items"].as_array().unwrap().len(), 2);
    assert_eq!(life["items"][0]["superseded_by"], second["lesson_key"]);
    let done: Vec<&str> =
        life["operations"].as_array().unwrap().iter().map(|o| o["operation"].as_str().unwrap()).collect();
    assert_eq!(done, ["upsert", "confirm", "revise"]);

    // report an outcome, and request JSON
    let outcome = json!({"lesson_key": second["lesson_key"], "helped": true, "outcome_id": "run-1"});
    for _ in 0..2 {
        let (status, lesson) = post(&server, "/living-map/agents/one/outcomes", &outcome).await;
        assert_eq!((status, &lesson["helped"]), (StatusCode::OK, &json!(1)), "{lesson}");
    }
    let (status, _) = post(&server, "/living-map/agents/agent:other/outcomes", &outcome).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another agent's lesson");
    let request = reqwest::Client::new().get(server.url("/living-map/agents/one/preamble"));
    let preamble: Value = request.header("Accept", "application/json").send().await.unwrap().json().await.unwrap();
    assert_eq!(preamble["items"][0]["lesson"]["lesson_key"], second["lesson_key"]);

    // retire: removed from the preamble and from the map, not from the database
    until("the lesson on the map", || async {
        let shown = open_lessons(&server).await?;
        (shown == json!({"count": 1, "keys": [second["lesson_key"]]})).then_some(())
    })
    .await;
    let retirement = json!({"version": 2, "reason": "the provider is back"});
    assert_eq!(post(&server, &format!("{path}/retire"), &retirement).await.1["status"], "retired");
    until("the map without it", || async { open_lessons(&server).await?.is_null().then_some(()) }).await;
    assert_eq!(lessons(&server, "status=retired,superseded", 2).await.len(), 2);
    let (status, _) = post(&server, "/living-map/lessons/nothing/retire", &retirement).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(reqwest::get(server.url("/living-map/lessons/nothing")).await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_lesson_has_pages_of_bounded_bytes() {
    let server = Process::start(&["serve"], &[("MAX_PAGE_BYTES", "8000")]).await;
    send(&server, &burst("agent:one")).await;
    let lesson = lessons(&server, "agent=agent:one&status=candidate,active", 1).await.remove(0);
    let path = format!("/living-map/lessons/{}", lesson["lesson_key"].as_str().unwrap());
    for version in 1..8 {
        let text = format!("{version} {}", "x".repeat(3_000));
        let (status, answer) =
            post(&server, &format!("{path}/revise"), &json!({"version": version, "text": text})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(get(&server, &path).await["version"], 8, "the latest");
    for way in ["cursor", "offset"] {
        let (mut numbers, mut next) = (Vec::new(), String::new());
        loop {
            let url = server.url(&format!("{path}/history?limit=100{next}"));
            let answer = reqwest::get(url).await.unwrap();
            let is_cut = answer.headers().contains_key("x-living-map-cut");
            let page: Value = answer.json().await.unwrap();
            let items = page["items"].as_array().unwrap();
            assert!((1..=3).contains(&items.len()), "{} versions of 3 kB", items.len());
            assert_eq!(page["operations"].as_array().unwrap().len(), 8);
            numbers.extend(items.iter().map(|item| item["version"].as_u64().unwrap()));
            assert_eq!((is_cut, page["has_more"].as_bool()), (is_cut, Some(is_cut)), "no page has 100 versions");
            let Some(value) = Some(&page[format!("next_{way}")]).filter(|value| !value.is_null()) else { break };
            next = format!("&{way}={}", value.to_string().trim_matches('"'));
        }
        assert_eq!(numbers, (1..=8).collect::<Vec<_>>(), "by {way}");
    }
    let answer = reqwest::get(server.url(&format!("{path}/history?cursor=x"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_not_reviewed_in_time_are_reviewed_by_heuristic() {
    let server = Process::start(&["serve"], &[("LESSON_REVIEW_SECONDS", "1.5")]).await;
    send(&server, &burst("agent:one")).await;
    let candidate = lessons(&server, "agent=agent:one&status=candidate,active", 1).await.remove(0);
    lessons(&server, "agent=agent:one&status=active", 1).await;
    let key = candidate["lesson_key"].as_str().unwrap();
    let life = get(&server, &format!("/living-map/lessons/{key}/history")).await;
    assert_eq!(life["operations"][1]["actor"], "heuristic", "{life}");
    tokio::time::timeout(Duration::from_secs(30), async {
        while metric(&server, "lessons_reviewed_total").await < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the review is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn lessons_are_not_published_when_that_is_disabled() {
    let settings = [("LESSON_PUBLISH_ENABLED", "false"), ("LESSON_REVIEW_SECONDS", "1.5")];
    let server = Process::start(&["serve"], &settings).await;
    send(&server, &burst("agent:one")).await;
    // otherwise it is published when it is learned and when it is reviewed
    lessons(&server, "agent=agent:one&status=active", 1).await;
    let history = get(&server, "/living-map/history?event_type=agent.lesson.v1").await;
    assert_eq!((&history["items"], metric(&server, "lessons_published_total").await), (&json!([]), 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_learns_a_lesson_within_a_minute() {
    let server = Process::start(&["demo"], &[]).await;
    lessons(&server, "limit=10", 1).await;
}
