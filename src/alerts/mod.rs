//! Alert rules: the leader evaluates the rules of a file, and raises and clears alerts.
//!
//! The [engine](Engine) is pure: it takes log entries, samples of the current state, and the time. Its actions become
//! `living_map.alert.raised` and `.cleared` events in the log, so the map, the stream, the history and, with JetStream, NATS have
//! them, the same on every replica. The map holds the active alerts: after a restart, or on another replica, the engine
//! adopts them instead of raising them again. A replica that wrongly believes to lead does no harm: the same alert raised twice is
//! one alert, and the same action has the same idempotency key.
//!
//! | metric | |
//! |---|---|
//! | `living_map_alert_rules` | gauge: rules in force |
//! | `living_map_alert_rule_loads_total{outcome}` | loads of the file: `loaded`, `failed` |
//! | `living_map_alert_transitions_total{rule,state}` | alerts `raised` and `cleared` |
//! | `living_map_alert_groups_refused_total{rule}` | events of groups beyond the limit of groups |
//! | `living_map_alert_failures_total{step}` | failed steps, which are retried: `read`, `append`, `count` |

mod alerting;
mod destination;
mod engine;
mod error;
mod evaluator;
mod group;
mod message;
mod name;
mod rule;
mod rule_file;
mod rule_table;
mod rules;
mod sliding_window;
mod text_file;
mod webhook_table;

#[cfg(test)]
mod tests;

pub use alerting::{Alerting, AlertingConfig, AlertingHandles, open_rules};
pub use destination::{Destination, SigningKey};
pub use engine::{AlertAction, Engine, Sample};
pub use error::RuleError;
pub use evaluator::AlertEvaluator;
pub use rule_file::{RuleFile, RulesStatus};
pub use rules::{Rules, RulesLimits};
