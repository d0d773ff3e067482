//! HTTP server: REST API, `OpenAPI` document, and the embedded web page.
//!
//! One file of handlers for each resource, with [`error::Problem`] as the common error type. A documented route is
//! registered once, for the router and for the `OpenAPI` document, so that the two cannot differ.

pub mod config;
pub mod docs;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod server;
pub mod state;

mod aggregate;
mod alerts;
mod answer;
mod auth;
mod base_path;
mod body;
mod cross_origin;
mod dead_letters;
mod decisions;
mod entities;
mod errors;
mod events;
mod explorer;
mod fallback;
mod fields;
mod frames;
mod head;
mod health;
mod history;
mod known_parameters;
mod lesson_changes;
mod lessons;
mod limits;
mod links;
mod metrics;
mod mount;
mod negotiate;
mod outer_layer;
mod page;
mod paging;
mod pools;
mod preamble;
mod probes;
mod query;
mod query_slots;
mod request_metrics;
mod requester;
mod responses;
mod root;
mod rules;
mod serving;
mod session;
mod silences;
mod snapshot;
mod spans;
mod sse;
mod stream;
mod ticket;
mod time_travel;

pub use config::HttpConfig;
pub use docs::openapi_json;
pub use error::Problem;
pub use head::GROUPS as MALFORMED;
pub use limits::{Limits, LimitsConfig};
pub use pools::HttpPools;
pub use probes::{ReadinessProbe, learner_router, listener_router};
pub use request_metrics::DURATION_BUCKETS;
pub use rules::{RULES, RequiredRole};
pub use server::{AcceptThread, serve, serve_probes};
pub use serving::{ProcessHandles, Serving, ServingConfig, ServingHandles};
pub use state::{AlertServices, AppState, Services};

use std::sync::Arc;

use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Extension, Router};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use answer::Accounting;
use auth::AuthLayer;
use known_parameters::KnownParameters;
use outer_layer::OuterLayer;
use request_metrics::RequestMetrics;
use rules::Rules;
use session::Operations;

/// The router of all routes, with its layers.
///
/// # Errors
/// An entry of `cors_origins` is not an origin.
pub fn router(state: AppState) -> Result<Router, InvalidOrigin> {
    let cors = cors(&state.config)?;
    let (documented, document) = documented_routes().layered(&state).split_for_parts();
    let known_parameters = Arc::new(KnownParameters::new(&document.paths));
    let operations = Arc::new(Operations::new(&document.paths));
    let mut served = rules::served(&document.paths);
    served.extend(UNDOCUMENTED.map(|path| (path.to_owned(), Method::GET)));
    let outer = OuterLayer { state: state.clone(), metrics: Arc::new(RequestMetrics::new(&served)) };
    let auth = AuthLayer { state: state.clone(), rules: Arc::new(Rules::new(served)) };
    let mut router = documented
        .merge(undocumented_routes())
        .layer(Extension(operations))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(CatchPanicLayer::custom(fallback::panicked))
        // inside authorization: without a token nothing is known about the routes, and the rate limits apply
        .layer(from_fn_with_state(known_parameters, known_parameters::check))
        .layer(from_fn_with_state(state.clone(), cross_origin::check))
        // inside CORS, so that pages of other origins can read a 401
        .layer(from_fn_with_state(auth, auth::authorize));
    if let Some(cors) = cors {
        router = router.layer(cors).layer(from_fn_with_state(state.clone(), cross_origin::check_preflight));
    }
    let base = state.config.base_path.clone();
    let router = router.layer(from_fn_with_state(outer, outer_layer::handle)).with_state(state);
    Ok(mount::mount(router, base))
}

/// A configured CORS origin is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin such as https://map.example.org, or *, not '{0}'")]
pub struct InvalidOrigin(pub String);

/// Routes that the `OpenAPI` document describes, by the layers that their responses need.
struct DocumentedRoutes {
    /// Snapshots are compressed in advance; a WebSocket has no body; compression would delay server-sent events.
    uncompressed: OpenApiRouter<AppState>,
    /// A whole saved snapshot, compressed for the client that asks for it would take long.
    saved: OpenApiRouter<AppState>,
    /// Answers that may be large: bytes are reserved before they are computed.
    large: OpenApiRouter<AppState>,
    /// Answers that are small, or whose computation is bounded by another pool, such as the difference of two maps.
    others: OpenApiRouter<AppState>,
}

impl DocumentedRoutes {
    /// All routes without layers, for the document.
    fn merged(self) -> OpenApiRouter<AppState> {
        self.uncompressed.merge(self.saved).merge(self.large).merge(self.others)
    }

