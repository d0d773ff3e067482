//! The command line.

mod tail;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use living_map::access::{NewToken, Role};
use living_map::app::{self, AlertSettings, DemoSettings, LogFormat, Settings};
use living_map::config::{self, ConfigError, FileOption, Format, Layers};
use living_map::telemetry;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One server that shows a whole agent network while it runs.
#[derive(Parser)]
#[command(name = "living-map", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the server. Without settings it keeps everything in one SQLite file and needs no other server
    Serve(Configured<Settings>),
    /// Run the server on a simulated network: six upstream services and their event traffic
    Demo {
        #[command(flatten)]
        demo: DemoSettings,
        #[command(flatten)]
        configured: Configured<Settings>,
    },
    /// Run the learner alone, beside servers with `LEARNER_ENABLED=false`
    Learn(Configured<Settings>),
    /// Follow a server's stream in the terminal
    Tail(tail::Tail),
    /// Validate and print settings
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Compare the declared streams with those on the NATS server
    Streams {
        #[command(subcommand)]
        action: Streams,
    },
    /// Alert rules
    Alerts {
        #[command(subcommand)]
        action: Alerts,
    },
    /// Maintain the log while no server uses it
    Log {
        #[command(subcommand)]
        action: Log,
    },
    /// Create an API token: prints the token for its owner, and the line with its hash for the server
    Token {
        /// Name of the owner
        #[arg(long)]
        name: String,
        /// Role of the owner
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

/// Settings, with the option that names their file.
#[derive(Debug, Args)]
struct Configured<T: Args> {
    #[command(flatten)]
    file: FileOption,
    #[command(flatten)]
    settings: T,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Validate all settings without starting the server; one line per problem, exit 1 if there is any
    Check(Configured<Settings>),
    /// Print each setting, its value and the layer that set it; secrets are masked
    Show {
        /// Form of the output
        #[arg(long, default_value = "table")]
        format: Format,
        #[command(flatten)]
        configured: Configured<Settings>,
    },
    /// Print the reference of all settings as Markdown
    Reference {
        /// Print only the limits, each with the effect of exceeding it
        #[arg(long)]
        limits: bool,
    },
}

#[derive(Subcommand)]
enum Streams {
    /// Print the differences; exit 1 if there is any. Changes nothing
    Check(Configured<Settings>),
    /// Create missing streams and add missing subjects. Never deletes or narrows a stream
    Apply(Configured<Settings>),
}

#[derive(Subcommand)]
enum Alerts {
    /// Validate a file of alert rules; exit 1 if it has problems. Changes nothing
    Check {
        /// File of alert rules
        file: PathBuf,
        #[command(flatten)]
        configured: Configured<AlertSettings>,
    },
    /// Send a signed test message to a webhook of a file
    Test {
        /// Name of the webhook
        webhook: String,
        /// File of alert rules
        file: PathBuf,
        #[command(flatten)]
        configured: Configured<AlertSettings>,
    },
}

#[derive(Subcommand)]
enum Log {
    /// Give the log a new epoch after it was restored from a backup: clients get a new snapshot
    NewEpoch(Configured<Settings>),
}

/// Longest wait for blocked threads after the last task has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    install_crypto_provider();
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("living-map: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Names the TLS back-end that every client of this process uses. Without one, rustls panics at the first connection as soon as a
/// dependency brings a second back-end.
fn install_crypto_provider() {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS back-end is installed already");
    }
}

fn command() -> anyhow::Result<()> {
    let layers = Layers::read(Cli::command(), std::env::args_os().collect());
    if layers.path() == ["config", "check"] {
        return check(&layers);
    }
    let (cli, matches) = match parse(&layers) {
        Ok(parsed) => parsed,
        Err(ConfigError::Arguments(error)) => error.exit(),
        Err(error) => return Err(error.into()),
    };
    match cli.command {
        Action::Serve(Configured { settings, .. }) => {
            let traces = start_logging(&settings)?;
            run(app::serve(settings, traces))
        }
        Action::Demo { demo, configured: Configured { settings, .. } } => {
            let traces = start_logging(&settings)?;
            run(app::demo(demo, settings, traces))
        }
        Action::Learn(Configured { settings, .. }) => {
            let traces = start_logging(&settings)?;
            run(app::learn(settings, traces))
        }
        Action::Tail(tail) => run(tail::run(tail)),
        Action::Config { action: ConfigAction::Check(_) } => check(&layers),
        Action::Config { action: ConfigAction::Show { format, .. } } => {
            print!("{}", config::show(&layers.settings(&matches), format));
            Ok(())
        }
        Action::Config { action: ConfigAction::Reference { limits } } => {
            print!("{}", if limits { app::limits_reference() } else { app::settings_reference() });
            Ok(())
        }
        Action::Streams { action: Streams::Check(configured) } => run(app::streams(configured.settings, false)),
        Action::Streams { action: Streams::Apply(configured) } => run(app::streams(configured.settings, true)),
        Action::Alerts { action } => alerts(action),
        Action::Log { action: Log::NewEpoch(configured) } => run(app::new_epoch(configured.settings)),
        Action::Token { name, role } => token(&name, role),
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

fn parse(layers: &Layers) -> Result<(Cli, clap::ArgMatches), ConfigError> {
    let matches = layers.parse()?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// Prints the problems of the settings, one per line.
fn check(layers: &Layers) -> anyhow::Result<()> {
    let mut problems = layers.problems();
    if problems.is_empty() {
        problems = match parse(layers) {
            Ok((Cli { command: Action::Config { action: ConfigAction::Check(configured) } }, _)) => {
                app::check(&configured.settings)
            }
            Ok(_) => Vec::new(),
            Err(ConfigError::Arguments(error)) => error.exit(),
            Err(ConfigError::Files(problems)) => problems,
        };
    }
    for problem in &problems {
        println!("{problem}");
    }
    anyhow::ensure!(problems.is_empty(), "the settings have {} problem(s)", problems.len());
    println!("the settings are valid");
    Ok(())
}

fn alerts(action: Alerts) -> anyhow::Result<()> {
    match action {
        Alerts::Check { file, configured } => {
            match app::check_rules(&file, &configured.settings)? {
                (rules, 0) => println!("{rules} alert rules, all valid"),
                (rules, webhooks) => println!("{rules} alert rules and {webhooks} webhooks, all valid"),
            }
            Ok(())
        }
        Alerts::Test { webhook, file, configured } => {
            run(async move { app::test_webhook(&file, &webhook, configured.settings).await })?;
            println!("the webhook accepted the message");
            Ok(())
        }
    }
}

fn token(name: &str, role: Role) -> anyhow::Result<()> {
    let made = NewToken::make(name, role).map_err(|why| anyhow::anyhow!("--name: {why}"))?;
    eprintln!("For its owner, shown this once:\n  {}\nFor AUTH_TOKENS or a line of AUTH_TOKENS_FILE:", made.token);
    println!("{}", made.line);
    Ok(())
}

/// The error with its causes, without those that the text before them contains already.
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

/// Sets up log lines and traces; the export of traces when they are enabled.
fn start_logging(settings: &Settings) -> anyhow::Result<Option<telemetry::Export>> {
    let filter = settings.logging.filter()?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // no colours in files and collectors
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        // the error would be written to the same broken output and panic in the logging task
        .log_internal_errors(false);
    let lines = match settings.logging.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let Some(telemetry) = app::telemetry(&settings.telemetry)? else {
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
    // blocking operations (a file, name resolution) must not delay the end
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    outcome
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    /// A setting with the name of an option of `demo` makes `demo` fail at its start.
    #[test]
    fn option_names_are_unique_within_each_command() {
        Cli::command().debug_assert();
        let layers = Layers::read(Cli::command(), ["living-map", "demo"].map(Into::into).to_vec());
        assert!(layers.parse().is_ok());
    }

    #[test]
    fn a_repeated_cause_is_printed_once() {
        let refused = std::io::Error::other("connection refused");
        let error = Err::<(), _>(refused)
            .context("the database is not available: connection refused")
            .context("the database of DATABASE_URL cannot be used")
            .unwrap_err();
        let expected = "the database of DATABASE_URL cannot be used: the database is not available: connection refused";
        assert_eq!(in_one_line(&error), expected);
    }
}
