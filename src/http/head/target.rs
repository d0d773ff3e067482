//! The target of a request.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::{Authority, PathAndQuery};

use super::Malformed;

/// Longest target that [`Uri`] can hold, in bytes.
const MAX_BYTES: usize = u16::MAX as usize - 1;

/// Checks a request's target, and percent-encodes in its query what browsers encode there: `"`, `<`, `>` and other characters than
/// ASCII.
///
/// # Errors
/// It is not a path with an optional query, an address whose host is the one of the field `Host`, or for `OPTIONS` `*`.
pub fn normalize<'a>(method: &str, target: &'a str, host: Option<&[u8]>) -> Result<Cow<'a, str>, Malformed> {
    if method == "CONNECT" {
        return Err(Malformed::Connect);
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(Cow::Borrowed(target));
    }
    // `Uri` would drop a fragment, which others may take for a part of the path
    if target.contains('#') {
        return Err(Malformed::Target);
    }
    let target = with_encoded_query(target);
    if target.len() > MAX_BYTES {
        return Err(Malformed::TargetTooLong);
    }
    if target.starts_with('/') {
        PathAndQuery::try_from(&*target).map_err(|_| Malformed::Target)?;
        return Ok(target);
    }
    let uri = Uri::try_from(&*target).map_err(|_| Malformed::Target)?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Malformed::Target);
    };
    // the target would take precedence over `Host` (RFC 9112, 3.2.2), by which other parts decide
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_str().as_bytes())) {
        return Err(Malformed::OtherHost);
    }
    if is_host(authority.as_str().as_bytes()) { Ok(target) } else { Err(Malformed::Target) }
}

fn with_encoded_query(target: &str) -> Cow<'_, str> {
    let Some(query) = target.find('?').map(|mark| mark + 1) else { return Cow::Borrowed(target) };
    let is_encoded = |byte: u8| matches!(byte, b'"' | b'<' | b'>' | 0x80..);
    if !target[query..].bytes().any(is_encoded) {
        return Cow::Borrowed(target);
    }
    let mut encoded = target[..query].to_owned();
    for byte in target[query..].bytes() {
        if is_encoded(byte) {
            encoded.push_str(percent_encoding::percent_encode_byte(byte));
        } else {
            encoded.push(char::from(byte));
        }
    }
    Cow::Owned(encoded)
}

/// Returns true for a host with an optional port, and for an empty value: clients send it where the target has no host.
pub fn is_host(value: &[u8]) -> bool {
    // a comma is valid in names, and what remains where two fields were joined
    if value.is_empty() || value.iter().any(|byte| matches!(byte, b'@' | b',')) {
        return value.is_empty();
    }
    let Ok(authority) = Authority::try_from(value) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit())
}
