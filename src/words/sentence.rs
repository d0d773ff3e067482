//! Events as sentences, from the table of templates in `web/app/src/words/events.json`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::numbers::{milliseconds, number, percent, plural};
use super::template::{Field, Token, segments, tokens};
use super::{Language, Locale};
use crate::model::{json, subject, time};

/// Most characters of a publisher's text in a sentence.
const MAX_TEXT_CHARS: usize = 160;

/// Key of the sentence about dead letters.
const DEAD_LETTER: &str = "*.dlq";

/// What a sentence tells of an event.
#[derive(Debug, Clone, Copy)]
pub struct EventContent<'a> {
    /// Subject.
    pub event_type: &'a str,
    /// Canonical id of the entity concerned.
    pub entity_id: Option<&'a str>,
    /// Payload.
    pub payload: &'a Value,
}

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// Id of an entity, to be replaced by its name.
    Entity(String),
}

/// An event as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// `failing`, `warning`, `away` or `working`; none if the event is neither good nor bad.
    pub tone: Option<&'static str>,
    /// Its parts in order.
    pub parts: Vec<Part>,
}

struct Template {
    tone: Option<String>,
    /// Values of fields with which it is used.
    when: Map<String, Value>,
    en: String,
    uk: String,
}

impl Template {
    fn read(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        Self {
            tone: text("tone"),
            when: entry["when"].as_object().cloned().unwrap_or_default(),
            en: text("en").unwrap_or_default(),
            uk: text("uk").unwrap_or_default(),
        }
    }

    fn text(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Uk => &self.uk,
        }
    }
}

static TEMPLATES: LazyLock<HashMap<String, Vec<Template>>> = LazyLock::new(|| {
    let table = json::parse_strict(include_bytes!("../../web/app/src/words/events.json")).unwrap_or_default();
    let templates = |list: &Value| list.as_array().into_iter().flatten().map(Template::read).collect();
    table.as_object().into_iter().flatten().map(|(pattern, list)| (pattern.clone(), templates(list))).collect()
});

/// The sentence of an event.
#[must_use]
pub fn sentence_of(content: EventContent<'_>, locale: Locale) -> Sentence {
    let template = if subject::is_dead_letter(content.event_type) {
        TEMPLATES.get(DEAD_LETTER).and_then(|templates| templates.first())
    } else {
        templates_of(content.event_type).and_then(|templates| {
            templates
                .iter()
                .find(|template| template.when.iter().all(|(name, value)| field(content, name) == Some(value)))
        })
    };
    let Some(template) = template else {
        return Sentence { tone: None, parts: readable(content) };
    };
    let parts = filled(template.text(locale.language), content, locale).unwrap_or_else(|| readable(content));
    Sentence { tone: template.tone.as_deref(), parts }
}

/// The templates of the most specific pattern that matches.
fn templates_of(event_type: &str) -> Option<&'static Vec<Template>> {
    TEMPLATES.get(event_type).or_else(|| {
        let mut prefix = event_type;
        while let Some((shorter, _)) = prefix.rsplit_once('.') {
            prefix = shorter;
            if let Some(found) = TEMPLATES.get(&format!("{prefix}.>")) {
                return Some(found);
            }
        }
        None
    })
}

/// For unknown subjects: its words, and the entity.
fn readable(content: EventContent<'_>) -> Vec<Part> {
    let words: Vec<&str> = content.event_type.split(['.', '_']).filter(|word| !word.is_empty()).collect();
    let words = words.join(" ");
    let mut chars = words.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    let words = format!("{first}{}", chars.as_str());
    match content.entity_id {
        None => vec![Part::Text(words)],
        Some(id) => vec![Part::Text(format!("{words}: ")), Part::Entity(id.to_owned())],
    }
}

/// A filled template; none when a required placeholder has no value.
fn filled(template: &str, content: EventContent<'_>, locale: Locale) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for (is_optional, segment) in segments(template) {
        match filled_segment(segment, content, locale) {
            Some(own) => parts.extend(own),
            None if is_optional => {}
            None => return None,
        }
    }
    Some(parts)
}

fn filled_segment(segment: &str, content: EventContent<'_>, locale: Locale) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for token in tokens(segment) {
        match token {
            Token::Text(text) => parts.push(Part::Text(text.to_owned())),
            Token::Field(Field { names: "@event", .. }) => {
                let inner = content.event_type.trim_end_matches(".dlq");
                parts.extend(sentence_of(EventContent { event_type: inner, ..content }, locale).parts);
            }
            Token::Field(field) => parts.push(formatted(field, content, locale)?),
        }
    }
    Some(parts)
}

