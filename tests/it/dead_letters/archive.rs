//! The archive, and an object store that is unavailable.

use std::fs;
use std::path::Path;
use std::time::Duration;

use living_map::dead_letters::{Archive, DeadLetterConfig};
use living_map::journal::{EntryQuery, StoreLocation};
use serde_json::Value;

use super::service::{FailingProcessor, TestService};
use crate::support::wait::until;

fn config() -> DeadLetterConfig {
    DeadLetterConfig {
        interval: Duration::from_millis(5),
        batch: 4,
        archive_after: Duration::ZERO,
        archive_interval: Duration::from_millis(20),
        ..DeadLetterConfig::default()
    }
}

fn archive(folder: &Path) -> Archive {
    Archive::new(StoreLocation::folder(folder), Duration::from_secs(10))
}

/// Lines of all files, and the number of files.
fn archived(folder: &Path) -> (Vec<Value>, usize) {
    let (mut lines, mut files) = (Vec::new(), 0);
    for day in fs::read_dir(folder.join("_dead_letters")).into_iter().flatten().flatten() {
        for file in fs::read_dir(day.path()).unwrap().flatten() {
            assert!(file.file_name().to_str().unwrap().ends_with(".jsonl.zst"), "{file:?}");
            let text = zstd::decode_all(fs::File::open(file.path()).unwrap()).unwrap();
            lines.extend(String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()));
            files += 1;
        }
    }
    (lines, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dead_letter_is_archived_once_after_an_outage() {
    let test = TestService::new(FailingProcessor::new(0, usize::MAX), config(), Duration::from_hours(1)).await;
    for seq in 1..=10 {
        test.fail(seq).await;
    }
    test.run();
    let dead = until("all of them to be dead", || async {
        let all = test.all().await;
        all.iter().all(|letter| letter.published).then_some(all)
    })
    .await;
    // a folder cannot be made where a file is
    let place = test.folder.path().join("cold");
    fs::write(&place, "").unwrap();
    let archiving = tokio::spawn(test.service.clone().archive(archive(&place), test.stop.clone()));
    until("a failed write", || async {
        let noted =
            test.journal.filter(&EntryQuery { target: Some("archive".into()), limit: 1, ..EntryQuery::default() });
        (!noted.is_empty()).then_some(())
    })
    .await;
    assert_eq!(test.all().await, dead, "nothing is deleted before it is written");
    fs::remove_file(&place).unwrap();
    until("all of them to be archived", || async { test.all().await.is_empty().then_some(()) }).await;
    let (lines, files) = archived(&place);
    assert_eq!(files, 3, "ten dead letters, four at a time");
    let mut ids: Vec<String> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<String> = dead.iter().map(|letter| letter.id.to_string()).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert!(lines.iter().all(|line| line["body"] == "{\"n\":1}" && line["status"] == "dead" && line["attempts"] == 4));
    archiving.abort();
}

/// A crash between writing a file and deleting its dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn archiving_again_writes_the_same_file() {
    let test = TestService::new(FailingProcessor::new(0, usize::MAX), config(), Duration::from_hours(1)).await;
    for seq in 1..=3 {
        test.fail(seq).await;
    }
    test.run();
    until("all of them to be dead", || async { test.all().await.iter().all(|letter| letter.published).then_some(()) })
        .await;
    let store = test.queue.store();
    let expired = store.expired(chrono::Utc::now(), 10).await.unwrap();
    let place = test.folder.path().join("cold");
    let run = || tokio::spawn(test.service.clone().archive(archive(&place), test.stop.clone()));
    let first = run();
    until("all of them to be archived", || async { test.all().await.is_empty().then_some(()) }).await;
    first.abort();
    for stored in &expired {
        store.insert(stored).await.unwrap();
    }
    let second = run();
    until("all of them to be archived again", || async { test.all().await.is_empty().then_some(()) }).await;
    second.abort();
    let (lines, files) = archived(&place);
    assert_eq!((lines.len(), files), (3, 1));
}
