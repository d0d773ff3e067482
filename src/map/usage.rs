//! Counting over the last 24 hours: what events add, and what the usage service says outright.
//!
//! The usage service's figures are of the moment of its poll. Events counted before the poll are in them, events after
//! it are not. So each counter also keeps a `counted` that only grows; a poll is folded together with the `counted` of
//! the moment it began, and what is shown is the service's figure plus what was counted since. Where the service has
//! said nothing (or nothing for 24 hours) events are counted in hourly buckets of the log's time. That goes figure by
//! figure: the service gives some of an agent's figures and not others.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::layers::AgentUsage;

use super::fields;

/// The window of every figure that is named `…_24h`, in hours.
pub(super) const WINDOW_HOURS: i64 = 24;

const MICROS_PER_MILLI: f64 = 1_000.0;

/// Sums of what events said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) llm_calls: u64,
    pub(super) tokens: u64,
    pub(super) messages: u64,
    /// Sum of the response times, in microseconds, of [`Counts::timed`] calls.
    pub(super) latency_us: u64,
    pub(super) timed: u64,
}

impl Counts {
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

    fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    pub(super) fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Notes the response time of one call, in milliseconds.
    pub(super) fn time(&mut self, milliseconds: f64) {
        /// An hour: a longer answer is a mistake of its publisher.
        const LONGEST_MS: f64 = 3_600_000.0;
        if (0.0..=LONGEST_MS).contains(&milliseconds) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
            let micros = (milliseconds * MICROS_PER_MILLI).round() as u64;
            self.latency_us = self.latency_us.saturating_add(micros);
            self.timed = self.timed.saturating_add(1);
        }
    }
}

/// Figures as the usage service gives them; none for what it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) llm_calls: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) messages: Option<u64>,
    pub(super) avg_response_time_ms: Option<f64>,
}

impl Figures {
    /// Whether they say of any use at all.
    pub(super) fn is_any(&self) -> bool {
        [self.llm_calls, self.tokens, self.messages].into_iter().flatten().any(|figure| figure > 0)
            || self.avg_response_time_ms.is_some()
    }

    /// Whether all that they say is shown already.
    pub(super) fn agree(&self, shown: &AgentUsage) -> bool {
        let same = |said: Option<u64>, shown| said.is_none_or(|said| said == shown);
        same(self.llm_calls, shown.llm_calls_24h)
            && same(self.tokens, shown.tokens_24h)
            && same(self.messages, shown.messages_24h)
            && (self.avg_response_time_ms.is_none() || self.avg_response_time_ms == shown.avg_response_time_ms)
    }
}

/// Figures that the usage service gave outright.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Base {
    figures: Figures,
    /// What was counted when the poll began.
    counted: Counts,
    /// The poll's mark.
    mark: u64,
    /// When it was folded.
    hour: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    hour: i64,
    counts: Counts,
}

/// Counts of one agent or channel, or of everybody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter {
    counted: Counts,
    base: Option<Base>,
    /// Oldest first.
    buckets: Vec<Bucket>,
}

