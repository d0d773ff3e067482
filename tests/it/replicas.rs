//! Several servers on one NATS and one `PostgreSQL`, with real processes: they agree, and each can go at any time.

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
use crate::support::cable::Cable;
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::roamer::{Roamer, Transport, frames};
use crate::support::wait::until;

/// Equal servers.
struct Cluster {
    servers: Vec<Process>,
    _nats: NatsServer,
    _postgres: Postgres,
    nats_url: String,
}

impl Cluster {
    /// Starts as many as `own` has settings for, which go before those that all have.
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

    /// The server that leads, when exactly one does and all others know that they do not.
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

/// What a server that has its map says of itself.
async fn ready(server: &Process) -> Option<Value> {
    let answer = reqwest::get(server.url("/living-map/ready")).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn snapshot(server: &Process, query: &str) -> Option<(Value, String)> {
    let answer = reqwest::get(server.url(&format!("/living-map/snapshot{query}"))).await.ok()?;
    let text = answer.text().await.ok()?;
    Some((serde_json::from_str(&text).ok()?, text))
}

/// The bytes of the four layers.
fn layers(snapshot: &str) -> &str {
    let begin = snapshot.find("\"layers\":").expect("layers");
    let end = snapshot.rfind(",\"meta\":").expect("meta behind them");
    &snapshot[begin..end]
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_wander_between_servers_that_come_and_go_see_one_stream() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(&[&[], &[], &[]], "2").await;
    let urls: Vec<String> = cluster.servers.iter().map(|server| server.url("")).collect();
    let roamers: Vec<Roamer> = (0..12)
        .map(|number| {
            let transport = if number % 2 == 0 { Transport::WebSocket } else { Transport::Sse };
            Roamer::start(urls.clone(), transport, random.random())
        })
        .collect();
    for roamer in &roamers {
        until("every client to begin", || async { roamer.seen().began_at }).await;
    }
    let publisher = Publisher::to_nats(cluster.nats_url.clone());
    let planned = [true, false, true, false, true, false];
    for (round, planned) in planned.into_iter().enumerate() {
        for _ in 0..12 {
            publisher.publishes(10).await;
            roamers.choose(&mut random).expect("there are some").move_on();
        }
        // every server once in order and once by a kill
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
    for (number, roamer) in roamers.iter().enumerate() {
        let seen = until("every client to have got every event", || async {
            let seen = roamer.seen();
            (seen.events.len() >= numbers.len() || !seen.resyncs.is_empty()).then_some(seen)
        })
        .await;
        let transport = roamer.transport;
        assert_eq!(seen.resyncs, [""; 0], "client {number} ({transport:?}) was not resumed");
        let cursors: Vec<u64> = seen.events.iter().map(|(cursor, _)| cursor.seq).collect();
        assert!(cursors.is_sorted_by(|a, b| a + 1 == *b), "client {number} ({transport:?}): {cursors:?}");
        assert_eq!(seen.events.len(), numbers.len());
        match &same {
            None => same = Some(seen.events),
            Some(same) => assert!(*same == seen.events, "client {number} ({transport:?}) got other frames"),
        }
    }
    let arrivals: usize = roamers.iter().map(|roamer| roamer.seen().arrivals).sum();
    let farewells: usize = roamers.iter().map(|roamer| roamer.seen().farewells).sum();
    println!("{acknowledged} events, {arrivals} arrivals of 12 clients, {farewells} farewells");
    assert!(arrivals >= 24 && farewells > 0, "the clients did not wander: {arrivals}, {farewells}");

    let mut bytes = BTreeSet::new();
    for server in &cluster.servers {
        let (_, text) = until("every server to be at the log's end", || async {
            let shown = snapshot(server, "").await?;
            (shown.0["meta"]["cursor"] == same.as_ref()?.last()?.0.to_string()).then_some(shown)
        })
        .await;
        bytes.insert(layers(&text).to_owned());
    }
    assert_eq!(bytes.len(), 1, "the servers' maps differ at the same cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_passes_on_within_seconds_of_a_kill_and_at_once_at_a_planned_stop() {
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
        println!("planned: {planned}; passed on after {:?}", began.elapsed());
        assert_ne!(next, leader);
        // the lease's five seconds, a second between attempts, and a noisy machine
        assert!(began.elapsed() < Duration::from_secs(if planned { 5 } else { 15 }), "{:?}", began.elapsed());
        cluster.servers[leader].restart().await;
    }
}

/// Every service at this server, asked often.
fn polling(upstream: &Upstream) -> Vec<(&'static str, &str)> {
    let at = |name| (name, upstream.url.as_str());
    let services = ["AGENTS_SERVICE_URL", "MICRODAO_SERVICE_URL", "DAO_SERVICE_URL", "USAGE_ENGINE_URL"];
    let more = ["CITY_SERVICE_URL", "SPACE_SERVICE_URL"];
    services.into_iter().chain(more).map(at).chain([("SYNC_INTERVAL_SECONDS", "0.2")]).collect()
}

/// What a server says of its sources, but for their age.
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
async fn one_server_polls_and_all_know_how_the_upstreams_are_doing() {
    // each server has an upstream of its own, so that it is seen who asks
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

    // the servers began one after the other, and the second never had to ask
    let asked = upstreams[follower].requests().len();
    let before = upstreams[leader].requests().len();
    until("the leader to go on polling", || async { (upstreams[leader].requests().len() > before + 20).then_some(()) })
        .await;
    assert_eq!(upstreams[follower].requests().len(), asked, "a server polls that does not lead");
    assert_eq!(asked, 0);

    // a fresh snapshot is had from each
    let (fresh, _) = snapshot(&cluster.servers[follower], "?fresh=true").await.expect("a snapshot");
    assert!(upstreams[follower].requests().len() > asked, "it polls by itself");
    assert!(fresh["layers"]["city"]["items"].as_array().is_some_and(|items| !items.is_empty()), "{fresh}");
    let cursor = fresh["meta"]["cursor"].clone();
    until("both to have the same map", || async {
        let (shown, _) = snapshot(&cluster.servers[leader], "").await?;
        (shown["meta"]["cursor"] == cursor).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_does_not_hold_up_a_planned_stop() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let cable = Cable::to(&postgres).await;
    let (nats_url, database_url) = (nats.url(), cable.url());
    let settings = [("NATS_URL", nats_url.as_str()), ("DATABASE_URL", &database_url), ("STOP_SECONDS", "5")];
    let mut server = Process::serve(&environment(&settings)).await;
    until("it to lead", || async { (ready(&server).await?["checks"]["lease"]["role"] == "leading").then_some(()) })
        .await;
    let publisher = Publisher::to_nats(nats_url.clone());
    publisher.publishes(50).await;
    cable.cut(true);
    publisher.publishes(50).await;
    let acknowledged = publisher.stop().await;
    let began = Instant::now();
    let status = server.stop().await;
    println!("stopped after {:?}", began.elapsed());
    assert!(!status.success(), "an aborted task must be visible in the exit status");
    assert!(server.output().contains("aborted after 5 seconds (STOP_SECONDS)"));
    cable.cut(false);
    server.restart().await;
    until("history to hold every event", || async {
        let numbers = numbers_in_history(&server).await?;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len(), "an event is in history twice");
        (0..acknowledged).all(|number| distinct.contains(&number)).then_some(())
    })
    .await;
}

const CROWD: usize = 1_200;
const ROOM: usize = 1_000;

/// What one of a crowd tells of.
enum Told {
    /// It has its place.
    Here,
    /// Its server stops; it comes back after so many milliseconds.
    Leaves(u64),
    /// Another server has taken it, and gives it what it missed.
    Back,
    /// Another server has no room for it.
    Refused,
}

/// Stays with `first` until it is told to leave, and comes back to `second` when it was told to.
async fn one_of_a_crowd(number: usize, first: String, second: String, tell: mpsc::UnboundedSender<Told>) {
    let transport = if number.is_multiple_of(2) { Transport::WebSocket } else { Transport::Sse };
    let mut stream = frames(&first, transport, None).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut cursor = None;
    let after = loop {
        let text = stream.next().await.expect("told before the end");
        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        match frame["kind"].as_str() {
            Some("reconnect") => break frame["after_ms"].as_u64().expect("milliseconds"),
            Some("snapshot") => {
                cursor = frame["data"]["meta"]["cursor"].as_str().map(|text| text.parse().expect("a cursor"));
                tell.send(Told::Here).expect("the test listens");
            }
            _ => {}
        }
    };
    tell.send(Told::Leaves(after)).expect("the test listens");
    // a client reads on until its stream has ended
    while stream.next().await.is_some() {}
    tokio::time::sleep(Duration::from_millis(after)).await;
    match frames(&second, transport, cursor).await {
        Ok(mut stream) => {
            tell.send(Told::Back).expect("the test listens");
            while stream.next().await.is_some() {}
        }
        Err(refused) => {
            let refused = refused.expect("an answer");
            assert_eq!(refused.status, 503);
            assert!(refused.retry_after.is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after > 0)));
            tell.send(Told::Refused).expect("the test listens");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_told_to_come_back_is_spread_over_time_and_let_in_as_far_as_there_is_room() {
    let room = ROOM.to_string();
    let mut cluster = Cluster::start(&[&[], &[("STREAM_MAX_CLIENTS", room.as_str())]], "2").await;
    let [first, second] = [0, 1].map(|server| cluster.servers[server].url(""));
    let (tell, mut told) = mpsc::unbounded_channel();
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| tokio::spawn(one_of_a_crowd(number, first.clone(), second.clone(), tell.clone())))
        .collect();
    for _ in 0..CROWD {
        assert!(matches!(told.recv().await, Some(Told::Here)));
    }
    let began = Instant::now();
    assert!(cluster.servers[0].stop().await.success());
    let stopped = began.elapsed();
    let (mut leaves, mut arrivals, mut refused) = (Vec::new(), Vec::new(), 0);
    while arrivals.len() + refused < CROWD {
        match told.recv().await.expect("every client tells how it fared") {
            Told::Here => panic!("nobody came"),
            Told::Leaves(after) => leaves.push(after),
            Told::Back => arrivals.push(began.elapsed()),
            Told::Refused => refused += 1,
        }
    }
    // half a second is a tenth of the time over which they are spread
    let mut tenths = [0; 10];
    for after in &leaves {
        tenths[usize::try_from(*after).expect("a few seconds") / 500] += 1;
    }
    println!("stopped after {stopped:?}; told to come back by half seconds: {tenths:?}; refused: {refused}");
    println!("back from {:?} to {:?} after the signal", arrivals.first(), arrivals.last());
    assert_eq!(leaves.len(), CROWD);
    assert!(tenths.iter().all(|count| (60..=200).contains(count)), "a tenth is {} on average", CROWD / 10);
    assert_eq!((arrivals.len(), refused), (ROOM, CROWD - ROOM));
    let (one, all) = (arrivals[0], arrivals[arrivals.len() - 1]);
    assert!(all > one + Duration::from_secs(2), "the first {ROOM} of {CROWD} came within {:?}", all.abs_diff(one));
    let clients = ready(&cluster.servers[1]).await.expect("it answers")["checks"]["stream"]["clients"].clone();
    assert_eq!(clients, ROOM);
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}
