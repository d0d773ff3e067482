//! Publishes the experiences of the simulated agents, with incidents: one agent after the other fails, is slow or gives
//! no answer for a time, and then recovers. So the learner finds lessons within a minute.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::names;
use super::network_state::NetworkState;
use super::{DemoConfig, SharedState};
use crate::log::EventLog;
use crate::model::envelope::{FieldError, publish};
use crate::model::{NewEvent, experience};

/// Publishing interval.
const TICK: Duration = Duration::from_millis(500);

/// Experiences per event of the other traffic.
const EXPERIENCES_PER_EVENT: f64 = 0.25;

/// Experiences during an incident.
const DURING_INCIDENT: u32 = 12;
/// Experiences of the same agent after it.
const AFTER_INCIDENT: u32 = 14;

/// The symptom of an incident.
#[derive(Debug, Clone, Copy)]
enum Symptom {
    Failing,
    Slow,
    Silent,
}

const SYMPTOMS: [Symptom; 3] = [Symptom::Failing, Symptom::Slow, Symptom::Silent];

/// An incident of an agent, and its recovery.
#[derive(Debug)]
struct Incident {
    agent: String,
    symptom: Symptom,
    error: usize,
    /// Experiences so far.
    count: u32,
}

/// Generates the agents' experiences. Reads no clock.
struct ExperienceGenerator {
    rng: StdRng,
    run: Uuid,
    number: u64,
    incidents: usize,
    incident: Option<Incident>,
}

impl ExperienceGenerator {
    fn new(seed: u64, run: Uuid) -> Self {
        // the two seeds before generate the network state and the traffic
        let rng = StdRng::seed_from_u64(seed.wrapping_add(2));
        Self { rng, run, number: 0, incidents: 0, incident: None }
    }

    /// An experience outside incidents.
    fn ordinary(&mut self, state: &NetworkState, now: DateTime<Utc>) -> Option<NewEvent> {
        let agent = state.agents().choose(&mut self.rng)?;
        let outcome = if self.rng.random_bool(0.005) { "error" } else { "ok" };
        let error = self.rng.random_range(0..names::ERRORS.len());
        let latency = self.rng.random_range(300..2_500);
        let (id, model) = (agent.id.clone(), agent.model);
        self.event(&id, model, outcome, Some(error).filter(|_| outcome == "error"), latency, now).ok()
    }

    /// The next experience of the current incident.
    fn incident(&mut self, state: &NetworkState, now: DateTime<Utc>) -> Option<NewEvent> {
        let over = self.incident.as_ref().is_none_or(|incident| incident.count >= DURING_INCIDENT + AFTER_INCIDENT);
        if over {
            let agent = state.agents().choose(&mut self.rng)?.id.clone();
            let (symptom, error) =
                (SYMPTOMS[self.incidents % SYMPTOMS.len()], self.rng.random_range(0..names::ERRORS.len()));
            self.incidents += 1;
            self.incident = Some(Incident { agent, symptom, error, count: 0 });
        }
        let incident = self.incident.as_mut()?;
        incident.count += 1;
        let (symptom, error) = (Some(incident.symptom).filter(|_| incident.count <= DURING_INCIDENT), incident.error);
        let id = incident.agent.clone();
        let Some(agent) = state.agent(&id) else {
            self.incident = None;
            return None;
        };
        let model = agent.model;
        let latency = self.rng.random_range(400..2_000);
        let event = match symptom {
            Some(Symptom::Failing) => self.event(&id, model, "error", Some(error), latency, now),
            Some(Symptom::Slow) => self.event(&id, model, "ok", None, latency + 5_500, now),
            Some(Symptom::Silent) => self.event(&id, model, "silent", None, latency, now),
            None => self.event(&id, model, "ok", None, latency, now),
        };
        event.ok()
    }

    fn event(
        &mut self,
        agent: &str,
        model: usize,
        outcome: &str,
        error: Option<usize>,
        latency_ms: u64,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, FieldError> {
        self.number += 1;
        let id = Uuid::new_v5(&self.run, format!("experience {}", self.number).as_bytes());
        let (class, message) = error.map(|error| names::ERRORS[error]).unzip();
        let tool = names::TOOLS[self.rng.random_range(0..names::TOOLS.len())].0;
        let payload: Value = json!({
            "event_id": id, "agent_id": agent, "task": "answer", "outcome": outcome, "latency_ms": latency_ms,
            "error_class": class, "error_message": message, "model": names::MODELS[model].0, "tool": tool,
            "trace_id": id.simple().to_string(), "timestamp": now, "version": experience::VERSION,
        });
        let subject = format!("{}{agent}", experience::SUBJECT_PREFIX);
        publish(
            json!({"event_id": id, "event_type": subject, "timestamp": now, "source": "agents", "payload": payload}),
            now,
        )
    }
}

/// Publishes experiences until `stop`.
pub(super) async fn run(config: DemoConfig, state: SharedState, log: Arc<dyn EventLog>, stop: CancellationToken) {
    if config.events_per_second <= 0.0 {
        return;
    }
    let mut generator = ExperienceGenerator::new(config.seed, Uuid::new_v4());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = 0.0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        due += config.events_per_second.min(10_000.0) * EXPERIENCES_PER_EVENT * TICK.as_secs_f64();
        let batch: Vec<NewEvent> = {
            let (state, now) = (state.lock(), Utc::now());
            let mut batch: Vec<NewEvent> = generator.incident(&state, now).into_iter().collect();
            while due >= 1.0 {
                due -= 1.0;
                batch.extend(generator.ordinary(&state, now));
            }
            batch
        };
        // errors are logged by the other traffic; lost experiences do not matter
        let _ = log.append(batch).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::{Fold, FoldResult, RuleConfig, experience};

    #[test]
    fn every_kind_of_incident_gives_a_lesson_within_a_minute() {
        let now: DateTime<Utc> = "2026-11-21T10:00:00Z".parse().unwrap();
        let config = DemoConfig::default();
        let (state, mut generator) =
            (NetworkState::new(&config, now), ExperienceGenerator::new(config.seed, Uuid::nil()));
        let mut fold = Fold::new(RuleConfig::default());
        let mut rules = std::collections::BTreeSet::new();
        for tick in 0..120 {
            let now = now + TICK * tick;
            for event in generator.incident(&state, now).into_iter().chain(generator.ordinary(&state, now)) {
                let read = experience::read(&event.event).unwrap();
                if let FoldResult::Counted(lessons) = fold.fold(&read, now.timestamp_millis()) {
                    rules.extend(lessons.into_iter().map(|lesson| lesson.rule));
                }
            }
        }
        for rule in ["error_burst", "recovery", "latency_spike", "silent_answers"] {
            assert!(rules.contains(rule), "{rule} in {rules:?}");
        }
    }
}
