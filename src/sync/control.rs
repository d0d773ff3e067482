//! Acts on what the network tells this server.
//!
//! | event | what happens |
//! |---|---|
//! | `config.updated.{key}` | `key` names an upstream (`agents`, `agents.limits`, `usage-engine`): what is remembered of it is dropped and it is polled anew; any other key: all six |
//! | `policy.updated.{agent_id}`, `prompt.updated.{agent_id}` | the same for the agents service |
//! | `ops.health.{service}` | a bad word (`down`, `unhealthy`, `error`…) counts as a failed poll until the next one; a good word about a source that is not well has it polled at once |
//! | `audit.error.{service}` | an entry of the error journal |
//!
//! However many such events come: an upstream is asked again for all that came before its poll began, at most one poll
//! waits for each, and none begins within [`super::SyncConfig::min_refresh_gap`] of the last.
//!
//! Metric: `living_map_control_events_total{action}`: `repoll`, `health`, `journal`; `missed` for those that came faster than
//! they could be looked at, after which all upstreams are polled.

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

/// What a report says of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Good,
    Bad,
    /// Neither: it answers, and not as well as it could.
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

    /// Acts on what comes, until `stop`.
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
                    for service in self.act(&event) {
                        wanted[*service as usize].notify_one();
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let action = "missed";
                    counter!("living_map_control_events_total", "action" => action).increment(missed);
                    wanted.iter().for_each(Notify::notify_one);
                }
                // the map is gone, and with it all there is to do
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    async fn poll_when_wanted(&self, service: Service, wanted: &Notify) {
        loop {
            wanted.notified().await;
            self.upstreams.forget(service);
            self.refresher.poll_anew(service).await;
        }
    }

    /// Acts on one event; the upstreams to poll.
    fn act(&self, event: &Event) -> &'static [Service] {
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
                service_of(rest).map_or(&[], |service| self.note_health(service, event))
            }
            (Some("audit"), _) => {
                counted("journal");
                self.note_error(rest, &event.payload);
                &[]
            }
            _ => &[],
        }
    }

    fn note_health(&self, service: Service, event: &Event) -> &'static [Service] {
        let well = matches!(self.upstream_health.status(service), SourceStatus::Ok);
        match word_of(&event.payload) {
            Word::Bad => {
                let said = text(&event.payload, &["message", "error", "reason", "detail"]).unwrap_or("no reason given");
                let said: String = said.chars().take(200).collect();
                self.upstream_health.record_failure(service, format!("it is reported to be down: {said}"));
                &[]
            }
            Word::Good if !well => only(service),
            Word::Good | Word::Other => &[],
        }
    }

    fn note_error(&self, service: &str, payload: &Value) {
        let operation = text(payload, &["operation", "op", "action"]).unwrap_or("audit");
        let key = text(payload, &["key", "resource", "target", "entity_id"]).unwrap_or_default();
        let error = text(payload, &["error", "message", "error_message", "reason"]);
        let error = error.map_or_else(|| payload.to_string(), str::to_owned);
        self.journal.record(operation, service, key, &error);
    }
}

/// A list of one.
const fn only(service: Service) -> &'static [Service] {
    std::slice::from_ref(&Service::ALL[service as usize])
}

/// The upstream that a key or a service's name means: its first token, also as `agents-service` or `usage_engine`.
fn service_of(name: &str) -> Option<Service> {
    let first = name.split('.').next().unwrap_or_default();
    let plain = ["-service", "_service", "-engine", "_engine"].iter().find_map(|suffix| first.strip_suffix(suffix));
    plain.unwrap_or(first).parse().ok()
}

/// `status`, `state` or `health` as text, or `healthy` or `ok` as a flag.
fn word_of(payload: &Value) -> Word {
    let flag = ["healthy", "ok", "up"].iter().find_map(|name| payload.get(name)?.as_bool());
    let Some(word) = text(payload, &["status", "state", "health"]).map(str::to_ascii_lowercase) else {
        return flag.map_or(Word::Other, |good| if good { Word::Good } else { Word::Bad });
    };
    match word.as_str() {
        "ok" | "healthy" | "up" | "pass" | "passing" | "green" | "online" | "active" | "ready" => Word::Good,
        "down" | "unhealthy" | "error" | "fail" | "failing" | "failed" | "critical" | "red" | "offline" => Word::Bad,
        _ => Word::Other,
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
    fn keys_and_names_of_services_are_understood() {
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
    fn reports_of_many_forms_are_understood() {
        for (payload, word) in [
            (json!({"status": "UP"}), Word::Good),
            (json!({"status": "unhealthy", "healthy": true}), Word::Bad),
            (json!({"healthy": false}), Word::Bad),
            (json!({"ok": true}), Word::Good),
            (json!({"status": "degraded"}), Word::Other),
            (json!({"status": 1}), Word::Other),
            (json!("down"), Word::Other),
            (json!(null), Word::Other),
        ] {
            assert_eq!(word_of(&payload), word, "{payload}");
        }
    }
}
