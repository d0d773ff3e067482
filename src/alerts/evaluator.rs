//! The task that evaluates the rules: reads the log, samples the other inputs, and appends alerts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::engine::{AlertAction, Engine, Sample};
use super::rule::{Input, RuleKind, value_at};
use super::rule_file::RulesStatus;
use crate::dead_letters::DeadLetterQueue;
use crate::history::dead_letters::DeadLetterStatus;
use crate::journal::{EntryQuery, Journal};
use crate::live::LiveMap;
use crate::log::{EventLog, LogError};
use crate::map::EntityFilter;
use crate::model::{EntityType, SourceHealth};
use crate::upstream_health::UpstreamHealth;

/// Entries evaluated between two checks for a tick or new rules.
const BATCH: usize = 256;
/// Entities read under one lock.
const PAGE: usize = 256;
/// Wait between two attempts to read the log.
const RETRY: Duration = Duration::from_secs(1);

/// Evaluates the rules and raises and clears their alerts. Runs on the leader.
#[derive(Clone)]
pub struct AlertEvaluator {
    /// Evaluation interval of rules that depend on time or on samples.
    interval: Duration,
    rules: watch::Receiver<RulesStatus>,
    log: Arc<dyn EventLog>,
    live: LiveMap,
    upstream_health: UpstreamHealth,
    journal: Journal,
    dead_letters: DeadLetterQueue,
}

impl AlertEvaluator {
    /// An evaluator that reads events from `log` and appends alerts to it, and samples `live`, `upstream_health`, `journal` and
    /// `dead_letters` once per `interval`.
    #[must_use]
    pub const fn new(
        interval: Duration,
        rules: watch::Receiver<RulesStatus>,
        log: Arc<dyn EventLog>,
        live: LiveMap,
        upstream_health: UpstreamHealth,
        journal: Journal,
        dead_letters: DeadLetterQueue,
    ) -> Self {
        Self { interval, rules, log, live, upstream_health, journal, dead_letters }
    }

