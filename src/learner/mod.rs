//! The learner: from what agents live through to lessons.
//!
//! Experiences come in the order of their log. Folding them is pure ([`fold`]): it reads no clock and does no I/O, and the
//! same experiences in the same order give the same lessons under the same keys. So windows need not be saved: after a
//! start they are made again from the stream.
//!
//! | part | what it knows |
//! |---|---|
//! | [`experience`] | what publishers send, and what may be missing of it |
//! | [`fold`], [`window`], [`seen`], [`sample`] | what is remembered of each agent, and for how long |
//! | [`usual`], [`exposure`] | how often things happen by chance, and which agents work with what |
//! | [`rules`] | when what happened is worth a lesson; one file each |
//! | [`memory`] | the fold, and its place in the stream |
//! | [`source`] | the stream of experiences, or the table log |
//! | [`run`] | lessons into the database, and only then the word that experiences need not come again |
//! | [`rejected`] | what is no experience, and becomes a dead letter |
//! | [`review`] | candidates that nobody reviewed in time |
//! | [`announce`] | telling of lessons on the log |
//! | [`preamble`] | the lessons that matter for an agent and a task, as text |
//!
//! | metric | |
//! |---|---|
//! | `js_messages_acked_total` | experiences whose effect is durable |
//! | `js_messages_redelivered_total` | experiences that were delivered again |
//! | `lessons_experiences_total{outcome}` | experiences read |
//! | `lessons_unreadable_total` | what is no experience |
//! | `lessons_duplicates_total`, `lessons_late_total` | experiences not counted: known already, or older than the window |
//! | `lessons_found_total{rule}` | lessons found, those known already included |
//! | `lessons_new_total`, `lessons_replayed_total` | lessons that were new, and that were there |
//! | `lessons_write_failures_total` | attempts to make durable what was learned that failed |
//! | `lessons_refused_total` | lessons that the database refused |
//! | `lessons_reviewed_total{decision,by}` | candidates confirmed or rejected |
//! | `lessons_published_total`, `lessons_unpublishable_total` | told on the log, and what the log does not take |
//! | `lessons_agents` | gauge: agents remembered |
//! | `lessons_lag` | gauge: experiences not learned from yet; NaN when unknown |

pub mod announce;
pub mod config;
pub mod experience;
pub mod exposure;
pub mod fold;
pub mod key;
mod learning;
pub mod memory;
pub mod preamble;
pub mod rejected;
pub mod review;
pub mod rules;
pub mod run;
pub mod sample;
pub mod seen;
pub mod source;
pub mod stats;
pub mod usual;
pub mod window;

pub use config::{LearnerConfig, RuleConfig};
pub use fold::{Fold, Folded};
pub use learning::{Learning, LearningConfig, LearningHandles};
pub use rejected::ExperienceProcessor;
pub use run::{Learner, LearnerStatus, Reject};
pub use source::{StreamSource, TableSource};
