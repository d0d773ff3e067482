//! The operations on lessons, independent of the database. Each runs in one [`Transaction`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Announcement, Change, ChangeOutcome, ChangeRequest, Decision, Operation, OutcomeReport, RETIRE_AFTER, UpsertCounts,
};
use crate::model::{Lesson, LessonStatus, NewLesson};

/// A transaction on the tables of lessons. Lessons that were read in it cannot be changed by another one.
#[async_trait]
pub trait Transaction: Send {
    /// Inserts into the append-only table of lessons; false if the key exists.
    async fn insert(&mut self, lesson: &Lesson) -> sqlx::Result<bool>;

    /// The version with this key.
    async fn version(&mut self, key: &str) -> sqlx::Result<Option<Lesson>>;

    /// The latest version of a lesson; `key` is that of any of its versions.
    async fn latest(&mut self, key: &str) -> sqlx::Result<Option<Lesson>>;

    /// Inserts or replaces the state of a version.
    async fn put(&mut self, lesson: &Lesson) -> sqlx::Result<()>;

    /// Appends to the log of operations; false if an operation with this key exists.
    async fn log(&mut self, root_key: &str, operation: &Operation, key: Option<&str>) -> sqlx::Result<bool>;

    /// Inserts an announcement, to be published to the event log.
    async fn announce(&mut self, announcement: &Announcement) -> sqlx::Result<()>;
}

/// Upserts one lesson, and sets it as the cause of its effects.
pub async fn upsert(on: &mut dyn Transaction, new: &NewLesson, counts: &mut UpsertCounts) -> sqlx::Result<()> {
    let mut lesson = first_version(new);
    for key in &new.effects {
        lesson.effects += u64::from(set_cause(on, key, &lesson.lesson_key).await?);
    }
    if on.insert(&lesson).await? {
        counts.new += 1;
        if let Some(cause) = &lesson.cause {
            count_effects(on, cause, 1).await?;
        }
        on.put(&lesson).await?;
        on.log(&lesson.root_key, &operation("upsert", &lesson, "learner", None, lesson.ts), None).await?;
        let (operation, at) = ("upsert".to_owned(), lesson.ts);
        return on.announce(&Announcement { operation, supersedes: None, at, lesson }).await;
    }
    counts.replayed += 1;
    count_effects(on, &lesson.lesson_key, lesson.effects).await?;
    let Some(mut existing) = on.version(&lesson.lesson_key).await? else { return Ok(()) };
    existing.replay_count += 1;
    on.put(&existing).await?;
    on.log(&existing.root_key, &operation("replay", &existing, "learner", None, lesson.ts), None).await?;
    Ok(())
}

/// Sets the cause of a lesson; false if it has one, or does not exist.
async fn set_cause(on: &mut dyn Transaction, key: &str, cause: &str) -> sqlx::Result<bool> {
    let Some(mut effect) = on.latest(key).await?.filter(|effect| effect.cause.is_none()) else { return Ok(false) };
    effect.cause = Some(cause.to_owned());
    on.put(&effect).await?;
    Ok(true)
}

/// Adds to the number of lessons that have this one as their cause.
async fn count_effects(on: &mut dyn Transaction, cause: &str, more: u64) -> sqlx::Result<()> {
    if more == 0 {
        return Ok(());
    }
    let Some(mut cause) = on.latest(cause).await? else { return Ok(()) };
    cause.effects += more;
    on.put(&cause).await
}

