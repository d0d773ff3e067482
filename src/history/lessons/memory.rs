//! What the operations do, for both databases alike: each has a [`Transaction`], and everything happens in one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Announcement, Change, ChangeRequest, Changed, Decision, Learned, Operation, RETIRE_AFTER, Used};
use crate::model::{Lesson, LessonStatus, NewLesson};

/// One transaction on the tables of lessons. Nobody else changes the lessons that were read in it.
#[async_trait]
pub trait Transaction: Send {
    /// Appends to the record; false if the key is there.
    async fn record(&mut self, lesson: &Lesson) -> sqlx::Result<bool>;

    /// The version of this key.
    async fn version(&mut self, key: &str) -> sqlx::Result<Option<Lesson>>;

    /// The newest version of the lesson that this key, of whichever version, names.
    async fn tip(&mut self, key: &str) -> sqlx::Result<Option<Lesson>>;

    /// What a version is since.
    async fn put(&mut self, lesson: &Lesson) -> sqlx::Result<()>;

    /// Notes an operation; false if one of this key was noted before.
    async fn note(&mut self, root_key: &str, operation: &Operation, key: Option<&str>) -> sqlx::Result<bool>;

    /// Something to be told on the log.
    async fn announce(&mut self, announcement: &Announcement) -> sqlx::Result<()>;
}

/// Upserts one lesson, and names it as the cause of those that it is the cause of.
pub async fn learn(on: &mut dyn Transaction, new: &NewLesson, learned: &mut Learned) -> sqlx::Result<()> {
    let mut lesson = first_version(new);
    for key in &new.effects {
        lesson.effects += u64::from(explain(on, key, &lesson.lesson_key).await?);
    }
    if on.record(&lesson).await? {
        learned.new += 1;
        if let Some(cause) = &lesson.cause {
            count_effects(on, cause, 1).await?;
        }
        on.put(&lesson).await?;
        on.note(&lesson.root_key, &operation("upsert", &lesson, "learner", None, lesson.ts), None).await?;
        let (operation, at) = ("upsert".to_owned(), lesson.ts);
        return on.announce(&Announcement { operation, supersedes: None, at, lesson }).await;
    }
    learned.replayed += 1;
    count_effects(on, &lesson.lesson_key, lesson.effects).await?;
    let Some(mut known) = on.version(&lesson.lesson_key).await? else { return Ok(()) };
    known.replay_count += 1;
    on.put(&known).await?;
    on.note(&known.root_key, &operation("replay", &known, "learner", None, lesson.ts), None).await?;
    Ok(())
}

/// Names the cause of a lesson; false if it has one, or is not there.
async fn explain(on: &mut dyn Transaction, key: &str, cause: &str) -> sqlx::Result<bool> {
    let Some(mut effect) = on.tip(key).await?.filter(|effect| effect.cause.is_none()) else { return Ok(false) };
    effect.cause = Some(cause.to_owned());
    on.put(&effect).await?;
    Ok(true)
}

/// Counts lessons more that have this one as their cause.
async fn count_effects(on: &mut dyn Transaction, cause: &str, more: u64) -> sqlx::Result<()> {
    if more == 0 {
        return Ok(());
    }
    let Some(mut cause) = on.tip(cause).await? else { return Ok(()) };
    cause.effects += more;
    on.put(&cause).await
}

/// Makes a change, if the lesson is still as the caller thinks or it was made already.
pub async fn apply(on: &mut dyn Transaction, key: &str, request: &ChangeRequest) -> sqlx::Result<Changed> {
    let Some(tip) = on.tip(key).await? else { return Ok(Changed::Unknown) };
    if is_done(&tip, request) {
        return Ok(Changed::Done(tip));
    }
    if !is_possible(&tip, request) {
        return Ok(Changed::Stale(tip));
    }
    let ChangeRequest { change, reason, actor, at, .. } = request;
    let mut changed = Lesson { reason: reason.clone(), ..tip.clone() };
    let (mut supersedes, mut name) = (None, change.name());
    match change {
        Change::Revise { text, title } => {
            changed.version += 1;
            changed.lesson_key = format!("{}.{}", tip.root_key, changed.version);
            changed.text.clone_from(text);
            changed.title = title.clone().unwrap_or(changed.title);
            // who gives it another text has looked at it
            changed.status = LessonStatus::Active;
            (changed.replay_count, changed.helped, changed.not_helped) = (0, 0, 0);
            (changed.retirement_proposed, changed.ts) = (false, *at);
            let old = Lesson {
                status: LessonStatus::Superseded,
                superseded_by: Some(changed.lesson_key.clone()),
                superseded_at: Some(*at),
                retirement_proposed: false,
                ..tip.clone()
            };
            on.record(&changed).await?;
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
    on.note(&tip.root_key, &operation(name, &changed, actor, reason.as_deref(), *at), None).await?;
    let announcement =
        Announcement { operation: change.name().to_owned(), supersedes, at: *at, lesson: changed.clone() };
    on.announce(&announcement).await?;
    Ok(Changed::Done(changed))
}

/// Counts an outcome, once for each of its names.
pub async fn outcome(on: &mut dyn Transaction, used: &Used) -> sqlx::Result<Option<Lesson>> {
    let Some(mut lesson) = on.version(&used.lesson_key).await? else { return Ok(None) };
    let name = if used.helped { "helped" } else { "not_helped" };
    let operation = operation(name, &lesson, "agent", used.note.as_deref(), used.at);
    let key = used.outcome_id.as_ref().map(|id| format!("{}:{id}", lesson.lesson_key));
    if !on.note(&lesson.root_key, &operation, key.as_deref()).await? {
        return Ok(Some(lesson));
    }
    let count = if used.helped { &mut lesson.helped } else { &mut lesson.not_helped };
    *count += 1;
    lesson.retirement_proposed = lesson.status.is_open() && lesson.helped == 0 && lesson.not_helped >= RETIRE_AFTER;
    on.put(&lesson).await?;
    Ok(Some(lesson))
}

/// Whether the request was fulfilled before: it is sent again.
fn is_done(tip: &Lesson, request: &ChangeRequest) -> bool {
    match &request.change {
        Change::Revise { text, title } => {
            tip.version == request.version.saturating_add(1)
                && tip.text == *text
                && tip.reason == request.reason
                && title.as_ref().is_none_or(|title| *title == tip.title)
        }
        Change::Retire => tip.version == request.version && tip.status == LessonStatus::Retired,
        Change::Review(decision) => {
            let reached = match decision {
                Decision::Confirm => LessonStatus::Active,
                Decision::Reject => LessonStatus::Rejected,
            };
            tip.version == request.version && tip.status == reached
        }
    }
}

fn is_possible(tip: &Lesson, request: &ChangeRequest) -> bool {
    let fits = match request.change {
        Change::Revise { .. } | Change::Retire => tip.status.is_open(),
        Change::Review(_) => tip.status == LessonStatus::Candidate,
    };
    fits && tip.version == request.version
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
