//! Cold storage, and a store that is away or full.

use std::fs;
use std::path::Path;
use std::time::Duration;

use living_map::dead_letters::{Archive, DeadLetterConfig};
use living_map::journal::{EntryQuery, Place};
use serde_json::Value;

use super::office::{Moody, World};
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
    Archive { place: Place::folder(folder), timeout: Duration::from_secs(10) }
}

/// Lines of all files, and how many files there are.
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
async fn old_letters_wait_for_a_store_that_is_away_and_then_go_into_files_once_each() {
    let world = World::new(Moody::new(0, usize::MAX), config(), Duration::from_hours(1)).await;
    for seq in 1..=10 {
        world.fail(seq).await;
    }
    world.run();
    let dead = until("all of them to be dead", || async {
        let all = world.all().await;
        all.iter().all(|letter| letter.published).then_some(all)
    })
    .await;
    // a folder cannot be made where a file is
    let place = world.folder.path().join("cold");
    fs::write(&place, "").unwrap();
    let archiving = tokio::spawn(world.office.clone().archive(archive(&place), world.stop.clone()));
    until("it to find that nothing can be written", || async {
        let noted =
            world.journal.filter(&EntryQuery { target: Some("archive".into()), limit: 1, ..EntryQuery::default() });
        (!noted.is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.all().await, dead, "nothing is deleted that is not written");
    fs::remove_file(&place).unwrap();
    until("all of them to be archived", || async { world.all().await.is_empty().then_some(()) }).await;
    let (lines, files) = archived(&place);
    assert_eq!(files, 3, "ten letters, four at a time");
    let mut ids: Vec<String> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<String> = dead.iter().map(|letter| letter.id.to_string()).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert!(lines.iter().all(|line| line["body"] == "{\"n\":1}" && line["status"] == "dead" && line["attempts"] == 4));
    archiving.abort();
}

/// A crash between the writing of a file and the deletion of its letters.
#[tokio::test(flavor = "multi_thread")]
async fn archiving_again_writes_the_same_file() {
    let world = World::new(Moody::new(0, usize::MAX), config(), Duration::from_hours(1)).await;
    for seq in 1..=3 {
        world.fail(seq).await;
    }
    world.run();
    until("all of them to be dead", || async { world.all().await.iter().all(|letter| letter.published).then_some(()) })
        .await;
    let store = world.letters.store();
    let kept = store.expired(chrono::Utc::now(), 10).await.unwrap();
    let place = world.folder.path().join("cold");
    let run = || tokio::spawn(world.office.clone().archive(archive(&place), world.stop.clone()));
    let first = run();
    until("them to be archived", || async { world.all().await.is_empty().then_some(()) }).await;
    first.abort();
    for kept in &kept {
        store.keep(kept).await.unwrap();
    }
    let second = run();
    until("them to be archived again", || async { world.all().await.is_empty().then_some(()) }).await;
    second.abort();
    let (lines, files) = archived(&place);
    assert_eq!((lines.len(), files), (3, 1));
}
