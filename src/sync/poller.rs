//! The polling loops.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use metrics::counter;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::Refresher;
use crate::adapters::{AdapterError, PollContext, Upstreams};
use crate::config::defaults;
use crate::config::value::seconds;
use crate::journal::Journal;
use crate::live::LiveMap;
use crate::log::{EventLog, LogError};
use crate::map::PollMark;
use crate::model::{Answer, Cursor, Event, NewEvent, Notes, Service, SourceStatus, json, time};
use crate::telemetry::TARGET;
use crate::upstream_health::{HealthChange, UpstreamHealth};

/// Intervals and timeouts of polling.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream services")]
pub struct SyncConfig {
    /// Seconds from the end of one poll of an upstream to its next; jitter takes up to a tenth off, so that services and
    /// replicas do not poll in step.
    #[arg(id = "SYNC_INTERVAL_SECONDS", env, long = "sync-interval-seconds", default_value = "15", value_parser = seconds)]
    pub interval: Duration,
    /// Longest time of one poll of a service, all its requests and retries together.
    #[arg(skip = Duration::from_secs(12))]
    pub round_timeout: Duration,
    /// Shortest time from the end of one poll of a service to another one on request.
    #[arg(skip = Duration::from_millis(500))]
    pub min_refresh_gap: Duration,
    /// Longest wait for the fold to apply the events of a poll, before that service is polled again.
    #[arg(skip = Duration::from_secs(10))]
    pub fold_timeout: Duration,
    /// Largest payload of one event, in bytes of JSON; a larger difference becomes several events.
    #[arg(skip = 256_usize * 1024)]
    pub max_event_bytes: usize,
}

impl Default for SyncConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Time beyond the round timeout after which a poll is cancelled. The clients normally end at the round timeout by themselves,
/// with the responses they have.
const GRACE: Duration = Duration::from_secs(1);

/// Error of a poll.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Upstream(#[from] AdapterError),
    #[error("the differences could not be appended to the log: {0}")]
    Log(#[from] LogError),
    #[error("the poll took longer than {} ms", .0.as_millis())]
    TooLong(Duration),
}

/// Polls the six services.
#[derive(Clone)]
pub struct Poller {
    config: SyncConfig,
    upstreams: Upstreams,
    upstream_health: UpstreamHealth,
    live: LiveMap,
    log: Arc<dyn EventLog>,
    refresher: Refresher,
    journal: Journal,
}

impl Poller {
    /// A poller that appends to `log` what differs from `live`, and records outcomes in `upstream_health` and failures in
    /// `journal`.
    #[must_use]
    pub fn new(
        config: SyncConfig,
        upstreams: Upstreams,
        upstream_health: UpstreamHealth,
        live: LiveMap,
        log: Arc<dyn EventLog>,
        journal: Journal,
    ) -> Self {
        let refresher = Refresher::new(config.min_refresh_gap);
        Self { config, upstreams, upstream_health, live, log, refresher, journal }
    }

    /// A handle that requests polls ahead of schedule.
    #[must_use]
    pub fn refresher(&self) -> Refresher {
        self.refresher.clone()
    }

    /// Polls on request, until `shutdown`. Polls in progress are cancelled then; the first polls after the next start find
    /// the same differences.
    ///
    /// Several replicas may poll the same service at the same time: the events of a poll carry the position at its start, and
    /// the fold ignores a poll that is older than one it has applied.
    ///
    /// # Panics
    /// A poll panicked. The process then exits, instead of serving a map that is no longer updated.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut loops = JoinSet::new();
        for &service in Service::ALL {
            let poller = self.clone();
            let loop_ = async move { poller.poll_on_request(service).await };
            loops.spawn(shutdown.clone().run_until_cancelled_owned(loop_));
        }
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Requests a poll of each service in each interval, until `shutdown`.
    pub async fn poll_regularly(self, shutdown: CancellationToken) {
        let schedules = Service::ALL.iter().map(|&service| self.schedule(service));
        shutdown.run_until_cancelled(futures::future::join_all(schedules)).await;
    }

    async fn schedule(&self, service: Service) {
        let mut replacements = self.live.replacements();
        self.live.caught_up().await;
        replacements.borrow_and_update();
        loop {
            self.refresher.queue(service).refreshed().await;
            // a sender that is dropped means that the server ends
            while let Ok(Ok(())) = timeout(jittered(self.config.interval), replacements.changed()).await {
                // the map may have missed changes that the upstream knows
                self.live.caught_up().await;
                self.refresher.poll_afresh(service).await;
            }
        }
    }

    async fn poll_on_request(&self, service: Service) {
        // a map that is catching up would differ from every response
        self.live.caught_up().await;
        let queue = self.refresher.queue(service);
        loop {
            queue.requested().await;
            if !self.live.is_complete() {
                self.live.caught_up().await;
            }
            let in_progress = queue.start();
            let span = tracing::info_span!(target: TARGET, "poll", otel.name = %format!("poll {service}"));
            let outcome = self.poll(service).instrument(span).await;
            self.report(service, outcome);
            drop(in_progress);
        }
    }

