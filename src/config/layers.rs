//! Layers of settings. A command-line option takes precedence over the environment, the environment over the configuration
//! file, the file over the default.
//!
//! Values of the file become options in front of the arguments, unless an option or a variable sets the same: parsers,
//! limits, relations between options and messages are clap's own for every layer.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::ParseIntError;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::{self, FILE_OPTION};
use super::secret;

/// The layer that set a value, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// No layer: the default.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The environment variable of the setting's name.
    Environment,
    /// The command-line option.
    Option,
    /// The file that the variable `NAME_FILE` names.
    SecretFile {
        /// `NAME_FILE`.
        variable: String,
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Option => f.write_str("option"),
            Self::SecretFile { variable, path } => write!(f, "{variable} {}", path.display()),
        }
    }
}

/// A setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value, a secret masked; none when it is unset.
    pub value: Option<String>,
    /// Whether the value is masked, in whole or in part.
    pub masked: bool,
    /// The layer that set it.
    pub origin: Origin,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file, or files of secrets.
    #[error("{}", .0.join("; "))]
    Files(Vec<String>),
    /// The command line, or the value of a setting.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
}

/// A value and the layer that set it.
#[derive(Debug, Clone)]
struct Given {
    origin: Origin,
    values: Vec<OsString>,
}

/// All layers of one command line.
#[derive(Debug)]
pub struct Layers {
    command: Command,
    arguments: Vec<OsString>,
    /// Names of the subcommands.
    path: Vec<String>,
    /// The strongest layer of each setting that any layer sets.
    given: BTreeMap<String, Given>,
    /// All values of the file, overridden ones too.
    file: BTreeMap<String, Given>,
    problems: Vec<String>,
}

impl Layers {
    /// Reads the layers for a command line. Problems with files are kept, for [`Layers::parse`] and [`Layers::problems`].
    #[must_use]
    pub fn read(command: Command, arguments: Vec<OsString>) -> Self {
        let command = every(command, &|command| without_empty_variables(secret::with_file_options(command)));
        let mut layers = Self {
            command,
            arguments,
            path: Vec::new(),
            given: BTreeMap::new(),
            file: BTreeMap::new(),
            problems: Vec::new(),
        };
        layers.read_arguments();
        layers.read_file();
        layers.read_secrets();
        layers
    }

    /// Names of the subcommands.
    #[must_use]
    pub fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Parses the layers together.
    ///
    /// # Errors
    /// Files that cannot be used, or what clap rejects; a value is repeated only where it cannot be a secret.
    pub fn parse(&self) -> Result<ArgMatches, ConfigError> {
        if !self.problems.is_empty() {
            return Err(ConfigError::Files(self.problems.clone()));
        }
        let matches = self.command.clone().try_get_matches_from(self.effective_arguments());
        matches.map_err(|error| match self.message(&error) {
            Some(message) => self.command.clone().error(ErrorKind::ValueValidation, message).into(),
            None => error.into(),
        })
    }

