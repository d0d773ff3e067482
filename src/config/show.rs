//! Output of `living-map config show`.

use std::fmt::Write;

use clap::ValueEnum;

use super::layers::Setting;

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns: variable, value, layer that set it
    Table,
    /// A configuration file, the layer behind each value; masked and unset settings are comments
    Toml,
}

/// All settings, one per line.
#[must_use]
pub fn show(settings: &[Setting], format: Format) -> String {
    let mut text = String::new();
    let names = settings.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
    let values = settings.iter().filter_map(|setting| setting.value.as_ref()).map(|value| value.chars().count());
    let values = values.max().unwrap_or_default().min(MAX_COLUMN);
    for Setting { name, value, masked, origin } in settings {
        let _ = match (format, value) {
            (Format::Table, _) => {
                let value = value.as_deref().unwrap_or("-");
                writeln!(text, "{name:names$}  {value:values$}  {origin}")
            }
            (Format::Toml, None) => writeln!(text, "# {name} is unset"),
            (Format::Toml, Some(value)) => {
                let comment = if *masked { "# " } else { "" };
                writeln!(text, "{comment}{name} = {}  # {origin}", toml_value(value))
            }
        };
    }
    text
}

/// Width that longer values exceed.
const MAX_COLUMN: usize = 40;

/// Numbers and booleans as such, everything else as a string, whose escapes JSON and TOML have in common.
fn toml_value(value: &str) -> String {
    let is_plain =
        value.parse::<i64>().is_ok_and(|number| number.to_string() == value) || value.parse::<bool>().is_ok();
    if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}
