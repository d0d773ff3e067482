//! Events to many clients of the stream.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use living_map::bus::NatsAccessConfig;

use crate::machine::{Usage, need_files, seconds};
use crate::nats;
use crate::receiver::{Plan, Receivers};
use crate::report::{mib, per, row};
use crate::wire::{self, Target};

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of the stream.
    #[arg(long, default_value = "ws://127.0.0.1:7017/living-map/stream")]
    url: String,
    /// URL to post events to; not used with --nats-url.
    #[arg(long, default_value = "http://127.0.0.1:7017/living-map/events")]
    events_url: String,
    /// Publish to this NATS server instead.
    #[arg(long)]
    nats_url: Option<String>,
    /// Credentials and TLS of the connection to NATS.
    #[command(flatten)]
    nats: NatsAccessConfig,
    /// Subject of the events.
    #[arg(long, default_value = "city.event.load")]
    subject: String,
    #[command(flatten)]
    load: Load,
}

/// Options shared by both fan-out commands.
#[derive(clap::Args, Clone)]
pub struct Load {
    /// WebSocket clients.
    #[arg(long, default_value_t = 2000)]
    pub clients: usize,
    /// Events per second, each delivered to every client.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Events published together.
    #[arg(long, default_value_t = 1)]
    pub batch: u64,
    /// Size of the payload of each event, bytes.
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Duration of publishing, seconds.
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub duration: Duration,
    /// Receiving threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Process id of the server, to measure its CPU and memory.
    #[arg(long)]
    pub server_pid: u32,
}

/// Publishes events.
pub enum Publisher {
    /// By `POST /living-map/events`.
    Http {
        /// HTTP client.
        client: reqwest::Client,
        /// URL of the events route.
        url: String,
    },
    /// By core NATS.
    Nats(async_nats::Client),
}

impl Publisher {
    /// Publishes events `first` and the `number - 1` after it.
    pub async fn publish(&self, subject: &str, first: u64, number: u64, bytes: usize) -> Result<()> {
        let payloads = (first..first + number).map(|n| wire::payload(n, bytes));
        match self {
            Self::Http { client, url } => {
                let envelopes: Vec<_> = payloads
                    .map(|payload| serde_json::json!({"event_type": subject, "source": "load", "payload": payload}))
                    .collect();
                client.post(url).json(&envelopes).send().await?.error_for_status().context("publishing")?;
            }
            Self::Nats(client) => {
                for payload in payloads {
                    client.publish(subject.to_owned(), payload.to_string().into()).await?;
                }
                client.flush().await?;
            }
        }
        Ok(())
    }
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let publisher = match &arguments.nats_url {
        Some(url) => Publisher::Nats(nats::client(url, &arguments.nats).await?),
        None => Publisher::Http { client: reqwest::Client::new(), url: arguments.events_url.clone() },
    };
    let target = Target::parse(&arguments.url)?;
    measure("living-map", target, None, &publisher, &arguments.subject, &arguments.load).await
}

/// Connects, publishes, waits for the last event at the last client, and prints a row.
pub async fn measure(
    name: &str,
    target: Target,
    subscribe: Option<Vec<u8>>,
    publisher: &Publisher,
    subject: &str,
    load: &Load,
) -> Result<()> {
    need_files(load.clients)?;
    let clients = load.clients as u64;
    let plan = Plan { target, clients: load.clients, threads: load.threads, at_once: 100, subscribe };
    let receivers = Receivers::start(&plan);
    receivers.wait_ready(clients, Duration::from_mins(1))?;
    // work left from connecting is not part of the measurement
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (server, own, start) = (Usage::of(load.server_pid)?, Usage::own()?, Instant::now());
    let mut published = 0;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(load.batch as f64 / load.rate));
    while start.elapsed() < load.duration {
        ticks.tick().await;
        publisher.publish(subject, published, load.batch, load.bytes).await?;
        published += load.batch;
    }
    let expected = published * clients;
    let deadline = Instant::now() + Duration::from_secs(10);
    while receivers.progress.received.load(Ordering::Relaxed) < expected && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (server_after, own_after) = (Usage::of(load.server_pid)?, Usage::own()?);

    let lost = receivers.progress.lost.load(Ordering::Relaxed);
    let mut tally = receivers.finish()?;
    let delivered = tally.latencies.len() as u64;
    let [p50, p99, p999, max] = tally.latencies.percentiles([0.5, 0.99, 0.999, 1.0]);
    let cpu = server_after.cpu - server.cpu;
    row(&[
        ("server", name.to_owned()),
        ("clients", clients.to_string()),
        ("events/s", format!("{:.1}", load.rate)),
        ("batch", load.batch.to_string()),
        ("deliveries", delivered.to_string()),
        ("deliveries/s", format!("{:.0}", per(seconds, delivered).recip())),
        ("missing", (expected.saturating_sub(delivered)).to_string()),
        ("gaps", tally.missing.to_string()),
        ("repeated", tally.repeated.to_string()),
        ("connections lost", lost.to_string()),
        ("p50 ms", format!("{p50:.2}")),
        ("p99 ms", format!("{p99:.2}")),
        ("p99.9 ms", format!("{p999:.2}")),
        ("max ms", format!("{max:.2}")),
        ("server CPU s", format!("{cpu:.2}")),
        ("CPU µs/delivery", format!("{:.2}", per(cpu * 1e6, delivered))),
        ("server RSS MiB", mib(server_after.rss)),
        ("generator CPU s", format!("{:.2}", own_after.cpu - own.cpu)),
    ]);
    Ok(())
}
