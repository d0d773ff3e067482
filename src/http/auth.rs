//! Authorization layer: authenticates requests, checks the role that the [rules](super::rules) require, and applies the
//! rate limits by address and by token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;

use super::error::{DEFAULT_RETRY_AFTER, Problem};
use super::requester::Requester;
use super::rules::{RequiredRole, Rules};
use super::state::AppState;
use crate::access::{Access, Caller, Denied, Identity, Role};

/// Query parameter with a ticket, which replaces a token on streams.
const TICKET: &str = "ticket";

/// State of the authorization layer.
#[derive(Clone)]
pub struct AuthLayer {
    /// Token verification and rate limits.
    pub state: AppState,
    /// Required role of each route.
    pub rules: Arc<Rules>,
}

/// Passes an authorized request on, with its [`Requester`] in the extensions.
pub async fn authorize(State(layer): State<AuthLayer>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match layer.requester(&head).await {
        Ok(requester) => {
            head.extensions.insert(requester);
            next.run(Request::from_parts(head, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl AuthLayer {
    async fn requester(&self, request: &Parts) -> Result<Requester, Problem> {
        let path = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let required = self.rules.of(path, &request.method);
        let publishes = required == RequiredRole::From(Role::Publisher);
        let limits = &self.state.limits;
        let address = limits.address(&request.extensions, &request.headers);
        limits.count_request_of_address(address, publishes)?;
        let Some(access) = &self.state.access else { return Ok(Requester { address, caller: None }) };
        let caller = self.caller(access, required, address, request).await?;
        if let Some(identity) = caller.identity() {
            limits.count_request_of_token(identity, publishes)?;
        }
        Ok(Requester { address, caller: Some(caller) })
    }

    async fn caller(
        &self,
        access: &Access,
        required: RequiredRole,
        address: IpAddr,
        request: &Parts,
    ) -> Result<Caller, Problem> {
        let anonymous_allowed = match required {
            RequiredRole::Anyone => true,
            RequiredRole::Public => self.state.config.public_snapshot,
            RequiredRole::From(_) | RequiredRole::Stream => false,
        };
        match Credential::of(request, required) {
            // health probes must work even with an expired token
            Some(credential) if required == RequiredRole::Anyone => {
                let identity = self.authenticate(access, credential, address).await;
                Ok(identity.map_or(Caller::Anonymous, Caller::Known))
            }
            Some(credential) => with_role(required, self.authenticate(access, credential, address).await?),
            None if anonymous_allowed => Ok(Caller::Anonymous),
            None => Err(denied(Denied::Missing)),
        }
    }

    async fn authenticate(
        &self,
        access: &Access,
        credential: Credential<'_>,
        address: IpAddr,
    ) -> Result<Identity, Problem> {
        // first of all, so that others' invalid tokens behind the same address do not lock out a valid one
        let identity = match credential {
            Credential::Token(token) => access.authenticate(token).await,
            Credential::Malformed => Err(Denied::Malformed),
            Credential::Ticket(ticket) => access.verify_ticket(&ticket),
        };
        identity.map_err(|error| {
            // these two are not attempts to guess a token
            if !matches!(error, Denied::KeysUnavailable | Denied::NoRole)
                && let Err(problem) = self.state.limits.count_auth_failure(address)
            {
                return problem;
            }
            denied(error)
        })
    }
}

/// Checks that a request has at least this role, where tokens are required.
///
/// # Errors
/// 401 without a token, 403 with a lower role.
pub fn require(requester: &Requester, least: Role) -> Result<(), Problem> {
    match &requester.caller {
        None => Ok(()),
        Some(Caller::Anonymous) => Err(denied(Denied::Missing)),
        Some(Caller::Known(identity)) => with_role(RequiredRole::From(least), identity.clone()).map(drop),
    }
}

fn with_role(required: RequiredRole, identity: Identity) -> Result<Caller, Problem> {
    match required.role() {
        Some(least) if identity.role < least => {
            count_denied("role");
            let detail = format!("this requires the role {least}; the token has the role {}", identity.role);
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        _ => Ok(Caller::Known(identity)),
    }
}

enum Credential<'a> {
    Token(&'a str),
    /// An `Authorization` header without a bearer token.
    Malformed,
    Ticket(String),
}

impl<'a> Credential<'a> {
    fn of(request: &'a Parts, required: RequiredRole) -> Option<Self> {
        if request.headers.contains_key(header::AUTHORIZATION) {
            return Some(bearer_token(&request.headers).map_or(Self::Malformed, Self::Token));
        }
        let query = request.uri.query().filter(|_| required == RequiredRole::Stream)?;
        let mut parameters = url::form_urlencoded::parse(query.as_bytes());
        parameters.find(|(name, _)| name == TICKET).map(|(_, ticket)| Self::Ticket(ticket.into_owned()))
    }
}

/// Token of the `Authorization` header. A repeated header is ambiguous and has none.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The ticket that authenticates a request to a stream; `None` if it has another credential or none.
pub fn ticket(request: &Parts) -> Option<String> {
    match Credential::of(request, RequiredRole::Stream) {
        Some(Credential::Ticket(ticket)) => Some(ticket),
        _ => None,
    }
}

/// Uses up a ticket, when everything else that its handshake needs has succeeded.
///
/// # Errors
/// 401: a concurrent handshake has used it up, or it has expired.
pub fn redeem(access: Option<&Access>, ticket: Option<&str>) -> Result<(), Problem> {
    match (access, ticket) {
        (Some(access), Some(ticket)) => access.redeem(ticket).map_err(denied),
        _ => Ok(()),
    }
}

/// Response to a missing or rejected credential.
pub fn denied(error: Denied) -> Problem {
    count_denied(error.as_str());
    let challenge = match error {
        Denied::KeysUnavailable => {
            return Problem::unavailable(error.to_string(), DEFAULT_RETRY_AFTER).cause("no verification keys");
        }
        Denied::NoRole => return Problem::new(StatusCode::FORBIDDEN, error.to_string()),
        Denied::Missing => r#"Bearer realm="living-map""#,
        _ => r#"Bearer realm="living-map", error="invalid_token""#,
    };
    let headers = HeaderMap::from_iter([(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]);
    Problem::new(StatusCode::UNAUTHORIZED, error.to_string()).headers(headers)
}

/// Counts a request that was denied. `reason` is one of a fixed set of labels.
pub fn count_denied(reason: &'static str) {
    counter!("living_map_access_denied_total", "reason" => reason).increment(1);
}
