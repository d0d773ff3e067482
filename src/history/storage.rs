//! Opening and closing the databases of a process.

use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueHint};

use super::{
    AdoptedRows, Database, DeadLetterStore, History, HistoryConfig, Leases, Lessons, Outbox, Pooler, Snapshots,
};
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
    /// Pooler in front of the database of the lessons. Unset: as `DATABASE_POOLER`.
    #[arg(id = "LEARNER_DATABASE_POOLER", env, long = "learner-database-pooler", value_enum, help_heading = "Learner")]
    pub learner_pooler: Option<Pooler>,
    /// Limits of each database.
    #[command(flatten)]
    pub database: HistoryConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        defaults()
    }
}

impl StorageConfig {
    /// URL and limits of the database of the lessons, where it is another one.
    fn learner(&self) -> Option<(&str, HistoryConfig)> {
        let url = self.learner_url.as_deref().filter(|url| *url != self.url)?;
        let inherited = if url.starts_with("sqlite:") { Pooler::None } else { self.database.pooler };
        let pooler = self.learner_pooler.unwrap_or(inherited);
        Some((url, HistoryConfig { pooler, pooler_setting: "LEARNER_DATABASE_POOLER", ..self.database.clone() }))
    }

    /// Rejects a pooler of the learner's database where that is not configured.
    ///
    /// # Errors
    /// The variables' names and what was expected.
    pub fn check_learner_pooler(&self) -> Result<(), String> {
        if self.learner_pooler.is_none() || self.learner_url.is_some() {
            return Ok(());
        }
        Err("LEARNER_DATABASE_POOLER requires LEARNER_DATABASE_URL; the pooler of DATABASE_URL is DATABASE_POOLER"
            .to_owned())
    }

    /// Validates the URLs without connecting; each error names its setting.
    pub fn check(&self) -> [anyhow::Result<()>; 2] {
        let learner = self.learner().map_or(Ok(()), |(url, limits)| super::check(url, &limits));
        [
            super::check(&self.url, &self.database).context("the database of DATABASE_URL cannot be used"),
            learner.context("the database of LEARNER_DATABASE_URL cannot be used"),
        ]
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
        let main = super::open(&config.url, &config.database).await;
        let main = main.context("the database of DATABASE_URL cannot be used")?;
        let Database { history, snapshots, dead_letters, leases, lessons, outbox, adopted } = main;
        let (lessons, learner) = match config.learner() {
            None => (lessons, None),
            Some((url, limits)) => {
                let opened = super::open(url, &limits).await;
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
