//! Retention: deletes expired events by subject, in small batches, so that writers hardly wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{History, HistoryError};
use crate::config::defaults;
use crate::config::value::days;
use crate::journal::Journal;
use crate::model::Epoch;
use crate::model::subject::{InvalidSubject, Pattern};

/// Rounds after which all events are examined again, not only those that expired since: a late event may have been inserted
/// among the examined ones.
const ROUNDS_PER_FULL_SCAN: u32 = 24;

/// Ages up to which events are kept, and the pace of deleting them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct RetentionConfig {
    /// Days that history is kept.
    #[arg(id = "HISTORY_RETENTION_DAYS", env, long = "history-retention-days", default_value = "30",
        value_parser = days(1..=36_500))]
    pub max_age: Duration,
    /// Ages for events of some subjects instead: `pattern=age` separated by commas, the age in `h` or `d`
    /// (`task.created=7d,task.>=24h`); the first matching pattern decides. At most 32 rules, each age at least twice
    /// `SNAPSHOT_SAVE_MINUTES`.
    #[arg(id = "HISTORY_RETENTION_RULES", env, long = "history-retention-rules", value_delimiter = ',',
        value_parser = retention_rule)]
    pub rules: Vec<(Pattern, Duration)>,
    /// Events deleted, or examined, per statement; at least 1.
    #[arg(skip = 5_000_u32)]
    pub batch: u32,
    /// Pause between two batches.
    #[arg(skip = Duration::from_millis(100))]
    pub pause: Duration,
    /// From the end of one round to the start of the next.
    #[arg(skip = Duration::from_hours(1))]
    pub interval: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Rules that are accepted: each age is one more scan of the history.
const MAX_RULES: usize = 32;

impl RetentionConfig {
    /// Checks the rules against the interval of saved snapshots: a restart folds the events after the newest one.
    ///
    /// # Errors
    /// The variable's name and what was expected.
    pub fn check(&self, save_interval: Duration) -> Result<(), String> {
        if self.rules.len() > MAX_RULES {
            return Err(format!("HISTORY_RETENTION_RULES: expected at most {MAX_RULES} rules"));
        }
        match self.rules.iter().find(|(_, age)| *age < save_interval * 2) {
            None => Ok(()),
            Some((pattern, _)) => Err(format!(
                "HISTORY_RETENTION_RULES: expected an age of at least twice SNAPSHOT_SAVE_MINUTES for {pattern}"
            )),
        }
    }

    /// Retention period of events with this subject.
    #[must_use]
    pub fn age_of(&self, subject: &str) -> Duration {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(subject));
        rule.map_or(self.max_age, |(_, age)| *age)
    }

    /// All retention periods, shortest first.
    fn ages(&self) -> Vec<Duration> {
        let mut ages: Vec<Duration> = self.rules.iter().map(|(_, age)| *age).collect();
        // with a rule for all subjects the general period applies to none
        if self.rules.iter().all(|(pattern, _)| pattern.as_str() != ">") {
            ages.push(self.max_age);
        }
        ages.sort_unstable();
        ages.dedup();
        ages
    }
}

/// The longest age of events, 100 years, as for `HISTORY_RETENTION_DAYS`.
const MAX_AGE_DAYS: u64 = 36_500;

/// A pattern of subjects and the age up to which their events are kept: `task.>=24h`. At least an hour: a restart must find
/// the events after the newest saved snapshot.
fn retention_rule(text: &str) -> Result<(Pattern, Duration), String> {
    let expected = || "expected <pattern>=<age>, the age in hours or days, such as task.created=7d or >=24h".to_owned();
    let (subjects, age) = text.trim().rsplit_once('=').ok_or_else(expected)?;
    let pattern = subjects.parse().map_err(|error: InvalidSubject| error.to_string())?;
    let hours = match (age.strip_suffix('h'), age.strip_suffix('d')) {
        (Some(hours), _) => hours.parse().ok(),
        (_, Some(days)) => days.parse().ok().and_then(|days: u64| days.checked_mul(24)),
        _ => None,
    };
    let hours = hours.filter(|hours| (1..=MAX_AGE_DAYS * 24).contains(hours)).ok_or_else(expected)?;
    Ok((pattern, Duration::from_hours(hours)))
}

/// One batch of purging expired events from a log, in the log's order.
pub struct Purge<'a> {
    /// The log.
    pub epoch: Epoch,
    /// Only events after this position.
    pub after: u64,
    /// Only events that the log took before this time.
    pub before: DateTime<Utc>,
    /// Maximum number of events that are examined.
    pub limit: u32,
    /// True for the subjects of expired events.
    pub expired: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// Result of a [`Purge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// The last examined position; none if there were no events.
    pub last: Option<u64>,
    /// Number of deleted events.
    pub deleted: u64,
}

