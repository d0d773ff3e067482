//! Dead-letter store, in both databases.

use std::sync::Arc;

use living_map::dead_letters::{DeadLetterQueue, Enqueued, FailedMessage, RetryConfig};
use living_map::history::dead_letters::{
    DeadLetter, DeadLetterQuery, DeadLetterStatus, DeadLetterStore, StoredDeadLetter,
};
use living_map::history::{self, HistoryConfig, PagePosition};
use living_map::model::LogEntry;
use uuid::Uuid;

use super::{Private, at, entry, pooled, postgres, sqlite};

on_both!(
    a_failed_event_is_read_back_unchanged,
    one_message_is_one_letter_and_a_dead_letter_is_dropped,
    of_two_concurrent_updates_one_fails,
    letters_are_listed_by_subject_status_and_time,
    due_unpublished_and_expired_letters_are_found,
    a_batch_of_large_letters_ends_at_its_bytes,
);

async fn letters(private: &Private) -> Arc<dyn DeadLetterStore> {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() })
        .await
        .unwrap()
        .dead_letters
}

fn of(seq: u64, subject: &str) -> LogEntry {
    let mut entry = entry(seq);
    entry.event.event_type = subject.into();
    entry.raw = Some(b"\xff\0raw".as_slice().into());
    entry
}

/// A letter whose first failure is at this time in milliseconds.
fn kept(seq: u64, subject: &str, status: DeadLetterStatus) -> StoredDeadLetter {
    let failed_at = at(i64::try_from(seq).unwrap() * 1_000);
    let origin = FailedMessage::of_entry("history", "LIVING_MAP", &of(seq, subject), String::new()).origin;
    let letter = DeadLetter {
        id: Uuid::new_v4(),
        processor: "history".into(),
        subject: subject.into(),
        origin,
        error: "no".into(),
        attempts: 4,
        status,
        first_failed_at: failed_at,
        last_failed_at: failed_at,
        next_at: Some(failed_at + std::time::Duration::from_mins(1)),
        published: false,
        version: 1,
    };
    StoredDeadLetter { letter, body: b"\0body".as_slice().into(), raw: None }
}

async fn a_failed_event_is_read_back_unchanged(private: Private) {
    let store = letters(&private).await;
    let handle = DeadLetterQueue::new(RetryConfig::default(), Arc::clone(&store));
    let entry = of(7, "agent.event.status");
    let failure = FailedMessage::of_entry("history", "LIVING_MAP", &entry, "refused\0".into());
    assert_eq!(handle.enqueue(failure).await.unwrap(), Enqueued::Retrying);
    let page = store.list(&DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() }).await.unwrap();
    let [letter] = &page.items[..] else { panic!("{page:?}") };
    assert_eq!((letter.status, letter.attempts, letter.error.as_str()), (DeadLetterStatus::Retrying, 1, "refused"));
    assert_eq!(letter.next_at.unwrap() - letter.first_failed_at, chrono::TimeDelta::seconds(1));
    let kept = store.get(letter.id).await.unwrap().unwrap();
    assert_eq!((&kept.letter, kept.entry()), (letter, entry));
    assert_eq!(store.get(Uuid::new_v4()).await.unwrap(), None);
}

async fn one_message_is_one_letter_and_a_dead_letter_is_dropped(private: Private) {
    let store = letters(&private).await;
    let handle = DeadLetterQueue::new(RetryConfig::default(), Arc::clone(&store));
    let failure = FailedMessage::of_entry("history", "LIVING_MAP", &of(1, "a.b"), "no".into());
    handle.enqueue(failure.clone()).await.unwrap();
    handle.enqueue(failure.clone()).await.unwrap();
    let other = FailedMessage { processor: "learner", attempts: 4, ..failure };
    assert_eq!(handle.enqueue(other).await.unwrap(), Enqueued::Dead);
    let dropped = FailedMessage::of_entry("history", "LIVING_MAP", &of(2, "a.b.dlq"), "no".into());
    assert_eq!(handle.enqueue(dropped).await.unwrap(), Enqueued::Dropped);
    assert_eq!(store.count(DeadLetterStatus::Retrying).await.unwrap(), 1);
    assert_eq!(store.count(DeadLetterStatus::Dead).await.unwrap(), 1);
}

async fn of_two_concurrent_updates_one_fails(private: Private) {
    let store = letters(&private).await;
    let StoredDeadLetter { letter, .. } = &kept(1, "a.b", DeadLetterStatus::Dead);
    store.insert(&StoredDeadLetter { letter: letter.clone(), body: "{}".into(), raw: None }).await.unwrap();
    let replayed = DeadLetter { status: DeadLetterStatus::Replayed, next_at: None, ..letter.clone() };
    let discarded = DeadLetter { status: DeadLetterStatus::Discarded, ..letter.clone() };
    assert!(store.update(&replayed).await.unwrap());
    assert!(!store.update(&discarded).await.unwrap());
    let now = store.get(letter.id).await.unwrap().unwrap().letter;
    assert_eq!(now, DeadLetter { version: 2, ..replayed });
}

