//! The error journal of a running server.

use std::fs;

use serde_json::Value;

use super::support::daemon::{Folder, free_port};
use super::support::process::Process;
use super::support::wait::until;

async fn get(server: &Process, path: &str) -> Value {
    reqwest::get(server.url(path)).await.expect("it answers").json().await.expect("it is JSON")
}

async fn post(server: &Process, path: &str) -> (u16, Value) {
    let answer = reqwest::Client::new().post(server.url(path)).send().await.expect("it answers");
    (answer.status().as_u16(), answer.json().await.expect("it is JSON"))
}

fn ids(entries: &Value) -> Vec<String> {
    let items = entries["items"].as_array().expect("a list");
    items.iter().map(|entry| entry["id"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_an_upstream_are_listed_and_survive_kill_9() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut server = Process::serve(&[("AGENTS_SERVICE_URL", dead.as_str()), ("SYNC_INTERVAL_SECONDS", "0.1")]).await;
    until("three errors of one target", || async {
        let health = get(&server, "/living-map/errors/health?minutes=5").await;
        let named = health["unhealthy_targets"].as_array()?.contains(&"agents".into());
        assert_eq!(named, health["per_target"]["agents"].as_u64().unwrap_or(0) >= 3, "{health}");
        named.then_some(())
    })
    .await;
    let listed = get(&server, "/living-map/errors?target=agents&operation=read&limit=3").await;
    let items = listed["items"].as_array().expect("a list");
    assert_eq!(items.len(), 3);
    for entry in items {
        assert_eq!((entry["op"].as_str(), entry["target"].as_str()), (Some("read"), Some("agents")));
        assert!(entry["key"].as_str().is_some_and(|key| key.starts_with('/')), "{entry}");
        assert!(entry["error"].is_string() && entry["rescued"] == false, "there was no fallback data: {entry}");
    }
    let times: Vec<_> = items.iter().map(|entry| entry["ts"].as_str()).collect();
    assert!(times.is_sorted(), "oldest first: {times:?}");

    let known = ids(&get(&server, "/living-map/errors?limit=2000").await);
    let (status, flushed) = post(&server, "/living-map/errors/flush").await;
    assert_eq!((status, flushed["flushed"].is_u64()), (200, true), "{flushed}");
    server.kill();
    server.restart().await;
    until("the entries from before the restart", || async {
        let now = ids(&get(&server, "/living-map/errors?limit=2000").await);
        known.iter().all(|id| now.contains(id)).then_some(())
    })
    .await;
    let (status, compacted) = post(&server, "/living-map/errors/compact").await;
    assert_eq!(status, 200, "{compacted}");
    assert!(compacted["joined_files"].as_u64() >= Some(2), "{compacted}");
    server.restart().await;
    until("the entries from the merged file", || async {
        let now = ids(&get(&server, "/living-map/errors?limit=2000").await);
        known.iter().all(|id| now.iter().filter(|other| *other == id).count() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_journal_is_reported_and_stops_nothing() {
    let folder = Folder::new("journal");
    let path = folder.path().join("journal");
    fs::write(&path, "in the way").expect("a file can be written");
    let url = format!("file://{}", path.display());
    let mut server = Process::serve(&[("JOURNAL_URL", &url), ("JOURNAL_FLUSH_SECONDS", "0.05")]).await;
    until("the failure and pending entries to be reported", || async {
        let ready = get(&server, "/living-map/ready").await;
        let journal = &ready["checks"]["journal"];
        (journal["status"] == "down" && journal["error"].is_string() && journal["pending"] != 0).then_some(())
    })
    .await;
    let (status, problem) = post(&server, "/living-map/errors/flush").await;
    assert_eq!(status, 503, "{problem}");
    assert!(!problem.to_string().contains(folder.path().to_str().expect("UTF-8")), "{problem}");
    assert_eq!(reqwest::get(server.url("/living-map/snapshot")).await.expect("it answers").status(), 200);
    fs::remove_file(&path).expect("a file can be removed");
    until("the journal to recover", || async {
        let ready = get(&server, "/living-map/ready").await;
        (ready["checks"]["journal"]["status"] == "ok").then_some(())
    })
    .await;
    assert!(server.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_rejected_by_name() {
    let server = Process::serve(&[]).await;
    for (path, parameter) in [
        ("errors?limit=0", "limit"),
        ("errors?limit=2001", "limit"),
        ("errors?since=yesterday", "since"),
        ("errors/health?minutes=0", "minutes"),
    ] {
        let problem = get(&server, &format!("/living-map/{path}")).await;
        assert_eq!((problem["status"].as_u64(), problem["parameter"].as_str()), (Some(400), Some(parameter)));
    }
}