    /// Everything that is wrong with files and with single values, one entry per problem.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        let leaf = self.leaf().clone().mut_args(|argument| argument.env(None::<&'static str>));
        let overridden = self
            .file
            .iter()
            .filter(|(name, _)| self.given.get(*name).is_some_and(|given| !matches!(given.origin, Origin::File(_))));
        for (name, given) in self.given.iter().chain(overridden) {
            let Some(argument) = self.setting(name) else { continue };
            let alone = [OsString::from(leaf.get_name())].into_iter().chain(options(argument, &given.values));
            let Err(error) = leaf.clone().try_get_matches_from(alone) else { continue };
            // relations to other settings are for all of them together
            if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8) {
                continue;
            }
            problems.push(self.message_of(&error, &given.origin).unwrap_or_else(|| first_line(&error)));
        }
        problems
    }

    /// All settings of the command with their values, in the order of its help.
    #[must_use]
    pub fn settings(&self, matches: &ArgMatches) -> Vec<Setting> {
        let mut matches = matches;
        while let Some((_, sub)) = matches.subcommand() {
            matches = sub;
        }
        let settings = self.leaf().get_arguments().filter(|argument| is_setting(argument));
        let settings = settings.filter(|argument| !secret::is_file_option(argument));
        settings
            .map(|argument| {
                let name = argument.get_id().as_str();
                let values: Option<Vec<_>> =
                    matches.get_raw(name).map(|values| values.map(OsStr::to_string_lossy).collect());
                let value = values.map(|values| values.join(","));
                let shown = value.as_deref().map(|value| secret::masked(argument, value));
                let origin = self.given.get(name).map_or(Origin::Default, |given| given.origin.clone());
                Setting { name: name.to_owned(), masked: shown != value, value: shown, origin }
            })
            .collect()
    }

    /// Options and environment variables, untyped: the subcommand and what they set, whether it is valid or not.
    fn read_arguments(&mut self) {
        let untyped = every(self.command.clone(), &|command| {
            command.mut_args(|argument| {
                let takes_values = argument.get_action().takes_values();
                if takes_values { argument.value_parser(clap::value_parser!(OsString)) } else { argument }
            })
        });
        // a request for help is answered by `parse`
        let Ok(matches) = untyped.ignore_errors(true).try_get_matches_from(&self.arguments) else { return };
        let mut matches = &matches;
        while let Some((name, sub)) = matches.subcommand() {
            self.path.push(name.to_owned());
            matches = sub;
        }
        for argument in self.leaf().clone().get_arguments() {
            let name = argument.get_id().as_str();
            let origin = match matches.value_source(name) {
                Some(ValueSource::CommandLine) => Origin::Option,
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ => continue,
            };
            let values = matches.get_raw(name).into_iter().flatten().map(OsStr::to_owned).collect();
            self.given.insert(name.to_owned(), Given { origin, values });
        }
    }

    fn read_file(&mut self) {
        let path = self.given.get(FILE_OPTION).and_then(|given| given.values.first()).map(PathBuf::from);
        let Some(path) = path else { return };
        match file::read(&path, &known_settings(&self.command)) {
            Ok(values) => {
                for (name, value) in values {
                    let given = Given { origin: Origin::File(path.clone()), values: vec![value.into()] };
                    self.file.insert(name.clone(), given.clone());
                    // settings of other commands are known, and not for this one
                    if self.setting(&name).is_some() {
                        self.given.entry(name).or_insert(given);
                    }
                }
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// Secrets from files: the stronger layer of `NAME` and `NAME_FILE` decides, both in one layer are an error.
    fn read_secrets(&mut self) {
        let leaf = self.leaf().clone();
        for argument in leaf.get_arguments() {
            let Some(option) = secret::file_option_of(&leaf, argument) else { continue };
            let (name, variable) = (argument.get_id().as_str(), option.get_id().as_str());
            let Some(path) = self.given.remove(variable) else { continue };
            let direct = self.given.get(name).map_or(Origin::Default, |given| given.origin.clone());
            if direct == path.origin {
                self.problems.push(format!("{name} and {variable} are both set ({direct}); set one of them"));
            }
            if direct >= path.origin {
                continue;
            }
            let path = path.values.into_iter().next().map(PathBuf::from).unwrap_or_default();
            match secret::read(variable, &path) {
                Ok(content) => {
                    let origin = Origin::SecretFile { variable: variable.to_owned(), path };
                    self.given.insert(name.to_owned(), Given { origin, values: vec![content.into()] });
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// The arguments, with the values of files as options behind the subcommand.
    fn effective_arguments(&self) -> Vec<OsString> {
        let from_files =
            self.given.iter().filter(|(_, given)| matches!(given.origin, Origin::File(_) | Origin::SecretFile { .. }));
        let from_files = from_files.filter_map(|(name, given)| Some(options(self.setting(name)?, &given.values)));
        let (command, rest) = self.arguments.split_at(self.arguments.len().min(1 + self.path.len()));
        command.iter().cloned().chain(from_files.flatten()).chain(rest.iter().cloned()).collect()
    }

    /// The subcommand that the arguments name.
    fn leaf(&self) -> &Command {
        self.path.iter().fold(&self.command, |command, name| command.find_subcommand(name).unwrap_or(command))
    }

    fn setting(&self, name: &str) -> Option<&Arg> {
        self.leaf().get_arguments().find(|argument| argument.get_id() == name && is_setting(argument))
    }

    /// The argument behind `--option <VALUE>` of a message.
    fn argument_shown_as(&self, shown: &str) -> Option<&Arg> {
        let option = shown.split(' ').next()?.strip_prefix("--")?;
        self.leaf().get_arguments().find(|argument| argument.get_long() == Some(option))
    }

    /// The rejection of a value: the setting, what was expected, and the file that set it.
    fn message(&self, error: &clap::Error) -> Option<String> {
        let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
        let argument = self.argument_shown_as(shown);
        let given = argument.and_then(|argument| self.given.get(argument.get_id().as_str()));
        self.message_of(error, given.map_or(&Origin::Default, |given| &given.origin))
    }

    fn message_of(&self, error: &clap::Error, origin: &Origin) -> Option<String> {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let (shown, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
        let reason = match (error.source(), error.get(ContextKind::ValidValue)) {
            (Some(source), _) if source.is::<ParseIntError>() => "expected a whole number".to_owned(),
            (Some(source), _) => source.to_string(),
            (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
                format!("expected one of {}", values.join(", "))
            }
            _ => return None,
        };
        let argument = self.argument_shown_as(shown);
        // a URL may contain a password, and messages of a start end in logs
        let hidden = argument.is_some_and(secret::may_contain_secret) || value.contains(['@', '/']);
        let value = if hidden { String::new() } else { format!(" '{value}'") };
        let origin = match origin {
            Origin::File(_) | Origin::SecretFile { .. } => format!(" ({origin})"),
            Origin::Default | Origin::Environment | Origin::Option => String::new(),
        };
        Some(format!("invalid value{value} for '{shown}': {reason}{origin}"))
    }
}

/// An argument is a setting if its id is the name of its variable, except for the configuration file itself. The variable may
/// have been removed from the argument because it is empty.
fn is_setting(argument: &Arg) -> bool {
    let name = argument.get_id().as_str();
    name != FILE_OPTION && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Variables of all subcommands that take a configuration file, so that one file serves all of them.
fn known_settings(command: &Command) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = command.get_subcommands().flat_map(known_settings).collect();
    if command.get_arguments().any(|argument| argument.get_id() == FILE_OPTION) {
        let settings = command.get_arguments().filter(|argument| is_setting(argument));
        known.extend(settings.map(|argument| argument.get_id().to_string()));
    }
    known
}

/// A value for an option, as arguments.
fn options(argument: &Arg, values: &[OsString]) -> Vec<OsString> {
    let option = |value: &OsString| {
        let mut option = OsString::from(format!("--{}=", argument.get_long()?));
        option.push(value);
        Some(option)
    };
    values.iter().filter_map(option).collect()
}

/// An empty variable (`NATS_URL=` in a compose file) counts as unset.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|argument| {
        let is_empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { argument.env(None::<&'static str>) } else { argument }
    })
}

/// Applies a change to a command and all its subcommands.
fn every(command: Command, change: &impl Fn(Command) -> Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let change_subcommand = |command: Command, name| command.mut_subcommand(name, |command| every(command, change));
    names.into_iter().fold(change(command), change_subcommand)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
