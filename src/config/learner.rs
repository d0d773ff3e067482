//! The learner.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::value::{percent, seconds, subject};
use crate::model::subject::Pattern;

/// The learner.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Learner")]
pub struct Learner {
    /// Whether this server learns. `false` where `living-map learn` runs beside it
    #[arg(long, env = "LEARNER_ENABLED", value_name = "LEARNER_ENABLED", default_value_t = true, action = clap::ArgAction::Set)]
    pub learner_enabled: bool,

    /// The database of the lessons. Unset: `DATABASE_URL`
    #[arg(long, env = "LEARNER_DATABASE_URL", value_name = "LEARNER_DATABASE_URL", hide_env_values = true)]
    pub learner_database_url: Option<String>,

    /// The port of `living-map learn`, for `/health` and `/metrics`
    #[arg(long, env = "LEARNER_PORT", value_name = "LEARNER_PORT", default_value_t = 9109)]
    pub learner_port: u16,

    /// The stream of experiences
    #[arg(long, env = "EXPERIENCE_STREAM_NAME", value_name = "EXPERIENCE_STREAM_NAME", default_value = "EXPERIENCE")]
    pub experience_stream_name: String,

    /// Their subjects in that stream
    #[arg(long, env = "EXPERIENCE_SUBJECT", value_name = "EXPERIENCE_SUBJECT", default_value = "agent.experience.v1.>", value_parser = super::value::pattern)]
    pub experience_subject: Pattern,

