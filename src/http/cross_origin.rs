//! Protection against pages of other sites, which a visitor's browser lets address this server: by a name of theirs that
//! resolves to it (DNS rebinding), or by requests that change something (cross-site request forgery).

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::count_denied;
use super::error::Problem;
use super::requester::Requester;
use super::state::AppState;
use crate::access::host::{AllowedHost, is_allowed};
use crate::access::origin::{self, ForwardedAddress, PROXY_ADVICE, Page};

/// Maximum length of a host in an error message, in characters.
const MAX_SHOWN: usize = 200;

/// Passes a request on unless a page of another site may have sent it. Runs inside the
/// [authorization layer](super::auth), since a browser adds no token to such a request by itself.
pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    if let Some(address) = state.limits.forwarded_address(&head.extensions, &head.headers) {
        head.extensions.insert(address);
    }
    let authenticated = Requester::of(&head.extensions).identity().is_some();
    let checked = if authenticated { Ok(()) } else { check_host(&head, &state.config.allowed_hosts) };
    match checked.and_then(|()| check_page(&head, &state.config.cors_origins, authenticated)) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Routes of the prototype. Its stream checks the page in the handshake of the WebSocket.
const PROTOTYPE_ROUTES: [&str; 6] = [
    "/",
    "/living-map/health",
    "/living-map/snapshot",
    "/living-map/entities",
    "/living-map/entities/{id}",
    "/living-map/history",
];

/// Returns true if the request reads a route of the prototype, or is the preflight of such a request.
pub fn reads_prototype_route(request: &Parts) -> bool {
    let reads = [&Method::GET, &Method::HEAD].map(Method::as_str);
    let method = match request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD) {
        Some(preflight) if request.method == Method::OPTIONS => preflight.as_bytes(),
        _ => request.method.as_str().as_bytes(),
    };
    let route = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    route.is_some_and(|route| PROTOTYPE_ROUTES.contains(&route)) && reads.iter().any(|read| read.as_bytes() == method)
}

/// Checks the host of preflight requests, which CORS answers itself, where no token is ever asked. Where tokens are used, a
/// preflight, which has none, may precede a request with one, for which any host is accepted.
pub async fn check_preflight(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if request.method() != Method::OPTIONS || state.access.is_some() {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    if let Some(address) = state.limits.forwarded_address(&head.extensions, &head.headers) {
        head.extensions.insert(address);
    }
    match check_host(&head, &state.config.allowed_hosts) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Checks the host only, for listeners without tokens whose routes change nothing.
pub async fn check_host_only(State(allowed): State<Vec<AllowedHost>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match check_host(&head, &allowed) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Checks every host that the request names: that of an absolute target, `Host`, and the one that a trusted proxy forwards.
///
/// # Errors
/// 421: a request without a token must not address this host.
fn check_host(request: &Parts, allowed: &[AllowedHost]) -> Result<(), Problem> {
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let forwarded = request.extensions.get::<ForwardedAddress>().and_then(|address| address.host.as_deref());
    let forwarded = forwarded.map(str::as_bytes);
    let named = target.into_iter().chain(values(&request.headers)).chain(forwarded);
    for host in named {
        let host = String::from_utf8_lossy(host);
        if !is_allowed(&host, allowed) {
            count_denied("host");
            let shown: String = host.chars().take(MAX_SHOWN).collect();
            let detail = format!(
                "requests without a token may not address the host '{shown}'; if it is this server's, add its name to the \
                 setting ALLOWED_HOSTS"
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).parameter("Host"));
        }
    }
    Ok(())
}

fn values(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(header::HOST).iter().map(axum::http::HeaderValue::as_bytes)
}

/// Checks the page behind a request that changes something. CORS decides which pages may read, and the handshake of a
/// WebSocket checks its page itself.
///
/// # Errors
/// 403: the page is of another origin that is not listed.
fn check_page(request: &Parts, origins: &[String], authenticated: bool) -> Result<(), Problem> {
    if [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&request.method) {
        return Ok(());
    }
    let Page::Foreign { header, value } = origin::page(&request.headers, &request.extensions, origins) else {
        return Ok(());
    };
    let any = origins.iter().any(|origin| origin == "*");
    if any && authenticated {
        return Ok(());
    }
    count_denied("cross_site");
    let advice = if any {
        "the setting ALLOWED_ORIGINS=* admits them only with a token; list the page's origin"
    } else {
        "list the page's origin in the setting ALLOWED_ORIGINS"
    };
    let detail =
        format!("pages of other origins may not change anything here ({header}: {value}); {advice}; {PROXY_ADVICE}");
    Err(Problem::new(StatusCode::FORBIDDEN, detail).parameter(header))
}