fn formatted(placeholder: Field<'_>, content: EventContent<'_>, locale: Locale) -> Option<Part> {
    let Field { names, form, words } = placeholder;
    let language = locale.language;
    if names == "@rest" {
        let rest = content.event_type.split_once('.').map_or("", |(_, rest)| rest);
        return Some(Part::Text(rest.replace(['.', '_'], " ")));
    }
    let value = names.split('|').filter_map(|name| field(content, name)).find(|value| !is_empty(value));
    if form == "entity" {
        return entity_of(value, names, content.entity_id).map(Part::Entity);
    }
    let value = value.filter(|value| !value.is_object() && !value.is_array())?;
    let number_of = numeric(value);
    let text = match (form, number_of) {
        ("number", Some(value)) => number(value, 1, language),
        ("count", Some(value)) => {
            let value = value.round();
            format!("{} {}", number(value, 0, language), plural(value, words, language))
        }
        ("signed", Some(value)) => format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value, 2, language)),
        ("percent", Some(value)) => percent(value, language),
        ("duration", Some(value)) => milliseconds(value, language),
        ("signed" | "percent" | "duration" | "count", None) => return None,
        ("time", _) => {
            let text = text_of(value);
            time::parse(&text).map_or(text, |time| (locale.local)(time).format("%H:%M:%S").to_string())
        }
        _ => short(&text_of(value)),
    };
    Some(Part::Text(text))
}

fn field<'a>(content: EventContent<'a>, name: &str) -> Option<&'a Value> {
    content.payload.as_object()?.get(name)
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

/// A number, or a text that is one in decimal digits.
fn numeric(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        // the names of special floats are no numbers
        Value::String(text) if !text.contains(|c: char| c.is_alphabetic() && !c.eq_ignore_ascii_case(&'e')) => {
            text.parse().ok()
        }
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// A scalar as text; whole floats without a fraction.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        value => value.to_string(),
    }
}

/// An entity by a field. The event's own entity by its canonical id, when the field is for its type (`dao_id`, which may
/// have another name of it) or has its id.
fn entity_of(value: Option<&Value>, names: &str, entity_id: Option<&str>) -> Option<String> {
    let kind = names.split('_').next().unwrap_or_default();
    if let Some(id) = entity_id.filter(|id| id.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':'))) {
        return Some(id.to_owned());
    }
    let id = text_of(value.filter(|value| !value.is_object() && !value.is_array())?);
    let own = entity_id.filter(|own| *own == id || own.strip_suffix(&id).is_some_and(|rest| rest.ends_with(':')));
    Some(own.map_or(id, str::to_owned))
}

/// A text of a publisher: a UUID by its first digits, as in version control; a long one cut.
#[must_use]
pub fn short(text: &str) -> String {
    if uuid::Uuid::try_parse(text).is_ok() && text.len() == 36 {
        return text[..8].to_owned();
    }
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        event_type: String,
        entity_id: Option<String>,
        payload: Value,
        tone: Option<String>,
        en: String,
        uk: String,
    }

    fn plain(parts: &[Part]) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Entity(id) => format!("<{id}>"),
        };
        parts.iter().map(text).collect()
    }

    #[test]
    fn sentences_are_those_of_the_page() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/vectors/sentences.json")).unwrap();
        assert!(cases.len() > 200, "{}", cases.len());
        for case in &cases {
            let content = EventContent {
                event_type: &case.event_type,
                entity_id: case.entity_id.as_deref(),
                payload: &case.payload,
            };
            for (language, text) in [(Language::En, &case.en), (Language::Uk, &case.uk)] {
                let sentence = sentence_of(content, Locale { language, ..Locale::ENGLISH });
                assert_eq!(&plain(&sentence.parts), text, "{} {}", case.event_type, case.payload);
                assert_eq!(sentence.tone, case.tone.as_deref(), "{}", case.event_type);
            }
        }
    }

    #[test]
    fn every_subject_of_the_table_has_a_case() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/vectors/sentences.json")).unwrap();
        for pattern in TEMPLATES.keys().filter(|pattern| *pattern != DEAD_LETTER) {
            let prefix = pattern.strip_suffix('>').unwrap_or(pattern);
            assert!(cases.iter().any(|case| case.event_type.starts_with(prefix)), "{pattern}");
        }
    }

    #[test]
    fn dead_letters_of_dead_letters_are_said_once() {
        let content =
            EventContent { event_type: "agents.error.dlq.dlq", entity_id: Some("agent:a"), payload: &json!({}) };
        let sentence = sentence_of(content, Locale::ENGLISH);
        assert_eq!(plain(&sentence.parts), "Could not be processed: <agent:a> failed");
        assert_eq!(sentence.tone, Some("failing"));
    }
}
