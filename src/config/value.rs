//! Value parsers of settings: units, lists, addresses. Each error says what was expected.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::TypedValueParser;
use ipnet::IpNet;
use url::Url;

/// A whole or fractional number of seconds, from a millisecond to a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| (0.001..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds from 0.001 to 86400".to_owned())
}

/// A duration in milliseconds, as the learner's rules count time.
#[must_use]
pub fn as_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A whole number of minutes in `range`.
pub fn minutes(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = Duration> {
    clap::value_parser!(u32).range(range).map(|minutes| Duration::from_mins(minutes.into()))
}

/// A whole number of hours in `range`.
pub fn hours(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = Duration> {
    clap::value_parser!(u32).range(range).map(|hours| Duration::from_hours(hours.into()))
}

/// A whole number of days in `range`.
pub fn days(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = Duration> {
    clap::value_parser!(u32).range(range).map(|days| Duration::from_hours(24) * days)
}

/// A whole number of seconds from `least` to `most`.
pub fn whole_seconds(least: u64, most: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let seconds = text.parse().ok().filter(|seconds| (least..=most).contains(seconds));
        seconds.map(Duration::from_secs).ok_or_else(|| format!("expected whole seconds from {least} to {most}"))
    }
}

/// A whole number of milliseconds, from 1 to ten minutes.
pub fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|milliseconds| (1..=600_000).contains(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a number of milliseconds from 1 to 600000".to_owned())
}

/// An IP address or a network.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}

/// An `http` or `https` URL with a host.
pub fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected an address such as http://localhost:7014".to_owned())
}

/// An origin as a browser sends it, or `*`.
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

/// A finite number above zero.
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
