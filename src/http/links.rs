//! `links` of the `OpenAPI` document: values in a response that are parameters of other operations.

use utoipa::openapi::link::Link;
use utoipa::openapi::{OpenApi, RefOr};

/// Operation id and status of a response, id and parameter of the target operation, and the runtime expression of the
/// parameter's value.
type ResponseLink = (&'static str, &'static str, &'static str, &'static str, &'static str);

const LINKS: &[ResponseLink] = &[
    ("snapshot", "200", "diff", "from", "$response.body#/meta/cursor"),
    ("snapshot", "200", "event_stream", "cursor", "$response.body#/meta/cursor"),
    ("saved_snapshots", "200", "saved_snapshot", "id", "$response.body#/items/0/id"),
    ("saved_snapshots", "200", "diff", "from", "$response.body#/oldest_cursor"),
    ("entities", "200", "entity", "id", "$response.body#/items/0/id"),
    ("entities", "200", "entity_by_query", "id", "$response.body#/items/0/id"),
    ("entities", "200", "relations", "id", "$response.body#/items/0/id"),
    ("entities", "200", "relations_by_query", "id", "$response.body#/items/0/id"),
    ("entities", "200", "entities", "cursor", "$response.body#/next_cursor"),
    ("publish", "200", "history", "cursor", "$response.body#/results/0/cursor"),
    ("publish", "200", "diff", "from", "$response.body#/results/0/cursor"),
    ("history", "200", "entity", "id", "$response.body#/items/0/entity_id"),
    ("history", "200", "history", "cursor", "$response.body#/next_cursor"),
    ("alerts", "200", "acknowledge_alert", "id", "$response.body#/items/0/id"),
    ("alerts", "200", "acknowledge_alert_by_query", "id", "$response.body#/items/0/id"),
    ("silence_alerts", "201", "end_silence", "id", "$response.body#/id"),
    ("silences", "200", "end_silence", "id", "$response.body#/items/0/id"),
    ("dead_letters", "200", "dead_letter", "id", "$response.body#/items/0/id"),
    ("dead_letters", "200", "replay_dead_letter", "id", "$response.body#/items/0/id"),
    ("dead_letters", "200", "discard_dead_letter", "id", "$response.body#/items/0/id"),
    ("lessons", "200", "lesson", "key", "$response.body#/items/0/lesson_key"),
    ("lessons", "200", "lesson_history", "key", "$response.body#/items/0/lesson_key"),
    ("lessons", "200", "review_lesson", "key", "$response.body#/items/0/lesson_key"),
    ("lessons", "200", "revise_lesson", "key", "$response.body#/items/0/lesson_key"),
    ("lessons", "200", "retire_lesson", "key", "$response.body#/items/0/lesson_key"),
    ("lessons", "200", "preamble", "id", "$response.body#/items/0/agent_id"),
    ("lessons", "200", "preamble_by_query", "agent", "$response.body#/items/0/agent_id"),
];

/// Adds the links to the document.
pub fn complete(document: &mut OpenApi) {
    let items = document.paths.paths.values_mut();
    for operation in items.flat_map(|item| [&mut item.get, &mut item.post]).flatten() {
        let own = operation.operation_id.clone().unwrap_or_default();
        for (_, status, to, parameter, value) in LINKS.iter().filter(|(from, ..)| *from == own) {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(*status) {
                let link = Link::builder().operation_id(*to).parameter(*parameter, *value).build();
                response.links.insert((*to).to_owned(), link.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::openapi_json;

    #[test]
    fn every_link_refers_to_a_parameter_in_the_document() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let items = document["paths"].as_object().unwrap().values();
        let operations: Vec<&Value> = items.flat_map(|item| item.as_object().unwrap().values()).collect();
        let find = |id: &str| {
            operations.iter().find(|operation| operation["operationId"] == id).unwrap_or_else(|| panic!("no {id}"))
        };
        for (from, status, to, parameter, value) in LINKS {
            let link = &find(from)["responses"][status]["links"][to];
            assert_eq!(link["parameters"][parameter], *value, "from {from} to {to}");
            let parameters = find(to)["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|known| known["name"] == *parameter), "{to} has no {parameter}");
        }
    }
}
