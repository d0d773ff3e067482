//! Publishes the network's events: plays many scenarios at once, at the configured rate.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event::PublishedMessage;
use super::network_state::NetworkState;
use super::scenario::{IdGenerator, Scenario, ScenarioPlanner};
use super::{DemoConfig, SharedState};
use crate::log::EventLog;
use crate::model::envelope::{FieldError, Message, publish, read};
use crate::model::{Cursor, Epoch, NewEvent};

/// Scenarios that are active at the same time.
const ACTIVE_SCENARIOS: usize = 24;

/// Maximum rate, in events per second.
const MAX_RATE: f64 = 100_000.0;

/// Publishing interval.
const TICK: Duration = Duration::from_millis(50);

/// Length of a simulated day, in seconds: short enough to observe.
const DAY_SECONDS: f64 = 120.0;

/// Generates the network's events. Reads no clock.
pub(super) struct Traffic {
    rng: StdRng,
    ids: IdGenerator,
    scenarios: Vec<Scenario>,
    /// Target number of agents.
    agents: usize,
    /// Number of agents created so far.
    created: usize,
}

impl Traffic {
    /// A generator whose event ids derive from `run`.
    pub fn new(config: &DemoConfig, run: Uuid) -> Self {
        let agents = config.agents.max(1);
        // the seed itself generates the network state
        let rng = StdRng::seed_from_u64(config.seed.wrapping_add(1));
        Self { rng, ids: IdGenerator::new(run), scenarios: Vec::new(), agents, created: agents }
    }

    /// Applies the next event to the state and returns it.
    pub fn next(&mut self, state: &mut NetworkState, now: DateTime<Utc>) -> NewEvent {
        loop {
            if let Some(message) = self.next_message(state, now)
                && let Ok(event) = received(message, self.ids.next(), now)
            {
                return event;
            }
        }
    }

    fn next_message(&mut self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        while self.scenarios.len() < ACTIVE_SCENARIOS {
            let mut planner = ScenarioPlanner {
                state,
                rng: &mut self.rng,
                ids: &mut self.ids,
                scenarios: &self.scenarios,
                agents: self.agents,
                created: &mut self.created,
            };
            if let Some(scenario) = planner.plan() {
                self.scenarios.push(scenario);
            }
        }
        let index = self.rng.random_range(0..self.scenarios.len());
        let event = self.scenarios[index].events.pop_front();
        if self.scenarios[index].events.is_empty() {
            self.scenarios.swap_remove(index);
        }
        event?.apply(state, now)
    }
}

/// Decodes a message in the same way as messages that the server receives.
fn received(message: PublishedMessage, id: Uuid, now: DateTime<Utc>) -> Result<NewEvent, FieldError> {
    let PublishedMessage { subject, payload, keyed } = message;
    if let Some(entity) = keyed {
        let mut tokens = subject.split('.');
        let source = tokens.next().unwrap_or_default();
        let action = tokens.next().unwrap_or_default();
        let key = format!("{source}:{entity}:{action}:{}", now.format("%Y%m%d%H"));
        let envelope = json!({"event_id": id, "event_type": subject, "timestamp": now.to_rfc3339(), "source": source,
            "trace_id": id.simple().to_string(), "payload": payload, "idempotency_key": key});
        return publish(envelope, now);
    }
    let entry = read(&Message {
        subject: &subject,
        headers: &[("Nats-Msg-Id", &id.to_string())],
        body: payload.to_string().as_bytes(),
        // assigned by the log
        cursor: Cursor { epoch: Epoch(0), seq: 0 },
        logged_at: now,
    });
    Ok(NewEvent { event: entry.event, raw: entry.raw })
}

/// Varies the rate: higher by day than by night, with occasional bursts.
struct RateVariation {
    rng: StdRng,
    started: Instant,
    burst_until: Option<Instant>,
}

impl RateVariation {
    fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), started: Instant::now(), burst_until: None }
    }

    /// Current factor of the average rate. Its mean is about 1.
    fn factor(&mut self) -> f64 {
        let now = Instant::now();
        if self.burst_until.is_some_and(|until| now < until) {
            return 2.5;
        }
        // bursts of four seconds, on average one in forty seconds
        let ticks_between_bursts = 40.0 / TICK.as_secs_f64();
        self.burst_until = self.rng.random_bool(1.0 / ticks_between_bursts).then(|| now + Duration::from_secs(4));
        let time_of_day = (now - self.started).as_secs_f64() / DAY_SECONDS;
        0.85 + 0.35 * (TAU * time_of_day).sin()
    }
}

