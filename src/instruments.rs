//! Declarations of metrics, and the counter of rejections by limits.
//!
//! The composition root registers every metric whose label values are known at the start, so that it is in the first scrape:
//! `rate()` does not see an increment of a series that appears with it. A module registers what has a name from a file or a
//! route, when it reads that.

use metrics::{Key, Label, Level, Metadata, counter};

/// A metric, with the values that each of its labels can have.
#[derive(Debug, Clone, Copy)]
pub struct Instrument {
    name: &'static str,
    kind: Kind,
    labels: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    UnknownGauge,
    Histogram,
}

impl Instrument {
    /// A counter without labels.
    pub const fn counter(name: &'static str) -> Self {
        Self::new(name, Kind::Counter)
    }

    /// A gauge without labels, which is 0 until it is first set.
    pub const fn gauge(name: &'static str) -> Self {
        Self::new(name, Kind::Gauge)
    }

    /// A gauge without labels, which is NaN until it is first set. It must be registered before that.
    pub const fn unknown_gauge(name: &'static str) -> Self {
        Self::new(name, Kind::UnknownGauge)
    }

    /// A histogram without labels.
    pub const fn histogram(name: &'static str) -> Self {
        Self::new(name, Kind::Histogram)
    }

    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, labels: &[] }
    }

    /// With these labels: a series for each combination of their values.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [(&'static str, &'static [&'static str])]) -> Self {
        self.labels = labels;
        self
    }

    fn register(&self, given: &[(&'static str, &str)]) {
        let given = given.iter().map(|(label, value)| Label::new(*label, (*value).to_owned())).collect();
        let mut series: Vec<Vec<Label>> = vec![given];
        for (label, values) in self.labels {
            let with = |labels: &Vec<Label>, value| [labels.as_slice(), &[Label::new(*label, value)]].concat();
            series = series.iter().flat_map(|labels| values.iter().map(move |value| with(labels, *value))).collect();
        }
        let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
        for labels in series {
            let key = Key::from_parts(self.name, labels);
            // a series that exists keeps its value
            metrics::with_recorder(|recorder| match self.kind {
                Kind::Counter => recorder.register_counter(&key, &metadata).increment(0),
                Kind::Gauge => recorder.register_gauge(&key, &metadata).increment(0.0),
                Kind::UnknownGauge => recorder.register_gauge(&key, &metadata).set(f64::NAN),
                Kind::Histogram => drop(recorder.register_histogram(&key, &metadata)),
            });
        }
    }
}

/// Registers the series of these instruments, in the recorder that must be installed before.
pub fn register(instruments: &[Instrument]) {
    register_with(instruments, &[]);
}

/// Registers the series of instruments that also have the labels `given`, in this order before their own: a name that is
/// known only from the configuration.
pub fn register_with(instruments: &[Instrument], given: &[(&'static str, &str)]) {
    for instrument in instruments {
        instrument.register(given);
    }
}

macro_rules! limits {
    ($($(#[$meta:meta])* $variant:ident = $label:literal,)+) => {
        /// A limit whose rejections are counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit { $($(#[$meta])* $variant),+ }

        impl Limit {
            /// Labels of all limits.
            pub const LABELS: &'static [&'static str] = &[$($label),+];

            /// Label in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

limits! {
    /// Requests per second from one address.
    RequestsAddress = "requests_address",
    /// Requests per second with one token.
    RequestsToken = "requests_token",
    /// Published events per second from one address.
    EventsAddress = "events_address",
    /// Published events per second with one token.
    EventsToken = "events_token",
    /// Rejected tokens per minute from one address.
    AuthFailures = "auth_failures",
    /// Open connections.
    Connections = "connections",
    /// Open connections, counted by those that were closed because they had no request.
    ConnectionsIdle = "connections_idle",
    /// Open connections beyond the limit, for probes.
    ConnectionsReserved = "connections_reserved",
    /// Open connections from one address.
    ConnectionsAddress = "connections_address",
    /// Open connections from one address, which leaves one to others.
    ConnectionsShare = "connections_share",
    /// Streaming clients.
    Streams = "streams",
    /// Streaming clients from one address.
    StreamsAddress = "streams_address",
    /// Unused tickets.
    Tickets = "tickets",
    /// Bytes of a request's head.
    Head = "head",
    /// Bytes of a request's path and query.
    Uri = "uri",
    /// Bytes of a request's body.
    Body = "body",
    /// Bytes of responses in flight.
    ResponseBytes = "response_bytes",
    /// Seconds for a request's head.
    HeadTime = "head_time",
    /// Bytes of a response that a client reads per second.
    ResponseRate = "response_rate",
    /// Seconds for a request's body.
    BodyTime = "body_time",
    /// Bytes of messages that the bridge holds.
    BridgeBuffer = "bridge_buffer",
}

/// Counter of rejections, of every limit.
pub const REJECTIONS: &[Instrument] =
    &[Instrument::counter("living_map_limits_refused_total").labels(&[("limit", Limit::LABELS)])];

/// Counts what was rejected because of its size, number, or rate.
pub fn count_rejected(limit: Limit) {
    counter!("living_map_limits_refused_total", "limit" => limit.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn registered_series_are_rendered_before_they_count() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            count_rejected(Limit::Uri);
            register(REJECTIONS);
            register(&[Instrument::unknown_gauge("lag"), Instrument::gauge("held"), Instrument::histogram("seconds")]);
            let sent = Instrument::counter("sent").labels(&[("step", &["a", "b"]), ("outcome", &["ok", "failed"])]);
            register_with(&[sent], &[("destination", "pager")]);
        });
        let text = recorder.handle().render();
        for line in [
            r#"living_map_limits_refused_total{limit="uri"} 1"#,
            r#"living_map_limits_refused_total{limit="tickets"} 0"#,
            "lag NaN",
            "held 0",
            "seconds_count 0",
            r#"sent{destination="pager",step="a",outcome="ok"} 0"#,
            r#"sent{destination="pager",step="b",outcome="failed"} 0"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
