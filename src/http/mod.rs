//! REST, `OpenAPI`, the embedded page.
//!
//! One file of routes for each resource; [`error::Problem`] is the error type of all of them. Documented routes are
//! registered once, for routing and for the `OpenAPI` document, so that the two cannot drift apart.

pub mod config;
pub mod docs;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod server;
pub mod state;

mod aggregate;
mod alerts;
mod body;
mod dead_letters;
mod entities;
mod errors;
mod events;
mod fields;
mod gate;
mod guard;
mod health;
mod history;
mod lessons;
mod limits;
mod links;
mod metrics;
mod negotiate;
mod page;
mod paging;
mod past;
mod preamble;
mod probes;
mod query;
mod root;
mod rules;
mod silences;
mod snapshot;
mod spans;
mod sse;
mod stream;
mod ticket;
mod traffic;

pub use config::HttpConfig;
pub use docs::openapi_json;
pub use error::Problem;
pub use limits::{Limits, LimitsConfig};
pub use probes::{learner_router, metrics_router};
pub use rules::{RULES, RequiredRole};
pub use server::serve;
pub use state::{AlertServices, AppState, Services};
pub use traffic::DURATION_BUCKETS;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use gate::Gate;
use guard::Guard;
use rules::Rules;
use traffic::Traffic;

/// Everything that is served.
///
/// # Errors
/// An origin of `cors_origins` that no header can say.
pub fn router(state: AppState) -> Result<Router, InvalidOrigin> {
    let cors = cors(&state.config.cors_origins)?;
    let (documented, document) = documented_routes().split_for_parts();
    let mut served = rules::served(&document.paths);
    served.extend(UNDOCUMENTED.map(|path| (path.to_owned(), Method::GET)));
    let routes = document.paths.paths.into_keys().chain(UNDOCUMENTED.map(str::to_owned));
    let guard = Guard { state: state.clone(), traffic: Arc::new(Traffic::of(routes)) };
    let gate = Gate { state: state.clone(), rules: Arc::new(Rules::new(served)) };
    let mut router = documented
        .merge(undocumented_routes())
        .fallback(guard::no_such_route)
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(CatchPanicLayer::custom(guard::panicked))
        // inside CORS: a page reads why it was not let in
        .layer(from_fn_with_state(gate, gate::gate));
    if let Some(cors) = cors {
        router = router.layer(cors);
    }
    Ok(router.layer(from_fn_with_state(guard, guard::guard)).with_state(state))
}

/// A configured origin that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin such as https://map.example.org, or *, not '{0}'")]
pub struct InvalidOrigin(pub String);

/// The routes that the `OpenAPI` document describes.
fn documented_routes() -> OpenApiRouter<AppState> {
    let ready_made = OpenApiRouter::with_openapi(docs::Api::openapi())
        // the snapshot has its own compressed bytes; a socket has no body; a compressor would hold events back
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(past::saved_snapshot))
        .routes(routes!(stream::stream))
        .routes(routes!(sse::event_stream))
        .routes(routes!(ticket::stream_ticket))
        .routes(routes!(health::health));
    let made_on_request = OpenApiRouter::default()
        .routes(routes!(root::root))
        .routes(routes!(health::ready))
        .routes(routes!(entities::entities))
        .routes(routes!(entities::entity))
        .routes(routes!(entities::relations))
        .routes(routes!(history::history))
        .routes(routes!(aggregate::aggregate))
        .routes(routes!(past::saved_snapshots))
        .routes(routes!(past::diff))
        .routes(routes!(events::events))
        .routes(routes!(lessons::lessons))
        .routes(routes!(lessons::lesson))
        .routes(routes!(lessons::lesson_history))
        .routes(routes!(lessons::revise))
        .routes(routes!(lessons::retire))
        .routes(routes!(lessons::review))
        .routes(routes!(preamble::preamble))
        .routes(routes!(preamble::outcome))
        .routes(routes!(alerts::alerts))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(silences::silences, silences::silence))
        .routes(routes!(silences::unsilence))
        .routes(routes!(dead_letters::dead_letters))
        .routes(routes!(dead_letters::replay_dead_letters))
        .routes(routes!(dead_letters::dead_letter))
        .routes(routes!(dead_letters::replay_dead_letter))
        .routes(routes!(dead_letters::discard_dead_letter))
        .routes(routes!(errors::errors))
        .routes(routes!(errors::errors_health))
        .routes(routes!(errors::flush_errors))
        .routes(routes!(errors::compact_errors))
        .routes(routes!(metrics::metrics));
    ready_made.merge(made_on_request.layer(compression()))
}

/// The page and the explorer.
const UNDOCUMENTED: [&str; 5] = ["/assets/{*path}", "/openapi.json", "/docs", "/docs/", "/docs/{*path}"];

fn undocumented_routes() -> Router<AppState> {
    let [asset, openapi, docs, explorer, explorer_file] = UNDOCUMENTED;
    Router::new()
        .route(asset, get(page::asset))
        .route(openapi, get(docs::openapi))
        .route(docs, get(docs::to_explorer))
        .route(explorer, get(docs::explorer))
        .route(explorer_file, get(docs::explorer_file))
        .layer(compression())
}

/// These answers are made for one client, so the quickest level is the best.
fn compression() -> CompressionLayer {
    CompressionLayer::new().quality(CompressionLevel::Fastest)
}

fn cors(origins: &[String]) -> Result<Option<CorsLayer>, InvalidOrigin> {
    if origins.is_empty() {
        return Ok(None);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let values: Result<Vec<HeaderValue>, _> = origins.iter().map(|origin| read_origin(origin)).collect();
        AllowOrigin::list(values?)
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH, sse::LAST_EVENT_ID])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            snapshot::CURSOR,
            snapshot::RESCUED,
        ]);
    Ok(Some(layer))
}

fn read_origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
    let invalid = || InvalidOrigin(text.to_owned());
    let url = url::Url::parse(text).map_err(|_| invalid())?;
    if url.origin().ascii_serialization() != text {
        return Err(invalid());
    }
    HeaderValue::from_str(text).map_err(|_| invalid())
}

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;
