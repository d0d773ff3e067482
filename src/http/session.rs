//! The session: who sends a request, and which operations their role permits.

use std::sync::Arc;

use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Paths;

use super::requester::Requester;
use super::rules::{Rules, served};
use crate::access::Role;

/// The caller, and the operations that its role permits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "grafana", "role": "viewer", "expires_at": null,
    "operations": [
        {"id": "acknowledge_alert", "role": "operator", "allowed": false},
        {"id": "alerts", "role": "viewer", "allowed": true},
    ],
}))]
pub struct Session {
    /// Name of the API token, or `sub` of the JSON Web Token; null if the server requires no tokens.
    #[schema(required)]
    name: Option<String>,
    /// Role of the token; null if the server requires no tokens.
    #[schema(required)]
    role: Option<Role>,
    /// Time at which the token expires; null if it does not, or if the server requires no tokens.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// All operations of the API, by id.
    operations: Vec<SessionOperation>,
}

/// An operation, and whether the caller's role permits it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionOperation {
    /// `operationId` in this document.
    id: String,
    /// Least role that the operation requires; null if it requires none.
    #[schema(required)]
    role: Option<Role>,
    /// True if the caller's role permits it, or if the server requires no tokens.
    allowed: bool,
}

/// Id and least role of each documented operation, by id.
#[derive(Debug)]
pub struct Operations(Vec<(String, Option<Role>)>);

impl Operations {
    /// Operations of a document, with the roles of the table that requests are checked against.
    pub fn new(paths: &Paths) -> Self {
        let rules = Rules::new(served(paths));
        let mut operations = Vec::new();
        for (path, item) in &paths.paths {
            let documented = [(Method::GET, &item.get), (Method::POST, &item.post), (Method::DELETE, &item.delete)];
            for (method, operation) in documented {
                if let Some(id) = operation.as_ref().and_then(|operation| operation.operation_id.clone()) {
                    operations.push((id, rules.of(Some(path), &method).role()));
                }
            }
        }
        operations.sort();
        Self(operations)
    }

    /// The operations as a caller with `role` sees them; `None` if the server requires no tokens.
    fn of(&self, role: Option<Role>) -> Vec<SessionOperation> {
        let allowed = |least: Option<Role>| role.is_none_or(|role| least.is_none_or(|least| role >= least));
        let operations = self.0.iter();
        operations
            .map(|(id, least)| SessionOperation { id: id.clone(), role: *least, allowed: allowed(*least) })
            .collect()
    }
}

/// Get the caller and its permissions
///
/// The name and the role of the request's token, and for each operation of this document whether the role permits it, so
/// that a user interface offers nothing that would be answered 403. Without `AUTH` everything is permitted, and nobody has
/// a name.
#[utoipa::path(
    get, path = "/living-map/session", tag = "service", operation_id = "session",
    responses((status = 200, body = Session))
)]
pub async fn session(Extension(operations): Extension<Arc<Operations>>, requester: Requester) -> Response {
    let identity = requester.identity();
    let role = identity.map(|identity| identity.role);
    let session = Session {
        name: requester.name(),
        role,
        expires_at: identity.and_then(|identity| identity.expires_at),
        operations: operations.of(role),
    };
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(session)).into_response()
}
