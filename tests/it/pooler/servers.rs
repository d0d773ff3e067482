//! Servers as processes behind one pooler with four connections of the database.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use living_map::history::Pooler;
use serde_json::{Value, json};

use crate::faults::{Publisher, environment, event, numbers_in_history};
use crate::replicas::ready;
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::database;
use crate::support::process::Process;
use crate::support::wait::until;

/// Requests that read the history, its counts, the past, lessons and dead letters, and that write.
const READS: [&str; 8] = [
    "/living-map/history?limit=50",
    "/living-map/history?event_type=agent.>&limit=20&offset=5",
    "/living-map/history?entity_id=agent:3&limit=20",
    "/living-map/history/aggregate?bucket=5m&group_by=event_type",
    "/living-map/lessons?limit=10",
    "/living-map/dead-letters?limit=10",
    "/living-map/snapshots?limit=10",
    "/living-map/ready",
];

/// Number of answers, by path and status.
type Answers = BTreeMap<(String, u16), u64>;

/// Sends reads and writes to servers until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    answers: Arc<Mutex<Answers>>,
}

impl Load {
    /// `clients` clients of each server of `urls`.
    fn start(urls: &[String], clients: usize) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Answers::new())));
        let tasks = urls.iter().flat_map(|url| (0..clients).map(move |number| (url.clone(), number)));
        let tasks = tasks.map(|(url, number)| {
            tokio::spawn(client(url, u64::try_from(number).unwrap(), Arc::clone(&stop), Arc::clone(&answers)))
        });
        Self { tasks: tasks.collect(), stop, answers }
    }

    fn answered(&self) -> u64 {
        self.answers.lock().unwrap().values().sum()
    }

    /// Waits for `more` answers, each as long as a server may take for one.
    async fn goes_on(&self, more: u64) {
        let before = self.answered();
        for more in 1..=more {
            until("another answer", || async { (self.answered() >= before + more).then_some(()) }).await;
        }
    }

    async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let answers = self.answers.lock().unwrap().clone();
        println!("{answers:?}");
        answers
    }
}

/// One client. A server that does not answer at all was killed.
async fn client(url: String, number: u64, stop: Arc<AtomicBool>, answers: Arc<Mutex<Answers>>) {
    let client = reqwest::Client::new();
    let count = |path: &str, status: u16| *answers.lock().unwrap().entry((path.to_owned(), status)).or_default() += 1;
    let mut round = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        round += 1;
        let path = READS[usize::try_from(round + number).unwrap() % READS.len()];
        if let Ok(answer) = client.get(format!("{url}{path}")).send().await {
            count(path, answer.status().as_u16());
        }
        if round.is_multiple_of(4) {
            let mut event = event(number * 1_000_000 + round);
            event["event_id"] = json!(format!("{url}-{number}-{round}"));
            event["payload"]["n"] = Value::Null;
            if let Ok(answer) = client.post(format!("{url}/living-map/events")).json(&event).send().await {
                count("POST /living-map/events", answer.status().as_u16());
            }
        }
        if round.is_multiple_of(8) {
            let past = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
            let path = "/living-map/snapshot?at=";
            let past = past.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            if let Ok(answer) = client.get(format!("{url}{path}{past}")).send().await {
                count(path, answer.status().as_u16());
            }
        }
    }
}

fn assert_no_server_error(answers: &Answers) {
    let failed: Vec<_> = answers.iter().filter(|((_, status), _)| *status >= 500).collect();
    assert!(failed.is_empty(), "{failed:?} of {answers:?}");
    for path in READS.into_iter().chain(["POST /living-map/events"]) {
        assert!(answers.contains_key(&(path.to_owned(), 200)), "{path} was never answered: {answers:?}");
    }
}

async fn role(server: &Process) -> Option<String> {
    Some(ready(server).await?["checks"]["lease"]["role"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_four_connections_and_replace_a_killed_leader() {
    let (nats, url) = (NatsServer::start().await, database().await);
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let (nats_url, pooled) = (nats.url(), pooler.url(&url));
    let settings = [
        ("NATS_URL", nats_url.as_str()),
        ("DATABASE_URL", &pooled),
        ("DATABASE_POOLER", "transaction"),
        ("LEASE_SECONDS", "5"),
    ];
    let settings = environment(&settings);
    let mut servers = [Process::serve(&settings).await, Process::serve(&settings).await];
    for server in &servers {
        until("every server to have its map", || async { ready(server).await }).await;
    }
    let publisher = Publisher::to_nats(nats_url.clone());
    let load = Load::start(&servers.each_ref().map(|server| server.url("")), 3);
    publisher.publishes(200).await;
    load.goes_on(120).await;
    assert_no_server_error(&load.stop().await);

    let leader = until("one server to lead", || async {
        let roles = [role(&servers[0]).await?, role(&servers[1]).await?];
        roles.iter().position(|role| role == "leading").filter(|leader| roles[1 - leader] == "following")
    })
    .await;
    let other = 1 - leader;
    let load = Load::start(&[servers[other].url("")], 3);
    servers[leader].kill();
    until("the other server to lead", || async { (role(&servers[other]).await? == "leading").then_some(()) }).await;
    publisher.publishes(100).await;
    load.goes_on(60).await;
    assert_no_server_error(&load.stop().await);

    servers[leader].restart().await;
    let acknowledged = publisher.stop().await;
    for server in &servers {
        until("history to hold every event once", || async {
            let mut numbers = numbers_in_history(server).await?;
            numbers.sort_unstable();
            let distinct = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), distinct, "an event is in history twice");
            (u64::try_from(numbers.len()).unwrap() >= acknowledged).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_log_is_taken_over_from_a_killed_server() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let pooled = pooler.url(&url);
    let settings = [("DATABASE_URL", pooled.as_str()), ("DATABASE_POOLER", "transaction")];
    let settings = environment(&settings);
    let mut first = Process::serve(&settings).await;
    until("it to have its map", || async { ready(&first).await }).await;
    let load = Load::start(&[first.url("")], 4);
    load.goes_on(60).await;

    // the lease is renewed, so a second server does not wait for its end
    let folder = Folder::new("second");
    let mut second = Command::new(env!("CARGO_BIN_EXE_living-map"));
    second.arg("serve").env_clear().envs(settings.iter().copied()).env("PORT", "0").current_dir(folder.path());
    let second = tokio::task::spawn_blocking(move || second.output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&[second.stdout, second.stderr].concat()).into_owned();
    assert!(!second.status.success() && printed.contains("another process has the table log"), "{printed}");
    load.goes_on(60).await;
    assert_no_server_error(&load.stop().await);

    let client = reqwest::Client::new();
    for number in 0..5 {
        let answer = client.post(first.url("/living-map/events")).json(&event(number)).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    first.kill();
    // waits for the end of the killed server's lease
    let second = Process::serve(&settings).await;
    until("it to have its map", || async { ready(&second).await }).await;
    let load = Load::start(&[second.url("")], 4);
    load.goes_on(60).await;
    assert_no_server_error(&load.stop().await);
    let mut numbers = numbers_in_history(&second).await.unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);

    // a restarted server waits too, and never longer than the lease
    let began = std::time::Instant::now();
    let mut second = second;
    second.restart().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
