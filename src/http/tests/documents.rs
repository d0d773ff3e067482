//! The `OpenAPI` document, the schema of experiences, and the `AsyncAPI` document.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_openapi_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    let current = openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == current, "openapi/openapi.json is out of date; run the tests once with UPDATE_OPENAPI=1");
}

#[test]
fn the_experience_schema_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/experience.schema.json");
    let current = crate::model::experience::json_schema();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == current, "{path} is out of date; run the tests once with UPDATE_OPENAPI=1: {current}");
    let schema: Value = serde_json::from_str(&current).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let names = "event_id agent_id task outcome latency_ms error_class error_message model provider tool trace_id timestamp version";
    let expected: BTreeSet<&str> = names.split(' ').collect();
    assert_eq!(properties.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    assert_eq!(properties["outcome"]["enum"], json!(["ok", "error", "silent", "timeout"]));
    assert_eq!(schema["additionalProperties"], true);
}

#[test]
fn the_asyncapi_document_has_all_subjects_and_valid_schemas() {
    let asyncapi = include_str!("../../../openapi/asyncapi.yaml");
    let subjects = crate::model::subject::MAP_SUBJECTS.iter().chain(crate::model::subject::NETWORK_SUBJECTS);
    for subject in subjects.filter(|subject| !subject.starts_with("agent.experience")) {
        assert!(asyncapi.contains(subject), "{subject} is not in openapi/asyncapi.yaml");
    }
    assert!(asyncapi.contains("agent.experience.v1.{agent_id}") && asyncapi.contains("'./experience.schema.json'"));
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut references = 0;
    for reference in asyncapi.split("openapi.json#/components/schemas/").skip(1) {
        let name = reference.split('\'').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
        references += 1;
    }
    assert!(references >= 3);
}

#[test]
fn every_operation_documents_errors_and_known_schemas() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split(r##""$ref":"#/components/schemas/"##).skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{path} {status}");
            }
            let has_input = operation.get("parameters").is_some() || operation.get("requestBody").is_some();
            let has_client_errors =
                operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('4'));
            assert!(!has_input || has_client_errors, "{method} {path}");
        }
    }
}
