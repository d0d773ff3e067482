//! How the values of settings are read; an error says what was expected.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::model::subject::{InvalidSubject, Pattern};

/// A whole or fractional number of seconds, from a millisecond to a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| (0.001..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds from 0.001 to 86400".to_owned())
}

/// A pattern of subjects to record, without the blanks around it. One for every first token would record the requests to
/// `JetStream` too, which would answer for them: nothing could be asked of it any more.
pub fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern: Pattern = text.trim().parse().map_err(|error: InvalidSubject| error.to_string())?;
    if pattern.as_str().starts_with(['*', '>']) {
        return Err("expected a pattern that begins with a name, such as task.>".to_owned());
    }
    Ok(pattern)
}

/// An address or a network.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}

pub fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected an address such as http://localhost:7014".to_owned())
}

pub fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(text.to_owned());
    }
    let url = http_url(text).map_err(|_| "expected an origin such as https://map.example.org, or *".to_owned())?;
    match url.origin().ascii_serialization() {
        origin if origin == text.trim_end_matches('/') => Ok(origin),
        origin => Err(format!("expected an origin without a path, such as {origin}")),
    }
}
