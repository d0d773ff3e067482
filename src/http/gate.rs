//! Who comes in: asks for a credential where the [rules](super::rules) want one, and counts what each address and each
//! token takes.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;

use super::error::Problem;
use super::limits::Visitor;
use super::rules::{RequiredRole, Rules};
use super::state::AppState;
use crate::access::{Access, Caller, Denied, Identity, Role};

/// The query parameter that takes the place of a token.
const TICKET: &str = "ticket";

/// What the gate works with.
#[derive(Clone)]
pub struct Gate {
    /// Credentials and limits.
    pub state: AppState,
    /// Who may do what.
    pub rules: Arc<Rules>,
}

/// Lets a request through, or not.
pub async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match gate.admit(&head).await {
        Ok(visitor) => {
            head.extensions.insert(visitor);
            next.run(Request::from_parts(head, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    async fn admit(&self, request: &Parts) -> Result<Visitor, Problem> {
        let path = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let who = self.rules.of(path, &request.method);
        let publishes = who == RequiredRole::From(Role::Publisher);
        let limits = &self.state.limits;
        let address = limits.address(&request.extensions, &request.headers);
        limits.request_from(address, publishes)?;
        let Some(access) = &self.state.access else { return Ok(Visitor { address, caller: None }) };
        let caller = self.caller(access, who, address, request).await?;
        if let Some(identity) = caller.identity() {
            limits.request_by(identity, publishes)?;
        }
        Ok(Visitor { address, caller: Some(caller) })
    }

    async fn caller(
        &self,
        access: &Access,
        who: RequiredRole,
        address: IpAddr,
        request: &Parts,
    ) -> Result<Caller, Problem> {
        let open = who == RequiredRole::Anyone || (who == RequiredRole::Public && self.state.config.public_snapshot);
        match shown(request, who) {
            // a probe's old token, or a browser's, is no reason not to say whether the server lives
            Some(shown) if who == RequiredRole::Anyone => {
                Ok(self.identify(access, shown, address).await.map_or(Caller::Anonymous, Caller::Known))
            }
            Some(shown) => allowed(who, self.identify(access, shown, address).await?),
            None if open => Ok(Caller::Anonymous),
            None => Err(denied(Denied::Missing)),
        }
    }

    async fn identify(&self, access: &Access, shown: Shown<'_>, address: IpAddr) -> Result<Identity, Problem> {
        self.state.limits.may_try(address)?;
        let identified = match shown {
            Shown::Token(token) => access.identify(token).await,
            Shown::Nothing => Err(Denied::Malformed),
            Shown::Ticket(ticket) => access.redeem(&ticket),
        };
        identified.map_err(|error| {
            // of these two the token is not to blame
            if !matches!(error, Denied::KeysAway | Denied::NoRole) {
                self.state.limits.failed(address);
            }
            denied(error)
        })
    }
}

fn allowed(who: RequiredRole, identity: Identity) -> Result<Caller, Problem> {
    match who.role() {
        Some(least) if identity.role < least => {
            count("role");
            let detail = format!("this takes the role {least}; the token gives {}", identity.role);
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        _ => Ok(Caller::Known(identity)),
    }
}

enum Shown<'a> {
    Token(&'a str),
    /// The header is there, and has no token.
    Nothing,
    Ticket(String),
}

fn shown(request: &Parts, who: RequiredRole) -> Option<Shown<'_>> {
    if request.headers.contains_key(header::AUTHORIZATION) {
        return Some(bearer(&request.headers).map_or(Shown::Nothing, Shown::Token));
    }
    let query = request.uri.query().filter(|_| who == RequiredRole::Stream)?;
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    parameters.find(|(name, _)| name == TICKET).map(|(_, ticket)| Shown::Ticket(ticket.into_owned()))
}

/// The token of `Authorization`. Of two headers nobody can say which one is meant.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The answer to a credential that is not taken, or not there.
pub fn denied(error: Denied) -> Problem {
    count(error.as_str());
    let challenge = match error {
        Denied::KeysAway => {
            return Problem::unavailable(error.to_string(), super::error::DEFAULT_RETRY_AFTER).cause("no keys");
        }
        Denied::NoRole => return Problem::new(StatusCode::FORBIDDEN, error.to_string()),
        Denied::Missing => r#"Bearer realm="living-map""#,
        _ => r#"Bearer realm="living-map", error="invalid_token""#,
    };
    let headers = HeaderMap::from_iter([(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]);
    Problem::new(StatusCode::UNAUTHORIZED, error.to_string()).headers(headers)
}

fn count(reason: &'static str) {
    counter!("living_map_access_denied_total", "reason" => reason).increment(1);
}
