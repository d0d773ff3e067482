//! Properties that hold for every log.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{Step, any_answer, steps};
use super::{Log, answer, assert_typed, facts, layers_of};
use crate::map::{Comparison, MapOptions, Outcome, PollMark, State};
use crate::model::{Compatibility, EntityType, Epoch, Service};

/// A log built from random steps.
struct Simulation {
    log: Log,
    poll: Option<PollMark>,
    last: Option<(String, Value)>,
    events: u64,
}

impl Simulation {
    fn new() -> Self {
        Self::showing(Compatibility::None)
    }

    fn showing(compatibility: Compatibility) -> Self {
        Self { log: Log::showing(compatibility), poll: None, last: None, events: 0 }
    }

    /// Takes a step; returns the outcome of each appended entry.
    fn step(&mut self, step: &Step) -> Vec<Outcome> {
        match step {
            Step::Event(subject, body) => {
                self.events += 1;
                let mut body = body.clone();
                body["event_id"] = json!(format!("e{}", self.events));
                self.last = Some((subject.clone(), body.clone()));
                vec![self.log.push(subject, &body)]
            }
            Step::Again => {
                self.last.clone().map(|(subject, body)| self.log.push(&subject, &body)).into_iter().collect()
            }
            Step::Hours(hours) => {
                self.log.pass_hours(*hours);
                Vec::new()
            }
            Step::PollBegins => {
                self.poll = Some(self.log.state.mark().at(self.log.now));
                Vec::new()
            }
            Step::PollEnds(answer, size) => {
                let mark = self.poll.take().unwrap_or_else(|| self.log.state.mark().at(self.log.now));
                let payloads = self.log.state.diff(&mark, answer, *size);
                self.log.push_all(answer.service, &payloads)
            }
        }
    }
}

fn saved_and_restored(state: &State) -> State {
    let options = MapOptions { compatibility: state.compatibility(), ..MapOptions::default() };
    State::from_saved(&state.to_saved().unwrap()).unwrap().with_options(options)
}

fn compatibility() -> impl Strategy<Value = Compatibility> {
    prop_oneof![Just(Compatibility::None), Just(Compatibility::Prototype)]
}

fn sum(layer: &Value, list: &str, figure: impl Fn(&Value) -> f64) -> f64 {
    layer[list].as_array().unwrap().iter().map(figure).sum()
}