/// Publishes events until `stop`.
pub(super) async fn run(config: DemoConfig, state: SharedState, log: Arc<dyn EventLog>, stop: CancellationToken) {
    let rate = config.events_per_second.clamp(0.0, MAX_RATE);
    let mut traffic = Traffic::new(&config, Uuid::new_v4());
    let mut variation = RateVariation::new(config.seed);
    let mut ticks = interval(TICK);
    // skips ticks that were missed while the log was slow, so as not to slow it further
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = 0.0;
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        due += rate * variation.factor() * TICK.as_secs_f64();
        let batch = {
            let mut state = state.lock();
            let mut batch = Vec::new();
            while due >= 1.0 {
                due -= 1.0;
                batch.push(traffic.next(&mut state, Utc::now()));
            }
            batch
        };
        if batch.is_empty() {
            continue;
        }
        let rejected = log.append(batch).await.into_iter().find_map(Result::err);
        match &rejected {
            Some(error) if !failing => tracing::warn!(%error, "the log rejects events of the simulated network"),
            None if failing => tracing::info!("the log accepts events of the simulated network again"),
            _ => {}
        }
        failing = rejected.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn run_of(config: &DemoConfig, events: usize) -> (NetworkState, Vec<NewEvent>) {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut state = NetworkState::new(config, now);
        let mut traffic = Traffic::new(config, Uuid::nil());
        let events = (0..events).map(|_| traffic.next(&mut state, now)).collect();
        (state, events)
    }

    #[test]
    fn a_seed_gives_the_same_events_in_the_same_order() {
        let config = DemoConfig::default();
        let other = DemoConfig { seed: config.seed + 1, ..config.clone() };
        assert_eq!(run_of(&config, 2_000).1, run_of(&config, 2_000).1);
        assert_ne!(run_of(&config, 100).1, run_of(&other, 100).1);
    }

    #[test]
    fn ids_are_unique_and_every_subject_family_occurs() {
        let (_, events) = run_of(&DemoConfig::default(), 20_000);
        let ids: std::collections::HashSet<_> = events.iter().map(|event| event.event.id).collect();
        assert_eq!(ids.len(), events.len(), "ids are unique");
        let mut families = BTreeMap::<String, usize>::new();
        for event in &events {
            crate::model::subject::validate(&event.event.event_type).unwrap();
            let mut tokens = event.event.event_type.split('.');
            let family = [tokens.next().unwrap(), tokens.next().unwrap_or_default()].join(".");
            *families.entry(family).or_default() += 1;
        }
        for family in [
            "agent.event",
            "agent.run",
            "agents.invoke",
            "agents.reply",
            "attachment.created",
            "audit.action",
            "city.event",
            "dao.event",
            "memory.store",
            "message.received",
            "messaging.message",
            "microdao.event",
            "node.metrics",
            "ops.health",
            "usage.agent",
            "usage.llm",
            "usage.tool",
        ] {
            assert!(families.contains_key(family), "{family} in {families:?}");
        }
    }

    #[test]
    fn the_network_state_agrees_with_the_events() {
        let config = DemoConfig::default();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let before = NetworkState::new(&config, now);
        let (state, events) = run_of(&config, 20_000);
        let count = |subject: &str| events.iter().filter(|event| event.event.event_type == subject).count();
        assert_eq!(
            before.agents().len() + count("agent.event.created") - count("agent.event.deleted"),
            state.agents().len()
        );
        let calls = |state: &NetworkState| state.usage.values().map(|usage| usage.sum(now, 24).llm_calls).sum::<u64>();
        assert_eq!(calls(&before) + count("usage.llm") as u64, calls(&state));
        let paid = events.iter().rfind(|event| event.event.event_type == "microdao.event.treasury_updated").unwrap();
        let payload = &paid.event.payload;
        let microdao = state.microdaos.iter().find(|microdao| payload["microdao_id"] == microdao.uuid.to_string());
        assert_eq!(payload["new_balance"], microdao.unwrap().balance.to_string());
    }

    #[test]
    fn the_smallest_network_has_events() {
        let config = DemoConfig { agents: 0, nodes: 0, microdaos: 0, daos: 0, ..DemoConfig::default() };
        let (state, events) = run_of(&config, 1_000);
        assert!(!state.agents().is_empty());
        assert_eq!(events.len(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_varies_around_its_mean() {
        let mut variation = RateVariation::new(7);
        let mut factors = Vec::new();
        for _ in 0..48_000 {
            factors.push(variation.factor());
            tokio::time::advance(TICK).await;
        }
        let mean = factors.iter().sum::<f64>() / 48_000.0;
        assert!((0.9..1.15).contains(&mean), "{mean}");
        assert!(factors.iter().any(|factor| *factor > 2.0) && factors.iter().any(|factor| *factor < 0.6));
    }
}
