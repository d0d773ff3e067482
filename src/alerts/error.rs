//! Errors in a rule file.

use std::fmt;

/// An error in a rule file, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// `rule` or `webhook`, and the name or the number of the table; none for the file as a whole.
    pub place: Option<String>,
    /// Name of the field, and what is wrong with it.
    pub problem: String,
}

impl RuleError {
    /// An error of the file as a whole.
    pub(super) const fn of_file(problem: String) -> Self {
        Self { place: None, problem }
    }

    pub(super) fn of_rule(name: &str, problem: String) -> Self {
        Self { place: Some(format!("rule {name}")), problem }
    }

    pub(super) fn of_webhook(name: &str, problem: String) -> Self {
        Self { place: Some(format!("webhook {name}")), problem }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}
