//! Fills a database: rows by COPY without indexes, folded on the way, and snapshots at intervals.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use living_map::history::snapshots::{NewSnapshot, Snapshots};
use living_map::history::{self, HistoryConfig};
use living_map::map::{STATE_VERSION, State};
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, EntityType, Epoch, LogEntry};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use uuid::Uuid;

use crate::traffic::Network;

/// Compression level of states, as in the server.
const LEVEL: i32 = 3;

/// Rows per COPY message.
const CHUNK: u64 = 20_000;

const COLUMNS: &str =
    "id, timestamp, event_type, payload, source_service, entity_id, entity_type, epoch, seq, logged_at";

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of an empty database.
    #[arg(long)]
    database_url: String,
    /// Number of events.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Number of entities that they are about.
    #[arg(long, default_value_t = 10_000)]
    entities: u64,
    /// Number of days up to now over which they are spread.
    #[arg(long, default_value_t = 30)]
    days: i64,
    /// Events between two saved snapshots, as a server keeps them.
    #[arg(long, default_value_t = 20_000)]
    saved_every: u64,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let database = history::open(&arguments.database_url, &HistoryConfig::default()).await?;
    let epoch = database.history.table_epoch().await?;
    ensure!(database.history.log_range(epoch).await?.is_none(), "the database is not empty");
    let mut connection = PgConnection::connect(&arguments.database_url).await?;
    let indexes = drop_indexes(&mut connection).await?;
    let started = Instant::now();

    let mut network = Network::new(arguments.entities);
    let mut state = State::new(epoch);
    let begin = Utc::now() - TimeDelta::days(arguments.days);
    let step = TimeDelta::days(arguments.days).num_microseconds().unwrap_or(0)
        / i64::try_from(arguments.rows.max(1)).context("too many rows")?;
    let (mut text, mut seq, mut bytes) = (String::new(), 0, 0);
    while seq < arguments.rows {
        let last = (seq + CHUNK).min(arguments.rows);
        text.clear();
        while seq < last {
            let (source, subject, payload) = network.event(seq);
            seq += 1;
            let logged_at = begin + TimeDelta::microseconds(step * seq.cast_signed());
            let entry = entry(epoch, seq, logged_at, subject, &payload.to_string());
            state.apply(&entry);
            line(&mut text, source, &entry)?;
            if seq.is_multiple_of(arguments.saved_every) && seq >= network.births() {
                bytes += save(&state, &*database.snapshots).await?;
            }
        }
        let copying = format!("COPY living_map_history ({COLUMNS}) FROM STDIN");
        let mut copy = connection.copy_in_raw(&copying).await?;
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
        if seq.is_multiple_of(CHUNK * 25) {
            eprintln!("{seq} events, {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    for index in indexes {
        eprintln!("{index}");
        connection.execute(AssertSqlSafe(index)).await?;
    }
    connection.execute("VACUUM ANALYZE").await?;
    let saved = arguments.rows / arguments.saved_every.max(1);
    println!(
        "{} events about {} entities in {:.0} s; {saved} saved states, {} kB each",
        arguments.rows,
        state.len(),
        started.elapsed().as_secs_f64(),
        bytes / 1_000 / saved.max(1)
    );
    Ok(())
}

fn entry(epoch: Epoch, seq: u64, logged_at: DateTime<Utc>, subject: &str, body: &str) -> LogEntry {
    let cursor = Cursor { epoch, seq };
    envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at })
}

/// A line in the text format of COPY; no value of the traffic needs escaping.
fn line(text: &mut String, source: &str, entry: &LogEntry) -> Result<()> {
    let LogEntry { cursor, logged_at, event, .. } = entry;
    let null = || "\\N".to_owned();
    writeln!(
        text,
        "{}\t{}\t{}\t{}\t{source}\t{}\t{}\t{}\t{}\t{logged_at}",
        event.id,
        event.timestamp,
        event.event_type,
        event.payload,
        event.entity_id.clone().unwrap_or_else(null),
        event.entity_type.map_or_else(null, |kind| EntityType::as_str(kind).to_owned()),
        cursor.epoch.0.cast_signed(),
        cursor.seq,
    )?;
    Ok(())
}

/// Saves the state alone, which time travel reads; its size in bytes.
async fn save(state: &State, snapshots: &dyn Snapshots) -> Result<u64> {
    let bytes = zstd::bulk::compress(&state.to_saved()?, LEVEL)?;
    let size = bytes.len() as u64;
    let snapshot = NewSnapshot {
        id: Uuid::now_v7(),
        cursor: state.cursor(),
        logged_at: state.logged_at(),
        saved_at: Utc::now(),
        version: "1.0".to_owned(),
        data: "{}".into(),
        state: bytes.into(),
        state_version: STATE_VERSION,
    };
    snapshots.save(&snapshot).await?;
    Ok(size)
}

/// Drops every index of the history table; the statements that create them again.
async fn drop_indexes(connection: &mut PgConnection) -> Result<Vec<String>> {
    let sql = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index \
        WHERE indrelid = 'living_map_history'::regclass AND NOT indisprimary";
    let mut again = Vec::new();
    for row in connection.fetch_all(sql).await? {
        let (name, definition): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        connection.execute(AssertSqlSafe(format!("DROP INDEX {name}"))).await?;
        again.push(definition);
    }
    connection.execute("ALTER TABLE living_map_history DROP CONSTRAINT living_map_history_pkey").await?;
    again.push("ALTER TABLE living_map_history ADD CONSTRAINT living_map_history_pkey PRIMARY KEY (id)".to_owned());
    Ok(again)
}
