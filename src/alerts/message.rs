//! Titles and messages of alerts: the texts of a rule with their placeholders filled in.

use serde_json::Value;

use super::rule::Rule;
use crate::words::{Language, Unit, measured, plural, unit_of};

/// Fills in `{rule}`, `{group}` and `{value}`. A number is rounded and has the unit of its field, unless the text has it after
/// the placeholder; `{value:error|errors}` is followed by the plural form. Other text in braces stays.
pub(super) fn fill(text: &str, rule: &Rule, group: &str, value: &Value) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, next)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        match name.split_once(':') {
            None if name == "rule" => filled.push_str(&rule.name),
            None if name == "group" => filled.push_str(group),
            None if name == "value" => filled.push_str(&value_text(value, rule, next)),
            Some(("value", forms)) => {
                filled.push_str(&value_text(value, rule, next));
                if let Some(count) = value.as_f64() {
                    filled.push(' ');
                    filled.push_str(plural(count, forms, language_of(forms)));
                }
            }
            _ => {
                filled.push('{');
                rest = after;
                continue;
            }
        }
        rest = next;
    }
    filled.push_str(rest);
    filled
}

fn value_text(value: &Value, rule: &Rule, next: &str) -> String {
    match value {
        Value::Number(number) => {
            let unit = rule.field().map_or(Unit::None, unit_of);
            measured(number.as_f64().unwrap_or_default(), unit, !unit.begins(next), Language::En)
        }
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// The language whose plural rules have as many forms.
fn language_of(forms: &str) -> Language {
    if forms.split('|').count() > 2 { Language::Uk } else { Language::En }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alerts::rules::{Rules, RulesLimits};

    fn filled(field: &str, text: &str, value: &Value) -> String {
        let table = format!(
            "[[rule]]\nname = \"busy\"\nkind = \"threshold\"\nevents = \"node.>\"\nfield = \"payload.{field}\"\n\
             above = 0\ntitle = \"x\""
        );
        let rules = Rules::parse(&table, RulesLimits::default()).unwrap();
        fill(text, &rules.all[0], "node-01", value)
    }

    #[test]
    fn alerts_said_raw_numbers() {
        let share = json!(0.607);
        assert_eq!(filled("cpu", "{value} of its CPU is in use", &share), "61% of its CPU is in use");
        assert_eq!(filled("cpu", "CPU at {value} %", &share), "CPU at 61 %");
        assert_eq!(filled("temperature", "{group} is hot: {value} °C", &json!(81.257)), "node-01 is hot: 81.3 °C");
        assert_eq!(filled("temperature", "{value}", &json!(81.257)), "81.3 °C");
        assert_eq!(filled("latency_ms", "answers in {value}", &json!(5_812.4)), "answers in 5.8 sec");
        assert_eq!(filled("balance", "{value} DCR left", &json!(35_072.572_243_88)), "35,072.6 DCR left");
    }

    #[test]
    fn a_count_has_the_plural_form_of_its_noun() {
        let said = |count: f64| filled("count", "{value:error|errors} in 20 seconds", &json!(count));
        assert_eq!([1.0, 2.0].map(said), ["1 error in 20 seconds", "2 errors in 20 seconds"]);
        let said = |count: f64| filled("count", "{value:помилка|помилки|помилок}", &json!(count));
        assert_eq!([21.0, 3.0, 5.0].map(said), ["21 помилка", "3 помилки", "5 помилок"]);
    }

    #[test]
    fn values_of_publishers_are_not_filled_in_again() {
        let value = json!("{group} {rule}");
        assert_eq!(
            filled("status", "{rule}: {group} is {value}, {x} {", &value),
            "busy: node-01 is {group} {rule}, {x} {"
        );
    }
}
