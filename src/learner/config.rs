//! Configuration of the learner.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use clap::builder::{RangedU64ValueParser, TypedValueParser};

use crate::config::defaults;
use crate::config::value::{above_zero, as_milliseconds, percent, seconds};
use crate::model::lesson::SUBJECT;
use crate::model::subject::{Pattern, literal_subject};

/// Thresholds and memory of the rules. Times are in milliseconds, as in the fold.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Learner")]
pub struct RuleConfig {
    /// Sliding window of the rules, in seconds.
    #[arg(id = "EXPERIENCE_WINDOW_SECONDS", env, long = "experience-window-seconds", default_value = "1800",
        value_parser = seconds.map(as_milliseconds))]
    pub window_ms: i64,
    /// Percentage of experiences in the sample, for drift and for comparing models and tools.
    #[arg(id = "EXPERIENCE_OK_SAMPLE_PCT", env, long = "experience-ok-sample-pct", default_value = "10",
        value_parser = percent)]
    pub sample_pct: f64,
    /// Milliseconds above which an answer is slow.
    #[arg(id = "EXPERIENCE_LATENCY_SPIKE_MS", env, long = "experience-latency-spike-ms", default_value = "5000",
        value_parser = clap::value_parser!(u32).map(f64::from))]
    pub latency_spike_ms: f64,
    /// Failures of one class within the window that are a burst.
    #[arg(id = "EXPERIENCE_ERROR_THRESHOLD", env, long = "experience-error-threshold", default_value_t = 3,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub error_threshold: usize,
    /// Silent answers within the window that make a lesson.
    #[arg(id = "EXPERIENCE_SILENT_THRESHOLD", env, long = "experience-silent-threshold", default_value_t = 5,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub silent_threshold: usize,
    /// Slow answers within the window that make a lesson.
    #[arg(id = "EXPERIENCE_LATENCY_THRESHOLD", env, long = "experience-latency-threshold", default_value_t = 3,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub latency_threshold: usize,
    /// Baseline rates.
    #[command(flatten)]
    pub chance: ChanceConfig,
    /// Common causes.
    #[command(flatten)]
    pub shared: SharedConfig,
    /// Consecutive successes that end a burst.
    #[arg(id = "EXPERIENCE_RECOVERY_THRESHOLD", env, long = "experience-recovery-threshold", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub recovery_threshold: u32,
    /// Drift.
    #[command(flatten)]
    pub drift: DriftConfig,
    /// Comparison of models and tools.
    #[command(flatten)]
    pub sibling: SiblingConfig,
    /// Seconds for which the id of an experience is remembered, so that it counts once.
    #[arg(id = "EXPERIENCE_EVENT_DEDUP_TTL_SECONDS", env, long = "experience-event-dedup-ttl-seconds",
        default_value = "3600", value_parser = seconds.map(as_milliseconds))]
    pub dedup_ttl_ms: i64,
    /// Ids of experiences that are remembered.
    ///
    /// Beyond: the oldest are dropped.
    #[arg(id = "EXPERIENCE_MAX_IDS", env, long = "experience-max-ids", default_value_t = 1_000_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_000..=100_000_000))]
    pub max_ids: usize,
    /// Agents that are remembered.
    ///
    /// Beyond: those without experiences for longest are dropped.
    #[arg(id = "EXPERIENCE_MAX_AGENTS", env, long = "experience-max-agents", default_value_t = 100_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=10_000_000))]
    pub max_agents: usize,
}

/// Baseline rates: how often failures, silences and slow answers are expected anyway.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Learner")]
pub struct ChanceConfig {
    /// Length of a period; baseline rates are those of the current one and the one before.
    #[arg(skip = 86_400_000_i64)]
    pub period_ms: i64,
    /// Lessons of one rule per week that may occur by chance, all agents together: where baseline rates are known, more than
    /// the threshold is required until chance is an unlikely explanation. A large number leaves only the thresholds.
    #[arg(id = "EXPERIENCE_CHANCE_LESSONS_PER_WEEK", env, long = "experience-chance-lessons-per-week",
        default_value = "0.01", value_parser = above_zero)]
    pub lessons_a_week: f64,
    /// Experiences of two days from which baseline rates are known.
    #[arg(id = "EXPERIENCE_CHANCE_MIN_CASES", env, long = "experience-chance-min-cases", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub min_cases: u64,
}

/// Common cause of failures of several agents.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Learner")]
pub struct SharedConfig {
    /// Smallest number of agents with the same failure at once for a lesson about their common cause.
    #[arg(id = "EXPERIENCE_SHARED_MIN_AGENTS", env, long = "experience-shared-min-agents", default_value_t = 5,
        value_parser = RangedU64ValueParser::<usize>::new().range(2..=1_000_000))]
    pub min_agents: usize,
    /// Smallest percentage of the agents that use the model or tool in common.
    #[arg(id = "EXPERIENCE_SHARED_MIN_PCT", env, long = "experience-shared-min-pct", default_value_t = 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub min_pct: usize,
}

