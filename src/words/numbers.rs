//! Numbers as people read them: rounded, grouped and with units, as `Intl.NumberFormat` writes them in a browser.

use super::Language;

/// Unit of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of a whole, 0 to 1; larger values are percentages.
    Share,
    /// Degrees Celsius.
    Celsius,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Plain number.
    None,
}

/// Fields whose values are shares.
const SHARES: [&str; 9] =
    ["activity", "anomaly_score", "cpu", "disk", "gpu", "memory", "memory_usage", "progress", "ram"];

/// The unit of a field, by the last name of its path.
#[must_use]
pub fn unit_of(field: &str) -> Unit {
    let name = field.rsplit('.').next().unwrap_or_default();
    match name {
        _ if SHARES.contains(&name) => Unit::Share,
        "temperature" => Unit::Celsius,
        _ if name.ends_with("_ms") => Unit::Milliseconds,
        _ if name.ends_with("_seconds") => Unit::Seconds,
        _ if name.ends_with("_bytes") => Unit::Bytes,
        _ => Unit::None,
    }
}

impl Unit {
    /// True if `text` begins with a written form of the unit.
    #[must_use]
    pub fn begins(self, text: &str) -> bool {
        let forms: &[&str] = match self {
            Self::Share => &["%", "percent"],
            Self::Celsius => &["°", "℃", "degree"],
            Self::Milliseconds => &["ms", "millisecond"],
            Self::Seconds => &["s ", "s,", "s.", "sec"],
            Self::Bytes => &["B", "byte", "kB", "KB", "MB", "GB"],
            Self::None => &[],
        };
        let text = text.trim_start();
        forms.iter().any(|form| text.starts_with(form)) || (self == Self::Seconds && text == "s")
    }
}

/// A value with its unit, or rounded only, where the unit is written after it.
#[must_use]
pub fn measured(value: f64, unit: Unit, with_unit: bool, language: Language) -> String {
    match unit {
        Unit::Share if with_unit => percent(value, language),
        Unit::Share => number(if value > 1.0 { value } else { value * 100.0 }, 0, language),
        Unit::Celsius if with_unit => format!("{} °C", number(value, 1, language)),
        Unit::Milliseconds if with_unit => milliseconds(value, language),
        Unit::Milliseconds => number(value, 0, language),
        Unit::Seconds if with_unit => milliseconds(value * 1_000.0, language),
        Unit::Bytes if with_unit => bytes(value, language),
        Unit::Celsius | Unit::Seconds | Unit::Bytes | Unit::None => number(value, 1, language),
    }
}

/// A number with at most `digits` digits after the decimal separator.
pub(super) fn number(value: f64, digits: usize, language: Language) -> String {
    rounded(value, digits, 0, language)
}

/// A share as a percentage; a value above 1 is a percentage already.
pub(super) fn percent(value: f64, language: Language) -> String {
    let share = if value > 1.0 { value / 100.0 } else { value };
    format!("{}%", rounded(share, 0, 2, language))
}

/// A measured time: milliseconds, seconds with one digit, or its two largest units.
pub(super) fn milliseconds(value: f64, language: Language) -> String {
    if value < 1_000.0 {
        return with_unit(&number(value, 0, language), 0, language);
    }
    if value < 60_000.0 {
        return with_unit(&number(value / 1_000.0, 1, language), 1, language);
    }
    let seconds = (value / 1_000.0).round();
    let (larger, smaller, size) = if seconds < 3_600.0 {
        (2, 1, 60.0)
    } else if seconds < 86_400.0 {
        (3, 2, 3_600.0)
    } else {
        (4, 3, 86_400.0)
    };
    let rest = ((seconds % size) / (size / [60.0, 60.0, 24.0][larger - 2])).floor();
    let mut text = with_unit(&number((seconds / size).floor(), 0, language), larger, language);
    if rest > 0.0 {
        text.push(' ');
        text.push_str(&with_unit(&number(rest, 0, language), smaller, language));
    }
    text
}

/// A number of bytes in its largest unit.
fn bytes(value: f64, language: Language) -> String {
    let units = match language {
        Language::En => ["byte", "kB", "MB", "GB", "TB"],
        Language::Uk => ["Б", "кБ", "МБ", "ГБ", "ТБ"],
    };
    let mut size = value;
    let mut unit = 0;
    while size >= 1_000.0 && unit < units.len() - 1 {
        size /= 1_000.0;
        unit += 1;
    }
    format!("{} {}", number(size, usize::from(unit > 0), language), units[unit])
}

/// A number with a unit of time: 0 for milliseconds to 4 for days.
fn with_unit(number: &str, unit: usize, language: Language) -> String {
    match language {
        Language::En if unit == 4 && number != "1" => format!("{number} days"),
        Language::En => format!("{number} {}", ["ms", "sec", "min", "hr", "day"][unit]),
        Language::Uk => format!("{number} {}", ["мс", "с", "хв", "год", "дн."][unit]),
    }
}

