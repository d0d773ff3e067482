//! Layer that runs requests which query the database in slots that clients share.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::requester::Requester;
use super::state::AppState;

/// Routes whose `GET` queries the database.
const QUERIES: &[&str] = &[
    "/living-map/agents/{id}/preamble",
    "/living-map/dead-letters",
    "/living-map/dead-letters/{id}",
    "/living-map/history",
    "/living-map/history/aggregate",
    "/living-map/lessons",
    "/living-map/lessons/{key}",
    "/living-map/lessons/{key}/history",
    "/living-map/snapshots",
    "/living-map/snapshots/{id}",
];

/// Runs a request that queries the database with a slot of its client, which ends with the handler: it is not held while the
/// client reads the response.
pub async fn limit_queries(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // a body, which only other methods have, would be awaited with the slot
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || !path.is_some_and(|path| QUERIES.contains(&path)) {
        return next.run(request).await;
    }
    let client = Requester::of(request.extensions()).client();
    match state.pools.query(client).await {
        Ok(_slot) => next.run(request).await,
        Err(problem) => state.problem(problem).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RULES;

    #[test]
    fn the_routes_that_query_the_database_are_routes() {
        for path in QUERIES {
            assert!(RULES.iter().any(|(method, known, _)| method == &"GET" && known == path), "{path}");
        }
    }
}
