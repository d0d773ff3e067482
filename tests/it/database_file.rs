//! The `SQLite` file: its names, and what the server says about one that it cannot use.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::faults::environment;
use crate::support::daemon::Folder;
use crate::support::postgres;
use crate::support::process::Process;

/// A server on this database; `Err` with its output, if it ends.
fn start_and_fail(url: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_living-map"), "serve"]).env_clear();
    command.envs([("DATABASE_URL", url), ("PORT", "0"), ("LOG_LEVEL", "error"), ("RUST_BACKTRACE", "1")]);
    let output = command.output().expect("the server can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{url}: {text}");
    assert_eq!(text.lines().count(), 1, "{url}: one line, without a backtrace: {text}");
    assert!(text.starts_with("living-map: "), "{url}: {text}");
    text
}

/// Checks that a server with this database ends with a line that has these words.
fn assert_explained(url: &str, words: &[&str]) {
    let text = start_and_fail(url);
    for word in words {
        assert!(text.contains(word), "{url}: {word} is not in {text}");
    }
}

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

async fn serve(path: &Path) -> Process {
    let url = url(path);
    Process::serve(&environment(&[("DATABASE_URL", &url)])).await
}

/// A database that a server has written.
async fn written(path: &Path) {
    let mut server = serve(path).await;
    publish(&server).await;
    assert!(server.stop().await.success());
}

/// Publishes an event; returns the epoch of its cursor.
async fn publish(server: &Process) -> String {
    let event = json!({"event_type": "agent.event.status", "payload": {"agent_id": "agent:one", "status": "online"}});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let cursor = answer["results"][0]["cursor"].as_str().unwrap_or_else(|| panic!("{answer}"));
    cursor.split_once('.').expect("a cursor").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_by_a_symbolic_link_both_started() {
    let folder = Folder::new("database-file");
    let (file, link) = (folder.path().join("map.db"), folder.path().join("link.db"));
    symlink(&file, &link).unwrap();
    let mut by_name = serve(&file).await;
    assert_explained(&url(&link), &["another process has the table log of this database open"]);
    assert!(by_name.stop().await.success());
    let by_link = serve(&link).await;
    assert_explained(&url(&file), &["another process has the table log of this database open"]);
    publish(&by_link).await;
    assert!(!link.with_added_extension("lock").exists(), "the lock lies beside the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_beside_a_symbolic_link_is_adopted_once() {
    let folder = Folder::new("database-file");
    let (file, link) = (folder.path().join("map.db"), folder.path().join("link.db"));
    let (lock, older) = (file.with_added_extension("lock"), link.with_added_extension("lock"));
    symlink(&file, &link).unwrap();
    let mut server = serve(&file).await;
    let epoch = publish(&server).await;
    assert!(server.stop().await.success());
    let mark = std::fs::read(&lock).unwrap();
    // as an older version left them that was started with the link
    std::fs::rename(&lock, &older).unwrap();

    let held = std::fs::File::open(&older).unwrap();
    held.lock().unwrap();
    assert_explained(&url(&link), &["another process has the table log of this database open"]);
    drop(held);
    let mut server = serve(&link).await;
    assert_eq!(publish(&server).await, epoch, "the log is the one that was written last");
    assert!(lock.exists() && !older.exists(), "the mark has moved beside the file");
    assert!(server.stop().await.success());

    // one that comes back later is older than that of the file, and not adopted again
    std::fs::write(&older, &mark).unwrap();
    let server = serve(&link).await;
    assert_ne!(std::fs::read(&lock).unwrap(), mark, "an event was written since");
    assert!(!older.exists());
    assert_eq!(publish(&server).await, epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_two_hard_links_was_opened_by_both() {
    let folder = Folder::new("database-file");
    let (file, other) = (folder.path().join("map.db"), folder.path().join("other.db"));
    written(&file).await;
    std::fs::hard_link(&file, &other).unwrap();
    for name in [&file, &other] {
        assert_explained(&url(name), &["2 hard links", "docs/operating.md#the-database-cannot-be-opened"]);
    }
    std::fs::remove_file(&other).unwrap();
    serve(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_database_was_not_explained() {
    let folder = Folder::new("database-file");
    let path = |name: &str| folder.path().join(name);
    let opened = "docs/operating.md#the-database-cannot-be-opened";
    let backup = "docs/backup.md#embedded-one-sqlite-file";

    written(&path("map.db")).await;
    let mut database = SqliteConnection::connect(&url(&path("map.db"))).await.unwrap();
    let newer = "INSERT INTO living_map_migrations (version, description, success, checksum, execution_time) \
        VALUES (99999999999999, 'from the future', true, x'00', 0)";
    database.execute(newer).await.unwrap();
    database.close().await.unwrap();
    let upgrade = ["DATABASE_URL", "newer", "99999999999999", "docs/operating.md#stop-restart-upgrade"];
    assert_explained(&url(&path("map.db")), &upgrade);

    std::fs::write(path("text.db"), "no database".repeat(1_000)).unwrap();
    assert_explained(&url(&path("text.db")), &["DATABASE_URL", "damaged", backup]);
    written(&path("torn.db")).await;
    let mut torn = std::fs::read(path("torn.db")).unwrap();
    torn[4_096..].fill(b'x');
    std::fs::write(path("torn.db"), torn).unwrap();
    assert_explained(&url(&path("torn.db")), &["DATABASE_URL", "damaged", backup]);

    assert_explained(&url(&path("missing/map.db")), &["DATABASE_URL", "missing does not exist", opened]);
    std::fs::create_dir(path("folder.db")).unwrap();
    assert_explained(&url(&path("folder.db")), &["DATABASE_URL", "is not a file", opened]);
    symlink(path("nowhere.db"), path("dangling.db")).unwrap();
    assert_explained(&url(&path("dangling.db")), &["DATABASE_URL", "symbolic link", opened]);
    written(&path("read.db")).await;
    let read_only = format!("{}?mode=ro", url(&path("read.db")));
    assert_explained(&read_only, &["DATABASE_URL", "writable", opened]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_postgres_database_was_not_explained() {
    let url = postgres::database().await;
    let mut server = Process::serve(&environment(&[("DATABASE_URL", &url)])).await;
    assert!(server.stop().await.success());
    let mut database = sqlx::PgConnection::connect(&url).await.unwrap();
    let newer = "INSERT INTO living_map_migrations (version, description, success, checksum, execution_time) \
        VALUES (99999999999999, 'from the future', true, '\\x00', 0)";
    database.execute(newer).await.unwrap();
    assert_explained(&url, &["DATABASE_URL", "newer", "docs/operating.md#stop-restart-upgrade"]);
}
