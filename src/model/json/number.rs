//! Numbers: the forms that `jsonb` returns, and whether 64 bits hold a number as it is written.

use serde_json::Number;

/// Decimal digits that every float in the common range keeps.
const SURE_DIGITS: usize = 15;

/// Powers of ten within which [`SURE_DIGITS`] holds.
const SURE_EXPONENTS: std::ops::RangeInclusive<i64> = -290..=290;

/// Digits of the longest exact decimal form of a float.
const MAX_DIGITS: usize = 767;

/// The number that `jsonb` returns for `float`; none for a float that JSON cannot represent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are checked before")]
pub fn normal_float(float: f64) -> Option<Number> {
    const FROM: f64 = 1e16;
    if float == 0.0 {
        Number::from_f64(0.0)
    } else if (FROM..18_446_744_073_709_551_615.0).contains(&float) {
        Some(Number::from(float as u64))
    } else if (-9_223_372_036_854_775_808.0..=-FROM).contains(&float) {
        Some(Number::from(float as i64))
    } else {
        Number::from_f64(float)
    }
}

/// The number of a JSON text, and `false` if it is only the nearest one.
pub fn parse(text: &str) -> Option<(Number, bool)> {
    if let Some(whole) = whole(text) {
        return Some((whole, true));
    }
    let float: f64 = text.parse().ok()?;
    Some((normal_float(float.clamp(f64::MIN, f64::MAX))?, is_held(text)))
}

/// A whole number of 64 bits, written without a fraction.
fn whole(text: &str) -> Option<Number> {
    // as serde_json, which reads it as the float
    if text == "-0" {
        return None;
    }
    text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
}

/// Returns false if any number outside of strings in a valid JSON text is not held by 64 bits.
pub fn all_held(text: &[u8]) -> bool {
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => {
                let token = token(&text[at..]);
                if !is_held(token) {
                    return false;
                }
                at += token.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    true
}

/// The characters of a number at the beginning of `text`.
pub fn token(text: &[u8]) -> &str {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    let end = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).unwrap_or_default()
}

/// Returns true if the nearest integer or float of 64 bits, written with as many digits or in its shortest form, is the number
/// again. The shortest form of a float half way between two numbers of 17 digits need not be the one to which it is rounded.
fn is_held(text: &str) -> bool {
    let Some(decimal) = Decimal::of(text) else { return false };
    let digits = decimal.digits.len();
    if digits <= SURE_DIGITS && SURE_EXPONENTS.contains(&decimal.exponent) || whole(text).is_some() {
        return true;
    }
    let Ok(float) = text.parse::<f64>() else { return false };
    if !float.is_finite() || digits > MAX_DIGITS {
        return false;
    }
    let is_written = |text: String| Decimal::of(&text).is_some_and(|written| written == decimal);
    is_written(format!("{:.*e}", digits.saturating_sub(1), float)) || is_written(format!("{float:e}"))
}

/// A decimal number without its sign: `0.` and the digits, times ten to the power of the exponent. The first and the last
/// digit are not zero.
#[derive(Debug, PartialEq)]
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let zeros = all().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = all().skip(zeros).collect();
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
        if digits.is_empty() {
            return Some(Self { digits, exponent: 0 });
        }
        // far beyond any float; zero is held with every exponent
        let power: i64 = power.parse().ok()?;
        let exponent = power.checked_add(i64::try_from(whole.len()).ok()?)?.checked_sub(i64::try_from(zeros).ok()?)?;
        Some(Self { digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_held_if_its_digits_come_back() {
        for held in [
            "0",
            "-0",
            "0.0",
            "0e99999999999999999999",
            "1",
            "-1",
            "1.50",
            "0.1",
            "0.10000000000000001",
            "137640488106910.13",
            "137640488106910.12",
            "1e16",
            "1e22",
            "18446744073709551615",
            "-9223372036854775808",
            "18446744073709551616",
            "1e308",
            "5e-324",
            "100e-2",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "0.1000000000000000055511151231257827021181583404541015625",
        ] {
            assert!(is_held(held), "{held}");
        }
        for lost in [
            "1e400",
            "-1e999",
            "1e99999999999999999999",
            "1e-400",
            "18446744073709551617",
            "9007199254740993.5",
            "3.14159265358979323846",
            "513200.123456789012345678",
            "1.23456789e-320",
            "-9223372036854775809",
        ] {
            assert!(!is_held(lost), "{lost}");
        }
        assert!(!is_held(&"7".repeat(100_000)));
        assert!(is_held(&format!("1{}e-100000", "0".repeat(100_000))));
    }

    #[test]
    fn a_number_beyond_every_float_is_the_largest_one() {
        for (text, number) in [("1e400", f64::MAX), ("-1e400", f64::MIN), ("1e-400", 0.0), ("-1e-400", 0.0)] {
            assert_eq!(parse(text), Some((Number::from_f64(number).unwrap(), false)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_of_64_bits_is_held(float in any::<f64>(), whole in any::<i64>(), natural in any::<u64>()) {
            if float.is_finite() {
                let (shortest, longest) = (format!("{float:e}"), format!("{float:.16e}"));
                prop_assert!(is_held(&shortest) && is_held(&longest));
            }
            prop_assert!(is_held(&whole.to_string()) && is_held(&natural.to_string()));
        }
    }
}
