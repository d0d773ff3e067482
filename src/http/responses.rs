//! Error responses in the `OpenAPI` document, each kind declared once.
//!
//! A handler lists its own responses and the kinds below in `responses(…)`. Everything that follows from an operation's
//! parameters, body, and required role is added by [`add_implied`]; [`complete`] gives all errors their content type.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use utoipa::IntoResponses;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::error::PROBLEM_JSON;

/// Declares kinds of responses: for each status its description.
macro_rules! response_kinds {
    ($($(#[$doc:meta])* $name:ident { $($status:ident: $description:expr,)+ })+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let responses = [$((StatusCode::$status, $description)),+];
                responses.into_iter().map(|(status, text)| (status.as_str().to_owned(), described(text))).collect()
            }
        }
    )+};
}

const NOT_FOUND: &str = "No item with this id";
const MAP_INCOMPLETE: &str =
    "The map is not complete yet: the server is still reading the event log for the first time";
const DATABASE: &str = "The database is unavailable, or the query took too long";
const LOG: &str = "The event log is unavailable, or the map is not complete yet";
const BEFORE_HISTORY: &str = "The moment is before the oldest one that is kept, or in another event log; `oldest_cursor` and \
    `oldest_time` in the problem are the oldest moment available";

response_kinds! {
    /// Reads the map.
    MapErrors { SERVICE_UNAVAILABLE: MAP_INCOMPLETE, }
    /// Looks up an item of the map by id.
    MapItemErrors { NOT_FOUND: NOT_FOUND, SERVICE_UNAVAILABLE: MAP_INCOMPLETE, }
    /// Reads the map at a past moment.
    TimeTravelErrors {
        GONE: BEFORE_HISTORY,
        SERVICE_UNAVAILABLE: "The map is not complete yet, or the past moment cannot be computed at present",
    }
    /// Reads the database.
    DatabaseErrors { SERVICE_UNAVAILABLE: DATABASE, }
    /// Looks up an item in the database by id.
    DatabaseItemErrors { NOT_FOUND: NOT_FOUND, SERVICE_UNAVAILABLE: DATABASE, }
    /// Appends a decision to the event log.
    LogErrors { SERVICE_UNAVAILABLE: LOG, }
    /// Appends a decision about an alert or a silence to the event log.
    LogItemErrors { NOT_FOUND: "No active alert or silence with this id", SERVICE_UNAVAILABLE: LOG, }
    /// Replays or discards a dead letter.
    DeadLetterErrors {
        NOT_FOUND: NOT_FOUND,
        CONFLICT: "The dead letter's status does not allow this, for example because it was discarded",
        SERVICE_UNAVAILABLE: "The database, or another dependency that processing needs, is unavailable",
    }
    /// Changes a lesson.
    LessonErrors {
        NOT_FOUND: NOT_FOUND,
        CONFLICT: "`version` is not the newest version, or the lesson's status does not allow the change; `current` in the \
            problem is the newest version",
        SERVICE_UNAVAILABLE: DATABASE,
    }
    /// Writes the error journal's files.
    JournalErrors { SERVICE_UNAVAILABLE: "The journal's object store fails. No entry is lost; pending ones are kept", }
    /// Opens a stream.
    StreamErrors {
        SERVICE_UNAVAILABLE: "Too many clients, the map is not complete yet, or the events after `cursor` cannot be read at \
            present; try again after `Retry-After`",
    }
}

fn described(description: &str) -> RefOr<Response> {
    ResponseBuilder::new().description(description).build().into()
}

/// Adds the responses that follow from an operation's parameters and request body, unless it describes them itself. If
/// `is_checked`, unknown query parameters are rejected.
pub fn add_implied(operation: &mut Operation, is_checked: bool) {
    let has_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    if operation.request_body.is_some() && !has_parameters {
        add(operation, StatusCode::BAD_REQUEST, "The body is not valid JSON, or a parameter is unknown");
    }
    if has_parameters || is_checked {
        let description = "A parameter is invalid or unknown; `parameter` in the problem names it";
        add(operation, StatusCode::BAD_REQUEST, description);
    }
    if operation.request_body.is_some() {
        add(operation, StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time");
        add(operation, StatusCode::PAYLOAD_TOO_LARGE, "The body is too large");
        add(operation, StatusCode::UNSUPPORTED_MEDIA_TYPE, "The `Content-Type` is not JSON, or the body is compressed");
        add(
            operation,
            StatusCode::UNPROCESSABLE_ENTITY,
            "A field of the body is invalid; `field` in the problem names it",
        );
    }
}

/// Adds the response to a request without a token that names an unknown host.
pub fn add_host_error(operation: &mut Operation) {
    let description = "`Host` is not in the setting `ALLOWED_HOSTS` (only for requests without a token)";
    add(operation, StatusCode::MISDIRECTED_REQUEST, description);
}

/// Adds the responses of operations that require a role.
pub fn add_access_errors(operation: &mut Operation, method: &Method) {
    add(
        operation,
        StatusCode::UNAUTHORIZED,
        "The token is missing or was rejected (only if the server requires tokens)",
    );
    let forbidden = if *method == Method::GET {
        "The token's role does not permit this"
    } else {
        "The token's role does not permit this, or the request is from a page of another origin"
    };
    add(operation, StatusCode::FORBIDDEN, forbidden);
    add(operation, StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded; `Retry-After` is the delay in seconds");
}

fn add(operation: &mut Operation, status: StatusCode, description: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.as_str().to_owned()).or_insert_with(|| described(description));
}

/// Completes the responses: errors are problem documents unless the handler declares another body, 429 and 503 have
/// `Retry-After`, and the default description is the status in words.
pub fn complete(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let Ok(status) = status.parse::<StatusCode>() else { continue };
        if response.description.is_empty() {
            status.canonical_reason().unwrap_or_default().clone_into(&mut response.description);
        }
        if (status.is_client_error() || status.is_server_error()) && response.content.is_empty() {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            response.content.insert(PROBLEM_JSON.to_owned(), content.into());
            if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                response.headers.insert("Retry-After".to_owned(), retry_after().into());
            }
        }
    }
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let seconds = seconds.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait before the next attempt")).build()
}