    /// The durable consumer
    #[arg(
        long,
        env = "EXPERIENCE_DURABLE",
        value_name = "EXPERIENCE_DURABLE",
        default_value = "experience-learner-v1"
    )]
    pub experience_durable: String,

    /// Seconds until an experience that was not acknowledged is delivered again
    #[arg(long = "experience-ack-wait-seconds", env = "EXPERIENCE_ACK_WAIT_SECONDS", value_name = "EXPERIENCE_ACK_WAIT_SECONDS", default_value = "30", value_parser = seconds)]
    pub experience_ack_wait: Duration,

    /// How often an experience is delivered at most
    #[arg(long, env = "EXPERIENCE_MAX_DELIVER", value_name = "EXPERIENCE_MAX_DELIVER", default_value_t = 20,
        value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub experience_max_deliver: i64,

    /// Experiences that are fetched at a time
    #[arg(long, env = "EXPERIENCE_FETCH_BATCH", value_name = "EXPERIENCE_FETCH_BATCH", default_value_t = 64,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub experience_fetch_batch: usize,

    /// Seconds that a fetch waits for experiences
    #[arg(long = "experience-fetch-timeout-seconds", env = "EXPERIENCE_FETCH_TIMEOUT_SECONDS", value_name = "EXPERIENCE_FETCH_TIMEOUT_SECONDS", default_value = "2", value_parser = seconds)]
    pub experience_fetch_timeout: Duration,

    /// The sliding window of the rules, in seconds
    #[arg(long = "experience-window-seconds", env = "EXPERIENCE_WINDOW_SECONDS", value_name = "EXPERIENCE_WINDOW_SECONDS", default_value = "1800", value_parser = seconds)]
    pub experience_window: Duration,

    /// Percent of experiences that are a sample, for drift and for comparing models and tools
    #[arg(long, env = "EXPERIENCE_OK_SAMPLE_PCT", value_name = "EXPERIENCE_OK_SAMPLE_PCT", default_value = "10", value_parser = percent)]
    pub experience_ok_sample_pct: f64,

    /// Milliseconds beyond which an answer is slow
    #[arg(
        long,
        env = "EXPERIENCE_LATENCY_SPIKE_MS",
        value_name = "EXPERIENCE_LATENCY_SPIKE_MS",
        default_value_t = 5_000
    )]
    pub experience_latency_spike_ms: u32,

    /// Failures of one class within the window that are a burst
    #[arg(long, env = "EXPERIENCE_ERROR_THRESHOLD", value_name = "EXPERIENCE_ERROR_THRESHOLD", default_value_t = 3,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub experience_error_threshold: usize,

    /// Silent answers within the window that are worth a lesson
    #[arg(long, env = "EXPERIENCE_SILENT_THRESHOLD", value_name = "EXPERIENCE_SILENT_THRESHOLD", default_value_t = 5,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub experience_silent_threshold: usize,

    /// Slow answers within the window that are worth a lesson
    #[arg(long, env = "EXPERIENCE_LATENCY_THRESHOLD", value_name = "EXPERIENCE_LATENCY_THRESHOLD", default_value_t = 3,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub experience_latency_threshold: usize,

    /// Lessons of one rule that may come by chance in a week, all agents together: where it is known how often failures,
    /// silences and slow answers happen by themselves, more than the threshold are asked for until chance is no explanation.
    /// A large number: the thresholds decide alone
    #[arg(long, env = "EXPERIENCE_CHANCE_LESSONS_PER_WEEK", value_name = "EXPERIENCE_CHANCE_LESSONS_PER_WEEK", default_value = "0.01", value_parser = super::value::above_zero)]
    pub experience_chance_lessons_per_week: f64,

    /// Experiences of two days from which on it is known what happens by itself
    #[arg(long, env = "EXPERIENCE_CHANCE_MIN_CASES", value_name = "EXPERIENCE_CHANCE_MIN_CASES", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub experience_chance_min_cases: u64,

    /// Agents that must be in the same trouble at once for a lesson about their common cause, at least
    #[arg(long, env = "EXPERIENCE_SHARED_MIN_AGENTS", value_name = "EXPERIENCE_SHARED_MIN_AGENTS", default_value_t = 5,
        value_parser = RangedU64ValueParser::<usize>::new().range(2..=1_000_000))]
    pub experience_shared_min_agents: usize,

    /// Percent of the agents that work with what they have in common, at least
    #[arg(long, env = "EXPERIENCE_SHARED_MIN_PCT", value_name = "EXPERIENCE_SHARED_MIN_PCT", default_value_t = 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub experience_shared_min_pct: usize,

    /// Successes in a row that end a burst, at least
    #[arg(long, env = "EXPERIENCE_RECOVERY_THRESHOLD", value_name = "EXPERIENCE_RECOVERY_THRESHOLD", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub experience_recovery_threshold: u32,

    /// Seconds of one block in which an agent's latencies are averaged; eight blocks are compared with
    #[arg(long = "experience-drift-block-seconds", env = "EXPERIENCE_DRIFT_BLOCK_SECONDS", value_name = "EXPERIENCE_DRIFT_BLOCK_SECONDS", default_value = "21600", value_parser = seconds)]
    pub experience_drift_block: Duration,

    /// Percent by which an agent must be slower than it was, at least
    #[arg(long, env = "EXPERIENCE_DRIFT_MIN_PCT", value_name = "EXPERIENCE_DRIFT_MIN_PCT", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub experience_drift_min_pct: u32,

    /// Sampled cases that a model or tool and each other must have to be compared
    #[arg(long, env = "EXPERIENCE_SIBLING_MIN_CASES", value_name = "EXPERIENCE_SIBLING_MIN_CASES", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(20..=1_000_000))]
    pub experience_sibling_min_cases: u64,

    /// Percent of cases by which their failures must differ, by the near end of the interval
    #[arg(long, env = "EXPERIENCE_SIBLING_MIN_DIFFERENCE_PCT", value_name = "EXPERIENCE_SIBLING_MIN_DIFFERENCE_PCT", default_value = "5", value_parser = percent)]
    pub experience_sibling_min_difference_pct: f64,

    /// Seconds for which the id of an experience is remembered, so that it counts once
    #[arg(long = "experience-event-dedup-ttl-seconds", env = "EXPERIENCE_EVENT_DEDUP_TTL_SECONDS", value_name = "EXPERIENCE_EVENT_DEDUP_TTL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub experience_event_dedup_ttl: Duration,

    /// Ids that are remembered at most
    #[arg(long, env = "EXPERIENCE_MAX_IDS", value_name = "EXPERIENCE_MAX_IDS", default_value_t = 1_000_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_000..=100_000_000))]
    pub experience_max_ids: usize,

    /// Agents that are remembered at most; those not heard of for longest go first
    #[arg(long, env = "EXPERIENCE_MAX_AGENTS", value_name = "EXPERIENCE_MAX_AGENTS", default_value_t = 100_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=10_000_000))]
    pub experience_max_agents: usize,

    /// Seconds after which a lesson that nobody has reviewed is reviewed by the server
    #[arg(long = "lesson-review-seconds", env = "LESSON_REVIEW_SECONDS", value_name = "LESSON_REVIEW_SECONDS", default_value = "900", value_parser = seconds)]
    pub lesson_review: Duration,

    /// The subject under which lessons are told. One that the log does not record by itself is added to those it does;
    /// on the map only `agent.lesson.v1` shows
    #[arg(long, env = "LESSON_SUBJECT", value_name = "LESSON_SUBJECT", default_value = "agent.lesson.v1", value_parser = subject)]
    pub lesson_subject: Pattern,

    /// Whether lessons are told on the log
    #[arg(long, env = "LESSON_PUBLISH_ENABLED", value_name = "LESSON_PUBLISH_ENABLED", default_value_t = true, action = clap::ArgAction::Set)]
    pub lesson_publish_enabled: bool,
}
