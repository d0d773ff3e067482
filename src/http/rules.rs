//! Required role of every route, in one table.
//!
//! A route that is missing in the table requires the role admin, and a test fails.

use std::collections::{HashMap, HashSet};

use axum::http::Method;
use utoipa::openapi::Paths;

use crate::access::Role;

/// Role that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredRole {
    /// No token required.
    Anyone,
    /// Viewer. With `PUBLIC=snapshot` no token is required, and the response is reduced.
    Public,
    /// This role or a higher one.
    From(Role),
    /// Viewer, by token or ticket: browsers cannot set headers on streams.
    Stream,
}

impl RequiredRole {
    /// Least role; `None` if no token is required.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Anyone => None,
            Self::Public | Self::Stream => Some(Role::Viewer),
            Self::From(role) => Some(role),
        }
    }
}

const ANYONE: RequiredRole = RequiredRole::Anyone;
const PUBLIC: RequiredRole = RequiredRole::Public;
const STREAM: RequiredRole = RequiredRole::Stream;
const VIEWER: RequiredRole = RequiredRole::From(Role::Viewer);
const PUBLISHER: RequiredRole = RequiredRole::From(Role::Publisher);
const OPERATOR: RequiredRole = RequiredRole::From(Role::Operator);
const ADMIN: RequiredRole = RequiredRole::From(Role::Admin);

/// Method, path, and required role of every route. `HEAD` is the same as `GET`.
pub const RULES: &[(&str, &str, RequiredRole)] = &[
    // identical in every installation, and needed by browsers before the user can enter a token
    ("GET", "/", ANYONE),
    ("GET", "/assets/{*path}", ANYONE),
    ("GET", "/docs", ANYONE),
    ("GET", "/docs/", ANYONE),
    ("GET", "/docs/{*path}", ANYONE),
    ("GET", "/openapi.json", ANYONE),
    // for supervisors and load balancers; only viewers see the checks of `ready`
    ("GET", "/living-map/health", ANYONE),
    ("GET", "/living-map/ready", ANYONE),
    // reading
    ("GET", "/living-map/session", VIEWER),
    ("GET", "/living-map/snapshot", PUBLIC),
    ("GET", "/living-map/snapshots", VIEWER),
    ("GET", "/living-map/snapshots/{id}", VIEWER),
    ("GET", "/living-map/diff", VIEWER),
    ("GET", "/living-map/entities", VIEWER),
    ("GET", "/living-map/entities/{id}", VIEWER),
    ("GET", "/living-map/entities/{id}/relations", VIEWER),
    ("GET", "/living-map/entity", VIEWER),
    ("GET", "/living-map/entity/relations", VIEWER),
    ("GET", "/living-map/frames", VIEWER),
    ("GET", "/living-map/history", VIEWER),
    ("GET", "/living-map/history/aggregate", VIEWER),
    ("GET", "/living-map/stream", STREAM),
    ("GET", "/living-map/events/stream", STREAM),
    ("POST", "/living-map/stream/ticket", VIEWER),
    ("GET", "/living-map/errors", VIEWER),
    ("GET", "/living-map/errors/health", VIEWER),
    ("GET", "/living-map/alerts", VIEWER),
    ("GET", "/living-map/alerts/silences", VIEWER),
    ("GET", "/living-map/dead-letters", VIEWER),
    ("GET", "/living-map/dead-letters/{id}", VIEWER),
    ("GET", "/living-map/lessons", VIEWER),
    ("GET", "/living-map/lessons/{key}", VIEWER),
    ("GET", "/living-map/lessons/{key}/history", VIEWER),
    ("GET", "/living-map/agents/{id}/preamble", VIEWER),
    ("GET", "/living-map/preamble", VIEWER),
    ("GET", "/metrics", VIEWER),
    // publishing
    ("POST", "/living-map/events", PUBLISHER),
    ("POST", "/living-map/agents/{id}/outcomes", PUBLISHER),
    ("POST", "/living-map/outcomes", PUBLISHER),
    // operating
    ("POST", "/living-map/errors/flush", OPERATOR),
    ("POST", "/living-map/alerts/{id}/acknowledge", OPERATOR),
    ("POST", "/living-map/alerts/acknowledge", OPERATOR),
    ("POST", "/living-map/alerts/silences", OPERATOR),
    ("DELETE", "/living-map/alerts/silences/{id}", OPERATOR),
    ("POST", "/living-map/dead-letters/replay", OPERATOR),
    ("POST", "/living-map/dead-letters/{id}/replay", OPERATOR),
    ("POST", "/living-map/dead-letters/{id}/discard", OPERATOR),
    ("POST", "/living-map/lessons/{key}/revise", OPERATOR),
    ("POST", "/living-map/lessons/{key}/retire", OPERATOR),
    ("POST", "/living-map/lessons/{key}/review", OPERATOR),
    // changing stored data of the server
    ("POST", "/living-map/errors/compact", ADMIN),
];

/// Lookup of [`RULES`] by path and method.
#[derive(Debug)]
pub struct Rules {
    rules: HashMap<&'static str, Vec<(&'static str, RequiredRole)>>,
    /// Paths and methods that the router serves, in the table or not.
    served: HashSet<(String, Method)>,
}

/// Paths and methods in an `OpenAPI` document.
pub fn served(paths: &Paths) -> HashSet<(String, Method)> {
    let mut served = HashSet::new();
    for (path, item) in &paths.paths {
        // all methods that a document can have: one that is missing here would count as not served, and get a 405
        let methods = [
            (Method::GET, &item.get),
            (Method::PUT, &item.put),
            (Method::POST, &item.post),
            (Method::DELETE, &item.delete),
            (Method::OPTIONS, &item.options),
            (Method::HEAD, &item.head),
            (Method::PATCH, &item.patch),
            (Method::TRACE, &item.trace),
        ];
        for (method, _) in methods.into_iter().filter(|(_, operation)| operation.is_some()) {
            served.insert((path.clone(), method));
        }
    }
    served
}

impl Rules {
    /// Lookup of [`RULES`] for the paths and methods that are served.
    pub fn new(served: HashSet<(String, Method)>) -> Self {
        let mut rules: HashMap<_, Vec<_>> = HashMap::new();
        for (method, path, required) in RULES {
            rules.entry(*path).or_default().push((*method, *required));
        }
        Self { rules, served }
    }

    /// Role that `method` of the route `path` requires. `path` is `None` if the request matches no route.
    pub fn of(&self, path: Option<&str>, method: &Method) -> RequiredRole {
        // a 404 reveals nothing
        let Some(path) = path else { return ANYONE };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        // nor does a 405: the document has the same information
        if !self.served.contains(&(path.to_owned(), method.clone())) {
            return ANYONE;
        }
        let rules = self.rules.get(path).map(Vec::as_slice).unwrap_or_default();
        rules.iter().find(|(known, _)| *known == method.as_str()).map_or(ADMIN, |(_, required)| *required)
    }
}
