//! Load generator: measures a running server, and the servers it is compared with, from outside.
//!
//! Every subcommand prints one Markdown table with a row for its run, after a line that describes the machine. Servers
//! are measured by process id through `/proc`, so this runs on Linux.

mod connect;
mod copy;
mod fanout;
mod flood;
mod greedy;
mod ingest;
mod machine;
mod nats;
mod nats_ws;
mod probe;
mod receiver;
mod report;
mod requests;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures a running Living Map server, and the servers it is compared with", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Events to many WebSocket clients: latency, losses, and CPU of the server per delivery.
    Fanout(fanout::Arguments),
    /// Events to many clients through the WebSocket listener of nats-server.
    NatsWs(nats_ws::Arguments),
    /// Many clients connecting: time until all have their first frame, and memory per client.
    Connect(connect::Arguments),
    /// Requests per second for any URL over keep-alive connections.
    Snapshot(requests::Arguments),
    /// Events from NATS to committed rows.
    Ingest(ingest::Arguments),
    /// Valid events at a steady rate, without and with a flood of invalid messages.
    Flood(flood::Arguments),
    /// `/living-map/health` and memory while clients take all they can get.
    Greedy(greedy::Arguments),
    /// COPY of the same rows into a table with the same columns and indexes.
    Copy(copy::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!("{}\n", machine::describe());
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Fanout(arguments) => runtime()?.block_on(fanout::run(arguments)),
        Command::NatsWs(arguments) => runtime()?.block_on(nats_ws::run(arguments)),
        Command::Connect(arguments) => connect::run(&arguments),
        Command::Snapshot(arguments) => requests::run(&arguments),
        Command::Ingest(arguments) => runtime()?.block_on(ingest::run(arguments)),
        Command::Flood(arguments) => runtime()?.block_on(flood::run(arguments)),
        Command::Greedy(arguments) => greedy::run(arguments),
        Command::Copy(arguments) => runtime()?.block_on(copy::run(arguments)),
    }
}

/// A single-threaded runtime for publishing; receivers have their own threads.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