    /// Polls once; returns the number of appended events.
    async fn poll(&self, service: Service) -> Result<usize, PollError> {
        let deadline = Instant::now() + self.config.round_timeout;
        let replacements = self.live.replacements();
        let (mark, agent_ids) = self.live.with(|state| {
            let agent_ids = if service == Service::Usage { state.agent_ids() } else { vec![] };
            (state.mark().at(Utc::now()), agent_ids)
        });
        let context = PollContext { deadline, agent_ids };
        let answer = match timeout_at(deadline + GRACE, self.upstreams.poll(service, &context)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(PollError::TooLong(self.config.round_timeout)),
        };
        if replacements.has_changed().unwrap_or(false) {
            // requested with the map before; its replacement requests another poll
            return Ok(0);
        }
        let payloads = self.diff(mark, answer).await;
        let events: Vec<NewEvent> = payloads.into_iter().map(|payload| event(service, payload)).collect();
        let number = events.len();
        if number > 0 {
            let last = self.append(events).await?;
            counter!("living_map_sync_events_total", "service" => service.as_str()).increment(number as u64);
            if let Some(cursor) = last {
                self.wait_for_fold(service, cursor).await;
            }
        }
        Ok(number)
    }

    /// Differences between a response and the map. On a blocking thread, since 100,000 entities take half a second.
    async fn diff(&self, mark: PollMark, answer: Answer) -> Vec<Value> {
        let (live, max_bytes) = (self.live.clone(), self.config.max_event_bytes);
        let diff = move || live.with(|state| state.diff(&mark, &answer, max_bytes));
        match tokio::task::spawn_blocking(diff).await {
            Ok(payloads) => payloads,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Appends events; returns the position of the last one, if the log reports it.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Option<Cursor>, PollError> {
        let mut last = None;
        for appended in self.log.append(events).await {
            last = last.max(appended?.cursor);
        }
        Ok(last)
    }

    /// Waits until the fold has applied a poll, so that the next one does not find the same differences.
    async fn wait_for_fold(&self, service: Service, cursor: Cursor) {
        if timeout(self.config.fold_timeout, self.live.folded(cursor)).await.is_err() {
            let waited_ms = self.config.fold_timeout.as_millis();
            tracing::debug!(%service, %cursor, waited_ms, "the fold has not applied a poll yet");
        }
    }

    fn report(&self, service: Service, outcome: Result<usize, PollError>) {
        match outcome {
            Ok(events) => match self.upstream_health.record_success(service, Utc::now()) {
                HealthChange::Recovered => tracing::info!(%service, events, "upstream is available"),
                HealthChange::Failed | HealthChange::Unchanged => tracing::debug!(%service, events, "upstream polled"),
            },
            Err(error) => {
                let change = self.upstream_health.record_failure(service, error.to_string());
                self.journal(service, &error, change);
                match change {
                    HealthChange::Failed => {
                        tracing::warn!(%service, %error, "upstream failed; its last good data stays on the map");
                    }
                    HealthChange::Recovered | HealthChange::Unchanged => {
                        tracing::debug!(%service, %error, "upstream still fails");
                    }
                }
            }
        }
    }

    fn journal(&self, service: Service, error: &PollError, change: HealthChange) {
        const LAST_GOOD: &str = "last good data";
        match error {
            PollError::Log(error) => self.journal.record("write", "log", &format!("living_map.sync.{service}"), error),
            PollError::Upstream(AdapterError { path, kind, .. }) => {
                self.journal.record("read", service.as_str(), path, kind);
            }
            PollError::TooLong(_) => self.journal.record("read", service.as_str(), "", error),
        }
        if self.upstream_health.status(service) != SourceStatus::Stale {
            return;
        }
        self.journal.mark_rescued("read", service.as_str());
        // once per outage: each of its polls is an entry already
        if change == HealthChange::Failed {
            self.journal.record_rescue(service.as_str(), LAST_GOOD, error);
        }
    }
}

fn event(service: Service, payload: Value) -> NewEvent {
    let event = Event {
        id: Uuid::now_v7(),
        event_type: format!("living_map.sync.{service}"),
        timestamp: time::whole_micros(Utc::now()),
        payload: json::normalise(payload),
        source_service: Some("living_map".to_owned()),
        entity_id: None,
        entity_type: None,
        trace_id: None,
        idempotency_key: None,
        envelope: None,
        notes: Notes::NONE,
    };
    event.into()
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.9..=1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_equal_after_encoding_and_decoding() {
        use crate::model::Epoch;
        use crate::model::envelope::{Message, read, write};
        let NewEvent { event, raw } = event(Service::Dao, json!({"entities": [{"id": "dao:a", "value": 1e20}]}));
        assert_eq!((event.event_type.as_str(), raw), ("living_map.sync.dao", None));
        let message = Message {
            subject: &event.event_type,
            headers: &[],
            body: &serde_json::to_vec(&write(&event)).unwrap(),
            cursor: Cursor { epoch: Epoch(1), seq: 1 },
            logged_at: Utc::now(),
        };
        assert_eq!(read(&message).event, event);
    }

    #[test]
    fn jitter_shortens_an_interval_by_at_most_a_tenth() {
        let second = Duration::from_secs(1);
        assert!((0..1000).map(|_| jittered(second)).all(|wait| wait <= second && wait >= second.mul_f64(0.9)));
    }
}
