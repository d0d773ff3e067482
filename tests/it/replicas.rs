//! Several replicas on one NATS and one `PostgreSQL`, with real processes: they agree, and each can stop at any time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use living_map::model::Service;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::mpsc;

use super::faults::{Publisher, environment, numbers_in_history};
use crate::adapters::upstream::Upstream;
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::roaming_client::{RoamingClient, Transport, frames};
use crate::support::tcp_proxy::TcpProxy;
use crate::support::wait::until;

/// A cluster of equal servers.
struct Cluster {
    servers: Vec<Process>,
    _nats: NatsServer,
    _postgres: Postgres,
    nats_url: String,
}

impl Cluster {
    /// Starts one server for each item of `own`, whose settings are added to the shared ones.
    async fn start(own: &[&[(&str, &str)]], lease_seconds: &str) -> Self {
        let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
        let (nats_url, database_url) = (nats.url(), postgres.url());
        let shared =
            [("NATS_URL", nats_url.as_str()), ("DATABASE_URL", &database_url), ("LEASE_SECONDS", lease_seconds)];
        let mut servers = Vec::new();
        for own in own {
            servers.push(Process::serve(&[&environment(&shared)[..], own].concat()).await);
        }
        let cluster = Self { servers, _nats: nats, _postgres: postgres, nats_url };
        for server in &cluster.servers {
            until("every server to have its map", || async { ready(server).await }).await;
        }
        cluster
    }

    /// The leader, if there is exactly one and all other servers are followers.
    async fn leader(&self, but: Option<usize>) -> Option<usize> {
        let mut leading = Vec::new();
        for (index, server) in self.servers.iter().enumerate().filter(|(index, _)| Some(*index) != but) {
            match ready(server).await?["checks"]["lease"]["role"].as_str()? {
                "leading" => leading.push(index),
                "following" => {}
                _ => return None,
            }
        }
        <[usize; 1]>::try_from(leading).ok().map(|[leader]| leader)
    }
}

