//! The network's events: stories told beat by beat, many at once, at the rate asked for.

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

use super::beat::Said;
use super::scene::{Ids, Plan, Scene};
use super::world::World;
use super::{DemoConfig, SharedWorld};
use crate::log::EventLog;
use crate::model::envelope::{FieldError, Message, publish, read};
use crate::model::{Cursor, Epoch, NewEvent};

/// Stories that are told at the same time.
const SCENES: usize = 24;

/// Highest rate, in events a second.
const MAX_RATE: f64 = 100_000.0;

/// How often events are sent.
const TICK: Duration = Duration::from_millis(50);

/// Length of one of the network's days, in seconds: short enough to be seen.
const DAY_SECONDS: f64 = 120.0;

/// The network's stories, without a clock of their own.
pub(super) struct Traffic {
    rng: StdRng,
    ids: Ids,
    scenes: Vec<Scene>,
    agents: usize,
    born: usize,
}

impl Traffic {
    /// `run` makes the ids of this run's events different from those of others.
    pub fn new(config: &DemoConfig, run: Uuid) -> Self {
        let agents = config.agents.max(1);
        // the world has drawn from the seed itself
        let rng = StdRng::seed_from_u64(config.seed.wrapping_add(1));
        Self { rng, ids: Ids::new(run), scenes: Vec::new(), agents, born: agents }
    }

    /// What happens next.
    pub fn next(&mut self, world: &mut World, now: DateTime<Utc>) -> NewEvent {
        loop {
            if let Some(said) = self.tell(world, now)
                && let Ok(event) = send(said, self.ids.next(), now)
            {
                return event;
            }
        }
    }

    fn tell(&mut self, world: &mut World, now: DateTime<Utc>) -> Option<Said> {
        while self.scenes.len() < SCENES {
            let mut plan = Plan {
                world,
                rng: &mut self.rng,
                ids: &mut self.ids,
                scenes: &self.scenes,
                agents: self.agents,
                born: &mut self.born,
            };
            if let Some(scene) = plan.scene() {
                self.scenes.push(scene);
            }
        }
        let told = self.rng.random_range(0..self.scenes.len());
        let beat = self.scenes[told].beats.pop_front();
        if self.scenes[told].beats.is_empty() {
            self.scenes.swap_remove(told);
        }
        beat?.perform(world, now)
    }
}

/// The event as it arrives from the network: through the same reading as everybody's messages.
fn send(said: Said, id: Uuid, now: DateTime<Utc>) -> Result<NewEvent, FieldError> {
    let Said { subject, payload, keyed } = said;
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
        // the log gives it its place
        cursor: Cursor { epoch: Epoch(0), seq: 0 },
        logged_at: now,
    });
    Ok(NewEvent { event: entry.event, raw: entry.raw })
}

/// When things happen: more by day than by night, and now and then in bursts.
struct Rhythm {
    rng: StdRng,
    begun: Instant,
    burst_until: Option<Instant>,
}

impl Rhythm {
    fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), begun: Instant::now(), burst_until: None }
    }

    /// How much more or less than on average happens now. The mean is about 1.
    fn factor(&mut self) -> f64 {
        let now = Instant::now();
        if self.burst_until.is_some_and(|until| now < until) {
            return 2.5;
        }
        // bursts of four seconds, one in forty
        let ticks_between_bursts = 40.0 / TICK.as_secs_f64();
        self.burst_until = self.rng.random_bool(1.0 / ticks_between_bursts).then(|| now + Duration::from_secs(4));
        let time_of_day = (now - self.begun).as_secs_f64() / DAY_SECONDS;
        0.85 + 0.35 * (TAU * time_of_day).sin()
    }
}

/// Sends events until `stop`.
pub(super) async fn run(config: DemoConfig, world: SharedWorld, log: Arc<dyn EventLog>, stop: CancellationToken) {
    let rate = config.events_per_second.clamp(0.0, MAX_RATE);
    let mut traffic = Traffic::new(&config, Uuid::new_v4());
    let mut rhythm = Rhythm::new(config.seed);
    let mut ticks = interval(TICK);
    // what could not be sent while the log was slow is left out, so that it is not slowed further
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = 0.0;
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        due += rate * rhythm.factor() * TICK.as_secs_f64();
        let batch = {
            let mut world = world.lock();
            let mut batch = Vec::new();
            while due >= 1.0 {
                due -= 1.0;
                batch.push(traffic.next(&mut world, Utc::now()));
            }
            batch
        };
        if batch.is_empty() {
            continue;
        }
        let refused = log.append(batch).await.into_iter().find_map(Result::err);
        match &refused {
            Some(error) if !failing => tracing::warn!(%error, "the log refuses events of the simulated network"),
            None if failing => tracing::info!("the log takes the simulated network's events again"),
            _ => {}
        }
        failing = refused.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn run_of(config: &DemoConfig, events: usize) -> (World, Vec<NewEvent>) {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut world = World::new(config, now);
        let mut traffic = Traffic::new(config, Uuid::nil());
        let told = (0..events).map(|_| traffic.next(&mut world, now)).collect();
        (world, told)
    }

    #[test]
    fn a_seed_tells_the_same_stories_in_the_same_order() {
        let config = DemoConfig::default();
        let other = DemoConfig { seed: config.seed + 1, ..config.clone() };
        assert_eq!(run_of(&config, 2_000).1, run_of(&config, 2_000).1);
        assert_ne!(run_of(&config, 100).1, run_of(&other, 100).1);
    }

    #[test]
    fn every_event_is_one_and_every_family_is_told() {
        let (_, events) = run_of(&DemoConfig::default(), 20_000);
        let ids: std::collections::HashSet<_> = events.iter().map(|event| event.event.id).collect();
        assert_eq!(ids.len(), events.len(), "no two events have one id");
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
    fn the_world_agrees_with_what_was_told() {
        let config = DemoConfig::default();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let before = World::new(&config, now);
        let (world, events) = run_of(&config, 20_000);
        let told = |subject: &str| events.iter().filter(|event| event.event.event_type == subject).count();
        assert_eq!(
            before.agents().len() + told("agent.event.created") - told("agent.event.deleted"),
            world.agents().len()
        );
        let calls = |world: &World| world.usage.values().map(|ledger| ledger.sum(now, 24).llm_calls).sum::<u64>();
        assert_eq!(calls(&before) + told("usage.llm") as u64, calls(&world));
        let paid = events.iter().rfind(|event| event.event.event_type == "microdao.event.treasury_updated").unwrap();
        let payload = &paid.event.payload;
        let microdao = world.microdaos.iter().find(|microdao| payload["microdao_id"] == microdao.uuid.to_string());
        assert_eq!(payload["new_balance"], microdao.unwrap().balance.to_string());
    }

    #[test]
    fn the_smallest_network_has_something_to_tell() {
        let config = DemoConfig { agents: 0, nodes: 0, microdaos: 0, daos: 0, ..DemoConfig::default() };
        let (world, events) = run_of(&config, 1_000);
        assert!(!world.agents().is_empty());
        assert_eq!(events.len(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rhythm_changes_but_keeps_to_the_mean() {
        let mut rhythm = Rhythm::new(7);
        let mut factors = Vec::new();
        for _ in 0..48_000 {
            factors.push(rhythm.factor());
            tokio::time::advance(TICK).await;
        }
        let mean = factors.iter().sum::<f64>() / 48_000.0;
        assert!((0.9..1.15).contains(&mean), "{mean}");
        assert!(factors.iter().any(|factor| *factor > 2.0) && factors.iter().any(|factor| *factor < 0.6));
    }
}
