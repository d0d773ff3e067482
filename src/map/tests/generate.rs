//! Random networks: few names, so that they collide, and some malformed values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{answer, facts, listed};
use crate::model::{Answer, EntityType, Layer, Service};

/// One step of a generated network.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Event(String, Value),
    /// A duplicate of the last event.
    Again,
    Hours(i64),
    PollBegins,
    /// The answer to the poll that began last, else to a poll that begins now, and the size of its parts.
    PollEnds(Answer, usize),
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => event(),
        1 => Just(Step::Again),
        1 => (1..30_i64).prop_map(Step::Hours),
        1 => Just(Step::PollBegins),
        4 => (any_answer(false), prop_oneof![Just(1_usize), Just(600), Just(100_000)])
            .prop_map(|(answer, size)| Step::PollEnds(answer, size)),
    ];
    proptest::collection::vec(step, 1..most)
}

fn uuid(number: u8) -> String {
    format!("afd7ae6d-0000-4000-8000-0000000000{number:02}")
}

/// A name of entity number 1 to 4 of a type: as uuid, external id, slug or number.
fn name(kind: EntityType) -> impl Strategy<Value = Value> {
    (1..5_u8, 0..5_u8).prop_map(move |(number, form)| match form {
        0 => json!(uuid(number)),
        1 => json!(format!("{kind}:x{number}")),
        2 => json!(format!("thing-{number}")),
        3 => json!(number),
        _ => json!(format!("{kind}:{}", uuid(number))),
    })
}

fn malformed() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(-1)),
        Just(json!(1.5)),
        Just(json!("")),
        Just(json!("odd")),
        Just(json!([1, "x"])),
        Just(json!({"x": 1, "y": 2.5, "z": -0.0})),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!("\u{0}")),
    ]
}

fn field(kind: EntityType) -> impl Strategy<Value = (String, Value)> {
    let names = prop_oneof![Just("name"), Just("slug"), Just("thing")];
    let texts = (names, 1..4_u8).prop_map(|(field, number)| {
        let value = if field == "name" { format!("Thing {number}") } else { format!("thing-{number}") };
        (field.to_owned(), json!(value))
    });
    let counts =
        (prop_oneof![Just("members"), Just("agents"), Just("active_proposals"), Just("uptime_seconds")], 0..9_u8)
            .prop_map(|(field, count)| (field.to_owned(), json!(count)));
    let loads = (
        prop_oneof![
            Just("cpu"),
            Just("gpu"),
            Just("ram"),
            Just("memory"),
            Just("disk"),
            Just("activity"),
            Just("treasury_value")
        ],
        0.0..1.2_f64,
    )
        .prop_map(|(field, load)| (field.to_owned(), json!(load)));
    let statuses = prop_oneof![
        Just("online"),
        Just("offline"),
        Just("busy"),
        Just("warn"),
        Just("critical"),
        Just("error"),
        Just("good"),
        Just("nap")
    ];
    let status = (prop_oneof![Just("status"), Just("health")], statuses)
        .prop_map(|(field, status)| (field.to_owned(), json!(status)));
    let treasury = (0..3_u8, 0..1000_u32).prop_map(|(token, balance)| {
        ("treasury".to_owned(), json!([{"token_symbol": format!("T{token}"), "balance": format!("{balance}.50")}]))
    });
    let any_name = prop_oneof![
        Just("name"),
        Just("slug"),
        Just("kind"),
        Just("description"),
        Just("status"),
        Just("cpu"),
        Just("members"),
        Just("treasury"),
        Just("orbits"),
        Just("position"),
        Just("alerts"),
        Just("is_active"),
        Just("microdao_id"),
        Just("usage"),
        Just("balance"),
        Just("model"),
    ];
    prop_oneof![
        4 => texts,
        3 => counts,
        3 => loads,
        3 => status,
        2 => treasury,
        2 => name(EntityType::Microdao).prop_map(|name| ("microdao_id".to_owned(), name)),
        2 => any::<bool>().prop_map(|on| ("is_active".to_owned(), json!(on))),
        1 => proptest::collection::vec(name(EntityType::Node), 0..3)
            .prop_map(|orbits| ("orbits".to_owned(), Value::from(orbits))),
        1 => (1..9_u8).prop_map(|day| ("record_updated_at".to_owned(), json!(format!("2026-11-0{day}T00:00:00")))),
        1 => (any_name, malformed()).prop_map(|(field, value)| (field.to_owned(), value)),
    ]
    .prop_map(move |(field, value)| {
        if kind == EntityType::Node && field == "slug" { ("label".to_owned(), value) } else { (field, value) }
    })
}

fn fields(kind: EntityType) -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec(field(kind), 0..5).prop_map(|fields| fields.into_iter().collect())
}