    /// Evaluates the rules until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.live.caught_up().await;
                if let Err(error) = self.follow().await {
                    count_failure("read");
                    tracing::debug!(%error, "the alert rules cannot follow the log; retrying");
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Follows the log from the map's position. Returns when the log must be opened again.
    async fn follow(&self) -> Result<(), LogError> {
        let mut rules = self.rules.clone();
        let from = self.live.cursor();
        let mut entries = self.log.read(from.epoch, from.seq).await?.ready_chunks(BATCH);
        let first = Arc::clone(&rules.borrow_and_update().rules);
        let mut engine = Engine::new(first, Utc::now());
        let mut unsent = VecDeque::new();
        self.adopt(&mut engine, &mut unsent);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // while the log is unavailable nothing is evaluated, so `unsent` holds at most one round's actions
                chunk = entries.next(), if unsent.is_empty() => {
                    for entry in chunk.ok_or_else(|| LogError::Unavailable("the log's reader ended".into()))? {
                        unsent.extend(engine.observe(&entry?));
                    }
                }
                _ = ticks.tick() => {
                    if unsent.is_empty() {
                        let now = Utc::now();
                        self.sample(&mut engine, now).await;
                        unsent.extend(engine.tick(now));
                    }
                }
                Ok(()) = rules.changed() => {
                    let new = Arc::clone(&rules.borrow_and_update().rules);
                    engine.replace_rules(new, Utc::now());
                    self.adopt(&mut engine, &mut unsent);
                }
            }
            self.send(&mut unsent).await;
        }
    }

    /// Adopts the active alerts of the map.
    fn adopt(&self, engine: &mut Engine, unsent: &mut VecDeque<AlertAction>) {
        let now = Utc::now();
        self.live.with(|map| unsent.extend(map.alerts().filter_map(|alert| engine.adopt(alert, now))));
    }

    /// Appends the actions to the log, in order. Stops when the log is unavailable.
    async fn send(&self, unsent: &mut VecDeque<AlertAction>) {
        while let Some(action) = unsent.front() {
            let Ok(event) = action.event(Utc::now()) else {
                unsent.pop_front();
                continue;
            };
            match self.log.append(vec![event]).await.pop() {
                Some(Ok(_)) => {
                    let state = if action.raise { "raised" } else { "cleared" };
                    let rule = action.rule.clone();
                    metrics::counter!("living_map_alert_transitions_total", "rule" => rule, "state" => state)
                        .increment(1);
                }
                Some(Err(error)) if !matches!(error, LogError::Unavailable(_) | LogError::Denied(_)) => {
                    count_failure("append");
                    self.journal.record("write", "log", &action.rule, &error);
                    tracing::error!(rule = action.rule, %error, "an alert cannot be appended to the log");
                }
                _ => {
                    count_failure("append");
                    return;
                }
            }
            unsent.pop_front();
        }
    }

    /// Samples the inputs that are not events.
    async fn sample(&self, engine: &mut Engine, now: DateTime<Utc>) {
        let rules = Arc::clone(engine.rules());
        for (index, rule) in rules.all.iter().enumerate() {
            let samples = match (&rule.input, &rule.kind) {
                (Input::Entities(kind), RuleKind::Threshold { field } | RuleKind::State { field }) => {
                    self.entities(*kind, field)
                }
                (Input::Upstreams, RuleKind::Threshold { field } | RuleKind::State { field }) => {
                    self.upstreams(field, now)
                }
                (Input::Journal, RuleKind::Rate { window }) => self.errors(*window, now),
                (Input::DeadLetters, _) => match self.dead_letters.store().count(DeadLetterStatus::Dead).await {
                    Ok(count) => vec![Sample { group: "dead".to_owned(), entity_id: None, value: json!(count) }],
                    Err(error) => {
                        count_failure("count");
                        tracing::debug!(%error, "dead letters cannot be counted for the alert rules");
                        continue;
                    }
                },
                _ => continue,
            };
            engine.sample(index, samples, now);
        }
    }

    fn entities(&self, kind: EntityType, field: &str) -> Vec<Sample> {
        let filter = EntityFilter { kind: Some(kind), ..EntityFilter::default() };
        let (mut samples, mut after) = (Vec::new(), None::<String>);
        loop {
            let more = self.live.with(|map| {
                let page = map.entities(&filter, after.as_deref(), 0, PAGE);
                for summary in &page.items {
                    let value = if field == "status" {
                        json!(summary.status)
                    } else {
                        map.entity(&summary.id)
                            .map_or(Value::Null, |entity| value_at(&Value::Object(entity.data), field))
                    };
                    samples.push(Sample { group: summary.id.clone(), entity_id: Some(summary.id.clone()), value });
                }
                after = page.items.last().map(|summary| summary.id.clone());
                page.has_more
            });
            if !more {
                return samples;
            }
        }
    }

    fn upstreams(&self, field: &str, now: DateTime<Utc>) -> Vec<Sample> {
        let sample = |health: SourceHealth| Sample {
            group: health.service.to_string(),
            entity_id: None,
            value: value_at(&json!(health), field),
        };
        self.upstream_health.health(now).into_iter().map(sample).collect()
    }

    fn errors(&self, window: TimeDelta, now: DateTime<Utc>) -> Vec<Sample> {
        let query = EntryQuery { since: Some(now - window), limit: usize::MAX, ..EntryQuery::default() };
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for entry in self.journal.filter(&query).into_iter().filter(crate::journal::Entry::is_failure) {
            *counts.entry(entry.target).or_default() += 1;
        }
        let sample = |(group, count)| Sample { group, entity_id: None, value: json!(count) };
        counts.into_iter().map(sample).collect()
    }
}

fn count_failure(step: &'static str) {
    metrics::counter!("living_map_alert_failures_total", "step" => step).increment(1);
}
