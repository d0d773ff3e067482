//! Address and identity behind a request.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use crate::access::shares::Client;
use crate::access::{Caller, Identity};

/// Address and identity behind a request. The [authorization layer](super::auth) puts it into the request's extensions.
#[derive(Debug, Clone)]
pub struct Requester {
    /// Client address, behind trusted proxies the one they forward.
    pub address: IpAddr,
    /// Result of authentication; `None` if the server requires no tokens.
    pub caller: Option<Caller>,
}

impl Requester {
    /// The requester of a request that passed the authorization layer. Requests without it, which only tests make, have
    /// an unspecified address.
    pub fn of(extensions: &Extensions) -> Self {
        let unspecified = Self { address: Ipv4Addr::UNSPECIFIED.into(), caller: None };
        extensions.get().cloned().unwrap_or(unspecified)
    }

    /// Whether the request has no token although the server requires tokens: only public data may be returned.
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.caller, Some(Caller::Anonymous))
    }

    /// Client by which resources are shared: the token, else the address.
    pub fn client(&self) -> Client {
        Client::new(self.identity(), self.address)
    }

    /// Identity that the request's token proves.
    pub fn identity(&self) -> Option<&Identity> {
        self.caller.as_ref().and_then(Caller::identity)
    }

    /// Name of the token or its subject.
    pub fn name(&self) -> Option<String> {
        self.identity().map(|identity| identity.name.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Requester {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
