//! The file of rules, read anew when it changed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::destination::Destination;
use super::rules::{RuleError, Rules, RulesLimits};
use crate::journal::Journal;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How the rules are doing.
#[derive(Debug, Clone)]
pub struct RulesStatus {
    /// Those in force.
    pub rules: Arc<Rules>,
    /// Where alerts are sent.
    pub destinations: Arc<[Destination]>,
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
    /// Whether the error is that of the keys.
    keys_failed: bool,
    status: watch::Sender<RulesStatus>,
}

impl RuleFile {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// It cannot be read, or all that is wrong with it.
    pub fn open(path: &Path, limits: RulesLimits) -> Result<Self, Vec<RuleError>> {
        let text = read(path).map_err(|problem| vec![RuleError::of_file(problem)])?;
        let rules = Arc::new(Rules::parse(&text, limits)?);
        let destinations = destinations(&rules)?;
        note_loaded(&rules);
        let status = watch::Sender::new(RulesStatus { rules, destinations, loaded_at: Utc::now(), error: None });
        Ok(Self { path: path.to_owned(), limits, read: Ok(text), keys_failed: false, status })
    }

    /// The rules in force, and whether the file is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RulesStatus> {
        self.status.subscribe()
    }

    /// Looks at the file once in each interval, until `stop`. One that is wrong changes nothing, and is reported.
    pub async fn keep(self, interval: Duration, journal: Journal, stop: CancellationToken) {
        let rounds = async {
            let mut file = self;
            loop {
                tokio::time::sleep(interval).await;
                let journal = journal.clone();
                // the keys of webhooks are in files of their own, which are read too
                let looked = tokio::task::spawn_blocking(move || {
                    file.take(read(&file.path), &journal);
                    file
                });
                file = match looked.await {
                    Ok(file) => file,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    fn take(&mut self, text: Result<String, String>, journal: &Journal) {
        if text == self.read {
            self.take_keys(journal);
            return;
        }
        let parsed = text.as_ref().map_err(Clone::clone).and_then(|text| {
            let rules = Rules::parse(text, self.limits).map_err(|errors| in_a_line(&errors))?;
            let destinations = destinations(&rules).map_err(|errors| in_a_line(&errors))?;
            Ok((rules, destinations))
        });
        self.read = text;
        self.keys_failed = false;
        match parsed {
            Ok((rules, destinations)) => {
                note_loaded(&rules);
                tracing::info!(rules = rules.len(), "the alert rules are loaded anew");
                let (rules, loaded_at) = (Arc::new(rules), Utc::now());
                self.status.send_replace(RulesStatus { rules, destinations, loaded_at, error: None });
            }
            Err(error) => {
                count_load("failed");
                journal.record("read", "alert rules", "", &error);
                tracing::error!(error, "the alert rules cannot be used (ALERT_RULES); those before stay in force");
                self.status.send_modify(|status| status.error = Some(error));
            }
        }
    }

    /// The keys of destinations may be in files of their own. Those that cannot be read change nothing.
    fn take_keys(&mut self, journal: &Journal) {
        let (rules, before, error) = {
            let status = self.status.borrow();
            (Arc::clone(&status.rules), Arc::clone(&status.destinations), status.error.clone())
        };
        match destinations(&rules) {
            Ok(now) if now == before && !self.keys_failed => {}
            Ok(now) => {
                tracing::info!("the webhooks' keys are read anew");
                let error = error.filter(|_| !self.keys_failed);
                self.keys_failed = false;
                self.status.send_modify(|status| {
                    status.destinations = now;
                    status.error = error;
                });
            }
            Err(errors) if error.is_none() => {
                let said = in_a_line(&errors);
                journal.record("read", "alert rules", "", &said);
                tracing::error!(error = said, "the webhooks' keys cannot be read (ALERT_RULES); those before are used");
                self.keys_failed = true;
                self.status.send_modify(|status| status.error = Some(said));
            }
            Err(_) => {}
        }
    }
}

/// All of them with their keys; else all that is wrong.
fn destinations(rules: &Rules) -> Result<Arc<[Destination]>, Vec<RuleError>> {
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for described in &rules.webhooks {
        match described.resolve() {
            Ok(destination) => good.push(destination),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(good.into()) } else { Err(errors) }
}

fn note_loaded(rules: &Rules) {
    count_load("loaded");
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("living_map_alert_rules").set(rules.len() as f64);
}

fn count_load(outcome: &'static str) {
    metrics::counter!("living_map_alert_rule_loads_total", "outcome" => outcome).increment(1);
}

fn in_a_line(errors: &[RuleError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A small file's text.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let reading = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    let size = reading.map_err(|error| format!("the file cannot be read: {error}"))?;
    if size as u64 > MAX_BYTES {
        return Err(format!("the file is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}