/// Deletes expired events at once and then at each interval, until `shutdown`. A failed round is logged, recorded in
/// `journal` and retried at the next interval.
///
/// Metrics: `living_map_history_expired_total` (events deleted), `living_map_history_expire_failures_total`.
pub async fn run(history: Arc<dyn History>, config: RetentionConfig, journal: Journal, shutdown: CancellationToken) {
    let rounds = async {
        let mut retention = Retention { ages: config.ages(), config, reached: HashMap::new() };
        for number in 0_u32.. {
            if number.is_multiple_of(ROUNDS_PER_FULL_SCAN) {
                retention.reached.clear();
            }
            let started = Instant::now();
            match retention.round(&*history).await {
                Ok(0) => {}
                Ok(deleted) => {
                    let elapsed_ms = started.elapsed().as_millis();
                    tracing::info!(deleted, elapsed_ms, "deleted expired events");
                }
                Err(error) => {
                    metrics::counter!("living_map_history_expire_failures_total").increment(1);
                    journal.record("delete", "database", "living_map_history", &error);
                    tracing::warn!(%error, "cannot delete expired events; will retry");
                }
            }
            tokio::time::sleep(retention.config.interval).await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

struct Retention {
    config: RetentionConfig,
    /// Retention periods, shortest first.
    ages: Vec<Duration>,
    /// The position up to which events with a retention period or a shorter one were deleted, by log: so a round examines
    /// only events that have expired since the round before.
    reached: HashMap<(Epoch, Duration), u64>,
}

impl Retention {
    async fn round(&mut self, history: &dyn History) -> Result<u64, HistoryError> {
        let mut deleted = 0;
        if let Some((longest, shorter)) = self.ages.clone().split_last() {
            if let Some(before) = ago(*longest) {
                deleted += self.delete_before(history, before).await?;
            }
            for age in shorter {
                let Some(before) = ago(*age) else { continue };
                for epoch in history.epochs().await? {
                    deleted += self.purge(history, epoch, *age, before).await?;
                }
            }
        }
        Ok(deleted)
    }

    /// Deletes events older than the longest retention period.
    async fn delete_before(&self, history: &dyn History, before: DateTime<Utc>) -> Result<u64, HistoryError> {
        let batch = self.config.batch.max(1);
        let mut total = 0;
        loop {
            let deleted = history.delete_before(before, batch).await?;
            metrics::counter!("living_map_history_expired_total").increment(deleted);
            total += deleted;
            if deleted < u64::from(batch) {
                return Ok(total);
            }
            tokio::time::sleep(self.config.pause).await;
        }
    }

    /// Deletes events older than `age` whose retention period is `age` or shorter.
    async fn purge(
        &mut self,
        history: &dyn History,
        epoch: Epoch,
        age: Duration,
        before: DateTime<Utc>,
    ) -> Result<u64, HistoryError> {
        let config = &self.config;
        let expired = move |subject: &str| config.age_of(subject) <= age;
        let reached = self.reached.entry((epoch, age)).or_default();
        let mut total = 0;
        loop {
            let purge = Purge { epoch, after: *reached, before, limit: config.batch.max(1), expired: &expired };
            let Purged { last, deleted } = history.purge(&purge).await?;
            metrics::counter!("living_map_history_expired_total").increment(deleted);
            total += deleted;
            let Some(last) = last else { return Ok(total) };
            *reached = last;
            tokio::time::sleep(config.pause).await;
        }
    }
}

/// The time `age` ago; none if it is out of range, when events are kept for ever.
fn ago(age: Duration) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_signed(TimeDelta::from_std(age).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: &[(&str, u64)]) -> RetentionConfig {
        let rule = |(pattern, hours): &(&str, u64)| (pattern.parse().unwrap(), Duration::from_hours(*hours));
        RetentionConfig { rules: rules.iter().map(rule).collect(), ..RetentionConfig::default() }
    }

    #[test]
    fn the_first_matching_rule_applies() {
        let config = config(&[("task.created", 168), ("task.>", 24), ("audit.>", 8_760)]);
        let hours = |subject| config.age_of(subject).as_secs() / 3_600;
        assert_eq!(["task.created", "task.deleted", "audit.action.x", "usage.llm"].map(hours), [168, 24, 8_760, 720]);
        assert_eq!(config.ages().len(), 4);
    }

    #[test]
    fn a_rule_for_all_subjects_replaces_the_general_period() {
        let ages = config(&[("task.created", 168), (">", 24)]).ages();
        assert_eq!(ages, [Duration::from_hours(24), Duration::from_hours(168)]);
        assert_eq!(config(&[]).ages(), [RetentionConfig::default().max_age]);
    }
}