async fn letters_are_listed_by_subject_status_and_time(private: Private) {
    let store = letters(&private).await;
    let mut all = Vec::new();
    for seq in 1..=9 {
        let subject = if seq % 3 == 0 { "usage.llm" } else { "agent.event.status" };
        let status = if seq % 2 == 0 { DeadLetterStatus::Dead } else { DeadLetterStatus::Discarded };
        let kept = kept(seq, subject, status);
        store.insert(&kept).await.unwrap();
        all.insert(0, kept.letter);
    }
    let find = async |query: DeadLetterQuery| {
        let (mut query, mut found) = (query, Vec::new());
        loop {
            let page = store.list(&query).await.unwrap();
            found.extend(page.items);
            if !page.has_more {
                return found;
            }
            let last = found.last().unwrap();
            query.after = Some(PagePosition { timestamp: last.first_failed_at, id: last.id });
        }
    };
    let where_ = |wanted: &dyn Fn(&DeadLetter) -> bool| -> Vec<DeadLetter> {
        all.iter().filter(|letter| wanted(letter)).cloned().collect()
    };
    let base = DeadLetterQuery { limit: 2, ..DeadLetterQuery::default() };
    assert_eq!(find(base.clone()).await, all);
    let skipped = store.list(&DeadLetterQuery { offset: 4, ..base.clone() }).await.unwrap();
    assert_eq!((&skipped.items[..], skipped.has_more), (&all[4..6], true));
    let agents = DeadLetterQuery { subject: "agent.event.*".parse().ok(), ..base.clone() };
    assert_eq!(find(agents).await, where_(&|letter| letter.subject.starts_with("agent")));
    let dead = DeadLetterQuery { status: Some(DeadLetterStatus::Dead), ..base.clone() };
    assert_eq!(find(dead).await, where_(&|letter| letter.status == DeadLetterStatus::Dead));
    let (since, until) = (at(3_000), at(6_000));
    let between = DeadLetterQuery { since: Some(since), until: Some(until), ..base };
    assert_eq!(find(between).await, where_(&|letter| (since..until).contains(&letter.first_failed_at)));
}

async fn due_unpublished_and_expired_letters_are_found(private: Private) {
    let store = letters(&private).await;
    let retrying = kept(1, "a.b", DeadLetterStatus::Retrying);
    let dead = kept(2, "a.b", DeadLetterStatus::Dead);
    for kept in [&dead, &retrying] {
        assert!(store.insert(kept).await.unwrap());
        assert!(!store.insert(kept).await.unwrap());
    }
    assert_eq!(store.due(at(60_999), 10).await.unwrap(), []);
    assert_eq!(store.due(at(62_000), 10).await.unwrap(), [retrying.clone(), dead.clone()]);
    assert_eq!(store.due(at(62_000), 1).await.unwrap(), std::slice::from_ref(&retrying));
    assert_eq!(store.unpublished(10).await.unwrap(), std::slice::from_ref(&dead));
    assert_eq!(store.expired(at(2_000), 10).await.unwrap(), [], "what is being retried is not archived");
    assert_eq!(store.expired(at(2_001), 10).await.unwrap(), std::slice::from_ref(&dead));
    let published = DeadLetter { published: true, next_at: None, ..dead.letter.clone() };
    assert!(store.update(&published).await.unwrap());
    assert_eq!(store.unpublished(10).await.unwrap(), []);
    assert_eq!(store.due(at(62_000), 10).await.unwrap(), [retrying]);
    assert_eq!(store.delete(&[(dead.letter.id, 1)]).await.unwrap(), 0);
    assert_eq!(store.delete(&[(dead.letter.id, 2), (Uuid::new_v4(), 1)]).await.unwrap(), 1);
    assert_eq!(store.get(dead.letter.id).await.unwrap(), None);
}

async fn a_batch_of_large_letters_ends_at_its_bytes(private: Private) {
    let pooler = private.pooler;
    let config = HistoryConfig { batch_bytes: 450_000, page_bytes: 1, pooler, ..HistoryConfig::default() };
    let store = history::open(&private.url, &config).await.unwrap().dead_letters;
    for seq in 1..=10 {
        let large = StoredDeadLetter { body: vec![b'x'; 100_000].into(), ..kept(seq, "a.b", DeadLetterStatus::Dead) };
        store.insert(&large).await.unwrap();
    }
    let sizes = [
        store.due(at(1_000_000), 100).await.unwrap().len(),
        store.unpublished(100).await.unwrap().len(),
        store.expired(at(1_000_000), 100).await.unwrap().len(),
    ];
    assert_eq!(sizes, [4, 4, 4]);
    let mut found = 0;
    loop {
        let batch = store.expired(at(1_000_000), 100).await.unwrap();
        if batch.is_empty() {
            break;
        }
        let ids: Vec<_> = batch.iter().map(|stored| (stored.letter.id, stored.letter.version)).collect();
        assert!(
            store.list(&DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() }).await.unwrap().items.len() == 1
        );
        found += store.delete(&ids).await.unwrap();
    }
    assert_eq!(found, 10);
}
