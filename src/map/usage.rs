//! Usage figures: sums counted from events, and figures reported by the usage service.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::layers::AgentUsage;

use super::fields;

/// The window of every figure named `…_24h`, in hours.
pub(super) const WINDOW_HOURS: i64 = 24;

pub(super) const MICROS_PER_MILLI: f64 = 1_000.0;

/// Hours of the log after which unchanged figures of the usage service are folded again, so that they do not reach the
/// end of their window while the service answers.
pub(super) const RENEWAL_HOURS: i64 = WINDOW_HOURS / 2;

/// The origin of the figures of calls and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSource {
    /// The usage service, which has answered in the last 24 hours.
    Service,
    /// Events alone.
    Events,
}

/// Sums counted from events. The names of the fields are part of the poll events in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) llm_calls: u64,
    pub(super) tokens: u64,
    pub(super) messages: u64,
    /// Sum of the response times of [`Counts::timed`] calls, in microseconds.
    pub(super) latency_us: u64,
    pub(super) timed: u64,
}

impl Counts {
    /// One message.
    pub(super) const MESSAGE: Self = Self { llm_calls: 0, tokens: 0, messages: 1, latency_us: 0, timed: 0 };

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            llm_calls: f(self.llm_calls, other.llm_calls),
            tokens: f(self.tokens, other.tokens),
            messages: f(self.messages, other.messages),
            latency_us: f(self.latency_us, other.latency_us),
            timed: f(self.timed, other.timed),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    pub(super) fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Adds the response time of one call, in milliseconds.
    pub(super) fn add_latency(&mut self, milliseconds: f64) {
        /// One hour; a longer response time is a publisher's mistake and is ignored.
        const MAX_MS: f64 = 3_600_000.0;
        if (0.0..=MAX_MS).contains(&milliseconds) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
            let micros = (milliseconds * MICROS_PER_MILLI).round() as u64;
            self.latency_us = self.latency_us.saturating_add(micros);
            self.timed = self.timed.saturating_add(1);
        }
    }
}

/// Figures of the usage service; none where it reports no figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) llm_calls: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) messages: Option<u64>,
    pub(super) avg_response_time_ms: Option<f64>,
}

impl Figures {
    /// Returns `true` if they report any usage.
    pub(super) fn is_any(&self) -> bool {
        [self.llm_calls, self.tokens, self.messages].into_iter().flatten().any(|figure| figure > 0)
            || self.avg_response_time_ms.is_some()
    }

    /// Returns `true` if each reported figure equals the one shown.
    pub(super) fn agree(&self, shown: &AgentUsage) -> bool {
        let same = |reported: Option<u64>, shown: Option<u64>| reported.is_none() || reported == shown;
        same(self.llm_calls, shown.llm_calls_24h)
            && same(self.tokens, shown.tokens_24h)
            && same(self.messages, Some(shown.messages_24h))
            && (self.avg_response_time_ms.is_none() || self.avg_response_time_ms == shown.avg_response_time_ms)
    }

    /// Reads an answer's `usage` object; none when a figure in it has a wrong type.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let figure = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => fields::count(value).map(Some),
        };
        let avg_response_time_ms = match object.get("avg_response_time_ms") {
            None | Some(Value::Null) => None,
            Some(value) => Some(fields::number(value).filter(|average| *average >= 0.0)?),
        };
        Some(Self {
            llm_calls: figure("llm_calls_24h")?,
            tokens: figure("tokens_24h")?,
            messages: figure("messages_24h")?,
            avg_response_time_ms,
        })
    }

    /// The inverse of [`Self::read`].
    pub(super) fn write(&self) -> Value {
        let mut object = Map::new();
        let counts = [("llm_calls_24h", self.llm_calls), ("tokens_24h", self.tokens), ("messages_24h", self.messages)];
        for (name, figure) in counts {
            object.extend(figure.map(|figure| (name.to_owned(), Value::from(figure))));
        }
        object
            .extend(self.avg_response_time_ms.map(|average| ("avg_response_time_ms".to_owned(), Value::from(average))));
        Value::Object(object)
    }
}

/// The network's total of model calls in the agents layer of an answer.
pub(super) fn total_calls(agents: &Map<String, Value>) -> Option<u64> {
    agents.get("total_llm_calls_24h").and_then(fields::count)
}
