//! `living-map tail` as it is used.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::support::process::Process;
use super::support::wait::until;

/// A `tail`, and the lines that it printed.
struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(server: &Process, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.arg("tail").args(["--url", &server.url("")]).args(arguments).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let lines = Arc::default();
        let output = child.stdout.take().expect("it is piped");
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || collect(output, &lines)
        });
        Self { child, lines }
    }

    /// Its lines, once there are `count`.
    async fn lines(&self, count: usize) -> Vec<String> {
        until("lines of tail", || async {
            let lines = self.lines.lock().unwrap().clone();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// Numbers of the events in its lines, which are JSON, once there are `count`.
    async fn numbers(&self, count: usize) -> Vec<u64> {
        until("events of tail", || async {
            let lines = self.lines.lock().unwrap().clone();
            let frames = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("a line is a JSON object"));
            let numbers: Vec<u64> = frames.filter_map(|frame| frame["payload"]["number"].as_u64()).collect();
            (numbers.len() >= count).then_some(numbers)
        })
        .await
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(output: ChildStdout, lines: &Mutex<Vec<String>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        lines.lock().unwrap().push(line);
    }
}

/// No upstream answers, so that only what is published happens.
const QUIET: [(&str, &str); 7] = [
    ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ("MICRODAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("DAO_SERVICE_URL", "http://127.0.0.1:9"),
    ("USAGE_ENGINE_URL", "http://127.0.0.1:9"),
    ("CITY_SERVICE_URL", "http://127.0.0.1:9"),
    ("SPACE_SERVICE_URL", "http://127.0.0.1:9"),
    ("SYNC_INTERVAL_SECONDS", "3600"),
];

async fn publish(server: &Process, agent: &str, number: u64) {
    let event = json!({"event_type": "agent.event.status", "source": "test",
        "payload": {"agent_id": agent, "status": "online", "number": number}});
    until("an event to be taken", || async {
        let sent = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.ok()?;
        sent.status().is_success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn since_starts_in_the_past_and_resumes_after_a_restart() {
    let mut server = Process::serve(&QUIET).await;
    for number in 1..=3 {
        publish(&server, "agent:sofia", number).await;
    }
    let tail = Tail::start(&server, &["--since", "1h", "--output", "json"]);
    assert_eq!(tail.numbers(3).await, [1, 2, 3]);
    publish(&server, "agent:mira", 4).await;
    assert_eq!(tail.numbers(4).await, [1, 2, 3, 4]);
    assert!(server.stop().await.success());
    server.restart().await;
    publish(&server, "agent:sofia", 5).await;
    publish(&server, "agent:sofia", 6).await;
    assert_eq!(tail.numbers(6).await, [1, 2, 3, 4, 5, 6], "each once, in order");
}

#[tokio::test]
async fn without_a_time_it_prints_what_comes_and_filters_say_of_whom() {
    let server = Process::serve(&QUIET).await;
    publish(&server, "agent:sofia", 1).await;
    let mut tails = Vec::new();
    for filter in [["--entity", "agent:mira"], ["--layers", "agents"], ["--types", "agent.>"], ["--types", "dao.>"]] {
        tails.push(Tail::start(&server, &[&filter[..], &["--output", "json"]].concat()));
    }
    // they know where they begin before they connect
    until("all of them to follow", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        (ready["checks"]["stream"]["clients"] == 4).then_some(())
    })
    .await;
    publish(&server, "agent:sofia", 2).await;
    publish(&server, "agent:mira", 3).await;
    assert_eq!(tails[0].numbers(1).await, [3]);
    assert_eq!(tails[1].numbers(2).await, [2, 3]);
    assert_eq!(tails[2].numbers(2).await, [2, 3]);
    assert_eq!(tails[3].numbers(0).await, [0; 0]);
}

#[tokio::test]
async fn into_a_pipe_it_prints_lines_without_colours() {
    let server = Process::serve(&QUIET).await;
    publish(&server, "agent:sofia\u{1b}[31m", 1).await;
    let tail = Tail::start(&server, &["--since", "2000-01-01"]);
    let lines = tail.lines(1).await;
    assert!(lines[0].contains("agent.event.status") && lines[0].contains("\"number\":1"), "{lines:?}");
    assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
}
