//! The command line.

mod tail;

use std::error::Error;
use std::io::IsTerminal;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use living_map::access::{NewToken, Role};
use living_map::app;
use living_map::config::{DemoSettings, LogFormat, Settings};
use living_map::telemetry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One server that shows a whole agent network as it lives.
#[derive(Parser)]
#[command(name = "living-map", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the server. With nothing set it keeps everything in one SQLite file and needs no other server
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Run the server on a simulated network: six upstream services and their event traffic
    Demo {
        #[command(flatten)]
        demo: DemoSettings,
        #[command(flatten)]
        settings: Settings,
    },
    /// Run the learner alone, beside servers with `LEARNER_ENABLED=false`
    Learn {
        #[command(flatten)]
        settings: Settings,
    },
    /// Follow a server's stream in the terminal
    Tail(tail::Tail),
    /// Compare our streams on the NATS server with what is declared
    Streams {
        #[command(subcommand)]
        action: Streams,
    },
    /// Alert rules
    Alerts {
        #[command(subcommand)]
        action: Alerts,
    },
    /// Act on the log itself, while no server uses it
    Log {
        #[command(subcommand)]
        action: Log,
    },
    /// Make an API token: prints the token, for its owner, and the line that the server is told
    Token {
        /// Whose it is
        #[arg(long)]
        name: String,
        /// What its owner may do
        #[arg(long, default_value = "viewer")]
        role: Role,
    },
    /// Print the OpenAPI document
    Openapi {
        /// Print the JSON Schema of an experience instead
        #[arg(long)]
        experience: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Streams {
    /// Say what differs; exit 1 if anything does. Changes nothing
    Check {
        #[command(flatten)]
        settings: Settings,
    },
    /// Create what is missing and add missing subjects. Never deletes or narrows a stream
    Apply {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Subcommand)]
enum Alerts {
    /// Say all that is wrong with a file of alert rules; exit 1 if anything is. Changes nothing
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        settings: living_map::config::Alerts,
    },
    /// Send a signed message to a webhook of a file, to see that it comes
    Test {
        /// Its name
        webhook: String,
        /// The file
        file: PathBuf,
        #[command(flatten)]
        settings: living_map::config::Alerts,
    },
}

#[derive(Debug, Subcommand)]
enum Log {
    /// Make the log count as a new one, after it was restored from a backup: clients are given the map anew
    NewEpoch {
        #[command(flatten)]
        settings: Settings,
    },
}

/// How long threads that are not done may go on after the end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("living-map: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn command() -> anyhow::Result<()> {
    let matches = without_empty_variables(Cli::command()).try_get_matches();
    let cli =
        matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|error| in_words(error).exit());
    match cli.command {
        Action::Serve { settings } => {
            let traces = start_logging(&settings)?;
            run(app::serve(settings, traces))
        }
        Action::Demo { demo, settings } => {
            let traces = start_logging(&settings)?;
            run(app::demo(demo, settings, traces))
        }
        Action::Learn { settings } => {
            let traces = start_logging(&settings)?;
            run(app::learn(settings, traces))
        }
        Action::Tail(tail) => run(tail::run(tail)),
        Action::Streams { action: Streams::Check { settings } } => run(app::streams(settings, false)),
        Action::Streams { action: Streams::Apply { settings } } => run(app::streams(settings, true)),
        Action::Alerts { action: Alerts::Check { file, settings } } => {
            match app::check_rules(&file, &settings)? {
                (rules, 0) => println!("{rules} alert rules, all good"),
                (rules, webhooks) => println!("{rules} alert rules and {webhooks} webhooks, all good"),
            }
            Ok(())
        }
        Action::Alerts { action: Alerts::Test { webhook, file, settings } } => {
            run(async move { app::test_webhook(&file, &webhook, settings).await })?;
            println!("the webhook took the message");
            Ok(())
        }
        Action::Log { action: Log::NewEpoch { settings } } => run(app::new_epoch(settings)),
        Action::Token { name, role } => {
            let made = NewToken::make(&name, role).map_err(|why| anyhow::anyhow!("--name: {why}"))?;
            eprintln!(
                "For its owner, shown this once:\n  {}\nFor AUTH_TOKENS or a line of AUTH_TOKENS_FILE:",
                made.token
            );
            println!("{}", made.line);
            Ok(())
        }
        Action::Openapi { experience: false } => {
            print!("{}", living_map::http::openapi_json());
            Ok(())
        }
        Action::Openapi { experience: true } => {
            print!("{}", living_map::model::experience::json_schema());
            Ok(())
        }
    }
}

/// The error with its causes, leaving out those that the text before them says already.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// A variable set to nothing (`NATS_URL=` in a compose file) is as good as unset.
fn without_empty_variables(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let command = command.mut_args(|argument| {
        let empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty { argument.env(None::<&'static str>) } else { argument }
    });
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_empty_variables))
}

/// The refusal of a value, with what was expected, and without a value that is an address: it may hold a password, and
/// what is said at a start ends in logs.
fn in_words(error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (Some(argument), Some(value), Some(reason)) =
        (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue), error.source())
    else {
        return error;
    };
    let value = if value.contains(['@', '/']) { String::new() } else { format!(" '{value}'") };
    let reason = if reason.is::<ParseIntError>() { "expected a whole number".to_owned() } else { reason.to_string() };
    Cli::command().error(ErrorKind::ValueValidation, format!("invalid value{value} for '{argument}': {reason}"))
}

/// What is to carry traces away, where they are made.
fn start_logging(settings: &Settings) -> anyhow::Result<Option<telemetry::Export>> {
    let filter = EnvFilter::try_new(&settings.listen.log_level).map_err(|error| {
        anyhow::anyhow!(
            "LOG_LEVEL={}: {error}; expected directives such as living_map=debug,info",
            settings.listen.log_level
        )
    })?;
    // spans for traces are no business of log lines, and where no traces are made they cost nothing
    let filter = filter.add_directive(format!("{}=off", telemetry::TARGET).parse()?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // in a file or a collector, colours are noise
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        // it would be told where the line could not be written, too, and panic: whoever logs would break with the log
        .log_internal_errors(false);
    let lines = match settings.listen.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let Some(telemetry) = app::telemetry(&settings.traces)? else {
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        return Ok(None);
    };
    let (spans, export) = telemetry.install();
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
    Ok(Some(export))
}

fn run(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(task);
    // what still waits in a thread of its own (a file, a name server) must not hold up the end
    runtime.shutdown_timeout(LAST_PATIENCE);
    outcome
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    /// A limit of the server had the name of an option of the demo: the demo did not start.
    #[test]
    fn no_two_options_of_a_command_have_one_name() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let refused = std::io::Error::other("connection refused");
        let error = Err::<(), _>(refused)
            .context("the database is not available: connection refused")
            .context("the database of DATABASE_URL cannot be used")
            .unwrap_err();
        let expected = "the database of DATABASE_URL cannot be used: the database is not available: connection refused";
        assert_eq!(in_one_line(&error), expected);
    }
}
