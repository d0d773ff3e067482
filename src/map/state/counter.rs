//! Counting over the last 24 hours, from events and from the usage service.
//!
//! A figure of the usage service is as of the moment of its poll: it includes the events before the poll and none after
//! it. Therefore each counter also keeps a `counted` that only grows; a poll is folded together with the value that
//! `counted` had when the poll began, and the figure shown is the service's plus the events counted since. For a figure
//! that the service does not report, or has not reported for 24 hours, events are counted in hourly buckets of the
//! log's time. Each figure is treated separately, because the service reports only some of them.
//!
//! An agent's calls and tokens are not counted from events where the service answers and was not asked for the agent yet:
//! events have only the calls since the log began, and the sum of all agents would not be a part of the service's total.

use serde::{Deserialize, Serialize};

use crate::map::usage::{CallSource, Counts, Figures, MICROS_PER_MILLI, WINDOW_HOURS};
use crate::model::layers::AgentUsage;

/// The latest figures of the usage service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Base {
    figures: Figures,
    /// The events counted when the poll began.
    counted: Counts,
    /// Position of the log when the poll began.
    mark: u64,
    /// Hour of the log in which the answer was folded.
    hour: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    hour: i64,
    counts: Counts,
}

/// Counter of one agent or channel, or of the whole network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::map) struct Counter {
    counted: Counts,
    base: Option<Base>,
    /// Oldest first.
    buckets: Vec<Bucket>,
}

impl Counter {
    pub(in crate::map) fn add(&mut self, hour: i64, counts: Counts) {
        self.counted = self.counted.plus(counts);
        match self.buckets.last_mut() {
            Some(last) if last.hour >= hour => last.counts = last.counts.plus(counts),
            _ => {
                self.expire(hour);
                self.buckets.push(Bucket { hour, counts });
            }
        }
    }

    /// Removes what is older than the window.
    pub(in crate::map) fn expire(&mut self, hour: i64) {
        self.buckets.retain(|bucket| bucket.hour + WINDOW_HOURS > hour);
        self.base.take_if(|base| base.hour + WINDOW_HOURS <= hour);
    }

    /// The hour of the log in which the current figures were folded.
    pub(in crate::map) fn base_hour(&self) -> Option<i64> {
        self.base.as_ref().map(|base| base.hour)
    }

    /// The next hour at which [`Self::expire`] removes something.
    pub(in crate::map) fn next_deadline(&self) -> Option<i64> {
        let base = self.base.as_ref().map(|base| base.hour);
        let bucket = self.buckets.first().map(|bucket| bucket.hour);
        base.into_iter().chain(bucket).min().map(|hour| hour + WINDOW_HOURS)
    }

    /// Sum of all events ever counted.
    pub(in crate::map) const fn counted(&self) -> Counts {
        self.counted
    }

