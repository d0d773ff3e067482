//! Starting the evaluation of alert rules.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use super::{AlertEvaluator, RuleFile, RulesLimits, RulesStatus};
use crate::dead_letters::{ALERT_ID, DeadLetterAlert, DeadLetterQueue};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::LiveMap;
use crate::log::OpenLog;
use crate::tasks::{Stage, Tasks};
use crate::upstream_health::UpstreamHealth;

/// Settings of alert rules.
#[derive(Debug, Clone)]
pub struct AlertingConfig {
    /// The file of alert rules; none: no rules, no webhooks.
    pub file: Option<PathBuf>,
    /// Limits of the file.
    pub limits: RulesLimits,
    /// Interval of checks whether the file has changed.
    pub reload_interval: Duration,
    /// Evaluation interval of rules that depend on time or on samples.
    pub evaluation_interval: Duration,
}

/// Services that the evaluation of rules uses.
#[derive(Clone, Copy)]
pub struct AlertingHandles<'a> {
    /// The event log, which the rules follow and to which alerts are appended.
    pub log: &'a OpenLog,
    /// The current map.
    pub live: &'a LiveMap,
    /// Health of the upstreams.
    pub upstream_health: &'a UpstreamHealth,
    /// Source of the number of dead letters.
    pub dead_letters: &'a DeadLetterQueue,
    /// Source of the number of errors; records failures.
    pub journal: &'a Journal,
    /// Decides on which replica rules are evaluated.
    pub leadership: &'a Leadership,
}

/// Handles of the alert rules.
pub struct Alerting {
    /// The rules in force; none without a file of rules.
    pub rules: Option<watch::Receiver<RulesStatus>>,
}

impl Alerting {
    /// Reads the file of rules, and starts evaluating and reloading it as tasks.
    ///
    /// # Errors
    /// All errors of the file.
    pub fn start(config: AlertingConfig, handles: AlertingHandles<'_>, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let AlertingConfig { file, limits, reload_interval, evaluation_interval } = config;
        let Some(path) = file else { return Ok(Self { rules: None }) };
        let AlertingHandles { log, live, upstream_health, dead_letters, journal, leadership } = handles;
        let file = open_rules(&path, limits).context("ALERT_RULES cannot be used")?;
        let rules = file.status();
        let evaluator = AlertEvaluator::new(
            evaluation_interval,
            rules.clone(),
            Arc::clone(&log.log),
            live.clone(),
            upstream_health.clone(),
            journal.clone(),
            dead_letters.clone(),
        );
        tasks.spawn("alert rules' file", Stage::Working, |stop| file.watch(reload_interval, journal.clone(), stop));
        leadership.spawn(tasks, "alert rules", Stage::Working, move |stop| evaluator.clone().run(stop));
        Ok(Self { rules: Some(rules) })
    }

    /// The built-in alert about dead letters, which a rule that counts dead letters replaces.
    #[must_use]
    pub fn dead_letter_alert(&self, live: &LiveMap) -> DeadLetterAlert {
        let (live, rules) = (live.clone(), self.rules.clone());
        DeadLetterAlert::new(
            move || live.is_complete().then(|| live.with(|map| map.alerts().any(|alert| alert.id == ALERT_ID))),
            move || rules.as_ref().is_some_and(|rules| rules.borrow().rules.count_dead_letters()),
        )
    }
}

/// Opens a file of alert rules.
///
/// # Errors
/// All errors of the file, in one line.
pub fn open_rules(path: &Path, limits: RulesLimits) -> anyhow::Result<RuleFile> {
    RuleFile::open(path, limits).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}: {}", path.display(), errors.join("; "))
    })
}
