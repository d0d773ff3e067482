//! Checks before the upgrade from HTTP to WebSocket.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use crate::access::origin::{self, PROXY_ADVICE, Page};

/// The reason for a rejected upgrade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The request is not a valid WebSocket handshake.
    #[error("this is a WebSocket endpoint: {0}")]
    NotWebSocket(String),
    /// The connection cannot be upgraded (HTTP/1.0, HTTP/2, or a server without upgrades).
    #[error("this connection cannot be upgraded, use HTTP/1.1")]
    NotUpgradable,
    /// The page has a foreign origin and could act on behalf of its visitor.
    #[error("pages from '{0}' may not connect here; list their origin in ALLOWED_ORIGINS; {PROXY_ADVICE}")]
    Origin(String),
    /// The limit of clients is reached, in total or for this address.
    #[error("the limit of streaming clients is reached, in total or for this address")]
    Full {
        /// Delay before the next attempt.
        retry_after: Duration,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping {
        /// Delay before the next attempt.
        retry_after: Duration,
    },
}

impl UpgradeError {
    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotWebSocket(_) | Self::NotUpgradable => StatusCode::UPGRADE_REQUIRED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Full { .. } | Self::Stopping { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The headers of the response.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::NotWebSocket(_) | Self::NotUpgradable => {
                headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
            }
            Self::Full { retry_after } | Self::Stopping { retry_after } => {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from(retry_after.as_secs().max(1)));
            }
            Self::Origin(_) => {}
        }
        headers
    }
}

/// The response that accepts the upgrade.
pub fn response(parts: &Parts) -> Result<Response<()>, UpgradeError> {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = parts.version;
    *request.headers_mut() = parts.headers.clone();
    create_response(&request).map_err(|error| UpgradeError::NotWebSocket(error.to_string()))
}

/// Rejects pages of other origins: a browser lets any page open a WebSocket to any server, and sends the visitor's cookies.
pub fn check_origin(request: &Parts, allowed: &[String]) -> Result<(), UpgradeError> {
    match origin::page(&request.headers, &request.extensions, allowed) {
        Page::Own | Page::Listed => Ok(()),
        Page::Foreign { .. } if allowed.iter().any(|origin| origin == "*") => Ok(()),
        Page::Foreign { value, .. } => {
            metrics::counter!("living_map_access_denied_total", "reason" => "cross_site").increment(1);
            Err(UpgradeError::Origin(value))
        }
    }
}
