//! The reference of all settings, `docs/configuration.md`, and the table of the limits among them in `docs/limits.md`,
//! generated from their declarations.

use std::error::Error;
use std::fmt::Write;

use clap::{Arg, Command};

use super::secret;

const INTRODUCTION: &str = "\
# Configuration

<!-- generated: make configuration -->

Each setting is an environment variable, a command-line option of the same name (`HISTORY_RETENTION_DAYS`,
`--history-retention-days`), and a key of the configuration file that `--config` or `LIVING_MAP_CONFIG` names:

```toml
# living-map.toml
DATABASE_URL = \"postgres://living-map@db/living_map\"
NATS_URL = [\"nats://one:4222\", \"nats://two:4222\"]
SYNC_INTERVAL_SECONDS = 30
LEARNER_ENABLED = false
```

An option takes precedence over the variable, the variable over the file, the file over the default. A list in the file is the same as
its items separated by commas. An empty value counts as unset. An unknown key or an invalid value is an error at the start; it names
the setting and what was expected.

A setting marked *secret* can be read from a file: `NAME_FILE` (variable, option or key) is the path of a file with the value of
`NAME`. A final line break is ignored. `NAME` and `NAME_FILE` in one layer are an error.

`living-map config check` validates all settings without starting the server, one line per problem; its exit status is 1 if there is
any. `living-map config show` prints each setting, its value, and the layer that set it, with secrets masked.
";

/// The reference as Markdown: a table for each help heading of `command`.
#[must_use]
pub fn reference(command: &Command) -> String {
    let settings: Vec<&Arg> = command.get_arguments().filter(|argument| argument.get_env().is_some()).collect();
    let mut headings: Vec<&str> = Vec::new();
    for heading in settings.iter().filter_map(|argument| argument.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut text = INTRODUCTION.to_owned();
    for heading in headings {
        let _ = write!(text, "\n## {heading}\n\n| variable | default | values | meaning |\n|---|---|---|---|\n");
        for setting in settings.iter().filter(|argument| argument.get_help_heading() == Some(heading)) {
            text.push_str(&row(setting));
        }
    }
    text
}

/// Beginning of the paragraph in which a setting's documentation states the effect of exceeding it, and the metric that
/// counts it.
const BEYOND: &str = "Beyond: ";

/// The settings that are limits, as a Markdown table: each with the effect of exceeding it.
#[must_use]
pub fn limits(command: &Command) -> String {
    let mut text = "| limit | default | meaning | beyond it |\n|---|---|---|---|\n".to_owned();
    for setting in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
        let documentation = setting.get_long_help().map(ToString::to_string).unwrap_or_default();
        if let Some((_, beyond)) = documentation.split_once(BEYOND) {
            let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
            let (name, default, help, beyond) = (setting.get_id(), default(setting), cell(&help), cell(beyond));
            let _ = writeln!(text, "| `{name}` | {default} | {help} | {beyond} |");
        }
    }
    text
}

/// Text in one cell of a table.
fn cell(text: &str) -> String {
    text.trim().trim_end_matches('.').replace('|', "\\|").replace('\n', " ")
}

fn default(setting: &Arg) -> String {
    let defaults: Vec<_> = setting.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if defaults.is_empty() { "unset".to_owned() } else { format!("`{}`", defaults.join(",")) }
}

fn row(setting: &Arg) -> String {
    let default = default(setting);
    let secret = if secret::is_secret(setting) { "*secret*. " } else { "" };
    let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
    let [values, help] = [values(setting), help].map(|text| cell(&text));
    format!("| `{}` | {default} | {values} | {secret}{help} |\n", setting.get_id())
}

/// Values that the setting's parser never accepts, with each kind of limit among the reasons.
const PROBES: [&str; 4] = ["?", "18446744073709551615", "9223372036854775807", "0"];

/// Accepted values, as the setting's own parser states them when it rejects one. Empty: any text.
fn values(setting: &Arg) -> String {
    let possible: Vec<_> =
        setting.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !possible.is_empty() {
        return possible.join(", ");
    }
    let command = Command::new("probe").arg(setting.clone().env(None::<&'static str>));
    let reason = |probe: &str| {
        let option = format!("--{}={probe}", setting.get_long()?);
        let error = command.clone().try_get_matches_from(["probe", &option]).err()?;
        error.source().map(ToString::to_string)
    };
    for reason in PROBES.iter().filter_map(|probe| reason(probe)) {
        if let Some((_, range)) = reason.split_once(" is not in ") {
            return range_text(range);
        }
        let expected = reason.strip_prefix("expected ");
        // std's parsers of addresses
        let syntax = || reason.strip_prefix("invalid ").and_then(|reason| reason.strip_suffix(" syntax"));
        if let Some(expected) = expected.or_else(syntax) {
            return expected.to_owned();
        }
    }
    String::new()
}

/// `1..=36500` in words.
fn range_text(range: &str) -> String {
    match range.split_once("..=") {
        Some((least, most)) if most == u32::MAX.to_string() => format!("at least {least}"),
        Some((least, most)) => format!("{least} to {most}"),
        None => format!("at least {}", range.split("..").next().unwrap_or_default()),
    }
}
