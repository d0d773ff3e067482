//! The lessons store, on both databases.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use living_map::history::lessons::{
    CauseFilter, Change, ChangeOutcome, ChangeRequest, Decision, LessonPosition, LessonQuery, OutcomeReport,
    SearchWords, UpsertCounts, VersionQuery,
};
use living_map::history::{self, HistoryConfig, Lessons};
use living_map::model::{Cursor, Epoch, Lesson, LessonStatus, NewLesson, Severity};
use sqlx::{Connection, Executor, PgConnection, Row};

use crate::history::{Private, at, on_both, pooled, postgres, sqlite};
use crate::support::postgres::database;

on_both!(
    a_lesson_learned_again_is_counted_not_duplicated,
    a_lesson_is_revised_once_for_each_version,
    a_lesson_is_reviewed_once_and_stays_retired,
    useless_lessons_are_proposed_for_retirement,
    lists_are_filtered_ranked_and_paged,
    concurrent_revisions_make_one_version,
    announcements_are_kept_until_published,
    a_cause_counts_and_represents_its_effects_once,
    a_long_history_of_a_lesson_is_read_in_pages,
);

async fn open(private: &Private) -> Arc<dyn Lessons> {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() })
        .await
        .unwrap()
        .lessons
}

pub fn new(number: i64, agent: Option<&str>, text: &str) -> NewLesson {
    NewLesson {
        lesson_key: format!("error_burst-{number}"),
        agent_id: agent.map(str::to_owned),
        rule: "error_burst".into(),
        signature: "refused".into(),
        severity: Severity::High,
        title: format!("Lesson {number}"),
        text: text.into(),
        evidence: vec!["e1".into()],
        occurrences: 3,
        first_seen: at(number),
        last_seen: at(number),
        ts: at(number),
        cause: None,
        effects: Vec::new(),
    }
}

fn request(change: Change, version: u32) -> ChangeRequest {
    ChangeRequest { change, version, reason: Some("because".into()), actor: "operator", at: at(99) }
}

fn revise(text: &str, version: u32) -> ChangeRequest {
    request(Change::Revise { text: text.into(), title: None }, version)
}

/// All versions of a lesson.
async fn versions(lessons: &dyn Lessons, key: &str) -> Vec<Lesson> {
    let query = VersionQuery { key: key.to_owned(), limit: 100, ..VersionQuery::default() };
    lessons.versions(&query).await.unwrap().items
}

async fn only_version(lessons: &dyn Lessons, key: &str) -> Lesson {
    let versions = versions(lessons, key).await;
    assert_eq!(versions.len(), 1);
    versions.into_iter().next().expect("one version")
}

fn done(changed: ChangeOutcome) -> Lesson {
    match changed {
        ChangeOutcome::Applied(lesson) => lesson,
        other => panic!("{other:?}"),
    }
}

async fn a_lesson_learned_again_is_counted_not_duplicated(private: Private) {
    let lessons = open(&private).await;
    let both = [new(1, Some("agent:a"), "one"), new(2, None, "two")];
    let position = Cursor { epoch: Epoch(u64::MAX - 5), seq: 7 };
    let first = lessons.upsert(&both, Some(("learner", position))).await.unwrap();
    assert_eq!(first, UpsertCounts { new: 2, replayed: 0 });
    assert_eq!(lessons.upsert(&both, None).await.unwrap(), UpsertCounts { new: 0, replayed: 2 });
    assert_eq!(lessons.position("learner").await.unwrap(), Some(position));
    assert_eq!(lessons.position("other").await.unwrap(), None);
    let lesson = &only_version(&*lessons, "error_burst-1").await;
    assert_eq!((lesson.replay_count, lesson.version, lesson.status), (1, 1, LessonStatus::Candidate));
    assert_eq!(serde_json::to_value(lesson).unwrap()["evidence"], serde_json::json!(["e1"]));
    let operations = lessons.operations("error_burst-1", 10).await.unwrap();
    assert_eq!(operations.iter().map(|one| &*one.operation).collect::<Vec<_>>(), ["upsert", "replay"]);
}

