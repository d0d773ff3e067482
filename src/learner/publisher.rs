//! Publishes lessons on the log: from the outbox, in order, each once.

use std::sync::Arc;

use chrono::Utc;
use serde_json::json;

use super::config::LearnerConfig;
use crate::history::Lessons;
use crate::history::lessons::Announcement;
use crate::journal::Journal;
use crate::log::{EventLog, LogError};
use crate::model::NewEvent;
use crate::model::envelope::{self, FieldError};

/// Publishes until it is dropped.
pub async fn run(config: Arc<LearnerConfig>, lessons: Arc<dyn Lessons>, log: Arc<dyn EventLog>, journal: Journal) {
    let mut failing = false;
    loop {
        match publish_batch(&config, &*lessons, &*log).await {
            // a batch of large lessons is shorter than the maximum
            Ok(published) if published > 0 => continue,
            Ok(_) => failing = false,
            Err(problem) => {
                if !failing {
                    tracing::warn!(problem, "lessons cannot be published on the log; retrying");
                    journal.record("write", "log", config.subject().unwrap_or_default(), &problem);
                }
                failing = true;
            }
        }
        tokio::time::sleep(config.interval).await;
    }
}

/// Publishes one batch and returns its size. Skips lessons that the log rejects.
async fn publish_batch(config: &LearnerConfig, lessons: &dyn Lessons, log: &dyn EventLog) -> Result<usize, String> {
    let unpublished = lessons.unpublished(config.batch).await.map_err(|error| error.to_string())?;
    if unpublished.is_empty() {
        return Ok(0);
    }
    let mut done: Vec<i64> = Vec::with_capacity(unpublished.len());
    let mut unavailable = None;
    if let Some(subject) = config.subject() {
        let mut events = Vec::with_capacity(unpublished.len());
        for (number, announcement) in &unpublished {
            match event(subject, announcement) {
                Ok(event) => events.push((*number, event)),
                Err(error) => skip(&mut done, *number, &error),
            }
        }
        let (numbers, events): (Vec<i64>, Vec<NewEvent>) = events.into_iter().unzip();
        for (number, appended) in numbers.into_iter().zip(log.append(events).await) {
            match appended {
                Ok(_) if unavailable.is_none() => {
                    metrics::counter!("lessons_published_total").increment(1);
                    done.push(number);
                }
                // keeps the order: after a failed append the later ones are appended again, and deduplicated
                Ok(_) => {}
                Err(error @ (LogError::NotRecorded(_) | LogError::TooLarge { .. } | LogError::Refused(_))) => {
                    skip(&mut done, number, &error);
                }
                Err(error) => unavailable = Some(error.to_string()),
            }
        }
    } else {
        done.extend(unpublished.iter().map(|(number, _)| *number));
    }
    lessons.mark_published(&done).await.map_err(|error| error.to_string())?;
    unavailable.map_or(Ok(unpublished.len()), Err)
}

fn skip(done: &mut Vec<i64>, number: i64, error: &dyn std::fmt::Display) {
    metrics::counter!("lessons_unpublishable_total").increment(1);
    tracing::error!(%error, "the log rejects the event of a lesson; it is skipped (LESSON_SUBJECT)");
    done.push(number);
}

/// The event of an announcement: always the same, with the same idempotency key.
fn event(subject: &str, announcement: &Announcement) -> Result<NewEvent, FieldError> {
    let Announcement { operation, at, lesson, .. } = announcement;
    let key = format!("learner:{}:{operation}:{}", lesson.lesson_key, at.format("%Y%m%d%H"));
    let envelope = json!({
        "event_type": subject, "idempotency_key": key, "timestamp": at, "source": "learner",
        "payload": announcement,
    });
    envelope::publish(envelope, Utc::now())
}