/// The plural form of a count, of `one|other`, or `one|few|many` in Ukrainian.
#[must_use]
pub fn plural(count: f64, forms: &str, language: Language) -> &str {
    let forms: Vec<&str> = forms.split('|').collect();
    // a count has no fraction; one that has takes the last form
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only the last two digits matter")]
    let (tens, units) = ((count.abs() % 100.0) as u32, (count.abs() % 10.0) as u32);
    let index = match language {
        Language::En => usize::from((count.abs() - 1.0).abs() > f64::EPSILON),
        Language::Uk if count.fract().abs() > 0.0 => 2,
        Language::Uk if units == 1 && tens != 11 => 0,
        Language::Uk if (2..=4).contains(&units) && !(12..=14).contains(&tens) => 1,
        Language::Uk => 2,
    };
    forms.get(index).or(forms.last()).copied().unwrap_or_default()
}

/// The value times ten to the power of `shift`, rounded half away from zero. Works on the shortest decimal form of the
/// float, as browsers do: 1.005 with two digits is 1.01.
fn rounded(value: f64, digits: usize, shift: usize, language: Language) -> String {
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let point = whole.len() + shift;
    let mut all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit.wrapping_sub(b'0')).collect();
    let kept = point + digits;
    if all.len() < kept {
        all.resize(kept, 0);
    }
    let up = all.get(kept).is_some_and(|next| *next >= 5);
    all.truncate(kept);
    // a carry can add a digit in front
    all.insert(0, 0);
    if up {
        for digit in all.iter_mut().rev() {
            *digit = (*digit + 1) % 10;
            if *digit != 0 {
                break;
            }
        }
    }
    let (whole, fraction) = all.split_at(point + 1);
    let start = whole.iter().position(|digit| *digit != 0).unwrap_or(whole.len() - 1);
    let (group, separator) = match language {
        Language::En => (',', '.'),
        Language::Uk => ('\u{a0}', ','),
    };
    let mut text = String::new();
    if value < 0.0 && all.iter().any(|digit| *digit != 0) {
        text.push('-');
    }
    let whole = &whole[start..];
    for (index, digit) in whole.iter().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(group);
        }
        text.push(char::from(b'0' + digit));
    }
    let last = fraction.iter().rposition(|digit| *digit != 0);
    if let Some(last) = last {
        text.push(separator);
        text.extend(fraction[..=last].iter().map(|digit| char::from(b'0' + digit)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_grouped_as_browsers_do() {
        for (value, digits, en, uk) in [
            (1_842.0, 0, "1,842", "1\u{a0}842"),
            (35_072.572_243_88, 1, "35,072.6", "35\u{a0}072,6"),
            (-12.5, 2, "-12.5", "-12,5"),
            (1.005, 2, "1.01", "1,01"),
            (1.45, 1, "1.5", "1,5"),
            (0.25, 1, "0.3", "0,3"),
            (-0.04, 1, "0", "0"),
            (999.96, 1, "1,000", "1\u{a0}000"),
            (
                1e21,
                0,
                "1,000,000,000,000,000,000,000",
                "1\u{a0}000\u{a0}000\u{a0}000\u{a0}000\u{a0}000\u{a0}000\u{a0}000",
            ),
        ] {
            assert_eq!(number(value, digits, Language::En), en);
            assert_eq!(number(value, digits, Language::Uk), uk);
        }
        assert_eq!(percent(0.607, Language::En), "61%");
        assert_eq!(percent(41.0, Language::Uk), "41%");
        assert_eq!(percent(0.575, Language::En), "58%");
    }

    #[test]
    fn measured_times_have_two_units_at_most() {
        for (value, text) in [
            (0.4, "0 ms"),
            (999.0, "999 ms"),
            (5_812.0, "5.8 sec"),
            (134_000.0, "2 min 14 sec"),
            (120_000.0, "2 min"),
            (7_260_000.0, "2 hr 1 min"),
            (86_400_000.0, "1 day"),
            (180_000_000.0, "2 days 2 hr"),
        ] {
            assert_eq!(milliseconds(value, Language::En), text);
        }
        assert_eq!(milliseconds(134_000.0, Language::Uk), "2 хв 14 с");
    }

    #[test]
    fn plural_forms_follow_the_language() {
        let uk = |count| plural(count, "токен|токени|токенів", Language::Uk);
        assert_eq!(
            [1.0, 3.0, 5.0, 11.0, 13.0, 21.0, 102.0].map(uk),
            ["токен", "токени", "токенів", "токенів", "токенів", "токен", "токени"]
        );
        let en = |count| plural(count, "token|tokens", Language::En);
        assert_eq!([0.0, 1.0, 2.0].map(en), ["tokens", "token", "tokens"]);
    }

    #[test]
    fn a_measure_has_the_unit_of_its_field() {
        let said = |value, field: &str| measured(value, unit_of(field), true, Language::En);
        assert_eq!(said(0.607, "payload.cpu"), "61%");
        assert_eq!(said(81.26, "metrics.temperature"), "81.3 °C");
        assert_eq!(said(5_812.0, "latency_ms"), "5.8 sec");
        assert_eq!(said(134.0, "age_seconds"), "2 min 14 sec");
        assert_eq!(said(1_234_567.0, "size_bytes"), "1.2 MB");
        assert_eq!(said(35_072.572_243_88, "treasury"), "35,072.6");
        assert_eq!(measured(0.607, Unit::Share, false, Language::En), "61");
        assert!(Unit::Celsius.begins(" °C in the rack") && !Unit::Share.begins(" of its CPU"));
    }
}