async fn a_lesson_is_revised_once_for_each_version(private: Private) {
    let lessons = open(&private).await;
    lessons.upsert(&[new(1, Some("agent:a"), "one")], None).await.unwrap();
    let key = "error_burst-1";
    let second = done(lessons.change(key, &revise("better", 1)).await.unwrap());
    assert_eq!((second.version, &*second.text, second.status), (2, "better", LessonStatus::Active));
    assert_eq!(done(lessons.change(key, &revise("better", 1)).await.unwrap()), second, "sent again");
    assert_eq!(lessons.change(key, &revise("other", 1)).await.unwrap(), ChangeOutcome::Stale(second.clone()));
    let third = done(lessons.change(&second.lesson_key, &revise("best", 2)).await.unwrap());
    assert_eq!(lessons.change("nothing", &revise("x", 1)).await.unwrap(), ChangeOutcome::NotFound);

    let chain = versions(&*lessons, &second.lesson_key).await;
    assert_eq!(chain.iter().map(|lesson| &*lesson.text).collect::<Vec<_>>(), ["one", "better", "best"]);
    let links: Vec<_> = chain.iter().map(|lesson| lesson.superseded_by.clone()).collect();
    assert_eq!(links, [Some(second.lesson_key.clone()), Some(third.lesson_key.clone()), None]);
    assert!(chain[..2].iter().all(|old| old.status == LessonStatus::Superseded && old.superseded_at == Some(at(99))));
    assert_eq!(lessons.upsert(&[new(1, Some("agent:a"), "one")], None).await.unwrap().replayed, 1);
    assert_eq!(versions(&*lessons, key).await.len(), 3, "the old text is not restored");
}

async fn a_long_history_of_a_lesson_is_read_in_pages(private: Private) {
    let config = HistoryConfig { page_bytes: 8_000, pooler: private.pooler, ..HistoryConfig::default() };
    let lessons = history::open(&private.url, &config).await.unwrap().lessons;
    lessons.upsert(&[new(1, None, "one"), new(2, None, "another lesson")], None).await.unwrap();
    let key = "error_burst-1";
    for version in 1..12 {
        done(lessons.change(key, &revise(&format!("{version} {}", "x".repeat(3_000)), version)).await.unwrap());
    }
    let latest = lessons.latest(key).await.unwrap().unwrap();
    assert_eq!((latest.version, lessons.latest(&latest.lesson_key).await.unwrap()), (12, Some(latest.clone())));
    assert_eq!(lessons.version(key).await.unwrap().map(|lesson| lesson.version), Some(1));
    assert_eq!((lessons.version("none").await.unwrap(), lessons.latest("none").await.unwrap()), (None, None));
    for (limit, by_offset) in [(100, false), (100, true), (1, false), (2, true)] {
        let mut found: Vec<u32> = Vec::new();
        loop {
            let offset = if by_offset { u32::try_from(found.len()).unwrap() } else { 0 };
            let after = if by_offset { 0 } else { found.last().copied().unwrap_or(0) };
            let query = VersionQuery { key: latest.lesson_key.clone(), after, offset, limit };
            let page = lessons.versions(&query).await.unwrap();
            assert!((1..=4).contains(&page.items.len()), "{} versions of 3 kB", page.items.len());
            found.extend(page.items.iter().map(|lesson| lesson.version));
            if !page.has_more {
                break;
            }
        }
        assert_eq!(found, (1..=12).collect::<Vec<_>>(), "limit {limit}, by offset: {by_offset}");
    }
}

async fn a_lesson_is_reviewed_once_and_stays_retired(private: Private) {
    let lessons = open(&private).await;
    lessons.upsert(&[new(1, None, "one"), new(2, None, "two")], None).await.unwrap();
    let review = |decision| request(Change::Review(decision), 1);
    assert_eq!(lessons.unreviewed(at(2), 10).await.unwrap().len(), 1);
    for _ in 0..2 {
        let lesson = done(lessons.change("error_burst-1", &review(Decision::Confirm)).await.unwrap());
        assert_eq!((lesson.status, lesson.reason.as_deref()), (LessonStatus::Active, Some("because")));
    }
    assert!(matches!(
        lessons.change("error_burst-1", &review(Decision::Reject)).await.unwrap(),
        ChangeOutcome::Stale(_)
    ));
    for _ in 0..2 {
        let lesson = done(lessons.change("error_burst-1", &request(Change::Retire, 1)).await.unwrap());
        assert_eq!(lesson.status, LessonStatus::Retired);
    }
    assert!(matches!(lessons.change("error_burst-1", &revise("x", 1)).await.unwrap(), ChangeOutcome::Stale(_)));
    let rejected = done(lessons.change("error_burst-2", &review(Decision::Reject)).await.unwrap());
    assert!(lessons.was_rejected(&rejected, at(0)).await.unwrap());
    assert!(!lessons.was_rejected(&rejected, at(100)).await.unwrap(), "long ago");
    let other = Lesson { signature: "other".into(), ..rejected };
    assert!(!lessons.was_rejected(&other, at(0)).await.unwrap());
    assert_eq!(lessons.unreviewed(at(9), 10).await.unwrap(), []);
    let operations = lessons.operations("error_burst-1", 2).await.unwrap();
    assert_eq!(operations.iter().map(|one| &*one.operation).collect::<Vec<_>>(), ["confirm", "retire"]);
}

