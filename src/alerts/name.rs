//! Names of rules and webhooks.

/// The longest name, in bytes.
const MAX_BYTES: usize = 40;

/// The problem with the second table of a name.
pub(super) const DUPLICATE: &str = "name: is used twice";

/// Checks a name. It is part of alert ids, metric labels and journal targets, so its characters are restricted.
pub(super) fn check(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if (1..=MAX_BYTES).contains(&name.len()) && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(format!("name: expected 1 to {MAX_BYTES} of a-z, 0-9, '-' and '_'"))
    }
}

/// The name of a table for error messages; its number, from 1, when it has none.
pub(super) fn of_table(table: &toml::Value, index: usize) -> String {
    let name = table.get("name").and_then(toml::Value::as_str);
    name.map_or_else(|| (index + 1).to_string(), str::to_owned)
}
