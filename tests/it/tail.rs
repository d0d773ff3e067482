//! `living-map tail` as it is used.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::access::generate_token;
use super::support::nginx::Nginx;
use super::support::process::Process;
use super::support::wait::{PATIENCE, until};

/// A `tail`, and the lines that it printed.
struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(server: &Process, arguments: &[&str]) -> Self {
        Self::start_at(&server.url(""), arguments, &[])
    }

    fn start_at(url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(url, arguments, environment);
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

fn command(url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
    command.arg("tail").args(["--url", url]).args(arguments).env_clear().envs(environment.iter().copied());
    command
}

/// Standard error of a `tail` that ends with the exit code 1.
async fn failure(url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = tokio::process::Command::from(command(url, arguments, environment));
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("it ends").unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
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
    let text = Tail::start_at(&server.url(""), &["--since", "2000-01-01"], &[("TZ", "UTC")]).lines(1).await;
    assert!(text[0].ends_with(r"  sofia\u{1b}[31m is now online"), "{text:?}");
    let ukrainian = [("LC_ALL", "uk_UA.UTF-8"), ("LANG", "en_GB.UTF-8")];
    let text = Tail::start_at(&server.url(""), &["--since", "2000-01-01"], &ukrainian).lines(1).await;
    assert!(text[0].ends_with(r"  sofia\u{1b}[31m: тепер online"), "{text:?}");
    let arguments = ["--since", "2000-01-01", "--language", "en"];
    let text = Tail::start_at(&server.url(""), &arguments, &ukrainian).lines(1).await;
    assert!(text[0].ends_with("is now online"), "{text:?}");
    let fields = Tail::start(&server, &["--since", "2000-01-01", "--output", "fields"]).lines(1).await;
    assert!(fields[0].contains("agent.event.status") && fields[0].contains("\"number\":1"), "{fields:?}");
    assert!(!fields[0].contains('\u{1b}'), "{fields:?}");
}

/// nginx with TLS that serves `server` under `/map/`.
async fn proxy_with_tls(server: &Process) -> Nginx {
    let target = server.url("/");
    Nginx::start_with_tls(&format!("location /map/ {{ proxy_pass {target}; proxy_set_header Host $http_host; }}")).await
}

#[tokio::test]
async fn https_a_private_authority_and_a_path_were_not_supported() {
    let (token, line) = generate_token("viewer", "viewer");
    let (publisher, other) = generate_token("publisher", "publisher");
    let tokens = format!("{line},{other}");
    let mut server = Process::serve(&[&QUIET[..], &[("AUTH", "token"), ("AUTH_TOKENS", &tokens)]].concat()).await;
    let nginx = proxy_with_tls(&server).await;
    let ca_file = nginx.ca_file().display().to_string();
    let unknown = failure(&nginx.url("/map"), &[], &[("LIVING_MAP_TOKEN", &token)]).await;
    assert!(unknown.to_lowercase().contains("certificate") && unknown.contains("--ca-file"), "{unknown}");
    let without_token = failure(&nginx.url("/map/"), &["--ca-file", &ca_file], &[]).await;
    assert!(without_token.contains("token"), "{without_token}");
    let elsewhere = failure(&nginx.url("/"), &["--ca-file", &ca_file], &[("LIVING_MAP_TOKEN", &token)]).await;
    assert!(elsewhere.contains("404"), "{elsewhere}");
    let missing = failure(&nginx.url("/map/"), &["--ca-file", "/nowhere.pem"], &[]).await;
    assert!(missing.contains("/nowhere.pem"), "{missing}");

    let publish = async |number: u64| {
        let event = json!({"event_type": "agent.event.status", "event_id": format!("e{number}"),
            "payload": {"agent_id": "agent:sofia", "number": number}});
        until("an event to be taken", || async {
            let client = reqwest::Client::new();
            let sent = client.post(server.url("/living-map/events")).bearer_auth(&publisher).json(&event).send();
            sent.await.ok()?.status().is_success().then_some(())
        })
        .await;
    };
    publish(1).await;
    let environment = [("LIVING_MAP_TOKEN", &*token), ("LIVING_MAP_CA_FILE", &*ca_file)];
    for (url, filter) in
        [(nginx.url("/map"), "agent.>"), (nginx.url("/map/").replacen("https", "wss", 1), "agent.event.*")]
    {
        let tail = Tail::start_at(&url, &["--since", "1h", "--output", "json", "--types", filter], &environment);
        assert_eq!(tail.numbers(1).await, [1], "{url}");
    }
    let tail = Tail::start_at(&nginx.url("/map"), &["--since", "1h", "--output", "json"], &environment);
    assert_eq!(tail.numbers(1).await, [1]);
    server.restart().await;
    let event = json!({"event_type": "agent.event.status", "payload": {"agent_id": "agent:sofia", "number": 2}});
    until("an event to be taken", || async {
        let sent =
            reqwest::Client::new().post(server.url("/living-map/events")).bearer_auth(&publisher).json(&event).send();
        sent.await.ok()?.status().is_success().then_some(())
    })
    .await;
    assert_eq!(tail.numbers(2).await, [1, 2], "nginx answered 502 in the meantime");
}

/// A forward proxy for `CONNECT`, which counts the connections and knows one host only.
async fn forward_proxy(target: u16, connections: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                connections.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_proxy_of_the_environment_was_ignored() {
    let server = Process::serve(&QUIET).await;
    let nginx = proxy_with_tls(&server).await;
    publish(&server, "agent:sofia", 1).await;
    let connections = Arc::default();
    let proxy = forward_proxy(nginx.port(), Arc::clone(&connections)).await;
    let ca_file = nginx.ca_file().display().to_string();
    let arguments = ["--since", "1h", "--output", "json", "--ca-file", &ca_file];
    // a port that nothing listens on: only the proxy can reach it
    let outside = "https://localhost:1/map/";
    let tail = Tail::start_at(outside, &arguments, &[("HTTPS_PROXY", &proxy)]);
    assert_eq!(tail.numbers(1).await, [1]);
    let seen = connections.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|line| line == "CONNECT localhost:1 HTTP/1.1"), "{seen:?}");
    let direct = failure(outside, &arguments, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "localhost")]).await;
    assert!(direct.contains("https://localhost:1/map/living-map/snapshot"), "{direct}");
    assert_eq!(connections.lock().unwrap().len(), seen.len(), "NO_PROXY");
}

#[tokio::test]
async fn a_position_that_is_gone_continues_with_what_is_kept() {
    let server = Process::serve(&QUIET).await;
    publish(&server, "agent:sofia", 1).await;
    let of_another_log = ["--cursor", "1.7", "--output", "json"];
    let tail = Tail::start(&server, &of_another_log);
    until("it to follow", || async {
        let ready: Value = reqwest::get(server.url("/living-map/ready")).await.ok()?.json().await.ok()?;
        (ready["checks"]["stream"]["clients"] == 1).then_some(())
    })
    .await;
    publish(&server, "agent:sofia", 2).await;
    assert_eq!(tail.numbers(1).await, [2], "nothing is repeated that may have been printed");
}