/// Applies a change, unless it is stale or was applied before.
pub async fn apply(on: &mut dyn Transaction, key: &str, request: &ChangeRequest) -> sqlx::Result<ChangeOutcome> {
    let Some(latest) = on.latest(key).await? else { return Ok(ChangeOutcome::NotFound) };
    if is_applied(&latest, request) {
        return Ok(ChangeOutcome::Applied(latest));
    }
    if !is_possible(&latest, request) {
        return Ok(ChangeOutcome::Stale(latest));
    }
    let ChangeRequest { change, reason, actor, at, .. } = request;
    let mut changed = Lesson { reason: reason.clone(), ..latest.clone() };
    let (mut supersedes, mut name) = (None, change.name());
    match change {
        Change::Revise { text, title } => {
            changed.version += 1;
            changed.lesson_key = format!("{}.{}", latest.root_key, changed.version);
            changed.text.clone_from(text);
            changed.title = title.clone().unwrap_or(changed.title);
            // a revision is also a review
            changed.status = LessonStatus::Active;
            (changed.replay_count, changed.helped, changed.not_helped) = (0, 0, 0);
            (changed.retirement_proposed, changed.ts) = (false, *at);
            let old = Lesson {
                status: LessonStatus::Superseded,
                superseded_by: Some(changed.lesson_key.clone()),
                superseded_at: Some(*at),
                retirement_proposed: false,
                ..latest.clone()
            };
            on.insert(&changed).await?;
            on.put(&old).await?;
            supersedes = Some(old.lesson_key);
        }
        Change::Retire => (changed.status, changed.retirement_proposed) = (LessonStatus::Retired, false),
        Change::Review(Decision::Confirm) => (changed.status, name) = (LessonStatus::Active, "confirm"),
        Change::Review(Decision::Reject) => {
            (changed.status, name) = (LessonStatus::Rejected, "reject");
            changed.retirement_proposed = false;
        }
    }
    on.put(&changed).await?;
    on.log(&latest.root_key, &operation(name, &changed, actor, reason.as_deref(), *at), None).await?;
    let announcement =
        Announcement { operation: change.name().to_owned(), supersedes, at: *at, lesson: changed.clone() };
    on.announce(&announcement).await?;
    Ok(ChangeOutcome::Applied(changed))
}

/// Counts an outcome, once for each id.
pub async fn record_outcome(on: &mut dyn Transaction, report: &OutcomeReport) -> sqlx::Result<Option<Lesson>> {
    let Some(mut lesson) = on.version(&report.lesson_key).await? else { return Ok(None) };
    let name = if report.helped { "helped" } else { "not_helped" };
    let operation = operation(name, &lesson, "agent", report.note.as_deref(), report.at);
    let key = report.outcome_id.as_ref().map(|id| format!("{}:{id}", lesson.lesson_key));
    if !on.log(&lesson.root_key, &operation, key.as_deref()).await? {
        return Ok(Some(lesson));
    }
    let count = if report.helped { &mut lesson.helped } else { &mut lesson.not_helped };
    *count += 1;
    lesson.retirement_proposed = lesson.status.is_open() && lesson.helped == 0 && lesson.not_helped >= RETIRE_AFTER;
    on.put(&lesson).await?;
    Ok(Some(lesson))
}

/// True if the request was applied before and is repeated.
fn is_applied(latest: &Lesson, request: &ChangeRequest) -> bool {
    match &request.change {
        Change::Revise { text, title } => {
            latest.version == request.version.saturating_add(1)
                && latest.text == *text
                && latest.reason == request.reason
                && title.as_ref().is_none_or(|title| *title == latest.title)
        }
        Change::Retire => latest.version == request.version && latest.status == LessonStatus::Retired,
        Change::Review(decision) => {
            let reached = match decision {
                Decision::Confirm => LessonStatus::Active,
                Decision::Reject => LessonStatus::Rejected,
            };
            latest.version == request.version && latest.status == reached
        }
    }
}

/// True if the status of the lesson allows the change, and the request is for the latest version.
fn is_possible(latest: &Lesson, request: &ChangeRequest) -> bool {
    let allowed = match request.change {
        Change::Revise { .. } | Change::Retire => latest.status.is_open(),
        Change::Review(_) => latest.status == LessonStatus::Candidate,
    };
    allowed && latest.version == request.version
}

fn operation(name: &str, lesson: &Lesson, actor: &str, reason: Option<&str>, at: DateTime<Utc>) -> Operation {
    Operation {
        operation: name.to_owned(),
        lesson_key: lesson.lesson_key.clone(),
        version: lesson.version,
        actor: actor.to_owned(),
        reason: reason.map(str::to_owned),
        at,
    }
}

fn first_version(new: &NewLesson) -> Lesson {
    let new = new.clone();
    Lesson {
        root_key: new.lesson_key.clone(),
        lesson_key: new.lesson_key,
        agent_id: new.agent_id,
        rule: new.rule,
        signature: new.signature,
        status: LessonStatus::Candidate,
        version: 1,
        severity: new.severity,
        title: new.title,
        text: new.text,
        evidence: new.evidence,
        occurrences: new.occurrences,
        first_seen: new.first_seen,
        last_seen: new.last_seen,
        replay_count: 0,
        helped: 0,
        not_helped: 0,
        retirement_proposed: false,
        reason: None,
        superseded_by: None,
        superseded_at: None,
        ts: new.ts,
        cause: new.cause,
        effects: 0,
    }
}
