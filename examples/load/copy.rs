//! Comparison for ingest: COPY of the same rows into a table with the same columns and indexes.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPoolCopyExt, PgPoolOptions};

use crate::report::{per, row};

#[derive(clap::Args)]
pub struct Arguments {
    /// Database with the rows to copy, written by the server.
    #[arg(long)]
    database_url: String,
    /// Rows to copy.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// Rows per COPY and commit; 0 for all in one.
    #[arg(long, default_value_t = 0)]
    batch: usize,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect(&arguments.database_url).await?;
    let select = format!("COPY (SELECT * FROM living_map_history LIMIT {}) TO STDOUT", arguments.rows);
    let parts: Vec<_> = pool.copy_out_raw(&select).await?.try_collect().await?;
    let text = parts.concat();
    // in COPY's text format, line ends inside values are escaped
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    ensure!(!lines.is_empty(), "living_map_history is empty: run `load ingest` first");
    let batch = if arguments.batch == 0 { lines.len() } else { arguments.batch };

    let mut connection = PgConnection::connect(&arguments.database_url).await?;
    for statement in [
        "DROP TABLE IF EXISTS living_map_load_copy",
        "CREATE TABLE living_map_load_copy (LIKE living_map_history INCLUDING ALL)",
    ] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    let start = Instant::now();
    for part in lines.chunks(batch) {
        let mut copy = connection.copy_in_raw("COPY living_map_load_copy FROM STDIN").await?;
        for some in part.chunks(1000) {
            copy.send(some.concat()).await?;
        }
        copy.finish().await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    sqlx::query("DROP TABLE living_map_load_copy").execute(&mut connection).await?;
    let rows = lines.len() as u64;
    row(&[
        ("COPY rows", rows.to_string()),
        ("rows per commit", batch.to_string()),
        ("s", format!("{seconds:.2}")),
        ("rows/s", format!("{:.0}", per(seconds, rows).recip())),
    ]);
    Ok(())
}
