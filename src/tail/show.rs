//! Frames as lines.

use std::borrow::Cow;
use std::io::IsTerminal;

use chrono::Local;
use clap::ValueEnum;
use living_map::model::time;
use living_map::words::{EventContent, Language, Locale, Part, sentence_of, short};
use serde_json::Value;

use super::names::Names;

/// Longest displayed text, in characters.
const SHOWN: usize = 200;
/// Longest displayed sentence, in characters.
const SHOWN_SENTENCE: usize = 600;

const TIME: &str = "2";
const SUBJECT: &str = "36";
const FAILURE: &str = "31";
const WARNING: &str = "33";
const ENTITY: &str = "1";
const NOTE: &str = "33";

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Local time and a sentence
    Text,
    /// Time, subject, entity, payload
    Fields,
    /// One JSON object per line
    Json,
}

/// Writes frames as lines.
#[derive(Debug)]
pub struct Show {
    output: Output,
    locale: Locale,
    is_terminal: bool,
    colours: bool,
    names: Names,
}

impl Show {
    /// For standard output: coloured if it is a terminal and `NO_COLOR` is unset (<https://no-color.org>).
    pub fn to_stdout(output: Output, language: Language) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_terminal = std::io::stdout().is_terminal();
        let locale = Locale { language, local: |time| time.with_timezone(&Local).naive_local() };
        Self { output, locale, is_terminal, colours: is_terminal && !no_colour, names: Names::default() }
    }

    /// The line for a frame; `text` is the unchanged frame.
    pub fn line(&mut self, frame: &Value, text: &str) -> Option<String> {
        let kind = frame["kind"].as_str()?;
        match (self.output, kind) {
            // of a terminal, for which the controls beyond ASCII are commands too: JSON of the same value
            (Output::Json, _) if self.is_terminal => Some(escaped(text, |c| format!("\\u{:04x}", u32::from(c))).into()),
            (Output::Json, _) => Some(text.to_owned()),
            (Output::Fields, "event") => Some(self.fields(frame)),
            (Output::Text, "event") => {
                self.names.learn(frame);
                Some(self.sentence(frame))
            }
            (Output::Text, "error") => {
                let error = frame["error"].as_str().map_or_else(|| frame.to_string(), str::to_owned);
                Some(self.paint(NOTE, &format!("-- {} --", shown(&error, SHOWN_SENTENCE))))
            }
            (Output::Fields, "error" | "alert") => {
                Some(self.paint(NOTE, &format!("-- {kind}: {} --", printable(&frame.to_string()))))
            }
            // the event of an alert is a sentence already
            (Output::Text | Output::Fields, _) => None,
        }
    }

    fn fields(&self, frame: &Value) -> String {
        let text = |value: &Value| printable(value.as_str().unwrap_or("-"));
        let subject = text(&frame["event_type"]);
        let failed = subject.split('.').any(|token| token.contains("error") || token == "failed");
        format!(
            "{}  {}  {}  {}",
            self.paint(TIME, &text(&frame["timestamp"])),
            self.paint(if failed { FAILURE } else { SUBJECT }, &format!("{subject:32}")),
            self.paint(ENTITY, &format!("{:24}", text(&frame["entity_id"]))),
            printable(&frame["payload"].to_string()),
        )
    }

    fn sentence(&self, frame: &Value) -> String {
        let content = EventContent {
            event_type: frame["event_type"].as_str().unwrap_or_default(),
            entity_id: frame["entity_id"].as_str(),
            payload: &frame["payload"],
        };
        let sentence = sentence_of(content, self.locale);
        let at = frame["timestamp"].as_str().unwrap_or_default();
        let local = |at| (self.locale.local)(at).format("%Y-%m-%d %H:%M:%S").to_string();
        let at = time::parse(at).map_or_else(|| shown(at, SHOWN), local);
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Entity(id) => {
                let own = || short(id.split_once(':').map_or(id, |(_, own)| own));
                self.names.get(id).map_or_else(own, str::to_owned)
            }
        };
        let sentence_text: String = sentence.parts.iter().map(text).collect();
        let sentence_text = shown(&sentence_text, SHOWN_SENTENCE);
        let sentence_text = match sentence.tone {
            Some("failing") => self.paint(FAILURE, &sentence_text),
            Some("warning") => self.paint(WARNING, &sentence_text),
            _ => sentence_text,
        };
        format!("{}  {sentence_text}", self.paint(TIME, &at))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Control characters of publishers must not reach the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(SHOWN).collect()
}

/// A text of at most `length` characters with its controls escaped.
fn shown(text: &str, length: usize) -> String {
    let end = text.char_indices().nth(length).map(|(end, _)| end);
    let cut = escaped(&text[..end.unwrap_or(text.len())], |c| c.escape_default().to_string());
    if end.is_some() { format!("{cut}…") } else { cut.into_owned() }
}