impl Counter {
    pub(super) fn add(&mut self, hour: i64, counts: Counts) {
        self.counted = self.counted.plus(counts);
        match self.buckets.last_mut() {
            Some(last) if last.hour >= hour => last.counts = last.counts.plus(counts),
            _ => {
                self.expire(hour);
                self.buckets.push(Bucket { hour, counts });
            }
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn expire(&mut self, hour: i64) {
        self.buckets.retain(|bucket| bucket.hour + WINDOW_HOURS > hour);
        self.base.take_if(|base| base.hour + WINDOW_HOURS <= hour);
    }

    /// The hour at which something is to be forgotten.
    pub(super) fn due(&self) -> Option<i64> {
        let base = self.base.as_ref().map(|base| base.hour);
        let bucket = self.buckets.first().map(|bucket| bucket.hour);
        base.into_iter().chain(bucket).min().map(|hour| hour + WINDOW_HOURS)
    }

    /// Everything ever counted.
    pub(super) const fn counted(&self) -> Counts {
        self.counted
    }

    /// The mark of the service's figures that are in force.
    pub(super) fn base_mark(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.mark)
    }

    /// The figures to show.
    pub(super) fn shown(&self) -> AgentUsage {
        self.shown_at(self.counted)
    }

    /// The figures shown when `counted` was what it is said to have been.
    pub(super) fn shown_at(&self, counted: Counts) -> AgentUsage {
        let window = self.buckets.iter().fold(Counts::default(), |sum, bucket| sum.plus(bucket.counts));
        let window = window.minus(self.counted.minus(counted));
        let (said, since) = match &self.base {
            Some(base) => (base.figures, counted.minus(base.counted)),
            None => (Figures::default(), Counts::default()),
        };
        let figure = |said: Option<u64>, since, window| said.map_or(window, |said| said.saturating_add(since));
        AgentUsage {
            llm_calls_24h: figure(said.llm_calls, since.llm_calls, window.llm_calls),
            tokens_24h: figure(said.tokens, since.tokens, window.tokens),
            messages_24h: figure(said.messages, since.messages, window.messages),
            avg_response_time_ms: match said.avg_response_time_ms {
                Some(average) => weighed(Some(average), said.llm_calls.unwrap_or(0), since),
                None => weighed(None, 0, window),
            },
        }
    }

    /// Takes the service's figures of a poll that began when `counted` was reached.
    pub(super) fn rebase(&mut self, figures: Figures, counted: Counts, mark: u64, hour: i64) {
        self.base = Some(Base { figures, counted: counted.min(self.counted), mark, hour });
    }

    pub(super) fn drop_base(&mut self) {
        self.base = None;
    }

    /// Joins the counts of what turned out to be the same entity.
    pub(super) fn absorb(&mut self, mut other: Self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.append(&mut other.buckets);
        buckets.sort_by_key(|bucket| bucket.hour);
        for bucket in buckets {
            match self.buckets.last_mut() {
                Some(last) if last.hour == bucket.hour => last.counts = last.counts.plus(bucket.counts),
                _ => self.buckets.push(bucket),
            }
        }
        // what the other had counted counts as known to whichever figures stay in force, so that nothing counts twice
        let (own, others) = (self.counted, other.counted);
        self.counted = own.plus(others);
        self.base = match (self.base.take(), other.base) {
            (Some(base), Some(newer)) if newer.mark > base.mark => Some((newer, own)),
            (Some(base), _) => Some((base, others)),
            (None, Some(newer)) => Some((newer, own)),
            (None, None) => None,
        }
        .map(|(base, more)| Base { counted: base.counted.plus(more), ..base });
    }
}

/// The mean response time of `calls` calls that took `average` milliseconds each, and of those in `counts`.
#[expect(clippy::cast_precision_loss, reason = "an average needs no more than 53 bits")]
fn weighed(average: Option<f64>, calls: u64, counts: Counts) -> Option<f64> {
    if counts.timed == 0 {
        return average;
    }
    let total = average.unwrap_or(0.0) * calls as f64 + counts.latency_us as f64 / MICROS_PER_MILLI;
    let average = total / (calls as f64 + counts.timed as f64);
    average.is_finite().then_some((average * MICROS_PER_MILLI).round() / MICROS_PER_MILLI)
}

/// Reads an answer's `usage` object; none when a figure in it is of a wrong type.
pub(super) fn read(value: &Value) -> Option<Figures> {
    let object = value.as_object()?;
    let figure = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => fields::count(value).map(Some),
    };
    let avg_response_time_ms = match object.get("avg_response_time_ms") {
        None | Some(Value::Null) => None,
        Some(value) => Some(fields::number(value).filter(|average| *average >= 0.0)?),
    };
    Some(Figures {
        llm_calls: figure("llm_calls_24h")?,
        tokens: figure("tokens_24h")?,
        messages: figure("messages_24h")?,
        avg_response_time_ms,
    })
}

/// [`read`] the other way.
pub(super) fn write(figures: &Figures) -> Value {
    let mut object = Map::new();
    let counts =
        [("llm_calls_24h", figures.llm_calls), ("tokens_24h", figures.tokens), ("messages_24h", figures.messages)];
    for (name, figure) in counts {
        object.extend(figure.map(|figure| (name.to_owned(), Value::from(figure))));
    }
    object
        .extend(figures.avg_response_time_ms.map(|average| ("avg_response_time_ms".to_owned(), Value::from(average))));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(llm_calls: u64) -> Counts {
        Counts { llm_calls, ..Counts::default() }
    }

    #[test]
    fn what_was_counted_after_the_mark_is_added_to_the_services_figure() {
        let mut counter = Counter::default();
        counter.add(0, calls(2));
        let at_mark = counter.counted();
        counter.add(0, calls(3));
        counter.rebase(Figures { llm_calls: Some(44), ..Figures::default() }, at_mark, 1, 0);
        assert_eq!(counter.shown().llm_calls_24h, 47);
        counter.add(1, calls(1));
        assert_eq!(counter.shown().llm_calls_24h, 48);
        assert_eq!(counter.shown_at(at_mark).llm_calls_24h, 44);
    }

    #[test]
    fn a_figure_older_than_its_window_says_nothing_any_more() {
        let mut counter = Counter::default();
        counter.rebase(Figures { llm_calls: Some(44), ..Figures::default() }, Counts::default(), 1, 0);
        counter.add(10, calls(1));
        assert_eq!(counter.due(), Some(24));
        counter.expire(24);
        assert_eq!(counter.shown().llm_calls_24h, 1);
        assert_eq!(counter.due(), Some(34));
        counter.expire(34);
        assert_eq!((counter.shown().llm_calls_24h, counter.due()), (0, None));
    }

    #[test]
    fn what_the_service_does_not_say_stays_as_events_counted_it() {
        let mut counter = Counter::default();
        let mut counts = Counts { llm_calls: 2, messages: 3, ..Counts::default() };
        counts.time(40.0);
        counter.add(0, counts);
        let figures = Figures { llm_calls: Some(9), ..Figures::default() };
        counter.rebase(figures, counter.counted(), 1, 0);
        counter.add(1, Counts { llm_calls: 1, messages: 1, ..Counts::default() });
        let shown = counter.shown();
        assert_eq!((shown.llm_calls_24h, shown.messages_24h, shown.avg_response_time_ms), (10, 4, Some(40.0)));
    }

    #[test]
    fn the_average_weighs_the_services_calls_and_ours() {
        let mut counter = Counter::default();
        let figures = Figures { llm_calls: Some(3), avg_response_time_ms: Some(100.0), ..Figures::default() };
        counter.rebase(figures, Counts::default(), 1, 0);
        let mut call = calls(1);
        call.time(500.0);
        counter.add(0, call);
        assert_eq!(counter.shown().avg_response_time_ms, Some(200.0));
    }
}
