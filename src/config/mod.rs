//! Settings: value parsers and defaults, shared by the configuration structs of all modules.
//!
//! Each module's configuration struct derives [`clap::Args`]: a field's attributes are the only place with the setting's name,
//! unit, default and limits, its documentation is the help text. The variable's name is the id of the argument. A secret has
//! `hide_env_values`: it is masked in output, and can be read from the file that `NAME_FILE` names.
//!
//! | part | content |
//! |---|---|
//! | [`value`] | value parsers |
//! | `layers` | options, environment, file and defaults in one, with the origin of each value |
//! | `file` | the configuration file |
//! | `secret` | masking, `NAME_FILE` |
//! | `show`, `reference` | `config show`, `docs/configuration.md`, `docs/limits.md` |

mod file;
mod layers;
mod reference;
mod secret;
mod show;
pub mod value;

use clap::{Args, Command};

pub use file::FileOption;
pub use layers::{ConfigError, Layers, Origin, Setting};
pub use reference::{limits, reference};
pub use show::{Format, show};

/// The value of a configuration struct without arguments, environment and file: the defaults of its attributes.
#[must_use]
pub fn defaults<T: Args>() -> T {
    let command = T::augment_args(Command::new("defaults")).mut_args(|argument| argument.env(None::<&'static str>));
    let parsed = command.try_get_matches_from(["defaults"]).and_then(|matches| T::from_arg_matches(&matches));
    #[expect(clippy::expect_used, reason = "a default that its own parser rejects fails every test")]
    parsed.expect("defaults are valid")
}
