//! Reviewing what nobody has reviewed in time.
//!
//! The heuristic is careful with a person's word and trusts the rules otherwise: a rule says nothing without its evidence.
//! What is like something that a person rejected (the same agent, rule and signature) is rejected again; so is what shows
//! no evidence; all else is confirmed.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::config::LearnerConfig;
use crate::history::lessons::{Change, ChangeRequest, Changed, Decision};
use crate::history::{HistoryError, Lessons};
use crate::journal::Journal;

/// Who reviews here.
const BY: &str = "heuristic";

/// Reviews until it is dropped.
pub async fn run(config: Arc<LearnerConfig>, lessons: Arc<dyn Lessons>, journal: Journal) {
    let mut failing = false;
    loop {
        match review(&config, &*lessons, Utc::now()).await {
            Ok(reviewed) if reviewed == config.batch as usize => continue,
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "lessons cannot be reviewed now; trying again");
                    journal.record("read", "lessons", "", &error);
                }
                failing = true;
            }
        }
        tokio::time::sleep(config.interval).await;
    }
}

/// Reviews those that have waited long enough; how many it looked at.
async fn review(config: &LearnerConfig, lessons: &dyn Lessons, now: DateTime<Utc>) -> Result<usize, HistoryError> {
    let candidates = lessons.unreviewed(now - config.review_after, config.batch).await?;
    for candidate in &candidates {
        let (decision, reason) = if lessons.was_rejected(candidate, now - config.rejection_counts).await? {
            (Decision::Reject, "one like it was rejected by an operator")
        } else if candidate.evidence.is_empty() {
            (Decision::Reject, "it shows no evidence")
        } else {
            (Decision::Confirm, "nobody reviewed it in time, and it has its evidence")
        };
        let request = ChangeRequest {
            change: Change::Review(decision),
            version: candidate.version,
            reason: Some(reason.to_owned()),
            actor: BY,
            at: now,
        };
        // one that an operator changed meanwhile is as they want it
        if let Changed::Done(_) = lessons.change(&candidate.lesson_key, &request).await? {
            let decision = if decision == Decision::Confirm { "confirm" } else { "reject" };
            metrics::counter!("lessons_reviewed_total", "decision" => decision, "by" => BY).increment(1);
        }
    }
    Ok(candidates.len())
}
