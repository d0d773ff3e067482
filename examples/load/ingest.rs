//! Events from NATS to committed rows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use living_map::bus::NatsAccessConfig;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::machine::Usage;
use crate::nats;
use crate::report::{mib, per, row};
use crate::wire::now_micros;

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
    /// Events to publish.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Maximum number of unacknowledged events.
    #[arg(long, default_value_t = 4096)]
    window: usize,
    /// Process id of the Living Map server, to measure its CPU and memory.
    #[arg(long)]
    server_pid: u32,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    // a unique subject identifies the rows of this run, by an index of the table
    let subject = format!("node.metrics.load-{:x}", now_micros());
    let pool = PgPoolOptions::new().max_connections(1).connect(&arguments.database_url).await?;
    let jetstream = async_nats::jetstream::new(nats::client(&arguments.nats_url, &arguments.nats).await?);
    let (before, own, start) = (Usage::of(arguments.server_pid)?, Usage::own()?, Instant::now());
    let mut acks = VecDeque::new();
    for n in 0..arguments.events {
        if acks.len() == arguments.window
            && let Some(ack) = acks.pop_front()
        {
            let ack: async_nats::jetstream::context::PublishAckFuture = ack;
            ack.await.context("JetStream did not acknowledge an event: does the stream record node.metrics.>?")?;
        }
        let payload = json!({"node_id": format!("load-{}", n % 100), "cpu": 0.5, "gpu": 0.25, "ram": 0.75,
            "disk": 0.1, "net_in": n, "net_out": n, "temperature": 61.5});
        acks.push_back(jetstream.publish(subject.clone(), payload.to_string().into()).await?);
    }
    let mut last = 0;
    for ack in acks {
        last = ack.await?.sequence;
    }
    let published = start.elapsed().as_secs_f64();
    wait_for(&pool, last).await?;
    // batches are written concurrently: the last one may be committed before earlier ones
    let count = "SELECT count(*) FROM living_map_history WHERE event_type = $1";
    while sqlx::query_scalar::<_, i64>(count).bind(&subject).fetch_one(&pool).await? < i64::try_from(arguments.events)?
    {
        ensure!(start.elapsed() < Duration::from_mins(2), "some events were not written within two minutes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (after, own_after) = (Usage::of(arguments.server_pid)?, Usage::own()?);
    row(&[
        ("events", arguments.events.to_string()),
        ("published after s", format!("{published:.2}")),
        ("published/s", format!("{:.0}", per(published, arguments.events).recip())),
        ("committed after s", format!("{seconds:.2}")),
        ("rows/s", format!("{:.0}", per(seconds, arguments.events).recip())),
        ("server CPU s", format!("{:.2}", after.cpu - before.cpu)),
        ("server RSS MiB", mib(after.rss)),
        ("generator CPU s", format!("{:.2}", own_after.cpu - own.cpu)),
    ]);
    Ok(())
}

/// Waits until the row of position `seq` is committed. The query uses an index, so it does not load the database.
async fn wait_for(pool: &PgPool, seq: u64) -> Result<()> {
    let (mut reached, mut moved) = (0, Instant::now());
    while reached < seq {
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT seq FROM living_map_history WHERE seq IS NOT NULL ORDER BY epoch DESC, seq DESC LIMIT 1",
        )
        .fetch_optional(pool)
        .await?;
        let newest = u64::try_from(newest.unwrap_or_default())?;
        if newest > reached {
            (reached, moved) = (newest, Instant::now());
        } else if moved.elapsed() > Duration::from_mins(1) {
            bail!("no new row for a minute; reached position {reached} of {seq}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
