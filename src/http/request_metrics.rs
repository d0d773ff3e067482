//! Request counters. Keeps a handle of each series, so that a request costs two atomic operations instead of two lookups by
//! name and labels.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, Unit, counter, histogram};

/// Bucket bounds of duration histograms, in seconds: from the microseconds of a snapshot to the request timeout.
pub const DURATION_BUCKETS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Metric of the request duration.
const DURATION_METRIC: &str = "living_map_http_request_duration_seconds";

/// Route label of requests that match no route.
const UNMATCHED: &str = "unmatched";

/// Method labels: a closed set, since a client may send any method.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "other"];
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Series of every route, each registered at its first request.
#[derive(Default)]
pub struct RequestMetrics {
    routes: HashMap<String, Route>,
    unmatched: Route,
}

type Route = [Series; METHODS.len()];

#[derive(Default)]
struct Series {
    requests: [OnceLock<Counter>; STATUS_CLASSES.len()],
    duration: OnceLock<Histogram>,
}

impl RequestMetrics {
    /// Counters of these routes. The metrics recorder must be installed before the first request.
    pub fn new(routes: impl IntoIterator<Item = String>) -> Self {
        describe();
        Self { routes: routes.into_iter().map(|route| (route, Route::default())).collect(), ..Self::default() }
    }

    /// Counts a response. `route` is `None` if the request matched no route.
    pub fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let (label, series) = route
            .and_then(|route| self.routes.get_key_value(route))
            .map_or((UNMATCHED, &self.unmatched), |(label, series)| (label, series));
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        let Series { requests, duration } = &series[method];
        requests[class]
            .get_or_init(|| {
                let (route, method, class) = (label.to_owned(), METHODS[method], STATUS_CLASSES[class]);
                counter!("living_map_http_requests_total", "route" => route, "method" => method, "status_class" => class)
            })
            .increment(1);
        duration
            .get_or_init(|| histogram!(DURATION_METRIC, "route" => label.to_owned(), "method" => METHODS[method]))
            .record(took);
    }
}

/// Registers the help texts of this module's metrics.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("living_map_http_requests_total", Unit::Count, "requests, by route, method, and status class");
    describe_histogram!(
        DURATION_METRIC,
        Unit::Seconds,
        "time from the request's head to the response's head, by route and method"
    );
    describe_counter!("living_map_http_panics_total", Unit::Count, "handlers that panicked");
    describe_gauge!("living_map_http_connections", Unit::Count, "open HTTP connections; streams are not included");
    describe_counter!("living_map_http_published_events_total", Unit::Count, "published events, by result");
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn labels_are_from_closed_sets() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let requests = RequestMetrics::new(["/known/{id}".to_owned()]);
            let odd = Method::from_bytes(b"BREW").unwrap();
            let took = Duration::from_millis(1);
            for _ in 0..2 {
                requests.count(Some("/known/{id}"), &Method::GET, StatusCode::OK, took);
            }
            requests.count(Some("/unknown"), &odd, StatusCode::NOT_FOUND, took);
            requests.count(None, &odd, StatusCode::SWITCHING_PROTOCOLS, took);
        });
        let text = recorder.handle().render();
        for line in [
            r#"living_map_http_requests_total{route="/known/{id}",method="GET",status_class="2xx"} 2"#,
            r#"living_map_http_requests_total{route="unmatched",method="other",status_class="4xx"} 1"#,
            r#"living_map_http_requests_total{route="unmatched",method="other",status_class="1xx"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("living_map_http_request_duration_seconds"));
        assert!(!text.contains("BREW"));
    }
}
