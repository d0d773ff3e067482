//! The content of a rule file: its `[[rule]]` and `[[webhook]]` tables.

use std::collections::BTreeSet;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::error::RuleError;
use super::rule::{Input, Rule};
use super::rule_table;
use super::webhook_table::{self, DestinationConfig};
use crate::config::defaults;

/// Limits of a file of alert rules.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Alerts")]
pub struct RulesLimits {
    /// Rules in the file.
    ///
    /// Beyond: the file is rejected.
    #[arg(id = "ALERT_MAX_RULES", env, long = "alert-max-rules", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub max_rules: usize,
    /// Groups of each rule.
    ///
    /// Beyond: later groups are ignored, counted in `living_map_alert_groups_refused_total`.
    #[arg(id = "ALERT_MAX_GROUPS", env, long = "alert-max-groups", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_groups: usize,
    /// Webhooks in the file.
    ///
    /// Beyond: the file is rejected.
    #[arg(id = "ALERT_MAX_WEBHOOKS", env, long = "alert-max-webhooks", default_value_t = 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub max_webhooks: usize,
}

impl Default for RulesLimits {
    fn default() -> Self {
        defaults()
    }
}

/// The rules and destinations of a file.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) all: Vec<Rule>,
    pub(super) max_groups: usize,
    pub(super) webhooks: Vec<DestinationConfig>,
}

impl Rules {
    /// Parses a rule file.
    ///
    /// # Errors
    /// All errors of the file.
    pub fn parse(text: &str, limits: RulesLimits) -> Result<Self, Vec<RuleError>> {
        let whole = |problem: String| vec![RuleError::of_file(problem)];
        let mut file: toml::Table = toml::from_str(text).map_err(|error| whole(error.to_string().trim().to_owned()))?;
        let mut tables = |name: &str| match file.remove(name) {
            None => Ok(Vec::new()),
            Some(toml::Value::Array(tables)) => Ok(tables),
            Some(_) => Err(whole(format!("{name}: expected [[{name}]] tables"))),
        };
        let (rules, webhooks) = (tables("rule")?, tables("webhook")?);
        if let Some(name) = file.keys().next() {
            return Err(whole(format!("{name}: unknown key; expected [[rule]] and [[webhook]] tables")));
        }
        let within = |what: &str, count: usize, max: usize, setting: &str| {
            if count > max {
                Err(whole(format!("the file has {count} {what}; at most {max} ({setting})")))
            } else {
                Ok(())
            }
        };
        within("webhooks", webhooks.len(), limits.max_webhooks, "ALERT_MAX_WEBHOOKS")?;
        within("rules", rules.len(), limits.max_rules, "ALERT_MAX_RULES")?;
        let (mut errors, mut names) = (Vec::new(), BTreeSet::new());
        let all = rule_table::parse(rules, &mut names, &mut errors);
        let webhooks = webhook_table::parse(webhooks, &names, &mut errors);
        if errors.is_empty() { Ok(Self { all, max_groups: limits.max_groups, webhooks }) } else { Err(errors) }
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when there is a rule over dead letters.
    #[must_use]
    pub fn count_dead_letters(&self) -> bool {
        self.all.iter().any(|rule| rule.input == Input::DeadLetters)
    }

    /// True when there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
