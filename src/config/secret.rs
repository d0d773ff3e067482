//! Secrets: masking, and their values from files (`NAME_FILE`).

use std::path::{Path, PathBuf};

use clap::{Arg, Command, ValueHint};

/// Replacement of a secret in output.
const MASK: &str = "***";

/// Whether a setting is a secret, or may contain one: its environment value is hidden in help texts.
pub(super) fn may_contain_secret(argument: &Arg) -> bool {
    argument.is_hide_env_values_set()
}

/// Whether a setting is a secret. Locations ([`ValueHint::AnyPath`]), whose value may be a path, are none.
pub(super) fn is_secret(argument: &Arg) -> bool {
    may_contain_secret(argument) && argument.get_value_hint() != ValueHint::AnyPath
}

/// The variable that names the file with a secret's value.
fn file_variable(argument: &Arg) -> Option<String> {
    is_secret(argument).then(|| format!("{}_FILE", argument.get_id()))
}

/// Adds the option and variable `NAME_FILE` for each secret that does not have one of its own.
pub(super) fn with_file_options(command: Command) -> Command {
    let names: Vec<(String, String)> = command
        .get_arguments()
        .filter_map(|secret| Some((secret.get_id().to_string(), file_variable(secret)?)))
        .filter(|(_, variable)| !command.get_arguments().any(|argument| argument.get_id() == variable.as_str()))
        .collect();
    names.into_iter().fold(command, |command, (secret, variable)| {
        command.arg(
            Arg::new(&variable)
                .long(variable.to_lowercase().replace('_', "-"))
                .env(&variable)
                .value_name(&variable)
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!("File with the value of {secret}"))
                .help_heading(HEADING),
        )
    })
}

/// Help heading of the options that [`with_file_options`] adds.
const HEADING: &str = "Secrets from files";

/// The option that [`with_file_options`] added for a secret.
pub(super) fn file_option_of<'a>(command: &'a Command, secret: &Arg) -> Option<&'a Arg> {
    let variable = file_variable(secret)?;
    let mut options = command.get_arguments().filter(|argument| is_file_option(argument));
    options.find(|argument| argument.get_id() == variable.as_str())
}

/// Whether an option was added by [`with_file_options`].
pub(super) fn is_file_option(argument: &Arg) -> bool {
    argument.get_help_heading() == Some(HEADING)
}

/// The content of a secret's file without its final line break.
///
/// # Errors
/// The variable, the path, and the reason; never the content.
pub(super) fn read(variable: &str, path: &Path) -> Result<String, String> {
    let mut text = std::fs::read_to_string(path)
        .map_err(|error| format!("{variable}: cannot read {}: {error}", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(format!("{variable}: {} is empty", path.display())) } else { Ok(text) }
}

/// A value as it may be printed: a secret masked as a whole, of a URL the user, the password and the query. Only the value
/// of a setting that is a URL, or that is not a secret, is treated as one: a token may contain `://`.
pub(super) fn masked(argument: &Arg, value: &str) -> String {
    let is_url = argument.get_value_hint() == ValueHint::Url || !is_secret(argument);
    if is_url && value.contains("://") {
        let items: Vec<&str> = value.split(',').collect();
        let are_urls = items.iter().all(|item| item.contains("://"));
        return if are_urls {
            items.into_iter().map(masked_url).collect::<Vec<_>>().join(",")
        } else {
            masked_url(value)
        };
    }
    if is_secret(argument) { MASK.to_owned() } else { value.to_owned() }
}

/// A password may contain any character, so everything up to the last `@` is masked; the whole address, if that `@` may
/// be in the query.
fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, _)) if login.contains('?') => return format!("{scheme}://{MASK}"),
        Some((_, rest)) => (format!("{MASK}@"), rest),
        None => (String::new(), rest),
    };
    match rest.split_once('?') {
        Some((address, _)) => format!("{scheme}://{login}{address}?{MASK}"),
        None => format!("{scheme}://{login}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        let url = Arg::new("URL").hide_env_values(true).value_hint(ValueHint::Url);
        for (value, shown) in [
            ("postgres://me:hush@db/map", "postgres://***@db/map"),
            ("postgres://me:hu/sh@db/map?password=hush", "postgres://***@db/map?***"),
            ("nats://hush@one:4222,nats://me:hush@two:4222", "nats://***@one:4222,nats://***@two:4222"),
            ("nats://me:hu,sh@one:4222", "nats://***@one:4222"),
            ("postgres://db/map?user=me&password=hu@sh", "postgres://***"),
            ("sqlite://living-map.db", "sqlite://living-map.db"),
            ("hush", "***"),
        ] {
            assert_eq!(masked(&url, value), shown);
        }
        let token = Arg::new("TOKEN").hide_env_values(true);
        assert_eq!(masked(&token, "authorization=Bearer hush,x=http://a"), "***");
        let location = Arg::new("LOCATION").hide_env_values(true).value_hint(ValueHint::AnyPath);
        assert_eq!(masked(&location, "/var/lib/journal"), "/var/lib/journal");
        assert_eq!(masked(&Arg::new("PORT"), "7017"), "7017");
    }
}