/// The readiness report of a server that has a complete map.
pub async fn ready(server: &Process) -> Option<Value> {
    let answer = reqwest::get(server.url("/living-map/ready")).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

pub async fn snapshot(server: &Process, query: &str) -> Option<(Value, String)> {
    let answer = reqwest::get(server.url(&format!("/living-map/snapshot{query}"))).await.ok()?;
    let text = answer.text().await.ok()?;
    Some((serde_json::from_str(&text).ok()?, text))
}

/// The bytes of the four layers.
pub fn layers(snapshot: &str) -> &str {
    let begin = snapshot.find("\"layers\":").expect("layers");
    let end = snapshot.rfind(",\"meta\":").expect("meta after them");
    &snapshot[begin..end]
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_moving_between_restarting_servers_see_one_stream() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(&[&[], &[], &[]], "2").await;
    let urls: Vec<String> = cluster.servers.iter().map(|server| server.url("")).collect();
    let clients: Vec<RoamingClient> = (0..12)
        .map(|number| {
            let transport = if number % 2 == 0 { Transport::WebSocket } else { Transport::Sse };
            RoamingClient::start(urls.clone(), transport, random.random())
        })
        .collect();
    for client in &clients {
        until("every client to have a snapshot", || async { client.seen().began_at }).await;
    }
    let publisher = Publisher::to_nats(cluster.nats_url.clone());
    let planned = [true, false, true, false, true, false];
    for (round, planned) in planned.into_iter().enumerate() {
        for _ in 0..12 {
            publisher.publishes(10).await;
            clients.choose(&mut random).expect("not empty").move_on();
        }
        // each server is once stopped gracefully and once killed
        let server = &mut cluster.servers[round % 3];
        if planned {
            assert!(server.stop().await.success());
        } else {
            server.kill();
        }
        publisher.publishes(random.random_range(1..150)).await;
        server.restart().await;
    }
    publisher.publishes(40).await;
    let acknowledged = publisher.stop().await;

    let wanted: BTreeSet<u64> = (0..acknowledged).collect();
    let numbers = until("history to hold every acknowledged event", || async {
        let numbers = numbers_in_history(&cluster.servers[0]).await?;
        numbers.iter().copied().collect::<BTreeSet<_>>().is_superset(&wanted).then_some(numbers)
    })
    .await;
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "an event is in history twice");
    let mut same: Option<Vec<_>> = None;
    for (number, client) in clients.iter().enumerate() {
        let seen = until("every client to have every event", || async {
            let seen = client.seen();
            (seen.events.len() >= numbers.len() || !seen.resyncs.is_empty()).then_some(seen)
        })
        .await;
        let transport = client.transport;
        assert_eq!(seen.resyncs, [""; 0], "client {number} ({transport:?}) was not resumed");
        let cursors: Vec<u64> = seen.events.iter().map(|(cursor, _)| cursor.seq).collect();
        assert!(cursors.is_sorted_by(|a, b| a + 1 == *b), "client {number} ({transport:?}): {cursors:?}");
        assert_eq!(seen.events.len(), numbers.len());
        match &same {
            None => same = Some(seen.events),
            Some(same) => assert!(*same == seen.events, "client {number} ({transport:?}) received other frames"),
        }
    }
    let connections: usize = clients.iter().map(|client| client.seen().connections).sum();
    let reconnect_frames: usize = clients.iter().map(|client| client.seen().reconnect_frames).sum();
    println!("{acknowledged} events, {connections} connections of 12 clients, {reconnect_frames} reconnect frames");
    assert!(connections >= 24 && reconnect_frames > 0, "the clients did not move: {connections}, {reconnect_frames}");

    let mut bytes = BTreeSet::new();
    for server in &cluster.servers {
        let (_, text) = until("every server to reach the end of the log", || async {
            let shown = snapshot(server, "").await?;
            (shown.0["meta"]["cursor"] == same.as_ref()?.last()?.0.to_string()).then_some(shown)
        })
        .await;
        bytes.insert(layers(&text).to_owned());
    }
    assert_eq!(bytes.len(), 1, "the servers' maps differ at the same cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_moves_in_seconds_after_a_kill_or_a_planned_stop() {
    let mut cluster = Cluster::start(&[&[], &[], &[]], "5").await;
    for planned in [false, true] {
        let leader = until("one server to lead", || cluster.leader(None)).await;
        if planned {
            assert!(cluster.servers[leader].stop().await.success());
        } else {
            cluster.servers[leader].kill();
        }
        let began = Instant::now();
        let next = until("another one to lead", || cluster.leader(Some(leader))).await;
        println!("planned: {planned}; the lease moved after {:?}", began.elapsed());
        assert_ne!(next, leader);
        // five seconds of the lease, one second between attempts, and a tolerance for a busy machine
        assert!(began.elapsed() < Duration::from_secs(if planned { 5 } else { 15 }), "{:?}", began.elapsed());
        cluster.servers[leader].restart().await;
    }
}

/// Settings for polling all services at one test server, at a short interval.
fn polling(upstream: &Upstream) -> Vec<(&'static str, &str)> {
    let at = |name| (name, upstream.url.as_str());
    let services = ["AGENTS_SERVICE_URL", "MICRODAO_SERVICE_URL", "DAO_SERVICE_URL", "USAGE_ENGINE_URL"];
    let more = ["CITY_SERVICE_URL", "SPACE_SERVICE_URL"];
    services.into_iter().chain(more).map(at).chain([("SYNC_INTERVAL_SECONDS", "0.2")]).collect()
}

/// The `sources` of a server's snapshot without their age.
async fn sources(server: &Process) -> Option<Vec<Value>> {
    let (shown, _) = snapshot(server, "").await?;
    let sources = shown["meta"]["sources"].as_array()?.iter().cloned();
    let ageless = sources.map(|mut source| {
        source.as_object_mut().expect("an object").remove("age_seconds");
        source
    });
    Some(ageless.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_polls_and_all_know_the_upstream_health() {
    // a separate upstream for each server shows which server polls
    let upstreams = [Upstream::recorded(Service::City).await, Upstream::recorded(Service::City).await];
    let own = [polling(&upstreams[0]), polling(&upstreams[1])];
    let cluster = Cluster::start(&[&own[0], &own[1]], "2").await;
    let leader = until("one server to lead", || cluster.leader(None)).await;
    let (follower, by_both) = (1 - leader, async || {
        let [a, b] = [sources(&cluster.servers[0]).await?, sources(&cluster.servers[1]).await?];
        (a == b).then_some(a)
    });
    let known = until("both to know the same", || async {
        let sources = by_both().await?;
        let status = |service: Service| &sources[service as usize]["status"];
        (status(Service::City) == "ok" && status(Service::Dao) == "down").then_some(sources)
    })
    .await;
    assert!(known[Service::City as usize]["last_success_at"].is_string(), "{known:?}");

    // the servers started one after the other, so the second never polled
    let asked = upstreams[follower].requests().len();
    let before = upstreams[leader].requests().len();
    until("the leader to continue polling", || async {
        (upstreams[leader].requests().len() > before + 20).then_some(())
    })
    .await;
    assert_eq!(upstreams[follower].requests().len(), asked, "a follower polls");
    assert_eq!(asked, 0);

    // every server can produce a fresh snapshot
    let (fresh, _) = snapshot(&cluster.servers[follower], "?fresh=true").await.expect("a snapshot");
    assert!(upstreams[follower].requests().len() > asked, "a follower polls for a fresh snapshot");
    assert!(fresh["layers"]["city"]["items"].as_array().is_some_and(|items| !items.is_empty()), "{fresh}");
    let cursor = fresh["meta"]["cursor"].clone();
    until("both to have the same map", || async {
        let (shown, _) = snapshot(&cluster.servers[leader], "").await?;
        (shown["meta"]["cursor"] == cursor).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_database_does_not_delay_a_planned_stop() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let proxy = TcpProxy::to(&postgres).await;
    let (nats_url, database_url) = (nats.url(), proxy.url());
    let settings = [("NATS_URL", nats_url.as_str()), ("DATABASE_URL", &database_url), ("STOP_SECONDS", "5")];
    let mut server = Process::serve(&environment(&settings)).await;
    until("it to lead", || async { (ready(&server).await?["checks"]["lease"]["role"] == "leading").then_some(()) })
        .await;
    let publisher = Publisher::to_nats(nats_url.clone());
    publisher.publishes(50).await;
    proxy.block(true);
    publisher.publishes(50).await;
    let acknowledged = publisher.stop().await;
    let began = Instant::now();
    let status = server.stop().await;
    println!("stopped after {:?}", began.elapsed());
    assert!(!status.success(), "an aborted task must be visible in the exit status");
    assert!(server.output().contains("aborted after 5 seconds (STOP_SECONDS)"));
    proxy.block(false);
    server.restart().await;
    until("history to hold every event", || async {
        let numbers = numbers_in_history(&server).await?;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len(), "an event is in history twice");
        (0..acknowledged).all(|number| distinct.contains(&number)).then_some(())
    })
    .await;
}

const CLIENTS: usize = 1_200;
const MAX_CLIENTS: usize = 1_000;

/// A step in the life of a client.
enum ClientStep {
    /// Connected to the first server.
    Connected,
    /// Got a `reconnect` frame with this delay in milliseconds.
    Reconnecting(u64),
    /// Resumed at the second server.
    Resumed,
    /// Rejected by the second server, which is full.
    Rejected,
}

/// Connects to `first` until a `reconnect` frame, and to `second` after the delay in the frame.
async fn run_client(number: usize, first: String, second: String, steps: mpsc::UnboundedSender<ClientStep>) {
    let transport = if number.is_multiple_of(2) { Transport::WebSocket } else { Transport::Sse };
    let mut stream = frames(&first, transport, None).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut cursor = None;
    let after = loop {
        let text = stream.next().await.expect("a reconnect frame before the end");
        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        match frame["kind"].as_str() {
            Some("reconnect") => break frame["after_ms"].as_u64().expect("milliseconds"),
            Some("snapshot") => {
                cursor = frame["data"]["meta"]["cursor"].as_str().map(|text| text.parse().expect("a cursor"));
                steps.send(ClientStep::Connected).expect("the test receives");
            }
            _ => {}
        }
    };
    steps.send(ClientStep::Reconnecting(after)).expect("the test receives");
    // clients read until the stream has ended
    while stream.next().await.is_some() {}
    tokio::time::sleep(Duration::from_millis(after)).await;
    match frames(&second, transport, cursor).await {
        Ok(mut stream) => {
            steps.send(ClientStep::Resumed).expect("the test receives");
            while stream.next().await.is_some() {}
        }
        Err(refused) => {
            let refused = refused.expect("an answer");
            assert_eq!(refused.status, 503);
            assert!(refused.retry_after.is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after > 0)));
            steps.send(ClientStep::Rejected).expect("the test receives");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnects_are_spread_over_time_and_limited_by_slots() {
    // one client, which this machine is, leaves a slot to others
    let max_clients = (MAX_CLIENTS + 1).to_string();
    // few enough connections that the limit of open files does not reduce the streams
    let second = [("STREAM_MAX_CLIENTS", max_clients.as_str()), ("MAX_CONNECTIONS", "2000")];
    let mut cluster = Cluster::start(&[&[], &second], "2").await;
    let [first, second] = [0, 1].map(|server| cluster.servers[server].url(""));
    let (steps, mut received) = mpsc::unbounded_channel();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(run_client(number, first.clone(), second.clone(), steps.clone())))
        .collect();
    for _ in 0..CLIENTS {
        assert!(matches!(received.recv().await, Some(ClientStep::Connected)));
    }
    let began = Instant::now();
    assert!(cluster.servers[0].stop().await.success());
    let stopped = began.elapsed();
    let (mut delays, mut resumed, mut rejected) = (Vec::new(), Vec::new(), 0);
    while resumed.len() + rejected < CLIENTS {
        match received.recv().await.expect("every client reports its steps") {
            ClientStep::Connected => panic!("a client connected twice"),
            ClientStep::Reconnecting(after) => delays.push(after),
            ClientStep::Resumed => resumed.push(began.elapsed()),
            ClientStep::Rejected => rejected += 1,
        }
    }
    // half a second is a tenth of the period over which reconnects are spread
    let mut tenths = [0; 10];
    for after in &delays {
        tenths[usize::try_from(*after).expect("a few seconds") / 500] += 1;
    }
    println!("stopped after {stopped:?}; delays by half seconds: {tenths:?}; rejected: {rejected}");
    println!("resumed from {:?} to {:?} after the signal", resumed.first(), resumed.last());
    assert_eq!(delays.len(), CLIENTS);
    assert!(tenths.iter().all(|count| (60..=200).contains(count)), "a tenth is {} on average", CLIENTS / 10);
    assert_eq!((resumed.len(), rejected), (MAX_CLIENTS, CLIENTS - MAX_CLIENTS));
    let (first, last) = (resumed[0], resumed[resumed.len() - 1]);
    assert!(last > first + Duration::from_secs(2), "{MAX_CLIENTS} clients resumed within {:?}", last.abs_diff(first));
    let clients = ready(&cluster.servers[1]).await.expect("it answers")["checks"]["stream"]["clients"].clone();
    assert_eq!(clients, MAX_CLIENTS);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
