//! Who may do what: one table of all routes.
//!
//! A route that is not in it is for admins alone, and a test says that it is missing.

use std::collections::{HashMap, HashSet};

use axum::http::Method;
use utoipa::openapi::Paths;

use crate::access::Role;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredRole {
    /// Everybody, without a token.
    Anyone,
    /// Viewers; with `PUBLIC=snapshot` everybody, who then gets less.
    Public,
    /// Those with this role, or one above it.
    From(Role),
    /// Viewers, by a ticket too: browsers cannot set a header on a stream.
    Stream,
}

impl RequiredRole {
    /// The least role; none where no token is asked for.
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

/// The table. `HEAD` is as `GET`.
pub const RULES: &[(&str, &str, RequiredRole)] = &[
    // the same in every installation, and what a browser needs before it can ask for a token
    ("GET", "/", ANYONE),
    ("GET", "/assets/{*path}", ANYONE),
    ("GET", "/docs", ANYONE),
    ("GET", "/docs/", ANYONE),
    ("GET", "/docs/{*path}", ANYONE),
    ("GET", "/openapi.json", ANYONE),
    // for supervisors and load balancers; `ready` tells its checks only to viewers
    ("GET", "/living-map/health", ANYONE),
    ("GET", "/living-map/ready", ANYONE),
    // the map, its past, and what happens
    ("GET", "/living-map/snapshot", PUBLIC),
    ("GET", "/living-map/snapshots", VIEWER),
    ("GET", "/living-map/snapshots/{id}", VIEWER),
    ("GET", "/living-map/diff", VIEWER),
    ("GET", "/living-map/entities", VIEWER),
    ("GET", "/living-map/entities/{id}", VIEWER),
    ("GET", "/living-map/entities/{id}/relations", VIEWER),
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
    ("GET", "/metrics", VIEWER),
    // telling what happens
    ("POST", "/living-map/events", PUBLISHER),
    ("POST", "/living-map/agents/{id}/outcomes", PUBLISHER),
    // acting on what the server found
    ("POST", "/living-map/errors/flush", OPERATOR),
    ("POST", "/living-map/alerts/{id}/acknowledge", OPERATOR),
    ("POST", "/living-map/alerts/silences", OPERATOR),
    ("DELETE", "/living-map/alerts/silences/{id}", OPERATOR),
    ("POST", "/living-map/dead-letters/replay", OPERATOR),
    ("POST", "/living-map/dead-letters/{id}/replay", OPERATOR),
    ("POST", "/living-map/dead-letters/{id}/discard", OPERATOR),
    ("POST", "/living-map/lessons/{key}/revise", OPERATOR),
    ("POST", "/living-map/lessons/{key}/retire", OPERATOR),
    ("POST", "/living-map/lessons/{key}/review", OPERATOR),
    // rewriting what the server keeps
    ("POST", "/living-map/errors/compact", ADMIN),
];

/// The table, to be looked up.
#[derive(Debug)]
pub struct Rules {
    rules: HashMap<&'static str, Vec<(&'static str, RequiredRole)>>,
    /// What is served, whether it is in the table or not.
    served: HashSet<(String, Method)>,
}

/// The methods that a document's paths have.
pub fn served(paths: &Paths) -> HashSet<(String, Method)> {
    let mut served = HashSet::new();
    for (path, item) in &paths.paths {
        // every one that a document can have: what is not in here is taken for not served, and let through to its 405
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
    /// Of [`RULES`], for the paths and methods that are served.
    pub fn new(served: HashSet<(String, Method)>) -> Self {
        let mut rules: HashMap<_, Vec<_>> = HashMap::new();
        for (method, path, who) in RULES {
            rules.entry(*path).or_default().push((*method, *who));
        }
        Self { rules, served }
    }

    /// Who may use `method` of the route `path`, which is none where no route took the request.
    pub fn of(&self, path: Option<&str>, method: &Method) -> RequiredRole {
        // a 404 tells nothing
        let Some(path) = path else { return ANYONE };
        let method = if method == Method::HEAD { &Method::GET } else { method };
        // nor does a 405, which the document tells as well
        if !self.served.contains(&(path.to_owned(), method.clone())) {
            return ANYONE;
        }
        let rules = self.rules.get(path).map(Vec::as_slice).unwrap_or_default();
        rules.iter().find(|(known, _)| *known == method.as_str()).map_or(ADMIN, |(_, who)| *who)
    }
}
