//! Handling of control events: events of the network that this server reacts to.
//!
//! | event | reaction |
//! |---|---|
//! | `config.updated.{key}` | if `key` names an upstream (`agents`, `agents.limits`, `usage-engine`), its client is reset and it is polled; any other key: all six |
//! | `policy.updated.{agent_id}`, `prompt.updated.{agent_id}` | the same for the agents service |
//! | `ops.health.{service}` | an unhealthy status (`down`, `unhealthy`, `error`…) counts as a failed poll until the next one; a healthy status of an upstream whose last poll failed causes a poll |
//! | `audit.error.{service}` | an entry in the error journal |
//!
//! Polls are bounded, however many events arrive: one poll serves all events before its start, at most one poll waits for
//! each upstream, and none starts within [`super::SyncConfig::min_refresh_gap`] of the end of the last.
//!
//! Metric: `living_map_control_events_total{action}`: `repoll`, `health`, `journal`; `missed` for events that were dropped
//! because they arrived faster than they were handled, after which all upstreams are polled.

use std::sync::Arc;

use futures::future::join_all;
use metrics::counter;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Refresher;
use crate::adapters::Upstreams;
use crate::journal::Journal;
use crate::live::LiveMap;
use crate::model::{Event, Service, SourceStatus};
use crate::upstream_health::UpstreamHealth;

/// Handles control events. Cheap to clone.
#[derive(Clone)]
pub struct ControlEventHandler {
    live: LiveMap,
    upstreams: Upstreams,
    refresher: Refresher,
    upstream_health: UpstreamHealth,
    journal: Journal,
}

/// Status of a service in a health report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReportedHealth {
    Healthy,
    Unhealthy,
    /// Neither, such as `degraded`.
    Other,
}

impl ControlEventHandler {
    /// A handler of the events that `live` folds.
    #[must_use]
    pub const fn new(
        live: LiveMap,
        upstreams: Upstreams,
        refresher: Refresher,
        upstream_health: UpstreamHealth,
        journal: Journal,
    ) -> Self {
        Self { live, upstreams, refresher, upstream_health, journal }
    }

    /// Handles events until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let wanted: Arc<[Notify; Service::ALL.len()]> = Arc::default();
        let polls = Service::ALL.iter().map(|&service| self.poll_when_wanted(service, &wanted[service as usize]));
        let work = async { tokio::join!(self.listen(&wanted), join_all(polls)) };
        stop.run_until_cancelled(work).await;
    }

    async fn listen(&self, wanted: &[Notify; Service::ALL.len()]) {
        let mut signals = self.live.signals();
        loop {
            match signals.recv().await {
                Ok(event) => {
                    for service in self.handle(&event) {
                        wanted[*service as usize].notify_one();
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let action = "missed";
                    counter!("living_map_control_events_total", "action" => action).increment(missed);
                    wanted.iter().for_each(Notify::notify_one);
                }
                // the map was dropped: no more events
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    async fn poll_when_wanted(&self, service: Service, wanted: &Notify) {
        loop {
            wanted.notified().await;
            self.upstreams.reset(service);
            self.refresher.poll_afresh(service).await;
        }
    }

    /// Handles one event; returns the upstreams to poll.
    fn handle(&self, event: &Event) -> &'static [Service] {
        let mut tokens = event.event_type.splitn(3, '.');
        let (first, second, rest) = (tokens.next(), tokens.next(), tokens.next().unwrap_or_default());
        let counted = |action: &'static str| {
            counter!("living_map_control_events_total", "action" => action).increment(1);
        };
        match (first, second) {
            (Some("config"), _) => {
                counted("repoll");
                service_of(rest).map_or(Service::ALL, only)
            }
            (Some("policy" | "prompt"), _) => {
                counted("repoll");
                only(Service::Agents)
            }
            (Some("ops"), _) => {
                counted("health");
                service_of(rest).map_or(&[], |service| self.handle_health(service, event))
            }
            (Some("audit"), _) => {
                counted("journal");
                self.record_error(rest, &event.payload);
                &[]
            }
            _ => &[],
        }
    }

    fn handle_health(&self, service: Service, event: &Event) -> &'static [Service] {
        let healthy = matches!(self.upstream_health.status(service), SourceStatus::Ok);
        match reported_health(&event.payload) {
            ReportedHealth::Unhealthy => {
                let reason =
                    text(&event.payload, &["message", "error", "reason", "detail"]).unwrap_or("no reason given");
                let reason: String = reason.chars().take(200).collect();
                self.upstream_health.record_failure(service, format!("reported as down: {reason}"));
                &[]
            }
            ReportedHealth::Healthy if !healthy => only(service),
            ReportedHealth::Healthy | ReportedHealth::Other => &[],
        }
    }

    fn record_error(&self, service: &str, payload: &Value) {
        let operation = text(payload, &["operation", "op", "action"]).unwrap_or("audit");
        let key = text(payload, &["key", "resource", "target", "entity_id"]).unwrap_or_default();
        let error = text(payload, &["error", "message", "error_message", "reason"]);
        let error = error.map_or_else(|| payload.to_string(), str::to_owned);
        self.journal.record(operation, service, key, &error);
    }
}

