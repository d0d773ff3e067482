//! The learner: derives lessons from the experiences of agents.
//!
//! Experiences come in the order of their log. Folding them is pure ([`fold`]): it reads no clock and does no I/O, and
//! the same experiences in the same order give the same lessons with the same keys. So the state is not saved: after a
//! restart it is rebuilt from the stream.
//!
//! | module | |
//! |---|---|
//! | [`experience`], [`case`] | decoding of experiences, and their form for the rules |
//! | [`fold`], [`occurrences`], [`dedup`], [`sample`] | the state of each agent, and its limits |
//! | [`baseline_rates`], [`activity_rate`], [`agent_counts`] | how often symptoms occur by chance, and how many agents use what |
//! | [`rules`] | which experiences are worth a lesson; one file each |
//! | [`state`] | the fold with its position in the stream |
//! | [`source`] | the stream of experiences, or the table log |
//! | [`run`] | the task: stores lessons, then acknowledges experiences |
//! | [`rejected`] | dead letters: events that are not readable as experiences |
//! | [`review`] | heuristic review of candidates that no operator reviewed in time |
//! | [`publisher`] | publishes lessons on the log |
//! | [`preamble`] | the most relevant lessons for an agent and a task, as text |
//!
//! | metric | |
//! |---|---|
//! | `js_messages_acked_total` | experiences whose effects are durable |
//! | `js_messages_redelivered_total` | experiences that were delivered again |
//! | `lessons_experiences_total{outcome}` | experiences read |
//! | `lessons_unreadable_total` | events that are not readable as experiences |
//! | `lessons_duplicates_total`, `lessons_late_total` | experiences not counted: duplicates, or older than the window |
//! | `lessons_found_total{rule}` | lessons found, including known ones |
//! | `lessons_new_total`, `lessons_replayed_total` | new lessons, and lessons found again |
//! | `lessons_write_failures_total` | failed attempts to store lessons |
//! | `lessons_refused_total` | lessons that the database rejected |
//! | `lessons_reviewed_total{decision,by}` | candidates confirmed or rejected |
//! | `lessons_published_total`, `lessons_unpublishable_total` | lessons published on the log, and those that the log rejected |
//! | `lessons_agents` | gauge: agents in the state |
//! | `lessons_lag` | gauge: experiences not yet folded; NaN when unknown |

pub mod activity_rate;
pub mod agent_counts;
pub mod baseline_rates;
pub mod case;
pub mod config;
pub mod dedup;
pub mod experience;
pub mod fold;
pub mod key;
mod learning;
pub mod occurrences;
pub mod preamble;
pub mod publisher;
pub mod rejected;
pub mod review;
pub mod rules;
pub mod run;
pub mod sample;
pub mod source;
pub mod state;
pub mod stats;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::{LearnerConfig, RuleConfig};
pub use fold::{Fold, FoldResult};
pub use learning::{Learning, LearningConfig, LearningHandles};
pub use rejected::ExperienceProcessor;
pub use run::{Learner, LearnerStatus, Reject};
pub use source::{StreamSource, TableSource};
