use serde_json::json;

use super::recorded::{self, AURORA, GARDEN, SOFIA};
use super::{Log, answer, facts, layers_of};
use crate::model::{Change, EntityType, Service};

const OTHER: &str = "98ff573e-6ee3-42ce-884e-47d4cb6a6258";

#[test]
fn every_order_of_the_six_services_gives_the_same_map() {
    let answers = [
        recorded::agents(),
        recorded::microdaos(),
        recorded::daos(),
        recorded::space(),
        recorded::usage(),
        recorded::city(),
    ];
    let mut expected = None;
    for turn in 0..answers.len() {
        for backwards in [false, true] {
            let mut order: Vec<_> = answers.iter().cycle().skip(turn).take(answers.len()).collect();
            if backwards {
                order.reverse();
            }
            let mut log = Log::new();
            for answer in order {
                log.poll(answer);
            }
            let layers = layers_of(&log.state);
            assert_eq!(log.client, layers);
            assert_eq!(log.ids(), ["agent:sofia", "dao:aurora-circle", "microdao:7", "node:03"]);
            assert_eq!(expected.get_or_insert_with(|| layers.clone()), &layers);
        }
    }
    let mut log = Log::new();
    for answer in &answers {
        log.poll(answer);
    }
    assert_eq!(log.item(SOFIA)["microdao_id"], "microdao:7");
    assert_eq!(log.item("sofia")["name"], "Sofia");
    assert_eq!(log.item("agent:sofia")["usage"]["llm_calls_24h"], 44);
    let planet = log.item("dao:3");
    assert_eq!(planet["id"], "dao:aurora-circle");
    assert_eq!(planet["orbits"], json!(["node:03"]));
    assert_eq!(planet["microdao_id"], "microdao:7");
    assert_eq!(planet["treasury_value"], 513_200.123_456_78 + 2_501.5);
    assert_eq!(planet["activity"], 0.84);
    assert_eq!(log.item("quantum-garden")["nodes"], 1);
    assert_eq!(log.item("node:03")["name"], "Quantum Relay");
    assert_eq!(log.item("node:03")["latency_ms"], 14.0);
    assert_eq!(log.state.resolve(&AURORA.to_uppercase()), Some("dao:aurora-circle"));
}

#[test]
fn a_uuid_and_an_external_id_of_one_entity_are_merged() {
    let mut log = Log::new();
    log.push("agent.event.created", &json!({"agent_id": SOFIA, "name": "Sofia"}));
    log.push("usage.llm", &json!({"agent_id": "agent:sofia", "model": "m", "total_tokens": 10}));
    assert_eq!(log.state.len(), 2);
    let outcomes = log.poll(&recorded::agents());
    assert_eq!(log.ids(), ["agent:sofia"]);
    assert_eq!(log.item(SOFIA)["usage"]["tokens_24h"], 10);
    assert!(matches!(&outcomes[0].changes[0], Change::Remove { id, .. } if *id == format!("agent:{SOFIA}")));
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_better_name_becomes_the_id_also_in_references() {
    let mut log = Log::new();
    log.push("microdao.event.created", &json!({"microdao_id": GARDEN, "slug": "quantum-garden", "name": "Q"}));
    log.poll(&recorded::agents());
    assert_eq!(log.item("agent:sofia")["microdao_id"], "microdao:quantum-garden");
    assert_eq!(log.item("quantum-garden")["agents"], 1);
    log.poll(&recorded::microdaos());
    assert_eq!(log.item("agent:sofia")["microdao_id"], "microdao:7");
    assert_eq!(log.state.resolve("microdao:quantum-garden"), Some("microdao:7"));
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_reference_is_resolved_when_its_name_becomes_known() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    assert_eq!(log.item("agent:sofia")["microdao_id"], format!("microdao:{GARDEN}"));
    log.poll(&recorded::microdaos());
    assert_eq!(log.item("agent:sofia")["microdao_id"], "microdao:7");
    let relations = log.state.relations("microdao:7").unwrap();
    assert_eq!((relations[0].relation.as_str(), relations[0].id.as_str()), ("has", "agent:sofia"));
}

#[test]
fn two_daos_of_one_name_are_not_merged_with_a_planet() {
    let named = |slug: &str, uuid: &str| {
        facts(EntityType::Dao, &format!("dao:{slug}"), &[uuid], json!({"name": "Aurora Circle", "slug": slug}))
    };
    let both = answer(Service::Dao, vec![named("aurora-circle-1", AURORA), named("aurora-circle-2", OTHER)]);
    for space_first in [false, true] {
        let mut log = Log::new();
        if space_first {
            log.poll(&recorded::space());
        }
        // one entity in each part: in the first part alone the name is unique
        let payloads = log.state.diff(&log.state.mark(), &both, 1);
        assert_eq!(payloads.len(), 2);
        log.push_all(Service::Dao, &payloads);
        if !space_first {
            log.poll(&recorded::space());
        }
        assert_eq!(log.state.len(), 4, "{space_first}: {:?}", log.ids());
    }
}

#[test]
fn two_daos_with_the_same_slug_stay_separate() {
    let mut log = Log::new();
    log.push("dao.event.created", &json!({"dao_id": AURORA, "slug": "aurora", "name": "A"}));
    log.push("dao.event.created", &json!({"dao_id": OTHER, "slug": "aurora", "name": "B"}));
    assert_eq!(log.state.len(), 2);
    assert_eq!(log.item("dao:aurora")["name"], "A");
    assert_eq!(log.item(OTHER)["name"], "B");
}

#[test]
fn a_former_slug_may_become_another_daos() {
    let mut log = Log::new();
    log.push("dao.event.created", &json!({"dao_id": AURORA, "slug": "aurora", "name": "A"}));
    log.push("dao.event.updated", &json!({"dao_id": AURORA, "slug": "aurora", "changes": {"slug": "dawn"}}));
    assert_eq!(log.item("dao:aurora")["id"], "dao:dawn");
    log.push("dao.event.created", &json!({"dao_id": OTHER, "slug": "aurora", "name": "B"}));
    assert_eq!(log.item("dao:aurora")["name"], "B");
    assert_eq!(log.item("dao:dawn")["name"], "A");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn an_agent_recreated_under_its_name_is_the_same_agent() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    log.push("agent.event.deleted", &json!({"agent_id": "agent:sofia"}));
    assert_eq!(log.state.resolve("agent:sofia"), None);
    let again = facts(EntityType::Agent, "agent:sofia", &[OTHER], json!({"name": "Sofia II"}));
    log.poll(&answer(Service::Agents, vec![again]));
    assert_eq!(log.item(OTHER)["id"], "agent:sofia");
    assert_eq!(log.state.resolve(SOFIA), None);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn names_for_history_have_all_forms() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    let names = log.state.names(SOFIA);
    for name in ["agent:sofia", "sofia", SOFIA, &format!("agent:{SOFIA}")] {
        assert!(names.iter().any(|own| own == name), "{name} in {names:?}");
    }
    assert_eq!(log.state.names("nobody"), ["nobody"]);
}
