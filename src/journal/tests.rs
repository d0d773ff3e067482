use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use super::files::PREFIX;
use super::*;

fn journal(place: Place) -> Journal {
    Journal::new(JournalConfig::default(), Some(place))
}

/// Records `number` failures, told apart by their keys.
fn fail(journal: &Journal, number: usize) {
    for key in 0..number {
        journal.record("read", "dao", &format!("/{key}"), &"no");
    }
}

fn all(journal: &Journal) -> Vec<Entry> {
    journal.filter(&EntryQuery { limit: usize::MAX, ..EntryQuery::default() })
}

async fn hydrated(place: Place) -> Journal {
    let journal = journal(place);
    journal.hydrate().await.unwrap();
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
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes to hold");
}

#[tokio::test]
async fn what_was_flushed_is_there_after_a_restart_and_what_was_not_is_not() {
    let place = Place::store(Arc::new(InMemory::new()));
    let before = journal(place.clone());
    fail(&before, 5);
    assert_eq!(before.flush().await, Ok(5));
    before.record("read", "dao", "/unflushed", &"no");
    assert_eq!(all(&hydrated(place).await), all(&before)[..5]);
}

#[tokio::test]
async fn a_mark_of_rescue_is_in_memory_only() {
    let place = Place::store(Arc::new(InMemory::new()));
    let before = journal(place.clone());
    fail(&before, 1);
    before.flush().await.unwrap();
    assert!(before.mark_rescued("read", "dao"));
    assert!(all(&before)[0].rescued && !all(&hydrated(place).await)[0].rescued);
}

#[tokio::test]
async fn eight_entries_are_written_at_once_and_the_rest_at_the_end() {
    let place = Place::store(Arc::new(InMemory::new()));
    let config = JournalConfig { flush_interval: Duration::from_hours(1), ..JournalConfig::default() };
    let (kept, stop) = (Journal::new(config, Some(place.clone())), CancellationToken::new());
    let keeper = tokio::spawn(kept.clone().keep(stop.clone()));
    until(async || kept.file_count().await == Ok(0)).await;
    fail(&kept, 8);
    until(async || kept.status().last_flush.is_some() && kept.status().pending == 0).await;
    fail(&kept, 1);
    stop.cancel();
    keeper.await.unwrap();
    assert_eq!(all(&hydrated(place).await).len(), 9);
}

#[tokio::test]
async fn a_timer_writes_what_is_less_than_a_batch() {
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let kept = Journal::new(config, Some(Place::store(Arc::new(InMemory::new()))));
    let keeper = tokio::spawn(kept.clone().keep(CancellationToken::new()));
    fail(&kept, 1);
    until(async || kept.file_count().await == Ok(1)).await;
    keeper.abort();
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_reported_and_nothing_is_lost_once_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "in the way").unwrap();
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let kept = Journal::new(config, Some(Place::folder(&path)));
    let keeper = tokio::spawn(kept.clone().keep(CancellationToken::new()));
    fail(&kept, 20);
    until(async || kept.status().error.is_some()).await;
    assert_eq!((kept.status().pending, all(&kept).len()), (20, 20));
    fs::remove_file(&path).unwrap();
    until(async || kept.status() == JournalStatus { last_flush: kept.status().last_flush, ..Default::default() }).await;
    assert_eq!(all(&hydrated(Place::folder(&path)).await), all(&kept));
    keeper.abort();
}

#[tokio::test]
async fn a_folder_that_breaks_while_it_is_used_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let kept = journal(Place::folder(folder.path()));
    fail(&kept, 1);
    kept.flush().await.unwrap();
    let prefix = folder.path().join("_errors");
    fs::remove_dir_all(&prefix).unwrap();
    fs::write(&prefix, "in the way").unwrap();
    fail(&kept, 1);
    kept.flush().await.unwrap_err();
    assert_eq!(kept.status().pending, 1);
    fs::remove_file(&prefix).unwrap();
    assert_eq!(kept.flush().await, Ok(1));
}

