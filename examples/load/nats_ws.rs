//! The comparison: the same events through nats-server's own WebSocket listener.

use anyhow::Result;

use crate::fanout::{Load, Publisher, measure};
use crate::wire::{self, Target};

#[derive(clap::Args)]
pub struct Arguments {
    /// nats-server's WebSocket listener.
    #[arg(long, default_value = "ws://127.0.0.1:8080/")]
    url: String,
    /// The same server's port for clients; events are published there.
    #[arg(long, default_value = "nats://127.0.0.1:4222")]
    nats_url: String,
    /// The events' subject.
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
    let publisher = Publisher::Nats(async_nats::connect(&arguments.nats_url).await?);
    let target = Target::parse(&arguments.url)?;
    measure("nats-server", target, Some(subscribe), &publisher, &arguments.subject, &arguments.load).await
}
