//! Starting the evaluation of alert rules.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;

use super::{AlertEvaluator, RuleFile, RulesLimits, RulesStatus};
use crate::config::defaults;
use crate::config::value::seconds;
use crate::dead_letters::{ALERT_ID, DeadLetterAlert, DeadLetterQueue};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::LiveMap;
use crate::log::OpenLog;
use crate::tasks::{Stage, Tasks};
use crate::upstream_health::UpstreamHealth;

/// The file of alert rules, its evaluation, and its limits.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Alerts")]
pub struct AlertingConfig {
    /// File of alert rules (TOML), loaded again when it changes; the same for all servers of a log. Unset: no rules, no
    /// webhooks.
    #[arg(id = "ALERT_RULES", env, long = "alert-rules")]
    pub file: Option<PathBuf>,
    /// Seconds between two checks whether that file has changed.
    #[arg(id = "ALERT_RULES_RELOAD_SECONDS", env, long = "alert-rules-reload-seconds", default_value = "5",
        value_parser = seconds)]
    pub reload_interval: Duration,
    /// Seconds between two evaluations of rules over time, entities, upstreams, the error journal and dead letters.
    #[arg(id = "ALERT_INTERVAL_SECONDS", env, long = "alert-interval-seconds", default_value = "1",
        value_parser = seconds)]
    pub evaluation_interval: Duration,
    /// Limits of the file.
    #[command(flatten)]
    pub limits: RulesLimits,
    /// Longest time for which alerts can be silenced, in minutes.
    ///
    /// Beyond: answered 400.
    #[arg(id = "ALERT_MAX_SILENCE_MINUTES", env, long = "alert-max-silence-minutes", default_value_t = 43_200,
        value_parser = clap::value_parser!(u32).range(1..=525_600))]
    pub max_silence_minutes: u32,
}

impl Default for AlertingConfig {
    fn default() -> Self {
        defaults()
    }
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
        let AlertingConfig { file, limits, reload_interval, evaluation_interval, .. } = config;
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
