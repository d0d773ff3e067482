//! Faults of production with real processes: no event lost or duplicated, clients resume.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

use super::support::follower::Follower;
use super::support::nats::NatsServer;
use super::support::postgres::Postgres;
use super::support::process::Process;
use super::support::wait::until;

/// Unreachable upstreams, so that only the events under test change the map.
pub const NO_UPSTREAMS: [(&str, &str); 7] = [
    ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ("MICRODAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("DAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("USAGE_ENGINE_URL", "http://127.0.0.1:9"),
    ("CITY_SERVICE_URL", "http://127.0.0.1:9"),
    ("SPACE_SERVICE_URL", "http://127.0.0.1:9"),
    ("SYNC_INTERVAL_SECONDS", "3600"),
];

pub fn environment<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    NO_UPSTREAMS.iter().chain(more).copied().collect()
}

/// Publishes numbered events until it is stopped; only those that were acknowledged count.
pub struct Publisher {
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    /// To JetStream, each number until the stream has it.
    pub fn to_nats(url: String) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let task = tokio::spawn(async move {
            let client = async_nats::ConnectOptions::new()
                .retry_on_initial_connect()
                .connect(url)
                .await
                .expect("it connects in the background");
            let jetstream = async_nats::jetstream::new(client);
            for number in 0_u64.. {
                let body = event(number)["payload"].to_string();
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("n{number}").as_str());
                loop {
                    let sent =
                        jetstream.publish_with_headers("agent.event.status", headers.clone(), body.clone().into());
                    if let Ok(acknowledgement) = sent.await
                        && tokio::time::timeout(Duration::from_secs(1), acknowledgement.into_future())
                            .await
                            .is_ok_and(|ack| ack.is_ok())
                    {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                counter.store(number + 1, Ordering::SeqCst);
            }
        });
        Self { acknowledged, task }
    }

    /// To `POST /living-map/events`, each number until it is accepted or a duplicate.
    fn to_http(url: String) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let task = tokio::spawn(async move {
            let client = reqwest::Client::new();
            for number in 0_u64.. {
                while !post(&client, &url, &event(number)).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                counter.store(number + 1, Ordering::SeqCst);
            }
        });
        Self { acknowledged, task }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until `more` further events are acknowledged.
    pub async fn publishes(&self, more: u64) {
        let goal = self.acknowledged() + more;
        until("events to be acknowledged", || async { (self.acknowledged() >= goal).then_some(()) }).await;
    }

    /// Stops after the current event and returns the number of acknowledged ones.
    pub async fn stop(self) -> u64 {
        self.task.abort();
        let _ = self.task.await;
        self.acknowledged.load(Ordering::SeqCst)
    }
}

async fn post(client: &reqwest::Client, url: &str, event: &Value) -> bool {
    let Ok(answer) = client.post(url).json(event).timeout(Duration::from_secs(5)).send().await else { return false };
    let Ok(body) = answer.json::<Value>().await else { return false };
    matches!(body["results"][0]["status"].as_str(), Some("accepted" | "duplicate"))
}

pub fn event(number: u64) -> Value {
    let payload = json!({"agent_id": format!("agent:{}", number % 7), "status": "online", "n": number});
    json!({"event_type": "agent.event.status", "event_id": format!("n{number}"), "source": "test", "payload": payload})
}

/// The numbers in history, by keyset paging from newest to oldest; none while the database is unavailable.
pub async fn numbers_in_history(server: &Process) -> Option<Vec<u64>> {
    let client = reqwest::Client::new();
    let mut numbers = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut url = server.url("/living-map/history?event_type=agent.event.status&limit=1000");
        if let Some(cursor) = &cursor {
            url.push_str("&cursor=");
            url.push_str(cursor);
        }
        let answer = client.get(url).send().await.expect("the server answers");
        if answer.status() == 503 {
            return None;
        }
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        let page: Value = answer.json().await.expect("history is JSON");
        numbers
            .extend(page["items"].as_array().expect("items").iter().filter_map(|item| item["payload"]["n"].as_u64()));
        match page["next_cursor"].as_str() {
            Some(next) if page["has_more"] == true => cursor = Some(next.to_owned()),
            _ => return Some(numbers),
        }
    }
}

/// Every acknowledged event exactly once, in history and on the stream. An event whose acknowledgement was lost may be
/// there in addition, once.
async fn all_there_once(server: &Process, follower: &Follower, acknowledged: u64) {
    let wanted: BTreeSet<u64> = (0..acknowledged).collect();
    let numbers = until("history to hold every acknowledged event", || async {
        let numbers = numbers_in_history(server).await?;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        distinct.is_superset(&wanted).then_some(numbers)
    })
    .await;
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), numbers.len(), "an event is in history twice");
    assert!(numbers.len() as u64 <= acknowledged + 1, "history has events that were not published");

    let seen = until("the client to have got every event", || async {
        let seen = follower.seen();
        (seen.payloads.len() >= numbers.len()).then_some(seen)
    })
    .await;
    assert_eq!(seen.resyncs, 0, "the client was not resumed but given a new snapshot");
    let got: Vec<u64> = seen.payloads.iter().filter_map(|payload| payload["n"].as_u64()).collect();
    let sorted: Vec<u64> = distinct.into_iter().collect();
    assert_eq!(got, sorted, "the client's stream has a gap, a duplicate or another order");
}

