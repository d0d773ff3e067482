//! Deleting events that are too old, by class, in small batches, so that writers hardly notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{History, HistoryError};
use crate::journal::Journal;
use crate::model::Epoch;
use crate::model::subject::Pattern;

/// Rounds after which every event is looked at again, not only those that became old since: a late one may have come in
/// among those that were looked at.
const ROUNDS_TO_LOOK_AGAIN: u32 = 24;

/// How long events are kept, and how gently they go.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// How long the events of a subject are kept: the first pattern that matches decides.
    pub rules: Vec<(Pattern, Duration)>,
    /// How long all others are kept.
    pub max_age: Duration,
    /// Events deleted, or looked at, at a time, at least 1.
    pub batch: u32,
    /// Pause between two batches.
    pub pause: Duration,
    /// From the end of one round to the beginning of the next.
    pub interval: Duration,
}

impl Default for RetentionConfig {
    /// 30 days for everything, as the service we replace.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            max_age: Duration::from_hours(30 * 24),
            batch: 5_000,
            pause: Duration::from_millis(100),
            interval: Duration::from_hours(1),
        }
    }
}

impl RetentionConfig {
    /// How long events of this subject are kept.
    #[must_use]
    pub fn age_of(&self, subject: &str) -> Duration {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(subject));
        rule.map_or(self.max_age, |(_, age)| *age)
    }

    /// Every age there is, the shortest first.
    fn ages(&self) -> Vec<Duration> {
        let mut ages: Vec<Duration> = self.rules.iter().map(|(_, age)| *age).collect();
        // a rule for everything leaves nothing to the others' age
        if self.rules.iter().all(|(pattern, _)| pattern.as_str() != ">") {
            ages.push(self.max_age);
        }
        ages.sort_unstable();
        ages.dedup();
        ages
    }
}

/// Some events of a log, to be looked at in the log's order.
pub struct Sweep<'a> {
    /// Which log.
    pub epoch: Epoch,
    /// From behind this position.
    pub after: u64,
    /// Only events that the log took before this time.
    pub before: DateTime<Utc>,
    /// At most so many.
    pub limit: u32,
    /// Whether events of this subject go.
    pub goes: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// What became of a [`Sweep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// The position looked at last; none when there was nothing to look at.
    pub last: Option<u64>,
    /// Events deleted.
    pub deleted: u64,
}

/// Deletes old events at once and then once in each interval, until `shutdown`. A failed round is logged, noted in
/// `journal` and tried again at the next.
///
/// Metrics: `living_map_history_expired_total` (events deleted), `living_map_history_expire_failures_total`.
pub async fn run(history: Arc<dyn History>, config: RetentionConfig, journal: Journal, shutdown: CancellationToken) {
    let rounds = async {
        let mut retention = Retention { ages: config.ages(), config, reached: HashMap::new() };
        for number in 0_u32.. {
            if number.is_multiple_of(ROUNDS_TO_LOOK_AGAIN) {
                retention.reached.clear();
            }
            let started = Instant::now();
            match retention.round(&*history).await {
                Ok(0) => {}
                Ok(deleted) => {
                    let elapsed_ms = started.elapsed().as_millis();
                    tracing::info!(deleted, elapsed_ms, "deleted events that were too old");
                }
                Err(error) => {
                    metrics::counter!("living_map_history_expire_failures_total").increment(1);
                    journal.record("delete", "database", "living_map_history", &error);
                    tracing::warn!(%error, "cannot delete old events; will try again");
                }
            }
            tokio::time::sleep(retention.config.interval).await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

struct Retention {
    config: RetentionConfig,
    /// The shortest first.
    ages: Vec<Duration>,
    /// Up to which position everything of an age or a shorter one is gone, by log: so a round looks only at what became
    /// old since the one before.
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
                    deleted += self.sweep(history, epoch, *age, before).await?;
                }
            }
        }
        Ok(deleted)
    }

    /// Everything as old as no class is kept.
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

    /// What is older than `age`, of the classes that are kept no longer.
    async fn sweep(
        &mut self,
        history: &dyn History,
        epoch: Epoch,
        age: Duration,
        before: DateTime<Utc>,
    ) -> Result<u64, HistoryError> {
        let config = &self.config;
        let goes = move |subject: &str| config.age_of(subject) <= age;
        let reached = self.reached.entry((epoch, age)).or_default();
        let mut total = 0;
        loop {
            let sweep = Sweep { epoch, after: *reached, before, limit: config.batch.max(1), goes: &goes };
            let Swept { last, deleted } = history.sweep(&sweep).await?;
            metrics::counter!("living_map_history_expired_total").increment(deleted);
            total += deleted;
            let Some(last) = last else { return Ok(total) };
            *reached = last;
            tokio::time::sleep(config.pause).await;
        }
    }
}

/// None when it is longer than time can count: for ever.
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
    fn the_first_rule_that_matches_decides() {
        let config = config(&[("task.created", 168), ("task.>", 24), ("audit.>", 8_760)]);
        let hours = |subject| config.age_of(subject).as_secs() / 3_600;
        assert_eq!(["task.created", "task.deleted", "audit.action.x", "usage.llm"].map(hours), [168, 24, 8_760, 720]);
        assert_eq!(config.ages().len(), 4);
    }

    #[test]
    fn a_rule_for_everything_takes_the_place_of_the_general_age() {
        let ages = config(&[("task.created", 168), (">", 24)]).ages();
        assert_eq!(ages, [Duration::from_hours(24), Duration::from_hours(168)]);
        assert_eq!(config(&[]).ages(), [RetentionConfig::default().max_age]);
    }
}
