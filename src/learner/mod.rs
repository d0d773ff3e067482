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
//! | [`rules`] | when what happened is worth a lesson; one file each |

pub mod config;
pub mod experience;
pub mod fold;
pub mod key;
pub mod rules;
pub mod sample;
pub mod seen;
pub mod stats;
pub mod window;

pub use config::RuleConfig;
pub use fold::{Fold, Folded};