/// Drift: an agent slower than it was.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Learner")]
pub struct DriftConfig {
    /// Seconds over which an agent's latencies are averaged (a block); a block is compared with the eight before it.
    #[arg(id = "EXPERIENCE_DRIFT_BLOCK_SECONDS", env, long = "experience-drift-block-seconds", default_value = "21600",
        value_parser = seconds.map(as_milliseconds))]
    pub block_ms: i64,
    /// Blocks kept for comparison.
    #[arg(skip = 8_i64)]
    pub blocks: i64,
    /// Sampled answers that a block must have.
    #[arg(skip = 20_u64)]
    pub min_recent: u64,
    /// Sampled answers that the blocks before must have.
    #[arg(skip = 40_u64)]
    pub min_baseline: u64,
    /// Smallest slowdown that is drift, in percent.
    #[arg(id = "EXPERIENCE_DRIFT_MIN_PCT", env, long = "experience-drift-min-pct", default_value = "50",
        value_parser = clap::value_parser!(u32).range(1..=10_000).map(|percent| 1.0 + f64::from(percent) / 100.0))]
    pub min_ratio: f64,
    /// Smallest difference in standard errors.
    #[arg(skip = 6.0)]
    pub min_z: f64,
}

/// Comparison of a model or a tool with the others.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Learner")]
pub struct SiblingConfig {
    /// Period in which cases are counted together; also the time until a lesson is repeated.
    #[arg(skip = 86_400_000_i64)]
    pub period_ms: i64,
    /// Sampled cases that a model or tool, and the others, must have to be compared.
    #[arg(id = "EXPERIENCE_SIBLING_MIN_CASES", env, long = "experience-sibling-min-cases", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(20..=1_000_000))]
    pub min_cases: u64,
    /// Agents that each side must have, without the worst one.
    #[arg(skip = 3_usize)]
    pub min_agents: usize,
    /// Smallest difference of failures, in percent of the cases, by the near end of the confidence interval.
    #[arg(id = "EXPERIENCE_SIBLING_MIN_DIFFERENCE_PCT", env, long = "experience-sibling-min-difference-pct",
        default_value = "5", value_parser = percent.map(|percent| percent / 100.0))]
    pub min_difference: f64,
    /// Width of the interval in standard errors. The default's chance of being wrong (7 in a million) leaves room for the
    /// thousands of comparisons in a week.
    #[arg(skip = 4.5)]
    pub z: f64,
    /// Names of models, and of tools, that are distinguished in one period.
    #[arg(skip = 64_usize)]
    pub max_names: usize,
}

impl Default for RuleConfig {
    fn default() -> Self {
        defaults()
    }
}

impl RuleConfig {
    /// Age up to which an experience can affect a rule, in milliseconds.
    #[must_use]
    pub fn memory_ms(&self) -> i64 {
        let drift = self.drift.block_ms.saturating_mul(self.drift.blocks + 1);
        let baseline = self.chance.period_ms.saturating_mul(2);
        self.window_ms.saturating_mul(2).max(drift).max(baseline).max(self.sibling.period_ms).max(self.dedup_ttl_ms)
    }

    /// Number of windows in a week.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^52")]
    pub fn windows_a_week(&self) -> f64 {
        604_800_000.0 / self.window_ms.max(1) as f64
    }
}

impl Default for ChanceConfig {
    fn default() -> Self {
        defaults()
    }
}

impl Default for SharedConfig {
    fn default() -> Self {
        defaults()
    }
}

impl Default for DriftConfig {
    fn default() -> Self {
        defaults()
    }
}

impl Default for SiblingConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Rules, review and publication of lessons.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Learner")]
pub struct LearnerConfig {
    /// The rules.
    #[command(flatten)]
    pub rules: RuleConfig,
    /// Seconds after which the server reviews a lesson without a person's review.
    #[arg(id = "LESSON_REVIEW_SECONDS", env, long = "lesson-review-seconds", default_value = "900",
        value_parser = seconds)]
    pub review_after: Duration,
    /// Time for which a person's rejection applies to similar lessons.
    #[arg(skip = TimeDelta::days(30))]
    pub rejection_counts: TimeDelta,
    /// Subject under which lessons are published. The log records it in addition to its own subjects; the map shows only
    /// lessons of `agent.lesson.v1`.
    #[arg(id = "LESSON_SUBJECT", env, long = "lesson-subject", default_value = SUBJECT, value_parser = literal_subject)]
    pub lesson_subject: Pattern,
    /// Whether lessons are published on the log.
    #[arg(id = "LESSON_PUBLISH_ENABLED", env, long = "lesson-publish-enabled", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub publish: bool,
    /// Polling interval of the outbox and the candidates.
    #[arg(skip = Duration::from_millis(500))]
    pub interval: Duration,
    /// Lessons published or reviewed at a time.
    #[arg(skip = 100_u32)]
    pub batch: u32,
    /// Interval of saving the position in a log without consumers while there are no lessons.
    #[arg(skip = Duration::from_secs(1))]
    pub position_interval: Duration,
    /// Wait before the first attempt after a failure; doubled after each.
    #[arg(skip = Duration::from_millis(100))]
    pub retry_min: Duration,
    /// Longest wait between two attempts.
    #[arg(skip = Duration::from_secs(5))]
    pub retry_max: Duration,
}

impl LearnerConfig {
    /// The subject under which lessons are published; none when they are not.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.publish.then(|| self.lesson_subject.as_str())
    }
}

impl Default for LearnerConfig {
    fn default() -> Self {
        defaults()
    }
}
