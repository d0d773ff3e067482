//! The `OpenAPI` document.

use axum::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{RefOr, Required, Schema};

use super::error::Document;
use super::query::MAX_ID_BYTES;
use super::rules::{RequiredRole, Rules, served};
use super::{known_parameters, links, responses, silences};
use crate::model::Experience;
use crate::model::json::encoded;

/// Address of the server in the document; behind proxies it is the path under which they serve it.
pub const ROOT: &str = "/";

/// Everything in the document except its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Living Map",
        description = "A live map of an agent network: a snapshot of four layers, the history of all events, and a stream \
            of changes.",
    ),
    servers((url = ROOT, description = "This server")),
    components(schemas(Document, Experience)),
    tags(
        (name = "map", description = "The map now, at past moments, and the differences between them"),
        (name = "events", description = "History of events, and publishing new ones"),
        (name = "stream", description = "Live changes by WebSocket and server-sent events"),
        (name = "lessons", description = "Lessons learned from agents' experiences"),
        (name = "alerts", description = "Active alerts, acknowledgements, and silences"),
        (name = "errors", description = "Error journal and dead letters"),
        (name = "service", description = "Health, readiness, and metrics of the server"),
    ),
)]
pub struct Api;

/// Texts of parameters contain no NUL, which PostgreSQL cannot store or compare.
const WITHOUT_NUL: &str = r"^[^\u0000]*$";

/// Fields of responses that may be absent, by schema: they are present only with `COMPATIBLE=prototype`, or where there are
/// notes.
const ABSENT_FIELDS: [(&str, &[&str]); 9] = [
    ("Alert", &["measurement"]),
    ("AgentItem", &["uuid"]),
    ("CityItem", &["uuid"]),
    ("CityLayer", &["user", "microdao", "nodes", "agents", "events"]),
    ("CityMetrics", &["activityIndex", "avgAgentLatencyMs", "natsTps", "nodeAvgLoad", "errorRate", "questEngagement"]),
    ("HistoryItem", &["notes"]),
    ("ItemResult", &["notes"]),
    ("Note", &["at", "more", "original"]),
    ("Planet", &["uuid"]),
];

/// Schemas whose optional fields may be left out: of requests, and of responses with a part that only some requests ask for.
/// Other responses always have all fields, nullable ones as null.
const WITH_OPTIONAL_FIELDS: [&str; 11] = [
    "Acknowledge",
    "CloudEvent",
    "Envelope",
    "Experience",
    "LessonOutcome",
    "LessonRetirement",
    "LessonReview",
    "LessonRevision",
    "NewSilence",
    "Problem",
    "Ready",
];

/// The `OpenAPI` document, pretty-printed; the same at each call.
#[must_use]
pub fn openapi_json() -> String {
    let (_, mut document) = super::documented_routes().merged().split_for_parts();
    complete(&mut document);
    let mut text = encoded(document.to_pretty_json());
    text.push('\n');
    text
}

/// Adds everything that the attributes of the handlers do not declare.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    require_response_fields(document);
    secure(document);
    links::complete(document);
    for (path, item) in &mut document.paths.paths {
        let is_checked = known_parameters::is_checked(path);
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            complete_parameters(operation);
            responses::add_implied(operation, is_checked);
            responses::add_host_error(operation);
            responses::complete(operation);
        }
    }
}

fn require_response_fields(document: &mut utoipa::openapi::OpenApi) {
    let schemas = document.components.iter_mut().flat_map(|components| components.schemas.iter_mut());
    for (name, schema) in schemas {
        if let RefOr::T(Schema::Object(object)) = schema
            && !WITH_OPTIONAL_FIELDS.contains(&name.as_str())
        {
            let optional =
                ABSENT_FIELDS.iter().find(|(schema, _)| schema == name).map_or(&[][..], |(_, fields)| fields);
            let is_required = |field: &&String| !optional.contains(&field.as_str());
            object.required = object.properties.keys().filter(is_required).cloned().collect();
        }
    }
    let mut schemas = document.components.iter_mut().flat_map(|components| components.schemas.iter_mut());
    if let Some((_, RefOr::T(fields))) = schemas.find(|(name, _)| *name == "NewSilence") {
        *fields = silences::schema(fields.clone());
    }
}

/// Documents how parameters are read: empty ones are ignored, texts have no NUL, ids have a maximum length.
fn complete_parameters(operation: &mut Operation) {
    // on the stream an empty filter could mean all or none, and is rejected
    let is_stream = operation.tags.iter().flatten().any(|tag| tag == "stream");
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let in_path = parameter.parameter_in == ParameterIn::Path;
        if parameter.parameter_in == ParameterIn::Query && parameter.required == Required::False && !is_stream {
            // utoipa has no field for it
            parameter.extensions.get_or_insert_default().insert("allowEmptyValue".to_owned(), true.into());
        }
        if let Some(RefOr::T(Schema::Object(text))) = &mut parameter.schema
            && text.schema_type == SchemaType::Type(Type::String)
            && text.format.is_none()
            && text.pattern.is_none()
            && text.enum_values.is_none()
        {
            text.pattern = Some(WITHOUT_NUL.to_owned());
            text.max_length = text.max_length.or_else(|| in_path.then_some(MAX_ID_BYTES));
        }
    }
}

/// Adds to each operation its security schemes and required role, as [`RULES`](super::RULES) has them.
fn secure(document: &mut utoipa::openapi::OpenApi) {
    let rules = Rules::new(served(&document.paths));
    for (path, item) in &mut document.paths.paths {
        let operations =
            [(Method::GET, &mut item.get), (Method::POST, &mut item.post), (Method::DELETE, &mut item.delete)];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let required = rules.of(Some(path), &method);
            let Some(role) = required.role() else {
                operation.security = Some(Vec::new());
                continue;
            };
            let schemes: &[&str] = if required == RequiredRole::Stream { &["token", "ticket"] } else { &["token"] };
            let requirement = |scheme: &&str| SecurityRequirement::new(*scheme, [role.as_str()]);
            operation.security = Some(schemes.iter().map(requirement).collect());
            responses::add_access_errors(operation, &method);
        }
    }
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "An API token or a JSON Web Token; required if the server is configured with `AUTH`. Each operation names the \
         least role it requires. Roles in ascending order: viewer, publisher, operator, admin. Each includes the \
         permissions of the roles before it.",
    ));
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    let ticket = "A ticket from `POST /living-map/stream/ticket`; valid for 30 seconds and one connection";
    let ticket = ApiKeyValue::with_description("ticket", ticket);
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
}
