//! Parsing of the times that publishers send.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use serde_json::Value;

/// Description of the accepted forms, for errors.
pub const EXPECTED: &str = "expected an RFC 3339 time, or unix seconds, milliseconds, microseconds or nanoseconds";

/// Units of unix times, by the size from which a number is not in the unit before: each covers the years 1973 to 5138, and
/// seconds all times before. With the number of units in a second.
const UNITS: [(f64, f64); 4] = [(0.0, 1.0), (1e11, 1e3), (1e14, 1e6), (1e17, 1e9)];

/// Largest unix time: nanoseconds of the year 2261, about what 64 bits hold; a float also has this number exactly.
const MAX_UNIX: f64 = 9.2e18;
const MAX_UNIX_WHOLE: u128 = 9_200_000_000_000_000_000;

/// Parses a time in a form that publishers send. Truncated to microseconds, like in the databases.
///
/// | form | examples |
/// |---|---|
/// | RFC 3339 | `2026-01-19T12:00:00Z`, `2026-01-19t14:00:00.5+02:00` |
/// | with a space, a comma before the fraction, or without seconds | `2026-01-19 12:00:00,5Z`, `2026-01-19T12:00Z` |
/// | with a shorter offset | `2026-01-19T12:00:00+0000`, `2026-01-19T12:00:00+00`, `2026-01-19T12:00:00 +05` |
/// | a leap second: the second after it | `2016-12-31T23:59:60Z` |
/// | without an offset: UTC | `2026-01-19T12:00:00`, `2026-01-19` |
/// | unix seconds, milliseconds, microseconds or nanoseconds, by size, as a number or as digits | `1768824000`, `"1768824000000"` |
#[must_use]
pub fn lenient(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => parse(text.trim()),
        Value::Number(number) => number.as_i128().map_or_else(|| from_unix(number.as_f64()?), from_whole_unix),
        _ => None,
    }
}

/// Parses the text forms of [`lenient`].
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let with_point = || {
        // a comma elsewhere than in a time of day separates thousands, or two values
        let (date, time) = text.split_once(':').filter(|(_, time)| time.contains(','))?;
        of_calendar(&format!("{date}:{}", time.replacen(',', ".", 1)))
    };
    if let Some(time) = of_calendar(text).or_else(with_point) {
        return in_range(time);
    }
    text.parse().map_or_else(|_| from_unix(text.parse().ok()?), from_whole_unix)
}

fn of_calendar(text: &str) -> Option<DateTime<Utc>> {
    /// `%#z` is an offset with or without minutes, or `Z`.
    const WITH_OFFSET: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"];
    DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| WITH_OFFSET.iter().find_map(|format| DateTime::parse_from_str(text, format).ok()))
        .map(|time| time.to_utc())
        .or_else(|| naive(text).map(|time| time.and_utc()))
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

/// Units in a second of a number of this size.
fn units(size: f64) -> f64 {
    UNITS.iter().rev().find(|(from, _)| size >= *from).map_or(1.0, |(_, units)| *units)
}

/// A whole number, without the rounding of a float: nanoseconds have more digits than one.
fn from_whole_unix(number: i128) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_precision_loss, reason = "only the size matters")]
    let size = number.unsigned_abs() as f64;
    if number.unsigned_abs() > MAX_UNIX_WHOLE {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number")]
    let units = units(size) as i128;
    let micros = number.checked_mul(1_000_000)? / units;
    in_range(DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)?)
}

fn from_unix(number: f64) -> Option<DateTime<Utc>> {
    if !number.is_finite() || number.abs() > MAX_UNIX {
        return None;
    }
    let seconds = number / units(number.abs());
    #[expect(clippy::cast_possible_truncation, reason = "out of range saturates, and chrono then refuses it")]
    let micros = (seconds * 1_000_000.0).round() as i64;
    in_range(DateTime::from_timestamp_micros(micros)?)
}

/// Times that both databases and RFC 3339 can represent: years 1 to 9999. A leap second is the second after it, as the
/// databases have it: browsers cannot read `23:59:60`.
fn in_range(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    use chrono::Datelike;
    let time = DateTime::from_timestamp_micros(time.timestamp_micros())?;
    (1..=9999).contains(&time.year()).then_some(time)
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
            json!("2026-01-19T12:00:00+0000"),
            json!("2026-01-19T12:00:00+00"),
            json!("2026-01-19T17:00:00+05"),
            json!("2026-01-19T17:30:00+0530"),
            json!("2026-01-19 12:00:00 +0000"),
            json!("2026-01-19 12:00:00+00"),
            json!("2026-01-19T12:00:00,000Z"),
            json!("2026-01-19T12:00:00,000+0000"),
            json!("2026-01-19 12:00:00,000"),
            json!("2026-01-19T12:00Z"),
            json!("2026-01-19T14:00+02:00"),
            json!("2026-01-19 12:00"),
            json!(1_768_824_000_000_000_i64),
            json!(1_768_824_000_000_000_000_i64),
            json!(1_768_824_000.0),
            json!(1.768_824e18),
            json!("1768824000000000"),
            json!("1768824000000000000"),
            json!("1768824000.0"),
        ] {
            assert_eq!(lenient(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn fractions_keep_their_microseconds() {
        for (value, text) in [
            (json!("2026-01-19T12:00:00,123456789Z"), "2026-01-19T12:00:00.123456Z"),
            (json!("2026-01-19 12:00:00,5 +05"), "2026-01-19T07:00:00.500Z"),
            (json!(1_768_824_000_123_456_789_i64), "2026-01-19T12:00:00.123456Z"),
            (json!(1_768_824_000_123_456_i64), "2026-01-19T12:00:00.123456Z"),
            (json!("1768824000.25"), "2026-01-19T12:00:00.250Z"),
            (json!("0001-01-01T00:00:00.000000999Z"), "0001-01-01T00:00:00Z"),
            (json!(-1_i64), "1969-12-31T23:59:59Z"),
            (json!(99_999_999_999_i64), "5138-11-16T09:46:39Z"),
            (json!(100_000_000_000_i64), "1973-03-03T09:46:40Z"),
            (json!(9_200_000_000_000_000_000_i64), "2261-07-15T11:33:20Z"),
            (json!(9.2e18), "2261-07-15T11:33:20Z"),
        ] {
            assert_eq!(lenient(&value).map(super::text).as_deref(), Some(text), "{value}");
        }
    }

    #[test]
    fn a_leap_second_had_two_times() {
        for (value, text) in [
            (json!("2016-12-31T23:59:60Z"), "2017-01-01T00:00:00Z"),
            (json!("2017-01-01T01:59:60.5+02:00"), "2017-01-01T00:00:00.500Z"),
            (json!("2016-12-31 23:59:60,9999999"), "2017-01-01T00:00:00.999999Z"),
        ] {
            assert_eq!(lenient(&value).map(super::text).as_deref(), Some(text), "{value}");
        }
        assert_eq!(lenient(&json!("9999-12-31T23:59:60Z")), None);
    }

    #[test]
    fn other_values_are_not_times() {
        for value in [
            json!("yesterday"),
            json!(""),
            json!(null),
            json!([1]),
            json!(1e300),
            json!(9_200_000_000_000_000_001_i64),
            json!(u64::MAX),
            json!("NaN"),
            json!("99999-01-01T00:00:00Z"),
            json!("1,768,824,000"),
            json!("12:00:00"),
            json!("2026-01-19T12:00:00+"),
            json!("2026-01-19T12:00:00,"),
            json!(1e21),
            json!(true),
        ] {
            assert_eq!(lenient(&value), None, "{value}");
        }
    }
}
