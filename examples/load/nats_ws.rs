//! Comparison: the same events through the WebSocket listener of nats-server.

use anyhow::Result;
use living_map::bus::NatsAccessConfig;

use crate::fanout::{Load, Publisher, measure};
use crate::nats;
use crate::wire::{self, Target};

#[derive(clap::Args)]
pub struct Arguments {
    /// WebSocket listener of nats-server.
    #[arg(long, default_value = "ws://127.0.0.1:8080/")]
    url: String,
    /// Client port of the same server, to publish events.
    #[arg(long, default_value = "nats://127.0.0.1:4222")]
    nats_url: String,
    /// Credentials and TLS of the connection to NATS.
    #[command(flatten)]
    nats: NatsAccessConfig,
    /// Subject of the events.
    #[arg(long, default_value = "load.fanout")]
    subject: String,
    #[command(flatten)]
    load: Load,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let subscribe = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"load\",\"version\":\"0\",\"protocol\":1}}\r\n\
         SUB {} 1\r\nPING\r\n",
        arguments.subject
    );
    let subscribe = wire::masked(0x2, subscribe.as_bytes());
    let publisher = Publisher::Nats(nats::client(&arguments.nats_url, &arguments.nats).await?);
    let target = Target::parse(&arguments.url)?;
    measure("nats-server", target, Some(subscribe), &publisher, &arguments.subject, &arguments.load).await
}
