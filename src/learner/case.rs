//! An experience with the times and the sampling decision that the rules use.

use crate::model::Experience;

/// An experience on its way through the rules.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The experience.
    pub experience: &'a Experience,
    /// Its time by the producer's clock, at most `logged`; unix milliseconds.
    pub at: i64,
    /// Its time in the log, unix milliseconds.
    pub logged: i64,
    /// Part of the sample.
    pub sampled: bool,
}