#[tokio::test]
async fn kill_9_of_the_embedded_server_loses_nothing_it_accepted() {
    let mut server = Process::serve(&environment(&[])).await;
    let follower = Follower::start(server.ws_url("/living-map/stream")).await;
    let publisher = Publisher::to_http(server.url("/living-map/events"));
    for _ in 0..3 {
        publisher.publishes(40).await;
        server.kill();
        server.restart().await;
    }
    publisher.publishes(40).await;
    let acknowledged = publisher.stop().await;
    all_there_once(&server, &follower, acknowledged).await;
    assert!(follower.seen().reconnects >= 3);
}

#[tokio::test]
async fn a_killed_server_gives_the_table_log_back_at_once() {
    let database = Postgres::start().await;
    for url in ["sqlite://living-map.db", &database.url()] {
        let mut server = Process::serve(&environment(&[("DATABASE_URL", url)])).await;
        let post = async |server: &Process, number| {
            post(&reqwest::Client::new(), &server.url("/living-map/events"), &event(number)).await
        };
        assert!(post(&server, 0).await);
        for number in 1..4 {
            // the next one would exit if the log were still locked
            server.restart().await;
            assert!(post(&server, number).await);
        }
        let numbers: BTreeSet<u64> = numbers_in_history(&server).await.into_iter().flatten().collect();
        assert_eq!(numbers, (0..4).collect());
    }
}

#[tokio::test]
async fn kill_9_of_the_server_on_nats_and_postgres_loses_nothing() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let mut server =
        Process::serve(&environment(&[("NATS_URL", &nats.url()), ("DATABASE_URL", &postgres.url())])).await;
    let follower = Follower::start(server.ws_url("/living-map/stream")).await;
    let publisher = Publisher::to_nats(nats.url());
    for _ in 0..3 {
        publisher.publishes(300).await;
        server.kill();
        publisher.publishes(100).await;
        server.restart().await;
    }
    publisher.publishes(100).await;
    let acknowledged = publisher.stop().await;
    all_there_once(&server, &follower, acknowledged).await;
}

#[tokio::test]
async fn a_restart_of_nats_is_survived_by_itself() {
    let (mut nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let server = Process::serve(&environment(&[("NATS_URL", &nats.url()), ("DATABASE_URL", &postgres.url())])).await;
    let follower = Follower::start(server.ws_url("/living-map/stream")).await;
    let publisher = Publisher::to_nats(nats.url());
    publisher.publishes(200).await;
    nats.kill();
    until("the server to report the log as unavailable", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        (ready["status"] != "ready" && ready["checks"]["log"]["status"] != "ready").then_some(())
    })
    .await;
    let snapshot = reqwest::get(server.url("/living-map/snapshot")).await.expect("reads go on");
    assert!(snapshot.status().is_success());
    nats.restart().await;
    publisher.publishes(200).await;
    let acknowledged = publisher.stop().await;
    all_there_once(&server, &follower, acknowledged).await;
    assert_eq!(follower.seen().reconnects, 0, "the stream was to stay open");
}

#[tokio::test]
async fn a_restart_of_postgres_is_survived_by_itself() {
    let (nats, mut postgres) = (NatsServer::start().await, Postgres::start().await);
    let server = Process::serve(&environment(&[("NATS_URL", &nats.url()), ("DATABASE_URL", &postgres.url())])).await;
    let follower = Follower::start(server.ws_url("/living-map/stream")).await;
    let publisher = Publisher::to_nats(nats.url());
    publisher.publishes(200).await;
    postgres.kill();
    let before = follower.seen().payloads.len();
    publisher.publishes(200).await;
    until("the stream to go on without the database", || async {
        (follower.seen().payloads.len() > before + 100).then_some(())
    })
    .await;
    let history = reqwest::get(server.url("/living-map/history")).await.expect("it answers");
    assert_eq!(history.status(), 503);
    assert!(history.headers().contains_key("retry-after"));
    postgres.restart().await;
    publisher.publishes(50).await;
    let acknowledged = publisher.stop().await;
    all_there_once(&server, &follower, acknowledged).await;
    assert_eq!(follower.seen().reconnects, 0, "the stream was to stay open");
}

#[tokio::test]
async fn planned_stop_asks_clients_to_reconnect_and_loses_nothing() {
    let mut server = Process::serve(&environment(&[])).await;
    let follower = Follower::start(server.ws_url("/living-map/stream")).await;
    let publisher = Publisher::to_http(server.url("/living-map/events"));
    for restart in 1..=2 {
        publisher.publishes(40).await;
        let status = server.stop().await;
        assert!(status.success(), "{status}");
        until("the client to be told to come back", || async {
            (follower.seen().reconnect_frames == restart).then_some(())
        })
        .await;
        server.restart().await;
    }
    publisher.publishes(40).await;
    let acknowledged = publisher.stop().await;
    all_there_once(&server, &follower, acknowledged).await;
}

