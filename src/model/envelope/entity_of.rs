//! The entity that an event is about.

use serde_json::Value;

use super::text;
use crate::model::entity::EntityType;

/// The entity of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRef {
    /// Id with the type's prefix; the id of anything else (a message) as sent.
    pub id: Option<String>,
    /// Type; none for anything that is not an entity of the map.
    pub kind: Option<EntityType>,
}

/// Finds the entity in an event's subject and payload. `agent_id` is the envelope's.
///
/// The subject's family decides first (`dao.event.*` is about a DAO even though it carries a `microdao_id`), then an
/// explicit `entity_id`, then the most specific id there is.
#[must_use]
pub fn entity_of(event_type: &str, payload: &Value, agent_id: Option<&str>) -> EntityRef {
    // a dead letter is about the same entity as the original message
    let tokens: Vec<&str> = event_type.strip_suffix(".dlq").unwrap_or(event_type).split('.').collect();
    let field = |key: &str| text(payload.get(key));
    let agent = || field("agent_id").or_else(|| agent_id.map(str::to_owned));
    let found = match tokens.as_slice() {
        ["microdao", "event", ..] => {
            (EntityType::Microdao, field("microdao_id").or_else(|| field("id")).or_else(|| field("slug")))
        }
        // in proposal events the slug is the proposal's
        ["dao", "event", kind, ..] if kind.starts_with("proposal_") || *kind == "vote_cast" => {
            (EntityType::Dao, field("dao_id"))
        }
        ["dao", "event", ..] => (EntityType::Dao, field("dao_id").or_else(|| field("id")).or_else(|| field("slug"))),
        ["node", "metrics", rest @ ..] => {
            let named = || rest.first().filter(|name| **name != "update").map(|name| (*name).to_owned());
            (EntityType::Node, field("node_id").or_else(named))
        }
        ["agent", "run", "started" | "completed" | "failed", rest @ ..]
        | ["message", "received" | "processed" | "sent", rest @ ..]
        | ["memory", "store" | "retrieve" | "indexed", rest @ ..]
        | ["memory", "graph", "updated", rest @ ..]
        | ["attachment", "indexed", rest @ ..]
        | ["agent", "experience", "v1", rest @ ..]
        | ["policy" | "prompt", "updated", rest @ ..] => {
            (EntityType::Agent, agent().or_else(|| (!rest.is_empty()).then(|| rest.join("."))))
        }
        ["agent" | "agents" | "usage", ..] => {
            let actor = || field("actor_id").filter(|id| EntityType::of_id(id) == Some(EntityType::Agent));
            (EntityType::Agent, agent().or_else(actor))
        }
        ["messaging", "message", ..] => (EntityType::Channel, field("channel_id")),
        _ => (EntityType::Agent, None),
    };
    if let (kind, Some(id)) = found {
        return known(kind, &id);
    }
    explicit(payload)
        .or_else(|| by_field(payload))
        .or_else(|| agent_id.map(|id| known(EntityType::Agent, id)))
        .unwrap_or_default()
}

fn known(kind: EntityType, id: &str) -> EntityRef {
    EntityRef { id: Some(kind.prefixed(id)), kind: Some(kind) }
}

fn explicit(payload: &Value) -> Option<EntityRef> {
    let id = text(payload.get("entity_id"))?;
    let kind = text(payload.get("entity_type")).and_then(|kind| kind.parse().ok()).or_else(|| EntityType::of_id(&id));
    Some(kind.map_or_else(|| EntityRef { id: Some(id.clone()), kind: None }, |kind| known(kind, &id)))
}

fn by_field(payload: &Value) -> Option<EntityRef> {
    const FIELDS: [(&str, EntityType); 5] = [
        ("agent_id", EntityType::Agent),
        ("node_id", EntityType::Node),
        ("channel_id", EntityType::Channel),
        ("dao_id", EntityType::Dao),
        ("microdao_id", EntityType::Microdao),
    ];
    FIELDS
        .iter()
        .find_map(|(field, kind)| Some(known(*kind, &text(payload.get(field))?)))
        .or_else(|| Some(EntityRef { id: Some(text(payload.get("message_id"))?), kind: None }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_family_decides_before_the_fields() {
        for (subject, payload, id) in [
            ("dao.event.created", json!({"dao_id": "710f", "microdao_id": "1ce9", "slug": "aurora"}), Some("dao:710f")),
            ("dao.event.updated", json!({"slug": "aurora", "microdao_id": "1ce9"}), Some("dao:aurora")),
            ("dao.event.proposal_created", json!({"dao_id": 3, "slug": "budget"}), Some("dao:3")),
            ("dao.event.proposal_created", json!({"slug": "budget", "microdao_id": "7"}), Some("microdao:7")),
            ("microdao.event.updated", json!({"microdao_id": "microdao:7", "slug": "x"}), Some("microdao:7")),
            ("node.metrics.node-05", json!({"cpu": 1}), Some("node:node-05")),
            ("node.metrics.update", json!({"node_id": "node:03"}), Some("node:03")),
            ("node.metrics.update", json!({}), None),
            ("usage.llm", json!({"actor_id": "agent:sofia"}), Some("agent:sofia")),
            ("usage.tool", json!({"actor_id": "user:1"}), None),
            ("agent.run.started.agent:sofia", json!({}), Some("agent:sofia")),
            ("agent.run.failed.sofia.dlq", json!({}), Some("agent:sofia")),
            ("agent.run.failed.dlq", json!({}), None),
            ("attachment.indexed.sofia", json!({}), Some("agent:sofia")),
            ("messaging.message.created", json!({"channel_id": "c1", "message_id": "m1"}), Some("channel:c1")),
            ("messaging.message.created", json!({"message_id": "m1"}), Some("m1")),
            ("city.event.quest", json!({"entity_id": "q1"}), Some("q1")),
            ("city.event.x", json!([1]), None),
            ("strange", json!("text"), None),
        ] {
            assert_eq!(entity_of(subject, &payload, None).id.as_deref(), id, "{subject} {payload}");
        }
    }
}
