//! The map as clients of the prototype see it.

use serde_json::{Value, json};

use super::recorded::{self, AURORA, GARDEN, SOFIA};
use super::{Log, answer, assert_typed, facts, layers_of};
use crate::model::{Answer, Compatibility, EntityType, Layer, Service};

/// The recorded city with the sections that the prototype passed on.
fn city() -> Answer {
    let mut city = recorded::city();
    city.layers[0].1.insert(
        "sections".to_owned(),
        json!({
            "user": {"id": "user:93", "handle": "@alice:daarion.city", "archetype": "Explorer", "microdaoId": "microdao:7"},
            "microdao": {"id": "microdao:7", "name": "Quantum Garden", "members": 7, "humans": 4, "agents": 3,
                "balanceDcr": 12820.0, "activity24h": 0.84},
            "nodes": [{"id": "node:03", "label": "Quantum Relay", "status": "healthy"}],
            "agents": [{"id": "agent:sofia", "name": "Sofia-Prime", "lastAction": "Summarized DAO events 2m ago"}],
            "events": [{"id": "evt-1133", "type": "dao", "label": "New proposal in Aurora Circle", "severity": "info"}],
        }),
    );
    city
}

/// Agents as the registry lists them, one of them switched off.
fn agents() -> Answer {
    let agent = |name: &str, active: Value| {
        let fields = json!({"name": name, "is_active": active, "record_updated_at": "2026-11-21T00:03:23.046310Z"});
        facts(EntityType::Agent, &format!("agent:{name}"), &[], fields)
    };
    let mut listed = recorded::agents();
    listed.entities[0].fields.insert("record_updated_at".to_owned(), json!("2026-11-21T00:03:23.046310Z"));
    listed.entities.extend([agent("off", json!(false)), agent("odd", Value::Null)]);
    listed
}

#[test]
fn the_prototypes_fields_are_shown_beside_ours() {
    let (mut own, mut prototype) = (Log::new(), Log::showing(Compatibility::Prototype));
    for log in [&mut own, &mut prototype] {
        for answer in [agents(), recorded::microdaos(), recorded::daos(), recorded::space(), city()] {
            log.poll(&answer);
        }
        assert_eq!(log.client, layers_of(&log.state));
        assert_typed(&log.client);
    }
    let layer = prototype.layer(Layer::City);
    for (section, recorded) in city().layers[0].1["sections"].as_object().unwrap() {
        assert_eq!(&layer[section], recorded, "{section}");
    }
    let metrics = &layer["metrics"];
    assert_eq!((&metrics["activityIndex"], &metrics["activity_index"]), (&json!(0.71), &json!(0.71)));
    assert_eq!((&metrics["natsTps"], &metrics["errorRate"]), (&json!(48_200.0), &Value::Null));
    for (name, uuid) in [("agent:sofia", json!(SOFIA)), ("agent:off", Value::Null), ("microdao:7", json!(GARDEN))] {
        assert_eq!(prototype.item(name)["uuid"], uuid, "{name}");
    }
    assert_eq!(prototype.item("dao:aurora-circle")["uuid"], AURORA);
    assert_eq!(prototype.item("agent:sofia")["microdao_id"], "microdao:7", "references stay canonical");
    let own_fields = own.layer(Layer::City);
    assert!(own_fields.get("user").is_none() && own_fields["metrics"].get("natsTps").is_none(), "{own_fields}");
    assert!(own.item("agent:sofia").get("uuid").is_none());
    assert_eq!(
        prototype.state.encode().services,
        ["agents-service", "microdao-service", "dao-service", "city-service", "space-service"]
    );
    assert_eq!(own.state.encode().services, ["agents", "microdao", "dao", "city", "space"]);
}

#[test]
fn agents_not_heard_of_are_online_or_offline() {
    let status = |log: &Log, name: &str| log.item(name)["status"].clone();
    let (mut own, mut prototype) = (Log::new(), Log::showing(Compatibility::Prototype));
    own.poll(&agents());
    prototype.poll(&agents());
    for (name, ours, old) in
        [("agent:sofia", "active", "online"), ("agent:off", "inactive", "inactive"), ("agent:odd", "active", "offline")]
    {
        assert_eq!((status(&own, name), status(&prototype, name)), (json!(ours), json!(old)), "{name}");
    }
    assert_eq!(prototype.layer(Layer::Agents)["online_agents"], 1);
    prototype.push("agent.event.tool_call", &json!({"agent_id": "agent:odd"}));
    assert_eq!(status(&prototype, "agent:odd"), "online");
    prototype.push("agent.event.status", &json!({"agent_id": "agent:sofia", "status": "idle"}));
    assert_eq!(status(&prototype, "agent:sofia"), "idle", "an event says more than the record");
    prototype.poll(&recorded::city());
    assert_eq!(prototype.client, layers_of(&prototype.state));
}

#[test]
fn the_record_of_an_agent_not_heard_of_tells_its_last_activity() {
    let (mut own, mut prototype) = (Log::new(), Log::showing(Compatibility::Prototype));
    for log in [&mut own, &mut prototype] {
        log.poll(&agents());
    }
    assert_eq!(own.item("agent:sofia")["last_active"], Value::Null);
    assert_eq!(prototype.item("agent:sofia")["last_active"], "2026-11-21T00:03:23.046310Z");
    let earlier = json!({"agent_id": "agent:sofia", "ts": "2026-09-20T00:00:00Z"});
    prototype.push("agent.event.tool_call", &earlier);
    assert_eq!(prototype.item("agent:sofia")["last_active"], "2026-09-20T00:00:00Z");
    assert_eq!(prototype.client, layers_of(&prototype.state));
}

/// The prototype's facts are in the log only where a server of this mode polls; a log without them shows the fields empty.
#[test]
fn fields_without_facts_are_empty() {
    let mut log = Log::showing(Compatibility::Prototype);
    log.poll(&answer(Service::City, Vec::new()));
    log.poll(&recorded::city());
    let layer = log.layer(Layer::City);
    assert_eq!((&layer["user"], &layer["microdao"], &layer["events"]), (&Value::Null, &Value::Null, &json!([])));
    assert_eq!(log.client, layers_of(&log.state));
}