async fn useless_lessons_are_proposed_for_retirement(private: Private) {
    let lessons = open(&private).await;
    lessons.upsert(&[new(1, None, "one")], None).await.unwrap();
    let used = |helped, id: &str| OutcomeReport {
        lesson_key: "error_burst-1".into(),
        helped,
        outcome_id: Some(id.into()),
        note: None,
        at: at(5),
    };
    for id in ["a", "b", "c", "d", "a"] {
        lessons.record_outcome(&used(false, id)).await.unwrap().unwrap();
    }
    let lesson = lessons.record_outcome(&used(false, "e")).await.unwrap().unwrap();
    assert_eq!((lesson.not_helped, lesson.helped, lesson.retirement_proposed), (5, 0, true));
    let lesson = lessons.record_outcome(&used(true, "f")).await.unwrap().unwrap();
    assert_eq!((lesson.not_helped, lesson.helped, lesson.retirement_proposed), (5, 1, false));
    let unknown = OutcomeReport { lesson_key: "nothing".into(), ..used(true, "g") };
    assert_eq!(lessons.record_outcome(&unknown).await.unwrap(), None);
}

async fn lists_are_filtered_ranked_and_paged(private: Private) {
    let lessons = open(&private).await;
    let texts = ["the payment was refused", "the payment payment was late: refused again", "nothing to see"];
    for number in 0..9 {
        let agent = [Some("agent:a"), Some("agent:b"), None][usize::try_from(number % 3).unwrap()];
        lessons.upsert(&[new(number, agent, texts[usize::try_from(number / 3).unwrap()])], None).await.unwrap();
    }
    let keys = async |query: LessonQuery| {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = lessons.list(&LessonQuery { limit: 2, after, ..query.clone() }).await.unwrap();
            assert!(page.items.len() <= 2);
            let last = page.items.last();
            after = last.map(|last| LessonPosition {
                relevance: last.relevance,
                ts: last.lesson.ts,
                lesson_key: last.lesson.lesson_key.clone(),
            });
            keys.extend(page.items.into_iter().map(|found| found.lesson.lesson_key));
            if !page.has_more {
                return keys
                    .iter()
                    .map(|key| key.trim_start_matches("error_burst-").parse().unwrap())
                    .collect::<Vec<i64>>();
            }
        }
    };
    assert_eq!(keys(LessonQuery::default()).await, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let skipped = lessons.list(&LessonQuery { offset: 3, limit: 2, ..LessonQuery::default() }).await.unwrap();
    assert_eq!(
        skipped.items.iter().map(|found| &*found.lesson.lesson_key).collect::<Vec<_>>(),
        ["error_burst-5", "error_burst-4"]
    );
    let of_a = LessonQuery { agents: vec!["agent:a".into(), "other".into()], ..LessonQuery::default() };
    assert_eq!(keys(of_a.clone()).await, [6, 3, 0]);
    assert_eq!(keys(LessonQuery { with_shared: true, ..of_a }).await, [8, 6, 5, 3, 2, 0]);
    let words = |words| LessonQuery { words, ..LessonQuery::default() };
    assert_eq!(keys(words(SearchWords::all("Payment, LATE"))).await, [5, 4, 3]);
    assert_eq!(keys(words(SearchWords::all("pay refused"))).await.len(), 6, "a word matches as a prefix");
    let any = keys(LessonQuery { unrelated: true, ..words(SearchWords::any("late nonsense")) }).await;
    assert_eq!((&any[..3], any.len()), (&[5, 4, 3][..], 9), "the others follow");
    assert_eq!(keys(LessonQuery { rule: Some("drift".into()), ..LessonQuery::default() }).await, [] as [i64; 0]);
    let active = LessonQuery { statuses: vec![LessonStatus::Active], ..LessonQuery::default() };
    assert_eq!(keys(active).await, [] as [i64; 0]);
}

