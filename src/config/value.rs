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

/// A whole number of milliseconds, from 1 to ten minutes.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|milliseconds| (1..=600_000).contains(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a number of milliseconds from 1 to 600000".to_owned())
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

/// A century, as for all of history.
const MAX_AGE_DAYS: u64 = 36_500;

/// A pattern of subjects and how long their events are kept: `task.>=24h`. No less than an hour: a restart must find the
/// events behind the newest saved map.
pub fn retention_rule(text: &str) -> Result<(Pattern, Duration), String> {
    let expected = || "expected <pattern>=<age>, the age in hours or days, such as task.created=7d or >=24h".to_owned();
    let (subjects, age) = text.trim().rsplit_once('=').ok_or_else(expected)?;
    let pattern = subjects.parse().map_err(|error: InvalidSubject| error.to_string())?;
    let hours = match (age.strip_suffix('h'), age.strip_suffix('d')) {
        (Some(hours), _) => hours.parse().ok(),
        (_, Some(days)) => days.parse().ok().and_then(|days: u64| days.checked_mul(24)),
        _ => None,
    };
    let hours = hours.filter(|hours| (1..=MAX_AGE_DAYS * 24).contains(hours)).ok_or_else(expected)?;
    Ok((pattern, Duration::from_hours(hours)))
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

/// A subject without wildcards.
pub fn subject(text: &str) -> Result<Pattern, String> {
    Some(pattern(text)?)
        .filter(Pattern::is_literal)
        .ok_or_else(|| "expected a subject without wildcards, such as agent.lesson.v1".to_owned())
}

/// A number above zero.
pub fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

/// A whole or fractional number of percent.
pub fn percent(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|percent: &f64| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "expected a number of percent from 0 to 100".to_owned())
}
