//! The configuration file: TOML whose keys are the variables' names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use toml::{Table, Value};

/// Id of the option that names the configuration file.
pub(super) const FILE_OPTION: &str = "LIVING_MAP_CONFIG";

/// The option `--config`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Configuration")]
pub struct FileOption {
    /// Configuration file (TOML): its keys are the variables' names, its values take the place of the defaults. Options and
    /// environment variables take precedence over it.
    #[arg(id = "LIVING_MAP_CONFIG", env, long = "config", value_name = "LIVING_MAP_CONFIG")]
    pub path: Option<PathBuf>,
}

/// Values of a configuration file by variable. Empty values count as unset, like empty environment variables.
///
/// # Errors
/// Everything that is wrong with the file, one entry per problem. A value is never repeated: it may be a secret.
pub(super) fn read(path: &Path, known: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("{FILE_OPTION}: cannot read {}: {error}", path.display())])?;
    let table: Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        vec![format!("{}, line {line}: {}", path.display(), error.message())]
    })?;
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, value) in table {
        let read = if known.contains(&name) { text_of(&value) } else { Err(unknown(&name, known)) };
        match read {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                values.insert(name, text);
            }
            Err(problem) => problems.push(format!("{}: {name}: {problem}", path.display())),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn unknown(name: &str, known: &BTreeSet<String>) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_uppercase(), known);
    match known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other))) {
        Some(nearest) => format!("unknown setting; the nearest name is {nearest}"),
        None => "unknown setting".to_owned(),
    }
}

/// The value as the variable would have it.
fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| {
                let text = scalar(item)?;
                if text.contains(',') { Err("expected list items without commas".to_owned()) } else { Ok(text) }
            });
            Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        scalar_value => scalar(scalar_value),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        // 1.0 stays a fraction: a setting of whole numbers rejects it
        Value::Float(number) => Ok(format!("{number:?}")),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("expected a string, a number, a boolean or a list of them".to_owned())
        }
    }
}