/// Compares the totals with sums over the lists.
fn assert_totals(layers: &Value) {
    let (city, nodes, agents) = (&layers["city"], &layers["nodes"], &layers["agents"]);
    let count = |layer: &Value| layer["items"].as_array().unwrap().len();
    assert_eq!(city["microdaos_total"], count(city));
    assert_eq!(agents["total_agents"], count(agents));
    let working = |agent: &Value| f64::from(u8::from(agent["status"] == "active" || agent["status"] == "online"));
    let online = sum(agents, "items", working);
    assert_eq!(agents["online_agents"].as_f64(), Some(online));
    assert_eq!(city["active_agents"].as_f64(), Some(online));
    let members = city["items"]
        .as_array()
        .unwrap()
        .iter()
        .fold(0_u64, |sum, item| sum.wrapping_add(item["members"].as_u64().unwrap_or(0)));
    assert_eq!(city["active_users"], members);
    let calls = agents["items"].as_array().unwrap().iter().filter_map(|agent| agent["usage"]["llm_calls_24h"].as_u64());
    let without_agent = agents["llm_calls_24h_without_agent"].as_u64().unwrap();
    assert_eq!(agents["total_llm_calls_24h"], calls.sum::<u64>() + without_agent);
    for (total, load) in [("total_cpu", "cpu"), ("total_gpu", "gpu"), ("total_ram", "ram")] {
        let expected = sum(nodes, "items", |node| node["metrics"][load].as_f64().unwrap_or(0.0));
        let shown = nodes[total].as_f64().unwrap();
        assert!((shown - expected).abs() < 1e-5, "{total} is {shown}, not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// At every position a snapshot and the changes after it give the next snapshot, also when the map was saved and
    /// loaded in between.
    #[test]
    fn changes_turn_each_snapshot_into_the_next(
        steps in steps(40), restart in 0..40_usize, compatibility in compatibility()
    ) {
        let mut simulation = Simulation::showing(compatibility);
        for (at, step) in steps.iter().enumerate() {
            if at == restart {
                simulation.log.state = saved_and_restored(&simulation.log.state);
            }
            let outcomes = simulation.step(step);
            let layers = layers_of(&simulation.log.state);
            prop_assert_eq!(&simulation.log.client, &layers, "after {:?} did {:?}", step, outcomes);
            assert_typed(&layers);
            assert_totals(&Value::Object(layers));
        }
    }

    /// A loaded map shows the same and folds on in the same way.
    #[test]
    fn a_loaded_map_folds_on_like_the_original(before in steps(30), after in steps(15)) {
        let mut simulation = Simulation::new();
        for step in &before {
            simulation.step(step);
        }
        let copy = saved_and_restored(&simulation.log.state);
        prop_assert_eq!(layers_of(&copy), layers_of(&simulation.log.state));
        let mut twin = Simulation::new();
        let (client, projection) = (simulation.log.client.clone(), simulation.log.projection.clone());
        twin.log = Log { state: copy, client, now: simulation.log.now, projection, seq: simulation.log.seq, entries: Vec::new() };
        (twin.poll, twin.last, twin.events) = (simulation.poll.clone(), simulation.last.clone(), simulation.events);
        for step in &after {
            prop_assert_eq!(simulation.step(step), twin.step(step), "{:?}", step);
        }
        prop_assert!(simulation.log.state.to_saved().unwrap() == twin.log.state.to_saved().unwrap());
    }

    /// The facts do not depend on the fields and names that are shown, and what is shown depends on the facts alone.
    #[test]
    fn compatibility_changes_the_views_only(steps in steps(40)) {
        let (mut own, mut prototype) = (Simulation::new(), Simulation::showing(Compatibility::Prototype));
        for step in &steps {
            own.step(step);
            prototype.step(step);
        }
        let (own, prototype) = (own.log.state, prototype.log.state);
        prop_assert!(own.to_saved().unwrap() == prototype.to_saved().unwrap());
        prop_assert_eq!(own.compare(&saved_and_restored(&own)), Comparison::default());
        let (own_layers, prototype_layers) = (layers_of(&own), layers_of(&prototype));
        let options = MapOptions { compatibility: Compatibility::Prototype, ..MapOptions::default() };
        prop_assert_eq!(layers_of(&own.with_options(options)), prototype_layers);
        prop_assert_eq!(layers_of(&prototype.with_options(MapOptions::default())), own_layers);
    }

    /// The map does not depend on whether changes are computed.
    #[test]
    fn advance_gives_the_same_map_as_apply(steps in steps(40)) {
        let mut simulation = Simulation::new();
        for step in &steps {
            simulation.step(step);
        }
        let mut state = State::new(Epoch(1));
        for entry in &simulation.log.entries {
            state.advance(entry);
        }
        prop_assert_eq!(layers_of(&state), layers_of(&simulation.log.state));
        prop_assert!(state.to_saved().unwrap() == simulation.log.state.to_saved().unwrap());
    }

    #[test]
    fn folding_is_deterministic(steps in steps(40)) {
        let (mut one, mut two) = (Simulation::new(), Simulation::new());
        for step in &steps {
            prop_assert_eq!(one.step(step), two.step(step));
        }
        let encoded = |simulation: &Simulation| simulation.log.state.encode().layers;
        prop_assert_eq!(encoded(&one), encoded(&two));
    }

    /// A repeated answer has no changes. It may take two polls: the names of an entity that is gone are free for
    /// another one from the next poll on.
    #[test]
    fn a_repeated_answer_has_no_changes(steps in steps(30), answer in any_answer(true)) {
        let mut simulation = Simulation::new();
        for step in &steps {
            simulation.step(step);
        }
        simulation.log.poll(&answer);
        simulation.log.poll(&answer);
        let state = &simulation.log.state;
        prop_assert_eq!(state.diff(&state.mark(), &answer, 100_000), Vec::<Value>::new());
    }

    /// Every name resolves to exactly one entity, and every id to itself.
    #[test]
    fn names_resolve_to_one_entity(steps in steps(40)) {
        let mut simulation = Simulation::new();
        for step in &steps {
            simulation.step(step);
        }
        let state = &simulation.log.state;
        let mut taken = std::collections::BTreeMap::new();
        for id in simulation.log.ids() {
            prop_assert_eq!(state.resolve(&id), Some(id.as_str()));
            for alias in state.entity(&id).unwrap().aliases {
                prop_assert_eq!(state.resolve(&alias), Some(id.as_str()));
                prop_assert_eq!(taken.insert(alias, id.clone()), None);
            }
            prop_assert!(state.relations(&id).is_some());
        }
    }

    #[test]
    fn a_duplicate_changes_nothing(steps in steps(30)) {
        let mut simulation = Simulation::new();
        for step in &steps {
            simulation.step(step);
            let before = layers_of(&simulation.log.state);
            for outcome in simulation.step(&Step::Again) {
                prop_assert!(outcome.duplicate);
                prop_assert_eq!(outcome.changes, []);
            }
            prop_assert_eq!(layers_of(&simulation.log.state), before);
        }
    }

    /// After any history, an event after the mark wins over the answer, and an event before it does not.
    #[test]
    fn a_poll_overrules_only_older_events(steps in steps(20)) {
        let mut simulation = Simulation::new();
        for step in &steps {
            simulation.step(step);
        }
        let log = &mut simulation.log;
        let named = |name: &str| {
            answer(Service::Agents, vec![facts(EntityType::Agent, "agent:judge", &[], json!({"name": name}))])
        };
        log.poll(&named("from the first poll"));
        let mark = log.state.mark();
        log.push("agent.event.updated", &json!({"agent_id": "agent:judge", "changes": {"name": "from the event"}}));
        let late = log.state.diff(&mark, &named("from a poll that began before"), 10_000);
        log.push_all(Service::Agents, &late);
        prop_assert_eq!(&log.item("agent:judge")["name"], "from the event");
        log.poll(&named("from the last poll"));
        prop_assert_eq!(&log.item("agent:judge")["name"], "from the last poll");
    }

    /// Random bytes as bodies cause no panic and no wrong change.
    #[test]
    fn any_bytes_fold(bodies in proptest::collection::vec((0..6_usize, any::<Vec<u8>>()), 0..20)) {
        let subjects = ["agent.event.created", "dao.event.updated", "node.metrics.x", "usage.llm", "living_map.sync.city",
            "messaging.message.created"];
        let mut log = Log::new();
        for (subject, body) in bodies {
            log.push_bytes(subjects[subject], &body);
        }
        prop_assert_eq!(&log.client, &layers_of(&log.state));
    }
}
