//! The rule file, reloaded when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::destination::Destination;
use super::error::RuleError;
use super::rules::{Rules, RulesLimits};
use super::text_file;
use crate::instruments::{Instrument, register_with};
use crate::journal::Journal;

/// The rules in force, and the error of the last load.
#[derive(Debug, Clone)]
pub struct RulesStatus {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The destinations in force.
    pub destinations: Arc<[Destination]>,
    /// When the rules were loaded.
    pub loaded_at: DateTime<Utc>,
    /// Why the current content of the file, or a key of it, is not in force.
    pub error: Option<String>,
}

/// A rule file.
#[derive(Debug)]
pub struct RuleFile {
    path: PathBuf,
    limits: RulesLimits,
    /// Result of the last read.
    text: Result<String, String>,
    /// The error in the status is that of the keys.
    keys_failed: bool,
    status: watch::Sender<RulesStatus>,
}

impl RuleFile {
    /// Loads the file for the first time.
    ///
    /// # Errors
    /// The file cannot be read, or all errors in it.
    pub fn open(path: &Path, limits: RulesLimits) -> Result<Self, Vec<RuleError>> {
        let text = text_file::read(path).map_err(|problem| vec![RuleError::of_file(problem)])?;
        let rules = Arc::new(Rules::parse(&text, limits)?);
        let destinations = destinations(&rules)?;
        count_loaded(&rules);
        let status = watch::Sender::new(RulesStatus { rules, destinations, loaded_at: Utc::now(), error: None });
        Ok(Self { path: path.to_owned(), limits, text: Ok(text), keys_failed: false, status })
    }

    /// Receives the rules in force, and each change of them.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RulesStatus> {
        self.status.subscribe()
    }

    /// Checks the file for changes once per `interval` until `stop`. An invalid file is reported, and the rules in force stay.
    pub async fn watch(self, interval: Duration, journal: Journal, stop: CancellationToken) {
        let rounds = async {
            let mut file = self;
            loop {
                tokio::time::sleep(interval).await;
                let journal = journal.clone();
                // blocking: reads the file, and the files of the webhooks' keys
                let reloaded = tokio::task::spawn_blocking(move || {
                    file.reload(text_file::read(&file.path), &journal);
                    file
                });
                file = match reloaded.await {
                    Ok(file) => file,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    fn reload(&mut self, text: Result<String, String>, journal: &Journal) {
        if text == self.text {
            self.reload_keys(journal);
            return;
        }
        let parsed = text.as_ref().map_err(Clone::clone).and_then(|text| {
            let rules = Rules::parse(text, self.limits).map_err(|errors| joined(&errors))?;
            let destinations = destinations(&rules).map_err(|errors| joined(&errors))?;
            Ok((rules, destinations))
        });
        self.text = text;
        self.keys_failed = false;
        match parsed {
            Ok((rules, destinations)) => {
                count_loaded(&rules);
                tracing::info!(rules = rules.len(), "the alert rules are reloaded");
                let (rules, loaded_at) = (Arc::new(rules), Utc::now());
                self.status.send_replace(RulesStatus { rules, destinations, loaded_at, error: None });
            }
            Err(error) => {
                count_load("failed");
                journal.record("read", "alert rules", "", &error);
                tracing::error!(error, "the alert rules are invalid (ALERT_RULES); the previous rules stay in force");
                self.status.send_modify(|status| status.error = Some(error));
            }
        }
    }

    /// Reads the keys of the destinations again. If one cannot be read, the previous keys stay in use.
    fn reload_keys(&mut self, journal: &Journal) {
        let (rules, before, error) = {
            let status = self.status.borrow();
            (Arc::clone(&status.rules), Arc::clone(&status.destinations), status.error.clone())
        };
        match destinations(&rules) {
            Ok(now) if now == before && !self.keys_failed => {}
            Ok(now) => {
                tracing::info!("the webhook keys are reloaded");
                let error = error.filter(|_| !self.keys_failed);
                self.keys_failed = false;
                self.status.send_modify(|status| {
                    status.destinations = now;
                    status.error = error;
                });
            }
            Err(errors) if error.is_none() => {
                let error = joined(&errors);
                journal.record("read", "alert rules", "", &error);
                tracing::error!(error, "the webhook keys cannot be read (ALERT_RULES); the previous keys stay in use");
                self.keys_failed = true;
                self.status.send_modify(|status| status.error = Some(error));
            }
            Err(_) => {}
        }
    }
}

/// The destinations with their keys, or all errors.
fn destinations(rules: &Rules) -> Result<Arc<[Destination]>, Vec<RuleError>> {
    let (mut resolved, mut errors) = (Vec::new(), Vec::new());
    for config in &rules.webhooks {
        match config.resolve() {
            Ok(destination) => resolved.push(destination),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(resolved.into()) } else { Err(errors) }
}

/// Metrics of each rule.
const OF_RULE: &[Instrument] = &[
    Instrument::counter("living_map_alert_transitions_total").labels(&[("state", &["raised", "cleared"])]),
    Instrument::counter("living_map_alert_groups_refused_total"),
];

fn count_loaded(rules: &Rules) {
    count_load("loaded");
    for rule in &rules.all {
        register_with(OF_RULE, &[("rule", &rule.name)]);
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("living_map_alert_rules").set(rules.len() as f64);
}

fn count_load(outcome: &'static str) {
    metrics::counter!("living_map_alert_rule_loads_total", "outcome" => outcome).increment(1);
}

/// All errors in one line.
fn joined(errors: &[RuleError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