    /// All routes with their layers. The bytes are counted before they are compressed.
    fn layered(self, state: &AppState) -> OpenApiRouter<AppState> {
        let account = |reserved| {
            let budget = state.responses.clone();
            from_fn_with_state(Accounting { budget, reserved }, answer::account)
        };
        // inside, so that no slot is held while a request waits for the bytes of clients that read slowly
        let queries = || from_fn_with_state(state.clone(), query_slots::limit_queries);
        let reserved = state.config.reserved_bytes();
        let layered = Self {
            uncompressed: self.uncompressed.layer(account(0)),
            saved: self.saved.layer(queries()).layer(account(reserved)),
            large: self.large.layer(queries()).layer(account(reserved)).layer(compression()),
            others: self.others.layer(queries()).layer(account(0)).layer(compression()),
        };
        layered.merged()
    }
}

fn documented_routes() -> DocumentedRoutes {
    let uncompressed = OpenApiRouter::with_openapi(docs::Api::openapi())
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(stream::stream))
        .routes(routes!(sse::event_stream))
        .routes(routes!(ticket::stream_ticket))
        .routes(routes!(health::health));
    let saved = OpenApiRouter::default().routes(routes!(time_travel::saved_snapshot));
    let large = OpenApiRouter::default()
        .routes(routes!(entities::entities))
        .routes(routes!(entities::relations))
        .routes(routes!(entities::relations_by_query))
        .routes(routes!(history::history))
        .routes(routes!(frames::frames))
        .routes(routes!(time_travel::saved_snapshots))
        .routes(routes!(lessons::lessons))
        .routes(routes!(lessons::lesson_history))
        .routes(routes!(alerts::alerts))
        .routes(routes!(dead_letters::dead_letters))
        .routes(routes!(errors::errors));
    let others = OpenApiRouter::default()
        .routes(routes!(root::root))
        .routes(routes!(health::ready))
        .routes(routes!(entities::entity))
        .routes(routes!(entities::entity_by_query))
        .routes(routes!(aggregate::aggregate))
        .routes(routes!(time_travel::diff))
        .routes(routes!(events::events))
        .routes(routes!(lessons::lesson))
        .routes(routes!(lesson_changes::revise))
        .routes(routes!(lesson_changes::retire))
        .routes(routes!(lesson_changes::review))
        .routes(routes!(preamble::preamble))
        .routes(routes!(preamble::preamble_by_query))
        .routes(routes!(preamble::outcome))
        .routes(routes!(preamble::outcome_by_query))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::acknowledge_by_query))
        .routes(routes!(silences::silences, silences::create_silence))
        .routes(routes!(silences::end_silence))
        .routes(routes!(dead_letters::bulk_replay::replay_dead_letters))
        .routes(routes!(dead_letters::dead_letter))
        .routes(routes!(dead_letters::replay_dead_letter))
        .routes(routes!(dead_letters::discard_dead_letter))
        .routes(routes!(errors::errors_health))
        .routes(routes!(errors::flush_errors))
        .routes(routes!(errors::compact_errors))
        .routes(routes!(metrics::metrics))
        .routes(routes!(session::session));
    DocumentedRoutes { uncompressed, saved, large, others }
}

/// Paths of the web page and the explorer.
const UNDOCUMENTED: [&str; 5] = ["/assets/{*path}", "/openapi.json", "/docs", "/docs/", "/docs/{*path}"];

/// Their files are embedded in the binary, so that their bytes take no memory and are not counted.
fn undocumented_routes() -> Router<AppState> {
    let [asset, openapi, docs, explorer_index, explorer_asset] = UNDOCUMENTED;
    Router::new()
        .route(asset, get(page::asset))
        .route(openapi, get(explorer::openapi))
        .route(docs, get(explorer::redirect))
        .route(explorer_index, get(explorer::index))
        .route(explorer_asset, get(explorer::asset))
        .layer(compression())
}

/// These responses are compressed for a single client, so speed matters more than size.
fn compression() -> CompressionLayer {
    CompressionLayer::new().quality(CompressionLevel::Fastest)
}

fn cors(config: &HttpConfig) -> Result<Option<CorsLayer>, InvalidOrigin> {
    let (origins, is_prototype) = (&config.cors_origins, config.compatibility.is_prototype());
    if origins.is_empty() && !is_prototype {
        return Ok(None);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let values: Result<Vec<HeaderValue>, _> = origins.iter().map(|origin| parse_origin(origin)).collect();
        let listed = values?;
        if is_prototype {
            let reads = cross_origin::reads_prototype_route;
            AllowOrigin::predicate(move |origin, request| listed.contains(origin) || reads(request))
        } else {
            AllowOrigin::list(listed)
        }
    };
    // the prototype accepted any header; a preflight that names an unknown one must not stop its clients
    let headers = if is_prototype {
        AllowHeaders::mirror_request()
    } else {
        [header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH, sse::LAST_EVENT_ID].into()
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(headers)
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            paging::CUT,
            snapshot::CURSOR,
            snapshot::RESCUED,
        ]);
    Ok(Some(layer))
}

fn parse_origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
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