#[tokio::test]
async fn a_store_that_is_away_costs_bounded_memory_and_the_newest_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    fs::write(&path, "in the way").unwrap();
    let config = JournalConfig { max_per_minute: u32::MAX, ..JournalConfig::default() };
    let kept = Journal::new(config, Some(Place::folder(&path)));
    fail(&kept, 10_000);
    kept.flush().await.unwrap_err();
    let status = kept.status();
    assert_eq!((status.pending, status.dropped, all(&kept).len()), (4_096, 5_904, 2_000));
    assert_eq!(all(&kept)[1_999].key, "/9999");
}

#[tokio::test]
async fn a_flood_of_errors_fills_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let kept = journal(Place::folder(folder.path()));
    for _ in 0..20 {
        fail(&kept, 500);
        kept.flush().await.unwrap();
    }
    assert_eq!(kept.status().dropped, 9_400, "beyond those of a minute");
    assert_eq!(all(&kept).len(), 2_000, "the newest are in memory");
    assert_eq!(all(&hydrated(Place::folder(folder.path())).await).len(), 600);
}

#[tokio::test]
async fn malformed_lines_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let kept = journal(Place::folder(folder.path()));
    fail(&kept, 2);
    kept.flush().await.unwrap();
    let file = files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend(b"\xff\xfe\n\n{\"ts\": 1}\n[]\n");
    bytes.extend(
        br#"{"ts":"2026-01-19T12:00:00+02:00","op":"list","target":"old","key":"k","error":"e","rescued":true}"#,
    );
    bytes.extend(b"\n{\"ts\":\"2026-01-19T12:00");
    fs::write(&file, bytes).unwrap();
    let entries = all(&hydrated(Place::folder(folder.path())).await);
    assert_eq!(entries.len(), 3);
    assert_eq!((entries[0].target.as_str(), entries[0].rescued), ("old", true));
}

#[tokio::test]
async fn compaction_leaves_one_file_with_each_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let kept = journal(Place::folder(folder.path()));
    for _ in 0..5 {
        fail(&kept, 3);
        kept.flush().await.unwrap();
    }
    assert_eq!(files(folder.path()).len(), 5);
    let part = files(folder.path()).remove(2);
    let bytes = fs::read(&part).unwrap();
    assert_eq!(kept.compact().await, Ok(Compacted { joined_files: 5, file_count: 1, entries: 15 }));
    assert_eq!(files(folder.path()).len(), 1);
    // as a crash between the writing and the deleting leaves it
    fs::write(&part, bytes).unwrap();
    assert_eq!(all(&hydrated(Place::folder(folder.path())).await), all(&kept));
    assert_eq!(kept.compact().await, Ok(Compacted { joined_files: 2, file_count: 1, entries: 15 }));
    assert_eq!(kept.compact().await, Ok(Compacted { joined_files: 0, file_count: 1, entries: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_and_compactions_at_the_same_time_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = || Place::folder(folder.path());
    // two servers with one store, and one of them asked to compact twice at a time
    let (one, other) = (journal(place()), journal(place()));
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
    assert_eq!(all(&hydrated(place()).await).len(), 160);
    one.compact().await.unwrap();
    assert_eq!(all(&hydrated(place()).await).len(), 160);
    assert_eq!(one.file_count().await, Ok(1));
}

#[tokio::test]
async fn files_go_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig { flush_interval: Duration::from_millis(10), ..JournalConfig::default() };
    let kept = Journal::new(config, Some(Place::folder(folder.path())));
    fail(&kept, 1);
    kept.flush().await.unwrap();
    let old = folder.path().join(PREFIX).join("20200119T120000000000-0.jsonl");
    let other = folder.path().join(PREFIX).join("notes.jsonl");
    for file in [&old, &other] {
        fs::write(file, "").unwrap();
    }
    let keeper = tokio::spawn(kept.clone().keep(CancellationToken::new()));
    until(async || !old.exists()).await;
    assert!(other.exists() && files(folder.path()).len() == 2, "what says no time stays");
    keeper.abort();
}
