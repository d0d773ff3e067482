use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use super::files::PREFIX;
use super::*;

fn journal(location: StoreLocation) -> Journal {
    Journal::new(JournalConfig::default(), Some(location))
}

/// Records `number` failures with different keys.
fn fail(journal: &Journal, number: usize) {
    for key in 0..number {
        journal.record("read", "dao", &format!("/{key}"), &"no");
    }
}

fn all(journal: &Journal) -> Vec<Entry> {
    journal.filter(&EntryQuery { limit: usize::MAX, ..EntryQuery::default() })
}

async fn loaded(location: StoreLocation) -> Journal {
    let journal = journal(location);
    journal.load().await.unwrap();
    journal
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.join(PREFIX)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("the condition is met in time");
}

#[tokio::test]
async fn only_flushed_entries_survive_a_restart() {
    let location = StoreLocation::store(Arc::new(InMemory::new()));
    let before = journal(location.clone());
    fail(&before, 5);
    assert_eq!(before.flush().await, Ok(5));
    before.record("read", "dao", "/unflushed", &"no");
    assert_eq!(all(&loaded(location).await), all(&before)[..5]);
}

#[tokio::test]
async fn a_rescue_mark_is_in_memory_only() {
    let location = StoreLocation::store(Arc::new(InMemory::new()));
    let before = journal(location.clone());
    fail(&before, 1);
    before.flush().await.unwrap();
    assert!(before.mark_rescued("read", "dao"));
    assert!(all(&before)[0].rescued && !all(&loaded(location).await)[0].rescued);
}

#[tokio::test]
async fn a_full_batch_is_written_at_once_and_the_rest_at_the_end() {
    let location = StoreLocation::store(Arc::new(InMemory::new()));
    let config = JournalConfig { flush_interval: Duration::from_hours(1), ..JournalConfig::default() };
    let (journal, stop) = (Journal::new(config, Some(location.clone())), CancellationToken::new());
    let task = tokio::spawn(journal.clone().run(stop.clone()));
    until(async || journal.file_count().await == Ok(0)).await;
    fail(&journal, 8);
    until(async || journal.status().last_flush.is_some() && journal.status().pending == 0).await;
    fail(&journal, 1);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(all(&loaded(location).await).len(), 9);
}

#[tokio::test]
async fn a_timer_writes_an_incomplete_batch() {
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let journal = Journal::new(config, Some(StoreLocation::store(Arc::new(InMemory::new()))));
    let task = tokio::spawn(journal.clone().run(CancellationToken::new()));
    fail(&journal, 1);
    until(async || journal.file_count().await == Ok(1)).await;
    task.abort();
}

#[tokio::test]
async fn a_blocked_folder_is_reported_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "in the way").unwrap();
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let journal = Journal::new(config, Some(StoreLocation::folder(&path)));
    let task = tokio::spawn(journal.clone().run(CancellationToken::new()));
    fail(&journal, 20);
    until(async || journal.status().error.is_some()).await;
    assert_eq!((journal.status().pending, all(&journal).len()), (20, 20));
    fs::remove_file(&path).unwrap();
    until(async || journal.status() == JournalStatus { last_flush: journal.status().last_flush, ..Default::default() })
        .await;
    assert_eq!(all(&loaded(StoreLocation::folder(&path)).await), all(&journal));
    task.abort();
}

#[tokio::test]
async fn a_folder_that_fails_in_use_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(StoreLocation::folder(folder.path()));
    fail(&journal, 1);
    journal.flush().await.unwrap();
    let prefix = folder.path().join("_errors");
    fs::remove_dir_all(&prefix).unwrap();
    fs::write(&prefix, "in the way").unwrap();
    fail(&journal, 1);
    journal.flush().await.unwrap_err();
    assert_eq!(journal.status().pending, 1);
    fs::remove_file(&prefix).unwrap();
    assert_eq!(journal.flush().await, Ok(1));
}

