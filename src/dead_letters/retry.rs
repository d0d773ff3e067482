//! Schedule of the attempts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::config::defaults;
use crate::config::value::{hours, seconds};
use crate::history::dead_letters::{DeadLetter, DeadLetterStatus};

/// Characters of an error message that are stored.
const MAX_ERROR_CHARS: usize = 1_000;

/// Number and times of the retries, and the limit of messages that no retry can help.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Dead letters")]
pub struct RetryConfig {
    /// Seconds before each further attempt, separated by commas; after the last one the message is a dead letter.
    #[arg(id = "DEAD_LETTER_RETRY_SECONDS", env, long = "dead-letter-retry-seconds", default_value = "1,5,30",
        value_delimiter = ',', value_parser = seconds)]
    pub delays: Vec<Duration>,
    /// Hours after which a dead letter is retried once more automatically.
    #[arg(id = "DEAD_LETTER_LAST_RETRY_HOURS", env, long = "dead-letter-last-retry-hours", default_value = "24",
        value_parser = hours(1..=8_760))]
    pub last_delay: Duration,
    /// Messages of the network that cannot be read (they are not JSON) and become dead letters in a minute, by each server;
    /// 0: none.
    ///
    /// Beyond: the message is an event with its note and its bytes like the others, but no dead letter; counted in
    /// `living_map_dead_letters_dropped_total{processor="reader"}`.
    #[arg(
        id = "DEAD_LETTER_UNREADABLE_PER_MINUTE",
        env,
        long = "dead-letter-unreadable-per-minute",
        default_value_t = 60
    )]
    pub unreadable_per_minute: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        defaults()
    }
}

impl RetryConfig {
    /// Delay after failed attempt number `attempts` (from 1); `None` when it was the last.
    #[must_use]
    pub fn delay(&self, attempts: u32) -> Option<Duration> {
        self.delays.get(usize::try_from(attempts).ok()?.checked_sub(1)?).copied()
    }

    /// `letter` after one more failed attempt.
    #[must_use]
    pub fn after_failure(&self, letter: DeadLetter, error: &str, now: DateTime<Utc>) -> DeadLetter {
        let attempts = letter.attempts.saturating_add(1);
        let delay = self.delay(attempts).filter(|_| letter.status == DeadLetterStatus::Retrying);
        let (status, next_at) = match (delay, letter.status) {
            (Some(delay), _) => (DeadLetterStatus::Retrying, Some(now + delay)),
            (None, DeadLetterStatus::Retrying) => (DeadLetterStatus::Dead, Some(now + self.last_delay)),
            // a requested replay leaves the scheduled attempt in place
            (None, _) => (DeadLetterStatus::Dead, letter.next_at.filter(|at| *at > now)),
        };
        DeadLetter { attempts, status, next_at, error: shorten(error), last_failed_at: now, ..letter }
    }
}

/// The first [`MAX_ERROR_CHARS`] characters of an error, without NUL, which PostgreSQL rejects in text.
pub(super) fn shorten(error: &str) -> String {
    error.chars().filter(|c| *c != '\0').take(MAX_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::history::dead_letters::MessageOrigin;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: Uuid::nil(),
            processor: "history".into(),
            subject: "a.b".into(),
            origin: MessageOrigin { stream: "table".into(), seq: 1, cursor: None, logged_at: DateTime::UNIX_EPOCH },
            error: String::new(),
            attempts: 1,
            status: DeadLetterStatus::Retrying,
            first_failed_at: DateTime::UNIX_EPOCH,
            last_failed_at: DateTime::UNIX_EPOCH,
            next_at: None,
            published: false,
            version: 1,
        }
    }

    #[test]
    fn retries_after_1_5_and_30_seconds_then_once_after_a_day() {
        let retries = RetryConfig::default();
        let mut now = DateTime::UNIX_EPOCH;
        let mut letter = letter();
        let mut delays = vec![retries.delay(1).unwrap().as_secs()];
        for _ in 0..3 {
            letter = retries.after_failure(letter, "no", now);
            let next = letter.next_at.unwrap();
            delays.push((next - now).num_seconds().unsigned_abs());
            now = next;
        }
        assert_eq!(delays, [1, 5, 30, 24 * 3_600]);
        assert_eq!((letter.status, letter.attempts), (DeadLetterStatus::Dead, 4));
        letter = retries.after_failure(letter, "still no", now);
        assert_eq!((letter.status, letter.attempts, letter.next_at), (DeadLetterStatus::Dead, 5, None));
    }

    #[test]
    fn a_failed_replay_keeps_the_scheduled_attempt() {
        let retries = RetryConfig::default();
        let tomorrow = DateTime::UNIX_EPOCH + Duration::from_hours(24);
        let dead = DeadLetter { status: DeadLetterStatus::Dead, attempts: 4, next_at: Some(tomorrow), ..letter() };
        assert_eq!(retries.after_failure(dead, "no", DateTime::UNIX_EPOCH).next_at, Some(tomorrow));
    }
}
