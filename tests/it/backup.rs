//! Backups of a running server, and the responses of a restored server to clients of the lost one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::faults::environment;
use crate::support::daemon::Folder;
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

/// Publishes events one by one. Returns their cursors.
async fn publish(server: &Process, numbers: std::ops::Range<u64>) -> Vec<String> {
    let mut cursors = Vec::new();
    for number in numbers {
        let event = json!({
            "event_type": "agent.event.status", "source": "backup",
            "payload": {"agent_id": format!("agent:{}", number % 7), "status": "online", "number": number},
        });
        let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["results"][0]["status"], "accepted", "{answer}");
        cursors.push(answer["results"][0]["cursor"].as_str().expect("a cursor").to_owned());
    }
    cursors
}

async fn get(server: &Process, path: &str) -> Value {
    reqwest::get(server.url(path)).await.unwrap().json().await.unwrap()
}

/// The numbers of all recorded events, in order.
async fn recorded(server: &Process) -> Vec<u64> {
    let history = get(server, "/living-map/history?limit=1000&event_type=agent.event.status").await;
    let items = history["items"].as_array().expect("items");
    let mut numbers: Vec<u64> = items.iter().map(|item| item["payload"]["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// The response of the stream to a client that resumes after `cursor`: the status, and the body of an error.
async fn resume(server: &Process, cursor: &str) -> (u16, Value) {
    let url = server.url(&format!("/living-map/events/stream?cursor={cursor}"));
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status().as_u16();
    let body = if status == 200 { Value::Null } else { answer.json().await.unwrap() };
    (status, body)
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('.').expect("a cursor").0
}

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the program can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies the database of a running server as described in `docs/backup.md`.
fn back_up(database: &Path, to: &Path) {
    run("sqlite3", &[database.to_str().unwrap(), &format!("VACUUM INTO '{}'", to.display())]);
}

fn remove(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
}

struct Embedded {
    server: Process,
    _folder: Folder,
    database: PathBuf,
    copy: PathBuf,
}

/// A server with 60 events, whose database was copied during events 40 to 50. Also returns all cursors.
async fn backed_up_under_traffic() -> (Embedded, Vec<String>) {
    let folder = Folder::new("backup");
    let (database, copy) = (folder.path().join("map.db"), folder.path().join("copy.db"));
    let url = format!("sqlite://{}", database.display());
    let server = Process::serve(&environment(&[("DATABASE_URL", &url)])).await;
    let mut cursors = publish(&server, 0..40).await;
    let copying = tokio::task::spawn_blocking({
        let (database, copy) = (database.clone(), copy.clone());
        move || back_up(&database, &copy)
    });
    cursors.extend(publish(&server, 40..50).await);
    copying.await.unwrap();
    cursors.extend(publish(&server, 50..60).await);
    (Embedded { server, _folder: folder, database, copy }, cursors)
}

/// Asserts that a restored server has each event acknowledged before the backup once, and rejects all earlier cursors:
/// those from before the backup, and those of lost events, whose positions now belong to other events.
async fn assert_restored(server: &Process, cursors: &[String]) {
    let numbers = recorded(server).await;
    assert!(numbers.len() >= 40 && numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
    assert!(numbers.len() < 60, "the copy is older than the end");
    // history may be readable before the map is complete
    let agents = until("the map to be complete", || async {
        get(server, "/living-map/snapshot").await["layers"]["agents"]["total_agents"].as_u64()
    });
    assert_eq!(agents.await, 7);
    let mut more = Vec::new();
    for number in 100..120 {
        more.extend(publish(server, number..number + 1).await);
    }
    assert_ne!(epoch(&more[0]), epoch(&cursors[0]), "with the same epoch, old positions would mean other events");
    for cursor in [&cursors[10], &cursors[numbers.len()], cursors.last().unwrap()] {
        let (status, body) = resume(server, cursor).await;
        assert_eq!(status, 410, "{cursor}: {body}");
        assert!(body["oldest_cursor"].is_string(), "{body}");
    }
    assert_eq!(resume(server, &more[0]).await.0, 200);
    let then = get(server, &format!("/living-map/snapshot?at={}.20", epoch(&more[0]))).await;
    assert_eq!(then["meta"]["cursor"], format!("{}.20", epoch(&more[0])), "time travel reaches before the backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_beside_its_witness_gets_a_new_epoch() {
    let (mut lost, cursors) = backed_up_under_traffic().await;
    lost.server.kill();
    remove(&lost.database);
    std::fs::copy(&lost.copy, &lost.database).unwrap();
    lost.server.restart().await;
    assert_restored(&lost.server, &cursors).await;
    // only once: clients resume after a further restart
    let last = publish(&lost.server, 200..201).await;
    lost.server.restart().await;
    let next = publish(&lost.server, 201..202).await;
    assert_eq!(epoch(&next[0]), epoch(&last[0]));
    assert_eq!(resume(&lost.server, &last[0]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_another_machine_gets_a_new_epoch() {
    let (lost, cursors) = backed_up_under_traffic().await;
    let url = format!("sqlite://{}", lost.copy.display());
    drop(lost.server);
    let restored = Process::serve(&environment(&[("DATABASE_URL", &url)])).await;
    assert_restored(&restored, &cursors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_database_keeps_its_epoch() {
    let (mut killed, cursors) = backed_up_under_traffic().await;
    killed.server.restart().await;
    let next = publish(&killed.server, 60..61).await;
    assert_eq!(epoch(&next[0]), epoch(&cursors[0]));
    assert_eq!(resume(&killed.server, &cursors[30]).await.0, 200);
}

/// A completely restored folder needs the command: its witness file was restored with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_folder_gets_a_new_epoch_by_command() {
    let folder = Folder::new("backup");
    let database = folder.path().join("map.db");
    let url = format!("sqlite://{}", database.display());
    let settings = environment(&[("DATABASE_URL", &url)]);
    let mut server = Process::serve(&settings).await;
    let mut cursors = publish(&server, 0..40).await;
    server.stop().await;
    let saved = Folder::new("backup-saved");
    run("cp", &["-a", &format!("{}/.", folder.path().display()), saved.path().to_str().unwrap()]);
    server.restart().await;
    cursors.extend(publish(&server, 40..60).await);

    let while_it_runs = new_epoch(&settings);
    assert!(!while_it_runs.status.success(), "the epoch of a running server was changed");
    server.kill();
    remove(&database);
    run("cp", &["-a", &format!("{}/.", saved.path().display()), folder.path().to_str().unwrap()]);
    let renewed = new_epoch(&settings);
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    server.restart().await;
    assert_restored(&server, &cursors).await;
}

fn new_epoch(settings: &[(&str, &str)]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
    command.args(["log", "new-epoch"]).env_clear().envs(settings.iter().copied());
    command.output().expect("the binary can be started")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_into_postgres_gets_a_new_epoch() {
    let (before, after) = (postgres::database().await, postgres::database().await);
    let mut server = Process::serve(&environment(&[("DATABASE_URL", &before)])).await;
    let mut cursors = publish(&server, 0..40).await;
    let folder = Folder::new("backup");
    let dump = folder.path().join("map.dump");
    let (file, url) = (dump.to_str().unwrap().to_owned(), before.clone());
    let dumping = tokio::task::spawn_blocking(move || {
        run(postgres::binary("pg_dump"), &["--format=custom", "--file", &file, &url]);
    });
    cursors.extend(publish(&server, 40..50).await);
    dumping.await.unwrap();
    cursors.extend(publish(&server, 50..60).await);
    server.kill();
    run(postgres::binary("pg_restore"), &["--exit-on-error", "--dbname", &after, dump.to_str().unwrap()]);
    let restored = Process::serve(&environment(&[("DATABASE_URL", &after)])).await;
    assert_restored(&restored, &cursors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_a_new_epoch_by_command() {
    let nats = NatsServer::start().await;
    let folder = Folder::new("backup");
    let (database, url) = (format!("sqlite://{}", folder.path().join("map.db").display()), nats.url());
    let settings = environment(&[("DATABASE_URL", &database), ("NATS_URL", &url)]);
    let mut server = Process::serve(&settings).await;
    let before = publish(&server, 0..10).await;
    server.stop().await;
    let renewed = new_epoch(&settings);
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    server.restart().await;
    let after = publish(&server, 10..11).await;
    until_complete(&server).await;
    assert_ne!(epoch(&after[0]), epoch(&before[0]));
    assert_eq!(resume(&server, &before[5]).await.0, 410);
    assert_eq!(resume(&server, &after[0]).await.0, 200);
}

/// Publishes three failures of one kind, as an agent's runtime does; together they make a lesson.
async fn fail_three_times(nats: &NatsServer, agent: &str) {
    let jetstream = async_nats::jetstream::new(nats.client().await);
    for number in 0..3 {
        let experience = json!({
            "event_id": format!("{agent}-{number}"), "agent_id": agent, "task": "answer", "outcome": "error",
            "error_class": "refused", "version": 1,
        });
        let sent = jetstream.publish(format!("agent.experience.v1.{agent}"), experience.to_string().into()).await;
        sent.unwrap().await.expect("the stream has it");
    }
}

/// The keys of an agent's lessons.
async fn lessons(server: &Process, agent: &str) -> Vec<String> {
    let answer = get(server, &format!("/living-map/lessons?agent=agent:{agent}")).await;
    let items = answer["items"].as_array().expect("items").iter();
    items.map(|item| item["lesson_key"].as_str().expect("a key").to_owned()).collect()
}

async fn until_learned(server: &Process, agent: &str) -> Vec<String> {
    until("the lesson", || async { Some(lessons(server, agent).await).filter(|keys| !keys.is_empty()) }).await
}

async fn until_complete(server: &Process) {
    until("the map to be complete", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
}

async fn until_recorded(server: &Process, count: usize) {
    until("the events to be recorded", || async { (recorded(server).await.len() >= count).then_some(()) }).await;
}

/// The order matters: first the database, then the stream, so that the stream has all events of the database, and more.
/// The missing ones are recorded from the stream. The consumers' positions in NATS are newer than the database and must
/// not count.
#[tokio::test(flavor = "multi_thread")]
async fn restored_postgres_and_nats_have_every_stream_event_once() {
    let (mut nats, before, after) = (NatsServer::start().await, postgres::database().await, postgres::database().await);
    let url = nats.url();
    let mut server = Process::serve(&environment(&[("DATABASE_URL", &before), ("NATS_URL", &url)])).await;
    let mut cursors = publish(&server, 0..40).await;
    fail_three_times(&nats, "early").await;
    let early = until_learned(&server, "early").await;
    until_recorded(&server, 40).await;

    // under traffic: first the database, …
    let folder = Folder::new("backup");
    let dump = folder.path().join("map.dump");
    let (file, from) = (dump.to_str().unwrap().to_owned(), before.clone());
    let dumping = tokio::task::spawn_blocking(move || {
        run(postgres::binary("pg_dump"), &["--format=custom", "--file", &file, &from]);
    });
    cursors.extend(publish(&server, 40..50).await);
    dumping.await.unwrap();
    // … then events that are recorded, learned and acknowledged after it, …
    cursors.extend(publish(&server, 50..70).await);
    fail_three_times(&nats, "late").await;
    let late = until_learned(&server, "late").await;
    until_recorded(&server, 70).await;
    // … then the files of the stream, all at one moment, as in a volume snapshot
    nats.daemon().signal("STOP");
    let store = nats.save_store();
    nats.daemon().signal("CONT");
    cursors.extend(publish(&server, 70..100).await);
    server.kill();
    nats.kill();

    let mut new_nats = NatsServer::start().await;
    new_nats.stop().await;
    new_nats.restore_store(&store);
    new_nats.restart().await;
    run(postgres::binary("pg_restore"), &["--exit-on-error", "--dbname", &after, dump.to_str().unwrap()]);
    let new_url = new_nats.url();
    let settings = environment(&[("DATABASE_URL", &after), ("NATS_URL", &new_url)]);
    let renewed = new_epoch(&settings);
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    let restored = Process::serve(&settings).await;

    // the lease in the restored database may be held by the lost server
    until_complete(&restored).await;
    // after the one command, the history has each event of the stream once
    until_recorded(&restored, 70).await;
    assert_eq!(recorded(&restored).await, (0..70).collect::<Vec<_>>());
    // lessons of the lost database are learned again with the same keys; restored ones are not learned twice
    assert_eq!(until_learned(&restored, "late").await, late);
    assert_eq!(lessons(&restored, "early").await, early);
    for number in 0..7 {
        assert_eq!(get(&restored, &format!("/living-map/entities/agent:{number}")).await["data"]["status"], "online");
    }

    // every earlier cursor is rejected, also at positions that now belong to other events
    let more = publish(&restored, 200..240).await;
    assert_ne!(epoch(&more[0]), epoch(&cursors[0]));
    for cursor in [&cursors[10], &cursors[60], &cursors[75], cursors.last().unwrap()] {
        let (status, body) = resume(&restored, cursor).await;
        assert_eq!(status, 410, "{cursor}: {body}");
        assert!(body["oldest_cursor"].is_string(), "{body}");
    }
    assert_eq!(resume(&restored, &more[0]).await.0, 200);
    until_recorded(&restored, 110).await;
    assert_eq!(recorded(&restored).await, (0..70).chain(200..240).collect::<Vec<_>>());
}
