//! Alert rules: a file says what is worth an alert, and the server that leads raises and clears it.
//!
//! The [engine](Engine) is pure: it is handed entries of the log, samples of what there is, and the time. What it decides
//! becomes `living_map.alert.raised|cleared` events in the log, so that the map, the stream, the past and, on JetStream, NATS
//! have it, and every server the same. What is raised is known from the map: after a restart, or on another server, an alert
//! is taken over and not raised again. A server that believes to lead and does not does no harm: the same alert raised twice
//! is one, and the same decision has the same idempotency key.
//!
//! | metric | |
//! |---|---|
//! | `living_map_alert_rules` | gauge: rules in force |
//! | `living_map_alert_rule_loads_total{outcome}` | the file was read anew: `loaded`, `failed` |
//! | `living_map_alert_transitions_total{rule,state}` | alerts `raised` and `cleared` |
//! | `living_map_alert_groups_refused_total{rule}` | times a group was one too many |
//! | `living_map_alert_failures_total{step}` | what failed and is tried again: `read`, `append`, `count` |

mod destination;
mod engine;
mod file;
mod group;
mod rules;
mod run;
mod window;

#[cfg(test)]
mod tests;

pub use destination::{Destination, SigningKey};
pub use engine::{Effect, Engine};
pub use file::{RuleFile, RulesStatus};
pub use rules::{RuleError, Rules, RulesLimits};
pub use run::AlertEvaluator;
