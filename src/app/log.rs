//! `living-map log`: what an operator does to the log itself.

use std::time::Duration;

use anyhow::Context;

use super::settings::history_config;
use super::{learning, streams};
use crate::bus::{self, NatsConfig};
use crate::config::Settings;
use crate::history;
use crate::log::{Experiences, JetStreamConfig, JetStreamLog, table};

/// Gives the log a new identity: clients that come with a cursor from before are given the map anew, and are not resumed
/// at positions that may mean other events now. Prints it. On JetStream all that the stream has is recorded, and learned
/// from, again: what NATS knows of that may be newer than the database.
///
/// # Errors
/// When the log is away, and when a server has the table log open.
pub async fn new_epoch(settings: Settings) -> anyhow::Result<()> {
    let epoch = if let Some(url) = &settings.storage.nats_url {
        let connection = bus::connect(&NatsConfig { url: url.clone(), ..NatsConfig::default() }).await?;
        if !connection.connected(Duration::from_secs(5)).await {
            let trouble = connection.trouble().unwrap_or_else(|| "no answer".to_owned());
            anyhow::bail!("NATS cannot be reached at NATS_URL: {trouble}");
        }
        let (stream, network) = streams::declared(&settings);
        let config = JetStreamConfig {
            stream,
            network,
            manage: settings.storage.nats_manage_streams,
            ..JetStreamConfig::default()
        };
        let experiences = Experiences::new(learning::experiences(&settings), connection.clone());
        let epoch = JetStreamLog::new(config, connection.clone()).renew().await;
        let begun = if epoch.is_ok() { experiences.begin_anew().await } else { Ok(()) };
        connection.close().await;
        begun?;
        epoch?
    } else {
        let database = history::open(&settings.storage.database_url, &history_config(&settings))
            .await
            .context("the database of DATABASE_URL cannot be used")?;
        let epoch = table::renew(&*database.history).await;
        database.history.close().await;
        epoch?
    };
    println!("the log is {epoch} now");
    Ok(())
}
