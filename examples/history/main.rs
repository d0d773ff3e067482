//! History of millions of events: fills a database, and compares the server's latency with that of the same SQL run
//! directly.

mod compare;
mod questions;
mod seed;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Seeds a large history, and measures the server's answers of it beside the same SQL", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fills an empty PostgreSQL database with a month of events of a network, and saved snapshots.
    Seed(seed::Arguments),
    /// Queries a server over HTTP and its database directly, alternately.
    Compare(compare::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = match arguments.command {
        Command::Seed(arguments) => runtime.block_on(seed::run(arguments)),
        Command::Compare(arguments) => runtime.block_on(compare::run(arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
