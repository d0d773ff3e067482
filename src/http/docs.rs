//! The `OpenAPI` document and its explorer, which needs nothing from elsewhere.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::error::{Document, PROBLEM_JSON, Problem};
use super::links;
use super::query::MAX_ID_BYTES;
use super::rules::{RequiredRole, Rules, served};
use super::silences;
use crate::model::Experience;

/// What the document says beyond its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Living Map",
        description = "A whole agent network as it lives: a map of four layers, its history, and every change as it happens.",
    ),
    components(schemas(Document, Experience)),
    tags(
        (name = "map", description = "The map as it is now"),
        (name = "events", description = "What happened, and telling what happens"),
        (name = "stream", description = "What happens, as it happens"),
        (name = "lessons", description = "What agents' experiences taught, and handing it out"),
        (name = "alerts", description = "What wants a look, and who looks after it"),
        (name = "errors", description = "Is anything broken?"),
        (name = "service", description = "The server itself"),
    ),
)]
pub struct Api;

/// Swagger UI sets styles on its elements and shows images it brings along.
const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What no database can look up is in no text of a parameter.
const WITHOUT_NUL: &str = r"^[^\u0000]*$";

static OPENAPI: LazyLock<String> = LazyLock::new(openapi_json);

static EXPLORER: LazyLock<Arc<Config<'static>>> =
    // "none" keeps the explorer from asking a validator on the internet
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true)));

/// The `OpenAPI` document, pretty-printed, the same at each call.
#[must_use]
pub fn openapi_json() -> String {
    let (_, mut document) = super::documented_routes().split_for_parts();
    complete(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds what the attributes do not say.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    // answers hold every field, nullable ones as null; only these leave fields out
    const WITH_OPTIONAL_FIELDS: [&str; 9] = [
        "Acknowledge",
        "Envelope",
        "Experience",
        "LessonOutcome",
        "LessonRetirement",
        "LessonReview",
        "LessonRevision",
        "NewSilence",
        "Problem",
    ];
    let schemas = document.components.iter_mut().flat_map(|components| components.schemas.iter_mut());
    for (name, schema) in schemas {
        if let RefOr::T(Schema::Object(object)) = schema
            && !WITH_OPTIONAL_FIELDS.contains(&name.as_str())
        {
            object.required = object.properties.keys().cloned().collect();
        }
    }
    let mut schemas = document.components.iter_mut().flat_map(|components| components.schemas.iter_mut());
    if let Some((_, RefOr::T(fields))) = schemas.find(|(name, _)| *name == "NewSilence") {
        *fields = silences::schema(fields.clone());
    }
    secure(document);
    links::complete(document);
    let items = document.paths.paths.values_mut();
    for operation in items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.delete]).flatten() {
        accept(operation);
        describe(operation);
    }
}

/// The texts that a route takes, and how it refuses what it does not.
fn accept(operation: &mut Operation) {
    // on the stream an empty filter could mean all or none, and is refused
    let is_stream = operation.tags.iter().flatten().any(|tag| tag == "stream");
    let mut refusals = Vec::new();
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        refusals.push((StatusCode::BAD_REQUEST, "A parameter is not as expected; `parameter` names it"));
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
    if operation.request_body.is_some() {
        refusals.extend([
            (StatusCode::BAD_REQUEST, "The body is no JSON"),
            (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not declared as JSON"),
        ]);
    }
    for (status, description) in refusals {
        refuse(operation, status.as_str(), description);
    }
}

/// Says of a refusal what its status says, where its route says nothing of it.
fn refuse(operation: &mut Operation, status: &str, description: &str) {
    let document = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(document)).build();
    let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
}

fn describe(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
            && let Ok(status) = status.parse::<StatusCode>()
        {
            status.canonical_reason().unwrap_or_default().clone_into(&mut response.description);
        }
    }
}

/// Says which credential each operation takes, and from which role on, as the [rules](super::rules) have it.
fn secure(document: &mut utoipa::openapi::OpenApi) {
    let rules = Rules::new(served(&document.paths));
    for (path, item) in &mut document.paths.paths {
        let operations =
            [(Method::GET, &mut item.get), (Method::POST, &mut item.post), (Method::DELETE, &mut item.delete)];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let who = rules.of(Some(path), &method);
            let Some(role) = who.role() else {
                operation.security = Some(Vec::new());
                continue;
            };
            let by = |scheme: &str| SecurityRequirement::new(scheme, [role.as_str()]);
            let schemes: &[&str] = if who == RequiredRole::Stream { &["token", "ticket"] } else { &["token"] };
            operation.security = Some(schemes.iter().map(|scheme| by(scheme)).collect());
            let refusals = [
                ("401", "Where tokens are asked for: none was sent, or one that is not taken"),
                ("403", "The token's role is not enough"),
                ("429", "Too many requests; `Retry-After` says when to come back"),
            ];
            for (status, description) in refusals {
                refuse(operation, status, description);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "An API token or a JSON Web Token, where the server asks for one (`AUTH`). The names beside it are the least role: \
         viewer, publisher, operator, admin; each may do all that those before it may.",
    ));
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    let ticket = ApiKeyValue::with_description("ticket", "Good once, for 30 seconds: `POST /living-map/stream/ticket`");
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
}

/// `GET /openapi.json`.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], OPENAPI.as_str())
}

/// `GET /docs`: the explorer's files are beside its page, so the page's address ends with a slash.
pub async fn to_explorer() -> Redirect {
    Redirect::permanent("/docs/")
}

/// `GET /docs/`.
pub async fn explorer() -> Result<Response, Problem> {
    file("index.html")
}

/// `GET /docs/{*path}`.
pub async fn explorer_file(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    file(&path?.0)
}

fn file(path: &str) -> Result<Response, Problem> {
    let SwaggerFile { bytes, content_type, gzpipped: gzipped, .. } =
        utoipa_swagger_ui::serve(path, Arc::clone(&EXPLORER))
            .map_err(Problem::internal)?
            .ok_or_else(|| Problem::not_found("the explorer has no file of this name"))?;
    let mut response = Response::new(Body::from(bytes.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&content_type).map_err(Problem::internal)?);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if gzipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