#[tokio::test]
async fn nats_absent_at_the_start_delays_no_http() {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let began = Instant::now();
    let server = Process::serve(&environment(&[("NATS_URL", &nats.url())])).await;
    assert!(began.elapsed() < Duration::from_secs(10), "health took {:?}", began.elapsed());
    let ready = reqwest::get(server.url("/living-map/ready")).await.expect("it answers");
    assert_eq!(ready.status(), 503);
    nats.restart().await;
    until("the server to find the log", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn hanging_upstream_does_not_affect_other_upstreams() {
    // accepts connections and never answers
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", hanging.local_addr().expect("it is bound"));
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = hanging.accept().await {
            connections.push(connection);
        }
    });
    let mut settings = environment(&[]);
    settings.retain(|(name, _)| *name != "SYNC_INTERVAL_SECONDS" && *name != "CITY_SERVICE_URL");
    settings.extend([
        ("CITY_SERVICE_URL", address.as_str()),
        ("SYNC_INTERVAL_SECONDS", "1"),
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
    ]);
    let server = Process::serve(&settings).await;
    assert!(post(&reqwest::Client::new(), &server.url("/living-map/events"), &event(1)).await);
    let city = until("the hanging upstream to be named", || async {
        let snapshot: Value = reqwest::get(server.url("/living-map/snapshot")).await.ok()?.json().await.ok()?;
        let sources = snapshot["meta"]["sources"].as_array()?.clone();
        sources.into_iter().find(|source| source["service"] == "city" && source["status"] == "down")
    })
    .await;
    assert!(city["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{city}");
    let began = Instant::now();
    let snapshot: Value =
        reqwest::get(server.url("/living-map/snapshot")).await.expect("it answers").json().await.expect("JSON");
    assert!(began.elapsed() < Duration::from_millis(500), "a snapshot took {:?}", began.elapsed());
    assert_eq!(snapshot["layers"]["agents"]["items"][0]["id"], "agent:1");
    held.abort();
}

#[tokio::test]
async fn kill_with_a_thousand_events_in_flight_is_atomic_for_each() {
    let mut server = Process::serve(&environment(&[])).await;
    let client = reqwest::Client::new();
    let url = server.url("/living-map/events");
    let batches: Vec<Vec<Value>> =
        (0..10).map(|batch| (0..100).map(|number| event(batch * 100 + number)).collect()).collect();
    let sending = futures::stream::iter(batches.clone())
        .map(|batch| {
            let (client, url) = (client.clone(), url.clone());
            async move { client.post(url).json(&batch).send().await.is_ok_and(|answer| answer.status().is_success()) }
        })
        .buffer_unordered(4);
    let mut sending = std::pin::pin!(sending);
    sending.next().await;
    server.kill();
    while sending.next().await.is_some() {}
    server.restart().await;
    for batch in &batches {
        let answer = client.post(&url).json(batch).send().await.expect("it answers");
        assert!(answer.status().is_success());
    }
    let mut numbers = numbers_in_history(&server).await.expect("the database is there");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1000).collect::<Vec<u64>>());
}

/// Files cannot grow beyond a limit, as on a full disk with the embedded server's database and the journal's folder.
#[tokio::test(flavor = "multi_thread")]
async fn full_disk_stops_writes_only_until_space_is_available() {
    let server = Process::serve_with_file_limit(2_048, &environment(&[])).await;
    until("the map", || async {
        reqwest::get(server.url("/living-map/snapshot")).await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
    let (client, url) = (reqwest::Client::new(), server.url("/living-map/events"));
    let large = |number: u64| {
        let mut event = event(number);
        event["payload"]["text"] = json!("x".repeat(50_000));
        event
    };
    let mut accepted = 0;
    let refused = loop {
        let answer = client.post(&url).json(&large(accepted)).send().await.expect("the server answers");
        if !answer.status().is_success() {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1_000, "the disk has no end");
    };
    assert_eq!(refused.status(), 503);
    assert!(accepted > 5, "{accepted}");
    let snapshot: Value = reqwest::get(server.url("/living-map/snapshot")).await.unwrap().json().await.unwrap();
    assert_eq!(snapshot["layers"]["agents"]["total_agents"], 7);
    let history = numbers_in_history(&server).await.expect("reading goes on");
    assert_eq!(history.len() as u64, accepted);
    server.lift_file_limit();
    until("room to be found", || async { post(&client, &url, &large(accepted)).await.then_some(()) }).await;
    let all = numbers_in_history(&server).await.expect("the database is there");
    assert_eq!(all.into_iter().collect::<BTreeSet<u64>>(), (0..=accepted).collect());
}
