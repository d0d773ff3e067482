//! What the simulated agents live through, and incidents planted in it: one agent after the other fails, is slow or falls
//! silent for a time, and then works again. So there is something to learn within a minute.

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
use super::world::World;
use super::{DemoConfig, SharedWorld};
use crate::log::EventLog;
use crate::model::envelope::{FieldError, publish};
use crate::model::{NewEvent, experience};

/// How often experiences are sent.
const TICK: Duration = Duration::from_millis(500);

/// Experiences for each other event.
const SHARE: f64 = 0.25;

/// Experiences of an incident, and of the time after it.
const TROUBLED: u32 = 12;
const RECOVERED: u32 = 14;

/// What is wrong with an agent.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Failing,
    Slow,
    Silent,
}

const TROUBLES: [Trouble; 3] = [Trouble::Failing, Trouble::Slow, Trouble::Silent];

/// An agent in trouble, and after it.
#[derive(Debug)]
struct Incident {
    agent: String,
    trouble: Trouble,
    error: usize,
    told: u32,
}

/// The agents' experiences, without a clock of their own.
struct Lives {
    rng: StdRng,
    run: Uuid,
    number: u64,
    incidents: usize,
    incident: Option<Incident>,
}

impl Lives {
    fn new(seed: u64, run: Uuid) -> Self {
        // the world and the traffic have drawn from the seeds before
        let rng = StdRng::seed_from_u64(seed.wrapping_add(2));
        Self { rng, run, number: 0, incidents: 0, incident: None }
    }

    /// Something that an agent lived through on an ordinary day.
    fn ordinary(&mut self, world: &World, now: DateTime<Utc>) -> Option<NewEvent> {
        let agent = world.agents().choose(&mut self.rng)?;
        let outcome = if self.rng.random_bool(0.005) { "error" } else { "ok" };
        let error = self.rng.random_range(0..names::ERRORS.len());
        let latency = self.rng.random_range(300..2_500);
        let (id, model) = (agent.id.clone(), agent.model);
        self.tell(&id, model, outcome, Some(error).filter(|_| outcome == "error"), latency, now).ok()
    }

    /// What the agent in trouble lives through next.
    fn troubled(&mut self, world: &World, now: DateTime<Utc>) -> Option<NewEvent> {
        let over = self.incident.as_ref().is_none_or(|incident| incident.told >= TROUBLED + RECOVERED);
        if over {
            let agent = world.agents().choose(&mut self.rng)?.id.clone();
            let (trouble, error) =
                (TROUBLES[self.incidents % TROUBLES.len()], self.rng.random_range(0..names::ERRORS.len()));
            self.incidents += 1;
            self.incident = Some(Incident { agent, trouble, error, told: 0 });
        }
        let incident = self.incident.as_mut()?;
        incident.told += 1;
        let (trouble, error) = (Some(incident.trouble).filter(|_| incident.told <= TROUBLED), incident.error);
        let id = incident.agent.clone();
        let Some(agent) = world.agent(&id) else {
            self.incident = None;
            return None;
        };
        let model = agent.model;
        let latency = self.rng.random_range(400..2_000);
        let told = match trouble {
            Some(Trouble::Failing) => self.tell(&id, model, "error", Some(error), latency, now),
            Some(Trouble::Slow) => self.tell(&id, model, "ok", None, latency + 5_500, now),
            Some(Trouble::Silent) => self.tell(&id, model, "silent", None, latency, now),
            None => self.tell(&id, model, "ok", None, latency, now),
        };
        told.ok()
    }

    fn tell(
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

/// Sends experiences until `stop`.
pub(super) async fn run(config: DemoConfig, world: SharedWorld, log: Arc<dyn EventLog>, stop: CancellationToken) {
    if config.events_per_second <= 0.0 {
        return;
    }
    let mut lives = Lives::new(config.seed, Uuid::new_v4());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = 0.0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        due += config.events_per_second.min(10_000.0) * SHARE * TICK.as_secs_f64();
        let batch: Vec<NewEvent> = {
            let (world, now) = (world.lock(), Utc::now());
            let mut batch: Vec<NewEvent> = lives.troubled(&world, now).into_iter().collect();
            while due >= 1.0 {
                due -= 1.0;
                batch.extend(lives.ordinary(&world, now));
            }
            batch
        };
        // what the log does not take now is said by the other traffic, and not worth keeping
        let _ = log.append(batch).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::{Fold, FoldResult, RuleConfig, experience};

    #[test]
    fn there_is_something_to_learn_of_every_incident_within_a_minute() {
        let now: DateTime<Utc> = "2026-11-21T10:00:00Z".parse().unwrap();
        let config = DemoConfig::default();
        let (world, mut lives) = (World::new(&config, now), Lives::new(config.seed, Uuid::nil()));
        let mut fold = Fold::new(RuleConfig::default());
        let mut rules = std::collections::BTreeSet::new();
        for tick in 0..120 {
            let now = now + TICK * tick;
            for event in lives.troubled(&world, now).into_iter().chain(lives.ordinary(&world, now)) {
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
