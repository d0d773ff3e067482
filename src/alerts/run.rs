//! The task that follows the log by the rules.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::engine::{Effect, Engine};
use super::file::RulesStatus;
use super::rules::{Kind, Over, path_of};
use crate::dead_letters::DeadLetterQueue;
use crate::history::dead_letters::DeadLetterStatus;
use crate::journal::{EntryQuery, Journal};
use crate::live::LiveMap;
use crate::log::{EventLog, LogError};
use crate::map::EntityFilter;
use crate::model::EntityType;
use crate::upstream_health::UpstreamHealth;

/// Entries looked at between two looks at the clock.
const BATCH: usize = 256;
/// Entities looked at under one lock.
const PAGE: usize = 256;
/// From one attempt at a log that is away to the next.
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

    /// Follows the rules until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.live.caught_up().await;
                if let Err(error) = self.follow().await {
                    count_failure("read");
                    tracing::debug!(%error, "the alert rules cannot follow the log; will try again");
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Follows the log from where the map is. Returns when it has to be opened anew.
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
                // while the log takes nothing, nothing more is decided: what waits is one round's
                chunk = entries.next(), if unsent.is_empty() => {
                    for entry in chunk.ok_or_else(|| LogError::Unavailable("the log's reader ended".into()))? {
                        unsent.extend(engine.observe(&entry?));
                    }
                }
                _ = ticks.tick() => {
                    if unsent.is_empty() {
                        let now = Utc::now();
                        self.sample(&mut engine, now).await;
                        unsent.extend(engine.pass(now));
                    }
                }
                Ok(()) = rules.changed() => {
                    let new = Arc::clone(&rules.borrow_and_update().rules);
                    engine = engine.with_rules(new, Utc::now());
                    self.adopt(&mut engine, &mut unsent);
                }
            }
            self.send(&mut unsent).await;
        }
    }

    /// What is raised already is not raised again.
    fn adopt(&self, engine: &mut Engine, unsent: &mut VecDeque<Effect>) {
        let now = Utc::now();
        self.live.with(|map| unsent.extend(map.alerts().filter_map(|alert| engine.adopt(alert, now))));
    }

    /// Tells what was decided, in order. What cannot be told now is told later.
    async fn send(&self, unsent: &mut VecDeque<Effect>) {
        while let Some(effect) = unsent.front() {
            let Ok(event) = effect.event(Utc::now()) else {
                unsent.pop_front();
                continue;
            };
            match self.log.append(vec![event]).await.pop() {
                Some(Ok(_)) => {
                    let state = if effect.raised { "raised" } else { "cleared" };
                    let rule = effect.rule.clone();
                    metrics::counter!("living_map_alert_transitions_total", "rule" => rule, "state" => state)
                        .increment(1);
                }
                Some(Err(error)) if !matches!(error, LogError::Unavailable(_)) => {
                    count_failure("append");
                    self.journal.record("write", "log", &effect.rule, &error);
                    tracing::error!(rule = effect.rule, %error, "an alert cannot be put into the log");
                }
                _ => {
                    count_failure("append");
                    return;
                }
            }
            unsent.pop_front();
        }
    }

    /// Looks at what is no event.
    async fn sample(&self, engine: &mut Engine, now: DateTime<Utc>) {
        let rules = Arc::clone(engine.rules());
        for (index, rule) in rules.all.iter().enumerate() {
            let samples = match (&rule.over, &rule.kind) {
                (Over::Entities(kind), Kind::Threshold { field } | Kind::State { field }) => {
                    self.entities(*kind, field)
                }
                (Over::Sources, Kind::Threshold { field } | Kind::State { field }) => self.sources(field, now),
                (Over::Journal, Kind::Rate { window }) => self.errors(*window, now),
                (Over::DeadLetters, _) => match self.dead_letters.store().count(DeadLetterStatus::Dead).await {
                    Ok(count) => vec![("dead".to_owned(), None, json!(count))],
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

    fn entities(&self, kind: EntityType, field: &str) -> Vec<(String, Option<String>, Value)> {
        let filter = EntityFilter { kind: Some(kind), ..EntityFilter::default() };
        let (mut samples, mut after) = (Vec::new(), None::<String>);
        loop {
            let more = self.live.with(|map| {
                let page = map.entities(&filter, after.as_deref(), PAGE);
                for summary in &page.items {
                    let value = if field == "status" {
                        json!(summary.status)
                    } else {
                        map.entity(&summary.id)
                            .map_or(Value::Null, |entity| path_of(&Value::Object(entity.data), field))
                    };
                    samples.push((summary.id.clone(), Some(summary.id.clone()), value));
                }
                after = page.items.last().map(|summary| summary.id.clone());
                page.has_more
            });
            if !more {
                return samples;
            }
        }
    }

    fn sources(&self, field: &str, now: DateTime<Utc>) -> Vec<(String, Option<String>, Value)> {
        let health = self.upstream_health.health(now).into_iter();
        health.map(|source| (source.service.to_string(), None, path_of(&json!(source), field))).collect()
    }

    fn errors(&self, window: TimeDelta, now: DateTime<Utc>) -> Vec<(String, Option<String>, Value)> {
        let query = EntryQuery { since: Some(now - window), limit: usize::MAX, ..EntryQuery::default() };
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for entry in self.journal.filter(&query).into_iter().filter(crate::journal::Entry::is_failure) {
            *counts.entry(entry.target).or_default() += 1;
        }
        counts.into_iter().map(|(target, count)| (target, None, json!(count))).collect()
    }
}

fn count_failure(step: &'static str) {
    metrics::counter!("living_map_alert_failures_total", "step" => step).increment(1);
}
