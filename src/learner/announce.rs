//! Telling of lessons on the log: from the outbox, in order, each once.

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

/// Tells until it is dropped.
pub async fn run(config: Arc<LearnerConfig>, lessons: Arc<dyn Lessons>, log: Arc<dyn EventLog>, journal: Journal) {
    let mut failing = false;
    loop {
        match tell(&config, &*lessons, &*log).await {
            Ok(told) if told == config.batch as usize => continue,
            Ok(_) => failing = false,
            Err(problem) => {
                if !failing {
                    tracing::warn!(problem, "lessons cannot be told on the log now; trying again");
                    journal.record("write", "log", config.subject.as_deref().unwrap_or_default(), &problem);
                }
                failing = true;
            }
        }
        tokio::time::sleep(config.interval).await;
    }
}

/// Tells some; how many. What the log will never take is left out.
async fn tell(config: &LearnerConfig, lessons: &dyn Lessons, log: &dyn EventLog) -> Result<usize, String> {
    let untold = lessons.untold(config.batch).await.map_err(|error| error.to_string())?;
    if untold.is_empty() {
        return Ok(0);
    }
    let mut numbers: Vec<i64> = Vec::with_capacity(untold.len());
    let mut away = None;
    if let Some(subject) = &config.subject {
        let mut events = Vec::with_capacity(untold.len());
        for (number, announcement) in &untold {
            match event(subject, announcement) {
                Ok(event) => events.push((*number, event)),
                Err(error) => give_up(&mut numbers, *number, &error),
            }
        }
        let (places, events): (Vec<i64>, Vec<NewEvent>) = events.into_iter().unzip();
        for (number, appended) in places.into_iter().zip(log.append(events).await) {
            match appended {
                Ok(_) if away.is_none() => {
                    metrics::counter!("lessons_published_total").increment(1);
                    numbers.push(number);
                }
                // in order: what comes behind one that is not told is told again, and known
                Ok(_) => {}
                Err(error @ (LogError::NotRecorded(_) | LogError::TooLarge { .. } | LogError::Refused(_))) => {
                    give_up(&mut numbers, number, &error);
                }
                Err(error) => away = Some(error.to_string()),
            }
        }
    } else {
        numbers.extend(untold.iter().map(|(number, _)| *number));
    }
    lessons.told(&numbers).await.map_err(|error| error.to_string())?;
    away.map_or(Ok(untold.len()), Err)
}

fn give_up(numbers: &mut Vec<i64>, number: i64, error: &dyn std::fmt::Display) {
    metrics::counter!("lessons_unpublishable_total").increment(1);
    tracing::error!(%error, "the log does not take what is to be told of a lesson; it is left out (LESSON_SUBJECT)");
    numbers.push(number);
}

/// The event: the same whenever the same is told.
fn event(subject: &str, announcement: &Announcement) -> Result<NewEvent, FieldError> {
    let Announcement { operation, at, lesson, .. } = announcement;
    let key = format!("learner:{}:{operation}:{}", lesson.lesson_key, at.format("%Y%m%d%H"));
    let envelope = json!({
        "event_type": subject, "idempotency_key": key, "timestamp": at, "source": "learner",
        "payload": announcement,
    });
    envelope::publish(envelope, Utc::now())
}
