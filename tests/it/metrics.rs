//! The first scrape of a server, compared with `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use living_map::http::RULES;

use crate::faults::environment;
use crate::support::daemon::{Folder, program};
use crate::support::nats::NatsServer;
use crate::support::process::Process;
use crate::support::receiver;

/// A row of a table in the document.
struct Row {
    name: String,
    kind: String,
    labels: BTreeSet<String>,
    /// Possible values of labels: quoted lower-case words in the row.
    values: BTreeSet<String>,
    meaning: String,
}

/// Labels whose values are names of a file, a path, or listed above the table.
const NOT_IN_THE_ROW: [&str; 6] = ["route", "rule", "destination", "service", "processor", "pool"];

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn documented() -> Vec<Row> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind @ ("counter" | "gauge" | "histogram"), labels, _, meaning, _] = cells[..] else { continue };
        let labels: BTreeSet<String> = quoted(labels).collect();
        let is_value = |word: &String| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            word.chars().all(plain) && !labels.contains(word)
        };
        let values = if labels.is_empty() { BTreeSet::new() } else { quoted(meaning).filter(is_value).collect() };
        let name = quoted(name).next().expect("a name");
        rows.push(Row { name, kind: kind.to_owned(), labels, values, meaning: meaning.to_owned() });
    }
    assert!(rows.len() > 60, "the search finds too little");
    rows
}

type Labels = BTreeMap<String, String>;

/// The labels of a metric's series. Of a histogram, those of its counts.
fn series(scrape: &str, row: &Row) -> Vec<Labels> {
    let name = if row.kind == "histogram" { format!("{}_count", row.name) } else { row.name.clone() };
    let mut found = Vec::new();
    for line in scrape.lines() {
        let Some(rest) = line.strip_prefix(&name).filter(|rest| rest.starts_with(['{', ' '])) else { continue };
        let labels = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (label, value) = pair.split_once("=\"").expect("a label");
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        };
        found.push(pairs.map(pair).collect());
    }
    found
}

async fn scrape(server: &Process) -> String {
    reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap()
}

const RULES_FILE: &str = r#"
[[rule]]
name = "errors"
kind = "rate"
severity = "warning"
events = "agent.error"
group_by = "entity_id"
window_seconds = 4
above = 2
title = "{group} fails"

[[webhook]]
name = "ops"
url = "http://127.0.0.1:1/"
secret_file = "SECRET"
"#;

/// A server on JetStream with a rule and a webhook, to which no request was made but that for its health.
async fn fresh_server(nats: &NatsServer, folder: &Folder) -> Process {
    let (rules, secret) = (folder.path().join("alerts.toml"), folder.path().join("secret"));
    fs::write(&secret, receiver::secret()).unwrap();
    fs::write(&rules, RULES_FILE.replace("SECRET", &secret.display().to_string())).unwrap();
    let (url, rules) = (nats.url(), rules.display().to_string());
    let traces = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    Process::serve(&environment(&[("NATS_URL", &url), ("ALERT_RULES", &rules), traces])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_appeared_only_after_they_first_counted() {
    let (nats, folder) = (NatsServer::start().await, Folder::new("metrics"));
    let server = fresh_server(&nats, &folder).await;
    let scrape = scrape(&server).await;
    let mut problems = Vec::new();
    for row in documented() {
        let series = series(&scrape, &row);
        // of the other log; and per route, which appear with the first request
        let elsewhere = ["living_map_log_batch_events", "living_map_log_commit_seconds"].contains(&row.name.as_str());
        if series.is_empty() && !elsewhere {
            problems.push(format!("{} {} is missing", row.kind, row.name));
            continue;
        }
        let mut values = BTreeSet::new();
        for labels in series {
            if labels.keys().cloned().collect::<BTreeSet<_>>() != row.labels {
                problems.push(format!("{} has the labels {labels:?}", row.name));
            }
            for (label, value) in labels {
                if !NOT_IN_THE_ROW.contains(&label.as_str()) && !row.meaning.contains(&value) && label != "status_class"
                {
                    problems.push(format!("{}: {label}=\"{value}\" is not documented", row.name));
                }
                values.insert(value);
            }
        }
        for value in row.values.difference(&values) {
            problems.push(format!("{} has no series with `{value}`", row.name));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}\n{scrape}");
    for line in [
        "sse_cursor_410_total 0",
        "sse_replay_events_total 0",
        "js_messages_acked_total 0",
        "js_messages_redelivered_total 0",
        r#"living_map_limits_refused_total{limit="streams"} 0"#,
        r#"living_map_http_requests_total{route="/living-map/history",method="GET",status_class="5xx"} 0"#,
        r#"living_map_alert_transitions_total{rule="errors",state="raised"} 0"#,
        r#"living_map_webhook_messages_total{destination="ops",outcome="dead"} 0"#,
    ] {
        assert!(scrape.lines().any(|known| known == line), "{line} is not in\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_had_no_help() {
    let (nats, folder) = (NatsServer::start().await, Folder::new("metrics"));
    let server = fresh_server(&nats, &folder).await;
    let scrape = scrape(&server).await;
    let file = folder.path().join("metrics.txt");
    fs::write(&file, &scrape).unwrap();
    let promtool = program("promtool", "PROMTOOL_BIN", &[]);
    let mut command = Command::new(promtool);
    let output = command.args(["check", "metrics"]).stdin(fs::File::open(&file).unwrap()).output().unwrap();
    let lints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && lints.is_empty(), "{lints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrape_grew_with_what_clients_sent() {
    let (nats, folder) = (NatsServer::start().await, Folder::new("metrics"));
    let server = fresh_server(&nats, &folder).await;
    let client = reqwest::Client::new();
    for (_, path, _) in RULES {
        let path = path.replace("{*path}", "x").replace(['{', '}'], "");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            // the heads suffice: streams do not end
            client.request(method, server.url(&path)).send().await.unwrap();
        }
    }
    let bytes = scrape(&server).await.len();
    assert!(bytes < 200_000, "{bytes} bytes");
}