#[tokio::test]
async fn an_unavailable_store_costs_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "in the way").unwrap();
    let config = JournalConfig { max_per_minute: u32::MAX, ..JournalConfig::default() };
    let journal = Journal::new(config, Some(StoreLocation::folder(&path)));
    fail(&journal, 10_000);
    journal.flush().await.unwrap_err();
    let status = journal.status();
    assert_eq!((status.pending, status.dropped, all(&journal).len()), (4_096, 5_904, 2_000));
    assert_eq!(all(&journal)[1_999].key, "/9999");
}

#[tokio::test]
async fn a_flood_of_errors_does_not_fill_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(StoreLocation::folder(folder.path()));
    for _ in 0..20 {
        fail(&journal, 500);
        journal.flush().await.unwrap();
    }
    assert_eq!(journal.status().dropped, 9_400, "more than those of one minute are dropped");
    assert_eq!(all(&journal).len(), 2_000, "the newest are in memory");
    assert_eq!(all(&loaded(StoreLocation::folder(folder.path())).await).len(), 600);
}

#[tokio::test]
async fn malformed_lines_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(StoreLocation::folder(folder.path()));
    fail(&journal, 2);
    journal.flush().await.unwrap();
    let file = files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend(b"\xff\xfe\n\n{\"ts\": 1}\n[]\n");
    bytes.extend(
        br#"{"ts":"2026-01-19T12:00:00+02:00","op":"list","target":"old","key":"k","error":"e","rescued":true}"#,
    );
    bytes.extend(b"\n{\"ts\":\"2026-01-19T12:00");
    fs::write(&file, bytes).unwrap();
    let entries = all(&loaded(StoreLocation::folder(folder.path())).await);
    assert_eq!(entries.len(), 3);
    assert_eq!((entries[0].target.as_str(), entries[0].rescued), ("old", true));
}

#[tokio::test]
async fn compaction_leaves_one_file_without_duplicates() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(StoreLocation::folder(folder.path()));
    for _ in 0..5 {
        fail(&journal, 3);
        journal.flush().await.unwrap();
    }
    assert_eq!(files(folder.path()).len(), 5);
    let part = files(folder.path()).remove(2);
    let bytes = fs::read(&part).unwrap();
    assert_eq!(journal.compact().await, Ok(Compacted { joined_files: 5, file_count: 1, entries: 15 }));
    assert_eq!(files(folder.path()).len(), 1);
    // the state after a crash between writing and deleting
    fs::write(&part, bytes).unwrap();
    assert_eq!(all(&loaded(StoreLocation::folder(folder.path())).await), all(&journal));
    assert_eq!(journal.compact().await, Ok(Compacted { joined_files: 2, file_count: 1, entries: 15 }));
    assert_eq!(journal.compact().await, Ok(Compacted { joined_files: 0, file_count: 1, entries: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_flushes_and_compactions_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let location = || StoreLocation::folder(folder.path());
    // two servers with one store, one of which runs two compactions at a time
    let (one, other) = (journal(location()), journal(location()));
    let flushes = async {
        for _ in 0..40 {
            fail(&one, 3);
            one.flush().await.unwrap();
            fail(&other, 1);
            other.flush().await.unwrap();
        }
    };
    let compactions = async {
        for _ in 0..15 {
            let (a, b, c) = tokio::join!(one.compact(), one.compact(), other.compact());
            a.and(b).and(c).unwrap();
        }
    };
    tokio::join!(flushes, compactions);
    assert_eq!(all(&loaded(location()).await).len(), 160);
    one.compact().await.unwrap();
    assert_eq!(all(&loaded(location()).await).len(), 160);
    assert_eq!(one.file_count().await, Ok(1));
}

#[tokio::test]
async fn files_expire_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let journal = Journal::new(config, Some(StoreLocation::folder(folder.path())));
    fail(&journal, 1);
    journal.flush().await.unwrap();
    let old = folder.path().join(PREFIX).join("20200119T120000000000-0.jsonl");
    let other = folder.path().join(PREFIX).join("notes.jsonl");
    for file in [&old, &other] {
        fs::write(file, "").unwrap();
    }
    let task = tokio::spawn(journal.clone().run(CancellationToken::new()));
    until(async || !old.exists()).await;
    assert!(other.exists() && files(folder.path()).len() == 2, "a file without a time in its name is journal");
    task.abort();
}
