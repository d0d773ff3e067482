//! Settings of the learner.

use std::time::Duration;

use chrono::TimeDelta;

use crate::model::lesson::SUBJECT;

/// When what happened is worth a lesson. Times are in milliseconds, as in the fold.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleConfig {
    /// The sliding window.
    pub window_ms: i64,
    /// Percent of experiences that are a sample, 0 to 100.
    pub sample_pct: f64,
    /// An answer that took longer is slow.
    pub latency_spike_ms: f64,
    /// Errors of one class within the window that are a burst.
    pub error_threshold: usize,
    /// Silent answers within the window that are worth a lesson.
    pub silent_threshold: usize,
    /// Slow answers within the window that are worth a lesson.
    pub latency_threshold: usize,
    /// Successes without a failure between that end a burst.
    pub recovery_threshold: u32,
    /// How long an event id is remembered.
    pub dedup_ttl_ms: i64,
    /// How many event ids are remembered at most: the oldest go first.
    pub max_ids: usize,
    /// How many agents are remembered at most: those not heard of for longest go first.
    pub max_agents: usize,
    /// See [`crate::learner::baseline_rates`].
    pub chance: ChanceConfig,
    /// See [`crate::learner::rules::shared`].
    pub shared: SharedConfig,
    /// See [`crate::learner::rules::drift`].
    pub drift: DriftConfig,
    /// See [`crate::learner::rules::sibling`].
    pub sibling: SiblingConfig,
}

/// What is left to chance.
#[derive(Debug, Clone, PartialEq)]
pub struct ChanceConfig {
    /// How long a period is; what is usual is known from the one at hand and the one before it.
    pub period_ms: i64,
    /// Experiences from which on it is known what is usual.
    pub min_cases: u64,
    /// Lessons of one rule that may come by chance in a week, all agents together.
    pub lessons_a_week: f64,
}

/// When agents have a cause of their trouble in common.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedConfig {
    /// Agents that are in it, at least.
    pub min_agents: usize,
    /// Of how many in a hundred agents that work with what they have in common, at least.
    pub min_pct: usize,
}

/// When an agent is slower than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftConfig {
    /// How long a block is over which latencies are averaged.
    pub block_ms: i64,
    /// How many blocks are kept to compare with.
    pub blocks: i64,
    /// Sampled answers that a block must have.
    pub min_recent: u64,
    /// Sampled answers that the blocks before must have.
    pub min_baseline: u64,
    /// How many times slower it must be.
    pub min_ratio: f64,
    /// How many standard errors the difference must be.
    pub min_z: f64,
}

/// When a model or a tool is better or worse than the others.
#[derive(Debug, Clone, PartialEq)]
pub struct SiblingConfig {
    /// How long cases are counted together; also how long until the same is said again.
    pub period_ms: i64,
    /// Sampled cases that each side must have.
    pub min_cases: u64,
    /// Agents that each side must have, the worst one left out.
    pub min_agents: usize,
    /// How far apart the shares of failures must be at least, by the interval's near end.
    pub min_difference: f64,
    /// The interval's width in standard errors. The default's chance of being wrong (7 in a million) leaves room for the
    /// thousands of comparisons a week has.
    pub z: f64,
    /// Names of models, and of tools, that are told apart in one period.
    pub max_names: usize,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            window_ms: 1_800_000,
            sample_pct: 10.0,
            latency_spike_ms: 5_000.0,
            error_threshold: 3,
            silent_threshold: 5,
            latency_threshold: 3,
            recovery_threshold: 3,
            dedup_ttl_ms: 3_600_000,
            max_ids: 1_000_000,
            max_agents: 100_000,
            chance: ChanceConfig::default(),
            shared: SharedConfig::default(),
            drift: DriftConfig::default(),
            sibling: SiblingConfig::default(),
        }
    }
}

impl RuleConfig {
    /// How far back an experience can matter for what the next one teaches.
    #[must_use]
    pub fn memory_ms(&self) -> i64 {
        let drift = self.drift.block_ms.saturating_mul(self.drift.blocks + 1);
        let usual = self.chance.period_ms.saturating_mul(2);
        self.window_ms.saturating_mul(2).max(drift).max(usual).max(self.sibling.period_ms).max(self.dedup_ttl_ms)
    }

    /// How many windows a week has.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
    pub fn windows_a_week(&self) -> f64 {
        604_800_000.0 / self.window_ms.max(1) as f64
    }
}

impl Default for ChanceConfig {
    fn default() -> Self {
        Self { period_ms: 86_400_000, min_cases: 10_000, lessons_a_week: 0.01 }
    }
}

impl Default for SharedConfig {
    fn default() -> Self {
        Self { min_agents: 5, min_pct: 20 }
    }
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { block_ms: 21_600_000, blocks: 8, min_recent: 20, min_baseline: 40, min_ratio: 1.5, min_z: 6.0 }
    }
}

impl Default for SiblingConfig {
    fn default() -> Self {
        Self { period_ms: 86_400_000, min_cases: 50, min_agents: 3, min_difference: 0.05, z: 4.5, max_names: 64 }
    }
}

/// How the learner works.
#[derive(Debug, Clone)]
pub struct LearnerConfig {
    /// The rules.
    pub rules: RuleConfig,
    /// After how long a candidate that nobody has reviewed is reviewed by the heuristic.
    pub review_after: Duration,
    /// How long a person's rejection counts for what is like it.
    pub rejection_counts: TimeDelta,
    /// The subject under which lessons are told; none: they are not.
    pub subject: Option<String>,
    /// How often the outbox and the candidates are looked at.
    pub interval: Duration,
    /// Lessons told or reviewed at a time.
    pub batch: u32,
    /// How often the position in a log without consumers is kept when nothing was learned.
    pub position_interval: Duration,
    /// The wait before the first attempt after a failure; doubled after each.
    pub retry_min: Duration,
    /// The longest wait between two attempts.
    pub retry_max: Duration,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        Self {
            rules: RuleConfig::default(),
            review_after: Duration::from_mins(15),
            rejection_counts: TimeDelta::days(30),
            subject: Some(SUBJECT.to_owned()),
            interval: Duration::from_millis(500),
            batch: 100,
            position_interval: Duration::from_secs(1),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
        }
    }
}
