//! Layer that rejects query parameters that the `OpenAPI` document does not declare: a misspelt filter would otherwise
//! return everything.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{Paths, RefOr};

use super::error::Problem;
use super::query::shown;

/// Paths whose parameters are checked. Those of the page and the explorer are read in the browser.
const CHECKED: &str = "/living-map/";

/// Parameters that caches and analytics add to any address.
const IGNORED: [&str; 3] = ["_", "v", "t"];
/// Prefix of further ones: campaigns.
const IGNORED_PREFIX: &str = "utm_";

/// Names of the query parameters of each path and method.
#[derive(Debug)]
pub struct KnownParameters(HashMap<String, Vec<(Method, Vec<String>)>>);

impl KnownParameters {
    /// Parameters of all operations of an `OpenAPI` document.
    pub fn new(paths: &Paths) -> Self {
        let checked = paths.paths.iter().filter(|(path, _)| is_checked(path));
        Self(checked.map(|(path, item)| (path.clone(), operations(item))).collect())
    }

    /// Checks the names in `query`. Routes and methods that are not declared have no parameters to check; they are
    /// answered 404 or 405.
    ///
    /// # Errors
    /// 400: the first unknown name, with the nearest known one.
    fn check(&self, path: &str, method: &Method, query: &str) -> Result<(), Problem> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let operations = self.0.get(path).map(Vec::as_slice).unwrap_or_default();
        let Some((_, known)) = operations.iter().find(|(declared, _)| declared == method) else { return Ok(()) };
        let is_known = |name: &str| {
            known.iter().any(|known| known == name) || IGNORED.contains(&name) || name.starts_with(IGNORED_PREFIX)
        };
        match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(unknown(&name, known)),
            None => Ok(()),
        }
    }
}

/// True if unknown query parameters of this route are rejected.
pub fn is_checked(path: &str) -> bool {
    path.starts_with(CHECKED)
}

fn operations(item: &PathItem) -> Vec<(Method, Vec<String>)> {
    // `served` in `rules` has a test that the document has no other methods
    let operations = [(Method::GET, &item.get), (Method::POST, &item.post), (Method::DELETE, &item.delete)];
    let declared = operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)));
    declared.map(|(method, operation)| (method, in_query(operation))).collect()
}

fn in_query(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        _ => None,
    });
    parameters.collect()
}

fn unknown(name: &str, known: &[String]) -> Problem {
    let likeness = |known: &String| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let problem = match nearest {
        Some(nearest) => format!("unknown parameter; the nearest name is '{nearest}', of {}", known.join(", ")),
        None => "unknown parameter; this route has none".to_owned(),
    };
    Problem::bad_request(shown(name), problem)
}

/// Passes on a request whose query parameters are known.
pub async fn check(State(known): State<Arc<KnownParameters>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let checked = match (path, request.uri().query()) {
        (Some(path), Some(query)) => known.check(path.as_str(), request.method(), query),
        _ => Ok(()),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
