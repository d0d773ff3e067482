//! Connecting to NATS with the settings of the server.

use std::time::Duration;

use anyhow::{Result, bail};
use living_map::bus::{NatsAccessConfig, connect};

/// Connects to the servers of `url`.
pub async fn client(url: &str, access: &NatsAccessConfig) -> Result<async_nats::Client> {
    let connection = connect(&access.connection(url)?).await?;
    if !connection.connected(Duration::from_secs(5)).await {
        bail!("NATS cannot be reached: {}", connection.last_error().unwrap_or_else(|| "no answer".to_owned()));
    }
    Ok(connection.client())
}
