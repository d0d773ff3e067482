//! What must hold whatever happens.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{Step, any_answer, steps};
use super::{Log, answer, assert_typed, facts, layers_of};
use crate::map::{Outcome, PollMark, State};
use crate::model::{EntityType, Epoch, Service};

/// A log that lives through random steps.
struct Life {
    log: Log,
    poll: Option<PollMark>,
    last: Option<(String, Value)>,
    events: u64,
}

impl Life {
    fn new() -> Self {
        Self { log: Log::new(), poll: None, last: None, events: 0 }
    }

    /// Takes a step; the payloads that were appended, with what each did.
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
                self.poll = Some(self.log.state.mark());
                Vec::new()
            }
            Step::PollEnds(answer, size) => {
                let mark = self.poll.take().unwrap_or_else(|| self.log.state.mark());
                let payloads = self.log.state.diff(&mark, answer, *size);
                self.log.push_all(answer.service, &payloads)
            }
        }
    }
}

fn saved_and_restored(state: &State) -> State {
    State::from_saved(&state.to_saved().unwrap()).unwrap()
}

fn sum(layer: &Value, list: &str, figure: impl Fn(&Value) -> f64) -> f64 {
    layer[list].as_array().unwrap().iter().map(figure).sum()
}

/// The totals, counted again from the lists.
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
        .fold(0_u64, |sum, item| sum.wrapping_add(item["members"].as_u64().unwrap()));
    assert_eq!(city["active_users"], members);
    for (total, load) in [("total_cpu", "cpu"), ("total_gpu", "gpu"), ("total_ram", "ram")] {
        let expected = sum(nodes, "items", |node| node["metrics"][load].as_f64().unwrap_or(0.0));
        let shown = nodes[total].as_f64().unwrap();
        assert!((shown - expected).abs() < 1e-5, "{total} is {shown}, not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// The promise to clients: a snapshot and the changes after it give the next snapshot, at every position, also
    /// when the server went on from a saved map in between.
    #[test]
    fn changes_turn_each_snapshot_into_the_next(steps in steps(40), restart in 0..40_usize) {
        let mut life = Life::new();
        for (at, step) in steps.iter().enumerate() {
            if at == restart {
                life.log.state = saved_and_restored(&life.log.state);
            }
            let outcomes = life.step(step);
            let layers = layers_of(&life.log.state);
            prop_assert_eq!(&life.log.client, &layers, "after {:?} did {:?}", step, outcomes);
            assert_typed(&layers);
            assert_totals(&Value::Object(layers));
        }
    }

    /// A copy from the saved form is the same map: it shows the same, and does the same ever after.
    #[test]
    fn a_saved_map_folds_on_as_the_original_does(before in steps(30), after in steps(15)) {
        let mut life = Life::new();
        for step in &before {
            life.step(step);
        }
        let copy = saved_and_restored(&life.log.state);
        prop_assert_eq!(layers_of(&copy), layers_of(&life.log.state));
        let mut twin = Life::new();
        let (client, book) = (life.log.client.clone(), life.log.book.clone());
        twin.log = Log { state: copy, client, now: life.log.now, book, seq: life.log.seq, entries: Vec::new() };
        (twin.poll, twin.last, twin.events) = (life.poll.clone(), life.last.clone(), life.events);
        for step in &after {
            prop_assert_eq!(life.step(step), twin.step(step), "{:?}", step);
        }
        prop_assert!(life.log.state.to_saved().unwrap() == twin.log.state.to_saved().unwrap());
    }

    /// Who does not want to know the changes gets the same map.
    #[test]
    fn advancing_gives_the_map_that_applying_gives(steps in steps(40)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        let mut state = State::new(Epoch(1));
        for entry in &life.log.entries {
            state.advance(entry);
        }
        prop_assert_eq!(layers_of(&state), layers_of(&life.log.state));
        prop_assert!(state.to_saved().unwrap() == life.log.state.to_saved().unwrap());
    }

    #[test]
    fn folding_is_deterministic(steps in steps(40)) {
        let (mut one, mut two) = (Life::new(), Life::new());
        for step in &steps {
            prop_assert_eq!(one.step(step), two.step(step));
        }
        let encoded = |life: &Life| life.log.state.encode().layers;
        prop_assert_eq!(encoded(&one), encoded(&two));
    }

    /// What was taken over from an answer is not news any more. It may take two polls: a name that an entity gives up
    /// by being gone is free for another one from the next poll on.
    #[test]
    fn a_second_poll_with_the_same_answer_says_nothing(steps in steps(30), answer in any_answer(true)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        life.log.poll(&answer);
        life.log.poll(&answer);
        let state = &life.log.state;
        prop_assert_eq!(state.diff(&state.mark(), &answer, 100_000), Vec::<Value>::new());
    }

    /// Every name leads to the one entity that has it, and ids lead to themselves.
    #[test]
    fn names_lead_to_one_entity(steps in steps(40)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        let state = &life.log.state;
        let mut taken = std::collections::BTreeMap::new();
        for id in life.log.ids() {
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
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
            let before = layers_of(&life.log.state);
            for outcome in life.step(&Step::Again) {
                prop_assert!(outcome.duplicate);
                prop_assert_eq!(outcome.changes, []);
            }
            prop_assert_eq!(layers_of(&life.log.state), before);
        }
    }

    /// Whatever else happened: an event after the mark wins, an event before it loses.
    #[test]
    fn a_poll_undoes_only_what_is_older_than_it(steps in steps(20)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        let log = &mut life.log;
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

    /// Random bytes on every subject: no panic, and the client still follows.
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
