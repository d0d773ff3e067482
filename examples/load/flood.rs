//! Valid events at a steady rate, without and with a flood of invalid messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::jetstream::Context as JetStream;
use living_map::bus::NatsAccessConfig;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::machine::Usage;
use crate::nats;
use crate::report::{mib, row};
use crate::wire::now_micros;

/// Invalid bodies: no JSON, wrong types, numbers out of range, deep nesting.
const BODIES: [&[u8]; 8] = [
    b"",
    b"\xff\xfe\x00\x80 not text",
    b"{\"agent_id\":",
    b"[1,2,3]",
    b"{\"agent_id\":{\"a\":[]},\"status\":7,\"ts\":\"never\"}",
    b"{\"agent_id\":1e400,\"n\":-99999999999999999999999999}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    b"{\"payload\":\"no object\",\"event_type\":7}",
];

const SUBJECTS: [&str; 6] =
    ["agent.event.status", "dao.event.created", "usage.llm", "node.metrics.update", "agents.reply", "city.event.x"];

#[derive(clap::Args)]
pub struct Arguments {
    /// NATS server of the Living Map server.
    #[arg(long, default_value = "nats://127.0.0.1:4222")]
    nats_url: String,
    /// Credentials and TLS of the connection to NATS.
    #[command(flatten)]
    nats: NatsAccessConfig,
    /// Database of the Living Map server.
    #[arg(long)]
    database_url: String,
    /// Valid events per second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Duration without the flood, seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Invalid messages in the flood.
    #[arg(long, default_value_t = 1_000_000)]
    bad: u64,
    /// Maximum number of unacknowledged invalid messages.
    #[arg(long, default_value_t = 4096)]
    window: usize,
    /// Process id of the Living Map server, to measure its memory.
    #[arg(long)]
    server_pid: u32,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect(&arguments.database_url).await?;
    let connect = async || {
        Ok::<_, anyhow::Error>(async_nats::jetstream::new(nats::client(&arguments.nats_url, &arguments.nats).await?))
    };
    let subject = format!("node.metrics.good-{:x}", now_micros());
    let good = tokio::spawn(steady(connect().await?, subject.clone(), arguments.rate));
    let quiet = committed_a_second(&pool, &subject, tokio::time::sleep(Duration::from_secs(arguments.seconds))).await?;
    let (flood, began) = (connect().await?, Instant::now());
    let flooding = tokio::spawn(flood_with(flood, arguments.bad, arguments.window));
    let during = committed_a_second(&pool, &subject, async {
        let _ = flooding.await;
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    good.abort();
    let usage = Usage::of(arguments.server_pid)?;
    row(&[
        ("valid events/s offered", arguments.rate.to_string()),
        ("committed/s without", format!("{quiet:.0}")),
        ("committed/s during", format!("{during:.0}")),
        ("ratio", format!("{:.2}", during / quiet)),
        ("invalid messages", arguments.bad.to_string()),
        ("in s", format!("{seconds:.1}")),
        ("server RSS MiB", mib(usage.rss)),
    ]);
    Ok(())
}

/// Rows of `subject` committed per second until `end`.
async fn committed_a_second(pool: &PgPool, subject: &str, end: impl Future<Output = ()>) -> Result<f64> {
    let count = async || {
        let sql = "SELECT count(*) FROM living_map_history WHERE event_type = $1";
        sqlx::query_scalar::<_, i64>(sql).bind(subject).fetch_one(pool).await
    };
    let (before, start) = (count().await?, Instant::now());
    end.await;
    let (after, seconds) = (count().await?, start.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok((after - before) as f64 / seconds)
}

/// Publishes `rate` events per second for ever; catches up after a delay.
async fn steady(jetstream: JetStream, subject: String, rate: u32) -> Result<()> {
    let (start, mut acks) = (Instant::now(), VecDeque::new());
    for n in 0_u32.. {
        tokio::time::sleep_until((start + Duration::from_secs(1) * n / rate).into()).await;
        let payload = json!({"node_id": format!("good-{}", n % 100), "cpu": 0.5, "n": n});
        acks.push_back(jetstream.publish(subject.clone(), payload.to_string().into()).await?);
        if acks.len() > 4096
            && let Some(ack) = acks.pop_front()
        {
            ack.await?;
        }
    }
    Ok(())
}

async fn flood_with(jetstream: JetStream, bad: u64, window: usize) -> Result<()> {
    let mut acks = VecDeque::new();
    for (_, (body, subject)) in (0..bad).zip(BODIES.iter().cycle().zip(SUBJECTS.iter().cycle())) {
        if acks.len() == window
            && let Some(ack) = acks.pop_front()
        {
            let ack: async_nats::jetstream::context::PublishAckFuture = ack;
            ack.await.context("JetStream did not acknowledge a message")?;
        }
        acks.push_back(jetstream.publish(*subject, bytes::Bytes::from_static(body)).await?);
    }
    for ack in acks {
        ack.await?;
    }
    Ok(())
}