/// A list of one service.
const fn only(service: Service) -> &'static [Service] {
    std::slice::from_ref(&Service::ALL[service as usize])
}

/// The upstream that a configuration key or a service's name refers to, by its first token; `agents-service` and
/// `usage_engine` are accepted too.
fn service_of(name: &str) -> Option<Service> {
    let first = name.split('.').next().unwrap_or_default();
    let plain = ["-service", "_service", "-engine", "_engine"].iter().find_map(|suffix| first.strip_suffix(suffix));
    plain.unwrap_or(first).parse().ok()
}

/// `status`, `state` or `health` as text, or `healthy` or `ok` as a flag.
fn reported_health(payload: &Value) -> ReportedHealth {
    let flag = ["healthy", "ok", "up"].iter().find_map(|name| payload.get(name)?.as_bool());
    let Some(status) = text(payload, &["status", "state", "health"]).map(str::to_ascii_lowercase) else {
        return flag.map_or(ReportedHealth::Other, |healthy| {
            if healthy { ReportedHealth::Healthy } else { ReportedHealth::Unhealthy }
        });
    };
    match status.as_str() {
        "ok" | "healthy" | "up" | "pass" | "passing" | "green" | "online" | "active" | "ready" => {
            ReportedHealth::Healthy
        }
        "down" | "unhealthy" | "error" | "fail" | "failing" | "failed" | "critical" | "red" | "offline" => {
            ReportedHealth::Unhealthy
        }
        _ => ReportedHealth::Other,
    }
}

fn text<'a>(payload: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| payload.get(name)?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_service_names_refer_to_upstreams() {
        for (name, service) in [
            ("agents", Some(Service::Agents)),
            ("agents.limits.max", Some(Service::Agents)),
            ("usage-engine", Some(Service::Usage)),
            ("city_service", Some(Service::City)),
            ("router", None),
            ("", None),
        ] {
            assert_eq!(service_of(name), service, "{name}");
        }
    }

    #[test]
    fn health_reports_of_many_forms_are_understood() {
        for (payload, health) in [
            (json!({"status": "UP"}), ReportedHealth::Healthy),
            (json!({"status": "unhealthy", "healthy": true}), ReportedHealth::Unhealthy),
            (json!({"healthy": false}), ReportedHealth::Unhealthy),
            (json!({"ok": true}), ReportedHealth::Healthy),
            (json!({"status": "degraded"}), ReportedHealth::Other),
            (json!({"status": 1}), ReportedHealth::Other),
            (json!("down"), ReportedHealth::Other),
            (json!(null), ReportedHealth::Other),
        ] {
            assert_eq!(reported_health(&payload), health, "{payload}");
        }
    }
}
