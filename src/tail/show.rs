//! Frames as lines.

use std::io::IsTerminal;

use clap::ValueEnum;
use serde_json::Value;

/// Longest displayed text, in characters.
const SHOWN: usize = 200;

const TIME: &str = "2";
const SUBJECT: &str = "36";
const FAILURE: &str = "31";
const ENTITY: &str = "1";
const NOTE: &str = "33";

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Time, subject, entity, payload
    Text,
    /// One JSON object per line
    Json,
}

/// Writes frames as lines.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    output: Output,
    colours: bool,
}

impl Show {
    /// For standard output: coloured if it is a terminal and `NO_COLOR` is unset (<https://no-color.org>).
    pub fn to_stdout(output: Output) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { output, colours: std::io::stdout().is_terminal() && !no_colour }
    }

    /// The line for a frame; `text` is the unchanged frame.
    pub fn line(self, frame: &Value, text: &str) -> Option<String> {
        let kind = frame["kind"].as_str()?;
        match (self.output, kind) {
            (Output::Json, _) => Some(text.to_owned()),
            (Output::Text, "event") => Some(self.event(frame)),
            (Output::Text, "error" | "alert") => {
                Some(self.paint(NOTE, &format!("-- {kind}: {} --", printable(&frame.to_string()))))
            }
            (Output::Text, _) => None,
        }
    }

    fn event(self, frame: &Value) -> String {
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

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Control characters of publishers must not reach the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(colours: bool, frame: &Value) -> String {
        Show { output: Output::Text, colours }.line(frame, "").unwrap()
    }

    #[test]
    fn colours_are_ours_alone() {
        let frame = json!({"kind": "event", "event_type": "agent.event.error", "timestamp": "2026-01-19T12:00:00Z",
            "entity_id": "agent:\u{1b}[2Jsofia", "payload": {"text": "\u{1b}]0;title\u{7}"}});
        let plain = shown(false, &frame);
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let coloured = shown(true, &frame);
        assert!(coloured.contains("\u{1b}[31magent.event.error"), "{coloured}");
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}]"), "{coloured}");
    }

    #[test]
    fn json_is_what_came_and_text_has_the_events_alone() {
        let ping = json!({"kind": "ping", "cursor": "1.2"});
        assert_eq!(Show { output: Output::Text, colours: false }.line(&ping, "x"), None);
        assert_eq!(Show { output: Output::Json, colours: true }.line(&ping, "x").as_deref(), Some("x"));
    }
}
