//! Checks before the upgrade from HTTP to WebSocket.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::server::create_response;

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
    #[error("pages from '{0}' may not connect here")]
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

/// Rejects pages of foreign origins: a browser lets any page open a WebSocket to any server, and sends the visitor's
/// cookies. Clients other than browsers send no `Origin`.
pub fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), UpgradeError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let text = String::from_utf8_lossy(origin.as_bytes());
    let listed = |entry: &String| entry == "*" || entry.trim_end_matches('/').eq_ignore_ascii_case(&text);
    if allowed.iter().any(listed) || is_same_origin(&text, headers) {
        return Ok(());
    }
    Err(UpgradeError::Origin(text.chars().take(200).collect()))
}

/// Returns true if `origin` is the host that the request was sent to.
fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(url) = url::Url::parse(origin) else { return false };
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    // The header omits the scheme's default port, as the origin does; a proxy may have added it.
    let Ok(host_url) = url::Url::parse(&format!("{}://{host}", url.scheme())) else { return false };
    url.host().is_some()
        && url.host() == host_url.host()
        && url.port_or_known_default() == host_url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(origin: Option<&str>, host: &str, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        check_origin(&headers, &allowed).is_ok()
    }

    #[test]
    fn pages_of_other_origins_are_rejected() {
        for (origin, host) in [
            ("https://evil.example", "map.example"),
            ("https://map.example.evil.example", "map.example"),
            ("http://localhost:3000", "localhost:7017"),
            ("https://map.example:8443", "map.example"),
            ("null", "map.example"),
            ("", "map.example"),
            ("map.example", "map.example"),
        ] {
            assert!(!is_allowed(Some(origin), host, &["https://other.example"]), "{origin} on {host}");
        }
    }

    #[test]
    fn same_origin_listed_origins_and_programs_may_connect() {
        assert!(is_allowed(None, "map.example", &[]));
        for (origin, host) in [
            ("http://localhost:7017", "localhost:7017"),
            ("https://map.example", "map.example"),
            ("https://map.example", "map.example:443"),
            ("https://MAP.example", "map.EXAMPLE"),
            ("http://[::1]:7017", "[::1]:7017"),
        ] {
            assert!(is_allowed(Some(origin), host, &[]), "{origin} on {host}");
        }
        assert!(is_allowed(Some("http://localhost:3000"), "localhost:7017", &["http://localhost:3000/"]));
        assert!(is_allowed(Some("null"), "map.example", &["*"]));
    }
}
