//! Latency of the server and of the database alone, measured alternately over one warm connection each, so that other load
//! of the machine affects both.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::ValueEnum;
use reqwest::{Client, Url};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};

use crate::questions::{Asked, Question};
use crate::traffic::{Network, Numbers};

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of the server.
    #[arg(long, default_value = "http://127.0.0.1:7017")]
    url: Url,
    /// URL of its database.
    #[arg(long)]
    database_url: String,
    /// Number of entities that the database was seeded with.
    #[arg(long, default_value_t = 10_000)]
    entities: u64,
    /// Repetitions of each query.
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// Maximum time for one query, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let mut connection = PgConnection::connect(&arguments.database_url).await?;
    // the settings of the server's readers
    connection.execute("SET plan_cache_mode = force_custom_plan").await?;
    let sql =
        r#"SELECT min("timestamp"), pg_total_relation_size('living_map_history') / 1048576 FROM living_map_history"#;
    let row = connection.fetch_one(sql).await?;
    let (begin, mebibytes): (DateTime<Utc>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let client = Client::new();
    let agents = Network::new(arguments.entities).agents;
    let mut numbers = Numbers(u64::from(std::process::id()));
    println!("seed {}; the history has {mebibytes} MiB with its indexes\n", numbers.0);

    println!("| question | HTTP p50 ms | p99 | SQL p50 ms | p99 | HTTP / SQL, p50 | asked |");
    println!("|---|---|---|---|---|---|---|");
    for kind in Question::value_variants() {
        let (mut over_http, mut directly) = (Vec::new(), Vec::new());
        let started = Instant::now();
        while over_http.len() < arguments.times && started.elapsed().as_secs() < arguments.seconds {
            let asked = Asked::random(*kind, begin, agents, &mut numbers);
            // once to warm up the cache of both
            asked.directly(&mut connection).await?;
            let time = Instant::now();
            let answer = client.get(arguments.url.join(&asked.path)?).send().await?;
            ensure!(answer.status().is_success(), "{}: {}", asked.path, answer.text().await?);
            answer.bytes().await?;
            over_http.push(time.elapsed());
            let time = Instant::now();
            asked.directly(&mut connection).await?;
            directly.push(time.elapsed());
        }
        let asked = over_http.len();
        let ([http, http_99], [sql, sql_99]) = (percentiles(over_http), percentiles(directly));
        let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let ratio = if *kind == Question::Nothing { "–".to_owned() } else { format!("{:.2}", http / sql) };
        println!("| {name} | {http:.2} | {http_99:.2} | {sql:.2} | {sql_99:.2} | {ratio} | {asked} |");
    }
    travel(&arguments, begin, &client, &mut connection, &mut numbers).await
}

/// Time travel to random instants, compared with reading the state and the events for it.
async fn travel(
    arguments: &Arguments,
    begin: DateTime<Utc>,
    client: &Client,
    connection: &mut PgConnection,
    numbers: &mut Numbers,
) -> Result<()> {
    let span = (Utc::now() - begin).num_microseconds().unwrap_or(0).unsigned_abs();
    let (mut over_http, mut directly, mut events, mut size) = (Vec::new(), Vec::new(), 0, 0);
    let started = Instant::now();
    while over_http.len() < arguments.times && started.elapsed().as_secs() < arguments.seconds {
        // in the first hour the entities are created
        let at = begin + TimeDelta::hours(1);
        let at = at + TimeDelta::microseconds(numbers.below(span - 3_600_000_000).cast_signed());
        let path = format!("/living-map/snapshot?at={}", at.to_rfc3339_opts(SecondsFormat::Micros, true));
        let time = Instant::now();
        let answer = client.get(arguments.url.join(&path)?).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        over_http.push(time.elapsed());
        ensure!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
        size = body.len();
        let time = Instant::now();
        events += read(connection, at).await?;
        directly.push(time.elapsed());
    }
    let asked = over_http.len();
    let ([http, http_99], [sql, sql_99]) = (percentiles(over_http), percentiles(directly));
    println!(
        "\n| map at an instant: HTTP p50 ms | p99 | its SQL p50 ms | p99 | events behind the state | bytes | asked |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!("| {http:.1} | {http_99:.1} | {sql:.1} | {sql_99:.1} | {} | {size} | {asked} |", events / asked.max(1));
    Ok(())
}

/// Reads the state before a time, and the events since; the number of events.
async fn read(connection: &mut PgConnection, at: DateTime<Utc>) -> Result<usize> {
    let sql = "SELECT epoch, seq, state FROM living_map_snapshots WHERE logged_at <= $1 AND state IS NOT NULL \
        ORDER BY logged_at DESC LIMIT 1";
    let (epoch, seq) = match connection.fetch_optional(sqlx::query(sql).bind(at)).await? {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (connection.fetch_one("SELECT epoch FROM living_map_table_log").await?.try_get::<i64, _>(0)?, 0_i64),
    };
    let sql = "SELECT * FROM living_map_history WHERE epoch = $1 AND seq > $2 AND logged_at <= $3 AND seq < $2 + 100000 \
        ORDER BY seq";
    Ok(connection.fetch_all(sqlx::query(sql).bind(epoch).bind(seq).bind(at)).await?.len())
}

/// Median and 99th percentile, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    [last / 2, last * 99 / 100].map(|place| times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0))
}