async fn a_cause_counts_and_represents_its_effects_once(private: Private) {
    let lessons = open(&private).await;
    let cause = NewLesson {
        rule: "shared_cause".into(),
        effects: vec!["error_burst-1".into(), "error_burst-2".into(), "nothing".into()],
        ..new(3, None, "many")
    };
    let later = NewLesson { cause: Some("error_burst-3".into()), ..new(4, Some("agent:c"), "four") };
    lessons.upsert(&[new(1, Some("agent:a"), "one"), new(5, None, "alone")], None).await.unwrap();
    done(lessons.change("error_burst-1", &revise("revised", 1)).await.unwrap());
    lessons.upsert(&[new(2, Some("agent:b"), "two"), cause.clone()], None).await.unwrap();
    // with a position, and all lessons a second time
    lessons.upsert(std::slice::from_ref(&later), None).await.unwrap();
    lessons.upsert(&[new(2, Some("agent:b"), "two"), cause, later], None).await.unwrap();

    let keys = async |cause| {
        let open = vec![LessonStatus::Candidate, LessonStatus::Active];
        let query = LessonQuery { cause, statuses: open, limit: 10, ..LessonQuery::default() };
        let page = lessons.list(&query).await.unwrap();
        page.items.into_iter().map(|found| found.lesson.lesson_key).collect::<Vec<_>>()
    };
    assert_eq!(keys(Some(CauseFilter::None)).await, ["error_burst-5", "error_burst-3"]);
    let effects = ["error_burst-1.2", "error_burst-4", "error_burst-2"];
    assert_eq!(keys(Some(CauseFilter::Of("error_burst-3".into()))).await, effects);
    assert_eq!(keys(None).await.len(), 5);
    let cause = only_version(&*lessons, "error_burst-3").await;
    assert_eq!((cause.effects, cause.replay_count), (3, 1));
    done(lessons.change("error_burst-3", &request(Change::Review(Decision::Reject), 1)).await.unwrap());
    assert_eq!(
        keys(Some(CauseFilter::None)).await.len(),
        4,
        "lessons whose cause does not exist are listed themselves"
    );
}

async fn concurrent_revisions_make_one_version(private: Private) {
    let lessons = open(&private).await;
    lessons.upsert(&[new(1, None, "one")], None).await.unwrap();
    let texts = ["a", "b", "c", "d"];
    let attempts = texts.map(|text| {
        let lessons = Arc::clone(&lessons);
        async move { lessons.change("error_burst-1", &revise(text, 1)).await.unwrap() }
    });
    let outcomes = futures::future::join_all(attempts).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| matches!(outcome, ChangeOutcome::Applied(_))).count(),
        1,
        "{outcomes:?}"
    );
    assert_eq!(versions(&*lessons, "error_burst-1").await.len(), 2);
}

async fn announcements_are_kept_until_published(private: Private) {
    let lessons = open(&private).await;
    lessons.upsert(&[new(1, Some("agent:a"), "one")], None).await.unwrap();
    let second = done(lessons.change("error_burst-1", &revise("two", 1)).await.unwrap());
    let untold = lessons.unpublished(10).await.unwrap();
    let operations: Vec<&str> = untold.iter().map(|(_, announcement)| &*announcement.operation).collect();
    assert_eq!(operations, ["upsert", "revise"]);
    assert_eq!(untold[1].1.supersedes.as_deref(), Some("error_burst-1"));
    assert_eq!(untold[1].1.lesson, second);
    lessons.mark_published(&[untold[0].0]).await.unwrap();
    assert_eq!(lessons.unpublished(10).await.unwrap(), untold[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_an_older_learner_is_migrated() {
    let url = database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let old = "CREATE TABLE agent_lessons (lesson_id uuid PRIMARY KEY, lesson_key text UNIQUE NOT NULL, ts timestamptz
        NOT NULL, scope text NOT NULL, agent_id text, trigger text NOT NULL, action text NOT NULL, evidence jsonb NOT NULL);
        INSERT INTO agent_lessons VALUES (gen_random_uuid(), 'old-1', now(), 'agent', 'agent:a', 'Too many retries',
        'Wait longer', '{}')";
    connection.execute(old).await.unwrap();
    let lessons = history::open(&url, &HistoryConfig::default()).await.unwrap().lessons;
    let learned = lessons.upsert(&[new(1, Some("agent:a"), "one")], None).await.unwrap();
    assert_eq!(learned, UpsertCounts { new: 1, replayed: 0 });
    let page = lessons
        .list(&LessonQuery { limit: 10, words: SearchWords::all("retries wait"), ..LessonQuery::default() })
        .await;
    let [found] = &page.unwrap().items[..] else { panic!("the old one") };
    assert_eq!((&*found.lesson.lesson_key, &*found.lesson.title), ("old-1", "Too many retries"));
    assert!(Utc::now() - found.lesson.ts < TimeDelta::hours(1));
    let counts = connection.fetch_one("SELECT count(*), count(distinct lesson_key) FROM agent_lessons").await.unwrap();
    assert_eq!((counts.get::<i64, _>(0), counts.get::<i64, _>(1)), (2, 2));
}
