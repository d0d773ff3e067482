//! The file of rules, read anew when it changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rules::{RuleError, Rules, RulesLimits};
use crate::journal::Journal;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How the rules are doing.
#[derive(Debug, Clone)]
pub struct RulesStatus {
    /// Those in force.
    pub rules: Arc<Rules>,
    /// Since when.
    pub loaded_at: DateTime<Utc>,
    /// Why the file as it is now is not in force.
    pub error: Option<String>,
}

/// A file of rules.
#[derive(Debug)]
pub struct RuleFile {
    path: PathBuf,
    limits: RulesLimits,
    /// What was read last, good or not.
    read: Result<String, String>,
    status: watch::Sender<RulesStatus>,
}

impl RuleFile {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// It cannot be read, or all that is wrong with it.
    pub fn open(path: &Path, limits: RulesLimits) -> Result<Self, Vec<RuleError>> {
        let text = read(path).map_err(|problem| vec![RuleError { rule: None, problem }])?;
        let rules = Arc::new(Rules::parse(&text, limits)?);
        note_loaded(&rules);
        let status = watch::Sender::new(RulesStatus { rules, loaded_at: Utc::now(), error: None });
        Ok(Self { path: path.to_owned(), limits, read: Ok(text), status })
    }

    /// The rules in force, and whether the file is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RulesStatus> {
        self.status.subscribe()
    }

    /// Looks at the file once in each interval, until `stop`. One that is wrong changes nothing, and is reported.
    pub async fn keep(mut self, interval: Duration, journal: Journal, stop: CancellationToken) {
        let rounds = async {
            loop {
                tokio::time::sleep(interval).await;
                let path = self.path.clone();
                let text = tokio::task::spawn_blocking(move || read(&path)).await;
                self.take(text.unwrap_or_else(|error| Err(error.to_string())), &journal);
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    fn take(&mut self, text: Result<String, String>, journal: &Journal) {
        if text == self.read {
            return;
        }
        let parsed = text.as_ref().map_err(Clone::clone).and_then(|text| {
            Rules::parse(text, self.limits)
                .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        });
        self.read = text;
        match parsed {
            Ok(rules) => {
                note_loaded(&rules);
                tracing::info!(rules = rules.len(), "the alert rules are loaded anew");
                let status = RulesStatus { rules: Arc::new(rules), loaded_at: Utc::now(), error: None };
                self.status.send_replace(status);
            }
            Err(error) => {
                count_load("failed");
                journal.record("read", "alert rules", "", &error);
                tracing::error!(error, "the alert rules cannot be used (ALERT_RULES); those before stay in force");
                self.status.send_modify(|status| status.error = Some(error));
            }
        }
    }
}

fn note_loaded(rules: &Rules) {
    count_load("loaded");
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("living_map_alert_rules").set(rules.len() as f64);
}

fn count_load(outcome: &'static str) {
    metrics::counter!("living_map_alert_rule_loads_total", "outcome" => outcome).increment(1);
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("the file cannot be read: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("the file cannot be read: {error}"))
}
