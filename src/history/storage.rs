//! Opening and closing the databases of a process.

use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueHint};

use super::{AdoptedRows, Database, DeadLetterStore, History, HistoryConfig, Leases, Lessons, Outbox, Snapshots};
use crate::config::defaults;

/// URLs and limits of the databases.
#[derive(Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct StorageConfig {
    /// Database: `sqlite://<file>` or `postgres://user:password@host:5432/database`. A database of the service this one replaces
    /// is adopted without conversion.
    #[arg(id = "DATABASE_URL", env, long = "database-url", default_value = "sqlite://living-map.db",
        hide_env_values = true, value_hint = ValueHint::Url)]
    pub url: String,
    /// Database of the lessons, with its table `agent_lessons`. Unset: `DATABASE_URL`.
    #[arg(id = "LEARNER_DATABASE_URL", env, long = "learner-database-url", help_heading = "Learner",
        hide_env_values = true, value_hint = ValueHint::Url)]
    pub learner_url: Option<String>,
    /// Limits of each database.
    #[command(flatten)]
    pub database: HistoryConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for StorageConfig {
    // the URLs may contain passwords
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageConfig").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The open databases, by content.
pub struct Storage {
    /// Every event.
    pub history: Arc<dyn History>,
    /// Saved snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Leases of the replicas.
    pub leases: Arc<dyn Leases>,
    /// Lessons.
    pub lessons: Arc<dyn Lessons>,
    /// Webhook messages.
    pub outbox: Arc<dyn Outbox>,
    /// Rows of the history that another service wrote.
    pub adopted: Arc<dyn AdoptedRows>,
    /// The database of lessons, where it is another one.
    learner: Option<Arc<dyn History>>,
}

impl Storage {
    /// Opens the databases and brings their schemas up to date.
    ///
    /// # Errors
    /// As [`super::open`], with the name of the setting.
    pub async fn open(config: StorageConfig) -> anyhow::Result<Self> {
        let StorageConfig { url, learner_url, database: limits } = config;
        let main = super::open(&url, &limits).await.context("the database of DATABASE_URL cannot be used")?;
        let Database { history, snapshots, dead_letters, leases, lessons, outbox, adopted } = main;
        let (lessons, learner) = match learner_url.filter(|learner_url| *learner_url != url) {
            None => (lessons, None),
            Some(url) => {
                let opened = super::open(&url, &limits).await;
                let own = opened.context("the database of LEARNER_DATABASE_URL cannot be used")?;
                (own.lessons, Some(own.history))
            }
        };
        Ok(Self { history, snapshots, dead_letters, leases, lessons, outbox, adopted, learner })
    }

    /// Closes all connections, after the statements in progress.
    pub async fn close(&self) {
        let learner = async {
            if let Some(learner) = &self.learner {
                learner.close().await;
            }
        };
        tokio::join!(self.history.close(), learner);
    }
}
