//! Heuristic review of candidates that no operator has reviewed in time.
//!
//! It respects the decisions of operators and trusts the rules otherwise, which base lessons on evidence. A candidate
//! like one that an operator rejected (same agent, rule and signature) is rejected, and so is one without evidence; all
//! others are confirmed.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::config::LearnerConfig;
use crate::history::lessons::{Change, ChangeOutcome, ChangeRequest, Decision};
use crate::history::{HistoryError, Lessons};
use crate::journal::Journal;

/// Actor recorded with these reviews.
const BY: &str = "heuristic";

/// Reviews candidates until it is dropped.
pub async fn run(config: Arc<LearnerConfig>, lessons: Arc<dyn Lessons>, journal: Journal) {
    let mut failing = false;
    loop {
        match review(&config, &*lessons, Utc::now()).await {
            Ok(reviewed) if reviewed == config.batch as usize => continue,
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "lessons cannot be reviewed; retrying");
                    journal.record("read", "lessons", "", &error);
                }
                failing = true;
            }
        }
        tokio::time::sleep(config.interval).await;
    }
}

/// Reviews one batch of candidates that have waited long enough, and returns its size.
async fn review(config: &LearnerConfig, lessons: &dyn Lessons, now: DateTime<Utc>) -> Result<usize, HistoryError> {
    let candidates = lessons.unreviewed(now - config.review_after, config.batch).await?;
    for candidate in &candidates {
        let (decision, reason) = if lessons.was_rejected(candidate, now - config.rejection_counts).await? {
            (Decision::Reject, "a similar lesson was rejected by an operator")
        } else if candidate.evidence.is_empty() {
            (Decision::Reject, "it has no evidence")
        } else {
            (Decision::Confirm, "not reviewed in time, and it has evidence")
        };
        let request = ChangeRequest {
            change: Change::Review(decision),
            version: candidate.version,
            reason: Some(reason.to_owned()),
            actor: BY,
            at: now,
        };
        // an operator's change in the meantime takes precedence
        if let ChangeOutcome::Applied(_) = lessons.change(&candidate.lesson_key, &request).await? {
            let decision = if decision == Decision::Confirm { "confirm" } else { "reject" };
            metrics::counter!("lessons_reviewed_total", "decision" => decision, "by" => BY).increment(1);
        }
    }
    Ok(candidates.len())
}
