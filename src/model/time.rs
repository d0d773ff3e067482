//! Parsing of the times that publishers send.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use serde_json::Value;

/// Larger numbers are milliseconds (as seconds it is the year 5138, as milliseconds 1973).
const MILLIS_FROM: f64 = 100_000_000_000.0;

/// Parses a time: RFC 3339, ISO 8601 without an offset (taken as UTC), a date, unix seconds or milliseconds, as a
/// number or as digits. Truncated to microseconds, like in the databases.
#[must_use]
pub fn lenient(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => parse(text.trim()),
        Value::Number(number) => from_unix(number.as_f64()?),
        _ => None,
    }
}

/// Parses the text forms of [`lenient`].
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .map(|time| time.to_utc())
        .ok()
        .or_else(|| naive(text).map(|time| time.and_utc()))
        .or_else(|| text.parse().ok().and_then(from_unix))?;
    in_range(time)
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

fn from_unix(number: f64) -> Option<DateTime<Utc>> {
    if !number.is_finite() {
        return None;
    }
    let seconds = if number.abs() >= MILLIS_FROM { number / 1_000.0 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "out of range saturates, and chrono then refuses it")]
    let micros = (seconds * 1_000_000.0).round() as i64;
    in_range(DateTime::from_timestamp_micros(micros)?)
}

/// Times that both databases and RFC 3339 can represent: years 1 to 9999.
fn in_range(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    use chrono::Datelike;
    (1..=9999).contains(&time.year()).then(|| time.trunc_subsecs(6))
}

/// `time` truncated to microseconds, the precision of the databases.
#[must_use]
pub fn whole_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// The wire form: RFC 3339 with `Z`, with microseconds unless they are zero.
#[must_use]
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_publishers_is_parsed() {
        let expected = DateTime::parse_from_rfc3339("2026-01-19T12:00:00Z").unwrap().to_utc();
        for value in [
            json!("2026-01-19T12:00:00Z"),
            json!("2026-01-19T14:00:00+02:00"),
            json!("2026-01-19T12:00:00"),
            json!("2026-01-19 12:00:00"),
            json!("2026-01-19T12:00:00.000000"),
            json!(1_768_824_000),
            json!(1_768_824_000_000_i64),
            json!("1768824000"),
        ] {
            assert_eq!(lenient(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn other_values_are_not_times() {
        for value in [
            json!("yesterday"),
            json!(""),
            json!(null),
            json!([1]),
            json!(1e300),
            json!("NaN"),
            json!("99999-01-01T00:00:00Z"),
        ] {
            assert_eq!(lenient(&value), None, "{value}");
        }
    }
}
