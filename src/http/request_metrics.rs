//! Request counters. Keeps a handle of each series, so that a request costs two atomic operations instead of two lookups by
//! name and labels.
//!
//! The series are those of the routes and methods that are served, and of `unmatched`: what clients send adds none, so that
//! the response of `/metrics` stays small. A histogram takes 19 lines, so `HEAD` is measured with `GET`, whose handler it runs.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// Bucket bounds of duration histograms, in seconds: from the microseconds of a snapshot to the request timeout.
pub const DURATION_BUCKETS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Metric of the request duration.
const DURATION_METRIC: &str = "living_map_http_request_duration_seconds";

/// Route label of requests that match no route.
const UNMATCHED: &str = "unmatched";

/// Route of the stream over a WebSocket.
const WEBSOCKET: &str = "/living-map/stream";

/// Method labels: a closed set, since a client may send any method.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "other"];
/// Index of `GET`.
const GET: usize = 0;
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Series of every route and method. Counters of answers that are possible are registered at once, histograms at the first
/// request.
pub struct RequestMetrics {
    routes: HashMap<String, Route>,
    unmatched: Route,
}

/// Series of a route, by the index of the method; none for a method that is not served.
type Route = [Option<Series>; METHODS.len()];

#[derive(Default)]
struct Series {
    requests: [OnceLock<Counter>; STATUS_CLASSES.len()],
    duration: OnceLock<Histogram>,
}

impl Series {
    /// Registers the counters of the status classes that the route can answer.
    fn new(route: &str, method: usize) -> Self {
        let series = Self::default();
        for class in (0..STATUS_CLASSES.len()).filter(|class| is_possible(route, method, *class)) {
            series.requests(route, method, class);
        }
        series
    }

    fn requests(&self, route: &str, method: usize, class: usize) -> &Counter {
        self.requests[class].get_or_init(|| {
            let (route, method, class) = (route.to_owned(), METHODS[method], STATUS_CLASSES[class]);
            counter!("living_map_http_requests_total", "route" => route, "method" => method, "status_class" => class)
        })
    }
}

/// Returns false for series that would be zero for ever: only a WebSocket switches protocols, and only what is read is
/// unchanged or found elsewhere.
fn is_possible(route: &str, method: usize, class: usize) -> bool {
    match STATUS_CLASSES[class] {
        "1xx" => route == WEBSOCKET || route == UNMATCHED,
        "3xx" => matches!(METHODS[method], "GET" | "HEAD"),
        _ => true,
    }
}

impl RequestMetrics {
    /// Counters of these routes and methods, and of `HEAD` where there is `GET`. The metrics recorder must be installed.
    pub fn new<'a>(served: impl IntoIterator<Item = &'a (String, Method)>) -> Self {
        let mut routes = HashMap::<String, Route>::new();
        for (route, method) in served {
            let series = routes.entry(route.clone()).or_default();
            let implied = (method == Method::GET).then_some(Method::HEAD);
            for method in [Some(method), implied.as_ref()].into_iter().flatten().map(index) {
                series[method] = Some(Series::new(route, method));
            }
        }
        Self { routes, unmatched: std::array::from_fn(|method| Some(Series::new(UNMATCHED, method))) }
    }

    /// Counts a response. `route` is `None` if the request matched no route. A method that the route does not serve counts
    /// as unmatched.
    pub fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let index = index(method);
        let known = route.and_then(|route| self.routes.get_key_value(route));
        let known = known.and_then(|(label, series)| Some((label.as_str(), series, series[index].as_ref()?)));
        let unmatched = || Some((UNMATCHED, &self.unmatched, self.unmatched[index].as_ref()?));
        let Some((label, route, series)) = known.or_else(unmatched) else { return };
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        series.requests(label, index, class).increment(1);
        let (index, measured) = match route[GET].as_ref().filter(|_| method == Method::HEAD) {
            Some(get) => (GET, get),
            None => (index, series),
        };
        measured
            .duration
            .get_or_init(|| histogram!(DURATION_METRIC, "route" => label.to_owned(), "method" => METHODS[index]))
            .record(took);
    }
}

/// Index of a method's label.
fn index(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn labels_are_from_closed_sets() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let requests = RequestMetrics::new(&[("/known/{id}".to_owned(), Method::GET)]);
            let odd = Method::from_bytes(b"BREW").unwrap();
            let took = Duration::from_millis(1);
            for _ in 0..2 {
                requests.count(Some("/known/{id}"), &Method::GET, StatusCode::OK, took);
            }
            requests.count(Some("/known/{id}"), &Method::HEAD, StatusCode::OK, took);
            requests.count(Some("/known/{id}"), &Method::POST, StatusCode::METHOD_NOT_ALLOWED, took);
            requests.count(Some("/unknown"), &odd, StatusCode::NOT_FOUND, took);
            requests.count(None, &odd, StatusCode::SWITCHING_PROTOCOLS, took);
        });
        let text = recorder.handle().render();
        assert!(!text.contains(r#"route="/known/{id}",method="GET",status_class="1xx""#), "{text}");
        for line in [
            r#"living_map_http_requests_total{route="/known/{id}",method="GET",status_class="2xx"} 2"#,
            r#"living_map_http_requests_total{route="/known/{id}",method="HEAD",status_class="2xx"} 1"#,
            r#"living_map_http_requests_total{route="/known/{id}",method="GET",status_class="5xx"} 0"#,
            r#"living_map_http_request_duration_seconds_count{route="/known/{id}",method="GET"} 3"#,
            r#"living_map_http_requests_total{route="unmatched",method="POST",status_class="4xx"} 1"#,
            r#"living_map_http_requests_total{route="unmatched",method="other",status_class="4xx"} 1"#,
            r#"living_map_http_requests_total{route="unmatched",method="other",status_class="1xx"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains(r#"route="/known/{id}",method="POST""#), "{text}");
        assert!(!text.contains("BREW"));
    }
}
