//! `living-map log`: operations on the log itself.

use anyhow::Context;

use super::configs::jetstream_config;
use super::settings::Settings;
use super::streams;
use crate::bus::NatsConfig;
use crate::history;
use crate::log::{ExperienceStream, JetStreamLog, table};
use crate::model::Epoch;

/// Gives the log a new epoch, after it was restored from a backup, and prints it. Clients that come with an older cursor get
/// a snapshot, and do not resume at positions that may now hold other events. On `JetStream` the history is written and
/// experiences are learned from again from the beginning of the stream, because the consumers' positions in NATS may be newer
/// than the restored database.
///
/// # Errors
/// The log is unavailable; with the table log, a server uses it.
pub async fn new_epoch(settings: Settings) -> anyhow::Result<()> {
    let settings = settings.resolved();
    let epoch = match settings.streams.connection()? {
        Some(nats) => renew_stream(&settings, &nats).await?,
        None => renew_table(&settings).await?,
    };
    println!("the epoch of the log is now {epoch}");
    Ok(())
}

async fn renew_stream(settings: &Settings, nats: &NatsConfig) -> anyhow::Result<Epoch> {
    let connection = streams::connect(nats).await?;
    let experiences = ExperienceStream::new(settings.learning.experiences.clone(), connection.clone());
    let epoch = JetStreamLog::new(jetstream_config(settings), connection.clone()).renew().await;
    let deleted = if epoch.is_ok() { experiences.delete_consumer().await } else { Ok(()) };
    connection.close().await;
    deleted?;
    Ok(epoch?)
}

async fn renew_table(settings: &Settings) -> anyhow::Result<Epoch> {
    let database = history::open(&settings.storage.url, &settings.storage.database)
        .await
        .context("the database of DATABASE_URL cannot be used")?;
    let epoch = table::renew(&*database.history).await;
    database.history.close().await;
    Ok(epoch?)
}