    /// Position of the log when the poll of the current figures began.
    pub(in crate::map) fn base_mark(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.mark)
    }

    /// Returns `true` if there are events by which calls or tokens are counted while the service reports none of them.
    pub(in crate::map) fn depends_on_source(&self) -> bool {
        self.base.as_ref().is_none_or(|base| base.figures.llm_calls.is_none() || base.figures.tokens.is_none())
            && self.buckets.iter().any(|bucket| bucket.counts.llm_calls > 0 || bucket.counts.tokens > 0)
    }

    /// The calls of the last 24 hours.
    pub(in crate::map) fn llm_calls(&self) -> u64 {
        self.llm_calls_at(self.counted)
    }

    /// [`Self::llm_calls`] when [`Self::counted`] was `counted`.
    pub(in crate::map) fn llm_calls_at(&self, counted: Counts) -> u64 {
        self.shown_at(counted, CallSource::Events).llm_calls_24h.unwrap_or(0)
    }

    /// The messages of the last 24 hours.
    pub(in crate::map) fn messages(&self) -> u64 {
        self.shown(CallSource::Events).messages_24h
    }

    /// The figures to show.
    pub(in crate::map) fn shown(&self, source: CallSource) -> AgentUsage {
        self.shown_at(self.counted, source)
    }

    /// The figures shown when [`Self::counted`] was `counted`.
    pub(in crate::map) fn shown_at(&self, counted: Counts, source: CallSource) -> AgentUsage {
        let window = self.buckets.iter().fold(Counts::default(), |sum, bucket| sum.plus(bucket.counts));
        let window = window.minus(self.counted.minus(counted));
        let (reported, since) = match &self.base {
            Some(base) => (base.figures, counted.minus(base.counted)),
            None => (Figures::default(), Counts::default()),
        };
        let figure = |reported: Option<u64>, since| reported.map(|reported| reported.saturating_add(since));
        let counted = |events: u64| (source == CallSource::Events && events > 0).then_some(events);
        AgentUsage {
            llm_calls_24h: figure(reported.llm_calls, since.llm_calls).or_else(|| counted(window.llm_calls)),
            tokens_24h: figure(reported.tokens, since.tokens).or_else(|| counted(window.tokens)),
            messages_24h: figure(reported.messages, since.messages).unwrap_or(window.messages),
            avg_response_time_ms: match reported.avg_response_time_ms {
                Some(average) => weighted_average(Some(average), reported.llm_calls.unwrap_or(0), since),
                None => weighted_average(None, 0, window),
            },
        }
    }

    /// Sets the figures of a poll that began when [`Self::counted`] was `counted`.
    pub(in crate::map) fn rebase(&mut self, figures: Figures, counted: Counts, mark: u64, hour: i64) {
        self.base = Some(Base { figures, counted: counted.min(self.counted), mark, hour });
    }

    /// Limits the position of the poll to `seq`.
    pub(in crate::map) fn limit_positions(&mut self, seq: u64) {
        if let Some(base) = &mut self.base {
            base.mark = base.mark.min(seq);
        }
    }

    pub(in crate::map) fn drop_base(&mut self) {
        self.base = None;
    }

    /// Adds the counter of a merged entity.
    pub(in crate::map) fn merge(&mut self, mut other: Self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.append(&mut other.buckets);
        buckets.sort_by_key(|bucket| bucket.hour);
        for bucket in buckets {
            match self.buckets.last_mut() {
                Some(last) if last.hour == bucket.hour => last.counts = last.counts.plus(bucket.counts),
                _ => self.buckets.push(bucket),
            }
        }
        // the figures that stay are taken to include the other counter's events, so that none is counted twice
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

/// The mean response time, in milliseconds, of `calls` calls with that `average` and of the calls in `counts`.
#[expect(clippy::cast_precision_loss, reason = "an average needs no more than 53 bits")]
fn weighted_average(average: Option<f64>, calls: u64, counts: Counts) -> Option<f64> {
    if counts.timed == 0 {
        return average;
    }
    let total = average.unwrap_or(0.0) * calls as f64 + counts.latency_us as f64 / MICROS_PER_MILLI;
    let average = total / (calls as f64 + counts.timed as f64);
    average.is_finite().then_some((average * MICROS_PER_MILLI).round() / MICROS_PER_MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallSource::{Events, Service};

    fn calls(llm_calls: u64) -> Counts {
        Counts { llm_calls, ..Counts::default() }
    }

    #[test]
    fn events_after_the_mark_are_added_to_the_services_figure() {
        let mut counter = Counter::default();
        counter.add(0, calls(2));
        let at_mark = counter.counted();
        counter.add(0, calls(3));
        counter.rebase(Figures { llm_calls: Some(44), ..Figures::default() }, at_mark, 1, 0);
        assert_eq!(counter.llm_calls(), 47);
        counter.add(1, calls(1));
        assert_eq!(counter.llm_calls(), 48);
        assert_eq!(counter.llm_calls_at(at_mark), 44);
    }

    #[test]
    fn a_figure_older_than_its_window_expires() {
        let mut counter = Counter::default();
        counter.rebase(Figures { llm_calls: Some(44), ..Figures::default() }, Counts::default(), 1, 0);
        counter.add(10, calls(1));
        assert_eq!(counter.next_deadline(), Some(24));
        counter.expire(24);
        assert_eq!(counter.llm_calls(), 1);
        assert_eq!(counter.next_deadline(), Some(34));
        counter.expire(34);
        assert_eq!((counter.llm_calls(), counter.next_deadline()), (0, None));
    }

    #[test]
    fn unreported_figures_stay_as_events_counted_them() {
        let mut counter = Counter::default();
        let mut counts = Counts { llm_calls: 2, messages: 3, ..Counts::default() };
        counts.add_latency(40.0);
        counter.add(0, counts);
        let figures = Figures { llm_calls: Some(9), ..Figures::default() };
        counter.rebase(figures, counter.counted(), 1, 0);
        counter.add(1, Counts { llm_calls: 1, messages: 1, ..Counts::default() });
        let shown = counter.shown(Service);
        assert_eq!((shown.llm_calls_24h, shown.messages_24h, shown.avg_response_time_ms), (Some(10), 4, Some(40.0)));
    }

    #[test]
    fn the_average_is_weighted_by_reported_and_counted_calls() {
        let mut counter = Counter::default();
        let figures = Figures { llm_calls: Some(3), avg_response_time_ms: Some(100.0), ..Figures::default() };
        counter.rebase(figures, Counts::default(), 1, 0);
        let mut call = calls(1);
        call.add_latency(500.0);
        counter.add(0, call);
        assert_eq!(counter.shown(Service).avg_response_time_ms, Some(200.0));
    }

    #[test]
    fn events_count_calls_only_without_the_service() {
        let mut counter = Counter::default();
        assert_eq!((counter.shown(Events).llm_calls_24h, counter.depends_on_source()), (None, false));
        counter.add(0, calls(2));
        assert_eq!((counter.shown(Events).llm_calls_24h, counter.shown(Service).llm_calls_24h), (Some(2), None));
        assert_eq!((counter.shown(Events).tokens_24h, counter.depends_on_source()), (None, true));
        counter.rebase(Figures { llm_calls: Some(0), tokens: Some(0), ..Figures::default() }, counter.counted(), 1, 0);
        assert_eq!((counter.shown(Service).llm_calls_24h, counter.depends_on_source()), (Some(0), false));
    }
}