/// `text` with its controls replaced: those of terminals, and those that change the direction of what follows.
fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_unsafe(c) { escape(c) } else { c.to_string() }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(output: Output, colours: bool, language: Language) -> Show {
        let locale = Locale { language, ..Locale::ENGLISH };
        Show { output, locale, is_terminal: colours, colours, names: Names::default() }
    }

    fn shown(output: Output, colours: bool, frame: &Value) -> String {
        show(output, colours, Language::En).line(frame, &frame.to_string()).unwrap()
    }

    #[test]
    fn colours_are_ours_alone() {
        let frame = json!({"kind": "event", "event_type": "agent.event.error", "timestamp": "2026-01-19T12:00:00Z",
            "entity_id": "agent:\u{1b}[2Jsofia", "payload": {"message": "\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{7f}"}});
        for output in [Output::Text, Output::Fields] {
            let plain = shown(output, false, &frame);
            assert!(!plain.contains(char::is_control), "{plain}");
            let coloured = shown(output, true, &frame);
            assert!(coloured.contains("\u{1b}[31m"), "{coloured}");
            assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}]"), "{coloured}");
        }
        let text = shown(Output::Text, false, &frame);
        assert!(text.ends_with(r"\u{1b}[2Jsofia failed: \u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{7f}"), "{text}");
        let json = shown(Output::Json, true, &frame);
        assert!(!json.contains(|c: char| c.is_control()), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), frame);
    }

    #[test]
    fn json_is_what_came_and_text_has_the_events_alone() {
        let ping = json!({"kind": "ping", "cursor": "1.2"});
        assert_eq!(show(Output::Text, false, Language::En).line(&ping, "x"), None);
        assert_eq!(show(Output::Json, true, Language::En).line(&ping, "x").as_deref(), Some("x"));
        let raw = "{\"kind\":\"ping\",\"x\":\"\u{9b}\"}";
        assert_eq!(show(Output::Json, false, Language::En).line(&ping, raw).as_deref(), Some(raw), "into a pipe");
    }

    #[test]
    fn text_is_sentences_with_names_of_earlier_frames() {
        let mut show = show(Output::Text, false, Language::En);
        let created = json!({"kind": "event", "event_type": "agent.event.created", "timestamp": "2026-01-19T12:00:00Z",
            "entity_id": "agent:oleh", "payload": {"agent_id": "oleh"}, "changes": [
                {"op": "upsert", "layer": "agents", "type": "agent", "id": "agent:oleh", "patch": {"name": "Oleh 4"}}]});
        let called = json!({"kind": "event", "event_type": "usage.llm", "timestamp": "2026-01-19T14:00:05.5+02:00",
            "entity_id": "agent:oleh", "payload": {"agent_id": "oleh", "model": "glm-4", "total_tokens": 18_420,
            "latency_ms": 5812}});
        assert_eq!(show.line(&created, "").unwrap(), "2026-01-19 12:00:00  Oleh 4 is new");
        assert_eq!(show.line(&called, "").unwrap(), "2026-01-19 12:00:05  Oleh 4 called glm-4, 18,420 tokens, 5.8 sec");
        show.locale.language = Language::Uk;
        assert_eq!(
            show.line(&called, "").unwrap(),
            "2026-01-19 12:00:05  Oleh 4 викликає glm-4, 18\u{a0}420 токенів, 5,8 с"
        );
        let alert = json!({"kind": "alert", "state": "raised"});
        assert_eq!(show.line(&alert, ""), None, "its event is a line");
    }

    /// Scripts read these columns: lines of the release before `fields` had a name.
    #[test]
    fn fields_are_the_columns_of_earlier_releases() {
        let event = json!({"kind": "event", "event_type": "usage.llm", "timestamp": "2026-01-19T12:00:00Z",
            "entity_id": "agent:sofia", "payload": {"model": "glm-4", "text": "a\tb\u{1b}"}});
        let anonymous = json!({"kind": "event", "event_type": "task.failed", "timestamp": "2026-01-19T12:00:00Z",
            "entity_id": null, "payload": "x".repeat(300)});
        let alert = json!({"kind": "alert", "state": "raised"});
        for (frame, line) in [
            (
                &event,
                "2026-01-19T12:00:00Z  usage.llm                         agent:sofia               \
                 {\"model\":\"glm-4\",\"text\":\"a\\tb\\u001b\"}"
                    .to_owned(),
            ),
            (
                &anonymous,
                format!(
                    "2026-01-19T12:00:00Z  task.failed                       -                         \"{}",
                    "x".repeat(199)
                ),
            ),
            (&alert, "-- alert: {\"kind\":\"alert\",\"state\":\"raised\"} --".to_owned()),
        ] {
            assert_eq!(shown(Output::Fields, false, frame), line);
        }
        let coloured = "\u{1b}[2m2026-01-19T12:00:00Z\u{1b}[0m  \u{1b}[31mtask.failed                     \u{1b}[0m  ";
        assert!(shown(Output::Fields, true, &anonymous).starts_with(coloured));
    }
}