fn event() -> impl Strategy<Value = Step> {
    let subjects = prop_oneof![
        proptest::sample::select(vec![
            "agent.event.created",
            "agent.event.updated",
            "agent.event.deleted",
            "agent.event.activated",
            "agent.event.deactivated",
            "agent.event.status",
            "agent.event.error",
            "agent.event.reply_sent",
            "agent.event.model_changed",
            "agents.reply",
            "agents.error",
            "agents.runs.finished",
            "agent.reply.sent",
            "usage.llm",
            "usage.llm.increment",
            "usage.agent",
            "usage.tool",
            "city.event.presence",
        ])
        .prop_map(|subject| (subject, EntityType::Agent, "agent_id")),
        proptest::sample::select(vec![
            "dao.event.created",
            "dao.event.updated",
            "dao.event.deleted",
            "dao.event.member_added",
            "dao.event.member_removed",
            "dao.event.treasury_updated",
            "dao.event.proposal_created",
            "dao.event.proposal_activated",
            "dao.event.proposal_closed",
            "dao.event.vote_cast",
        ])
        .prop_map(|subject| (subject, EntityType::Dao, "dao_id")),
        proptest::sample::select(vec![
            "microdao.event.created",
            "microdao.event.updated",
            "microdao.event.deleted",
            "microdao.event.member_added",
            "microdao.event.member_removed",
            "microdao.event.treasury_updated",
            "microdao.event.settings_updated",
        ])
        .prop_map(|subject| (subject, EntityType::Microdao, "microdao_id")),
        proptest::sample::select(vec!["node.metrics.update", "node.metrics.x1", "city.event.node"])
            .prop_map(|subject| (subject, EntityType::Node, "node_id")),
        Just(("messaging.message.created", EntityType::Channel, "channel_id")),
        proptest::sample::select(vec!["ops.alert.critical", "ops.alert.info", "living_map.alert.raised"])
            .prop_map(|subject| (subject, EntityType::Agent, "alert_id")),
        Just(("living_map.alert.cleared", EntityType::Agent, "alert_id")),
    ];
    (subjects, any::<u64>()).prop_flat_map(|((subject, kind, id_field), time)| {
        let more = json!({"token_symbol": "T1", "new_balance": "7.25", "proposal_id": time % 3, "success": time % 2 == 0,
            "total_tokens": time % 100, "latency_ms": time % 900, "value": time % 5, "sender_type": "agent",
            "sender_id": format!("agent:x{}", time % 4 + 1), "ts": 1_789_990_000 + time % 20_000});
        let slug = proptest::option::weighted(0.3, (1..4_u8).prop_map(|number| json!(format!("thing-{number}"))));
        let keep = proptest::collection::vec(any::<bool>(), 10);
        let id = proptest::option::weighted(0.95, prop_oneof![20 => name(kind), 1 => malformed()]);
        (id, slug, fields(kind), any::<bool>(), keep).prop_map(move |(id, slug, fields, nested, keep)| {
            let mut body = Map::new();
            for ((field, value), _) in more.as_object().unwrap().iter().zip(&keep).filter(|(_, keep)| **keep) {
                body.insert(field.clone(), value.clone());
            }
            if nested {
                body.insert("changes".to_owned(), Value::Object(fields));
            } else {
                body.extend(fields);
            }
            body.extend(slug.map(|slug| ("slug".to_owned(), slug)));
            body.extend(id.map(|id| (id_field.to_owned(), id)));
            Step::Event(subject.to_owned(), Value::Object(body))
        })
    })
}

/// Sections of the city service that are recorded for clients of the prototype, some of them missing or malformed.
fn sections(number: u64) -> Value {
    match number % 4 {
        0 => Value::Null,
        1 => json!({"user": {"id": number, "handle": "@alice"}, "nodes": [{"id": number}, 5]}),
        2 => json!({"user": null, "microdao": {"id": "microdao:7", "members": number}, "events": "none"}),
        _ => json!({"microdao": {"balanceDcr": 0.5}, "agents": [{"id": "agent:x1", "lastAction": "none"}]}),
    }
}

/// An upstream's answer. In a consistent one, as of real upstreams, entities share no names.
pub(super) fn any_answer(consistent: bool) -> impl Strategy<Value = Answer> {
    let service = proptest::sample::select(Service::ALL.to_vec());
    service.prop_flat_map(move |service| {
        // the usage service has figures of agents, and lists none
        let kinds = if service == Service::Usage { vec![EntityType::Agent] } else { listed(service) };
        let one = (proptest::sample::select(kinds), 1..5_u8).prop_flat_map(move |(kind, number)| {
            let usage = (0..50_u64, 0..5_u64).prop_map(|(calls, messages)| {
                let average = (calls > 10).then_some(1.5);
                let mut usage = json!({"llm_calls_24h": calls / 10 * 10, "tokens_24h": calls / 10,
                    "avg_response_time_ms": average});
                if calls % 3 > 0 {
                    usage["messages_24h"] = json!(messages / 4);
                }
                usage
            });
            let aliases = proptest::collection::vec(name(kind), 0..2);
            (fields(kind), aliases, usage, any::<bool>()).prop_map(move |(mut fields, aliases, usage, named)| {
                let mut names: Vec<String> = aliases
                    .iter()
                    .filter(|_| !consistent)
                    .map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned))
                    .collect();
                if named {
                    names.push(uuid(number));
                }
                if service == Service::Usage {
                    fields.insert("usage".to_owned(), usage);
                }
                if consistent && fields.contains_key("slug") {
                    fields.insert("slug".to_owned(), json!(format!("thing-{number}")));
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                facts(kind, &format!("{kind}:x{number}"), &names, Value::Object(fields))
            })
        });
        let layers = (0..200_u64, any::<bool>()).prop_map(move |(figure, said)| {
            let layer = match service {
                Service::Usage => (Layer::Agents, json!({"total_llm_calls_24h": figure})),
                Service::City => (
                    Layer::City,
                    json!({"metrics": {"nats_tps": figure, "error_rate": -0.0}, "quests": [{"id": figure}, 5],
                        "sections": sections(figure)}),
                ),
                _ => return Vec::new(),
            };
            let (layer, Value::Object(map)) = layer else { unreachable!() };
            if said { vec![(layer, map)] } else { Vec::new() }
        });
        (proptest::collection::vec(one, 0..4), layers)
            .prop_map(move |(entities, layers)| Answer { layers, ..answer(service, entities) })
    })
}
