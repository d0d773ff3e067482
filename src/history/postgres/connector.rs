//! Opening connections, and configuring them or, behind a pooler in transaction mode, each transaction.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, Postgres};
use tokio::time::timeout;

use super::authorities::{explained, with_authorities};
use super::options::{read_options, without_options};
use crate::history::sql::{Driver, SessionPool, timed_out};
use crate::history::{HistoryConfig, OpenError, Pooler, Result};

/// Use of the connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Reading,
    Writing,
}

/// Opens connections.
#[derive(Debug, Clone)]
pub struct Connector {
    options: PgConnectOptions,
    pub pooler: Pooler,
    /// Settings of the URL, which a pooler would reject or ignore when a connection is opened. Empty without a pooler.
    settings: Vec<(String, String)>,
}

impl Connector {
    pub fn new(url: &str, config: &HistoryConfig) -> Result<Self, OpenError> {
        let (mut options, mut settings) = (parse(url)?, Vec::new());
        if config.pooler != Pooler::None {
            if let Some(text) = options.get_options() {
                settings = read_options(text).map_err(|error| OpenError::Url(format!("options: {error}")))?;
            }
            options = parse(&without_options(url))?.extra_float_digits(None);
            if options.get_options().is_some() {
                let setting = config.pooler_setting;
                let text = format!(
                    "{setting}={}: a pooler does not accept PGOPTIONS; write them into the URL, as options=…",
                    config.pooler
                );
                return Err(OpenError::Url(text));
            }
        }
        if options.get_application_name().is_none() {
            options = options.application_name("living-map");
        }
        let options = with_authorities(options)?;
        Ok(Self { options, pooler: config.pooler, settings })
    }

    /// Opens a connection outside the pools, within `limit`. Transactions on it begin with [`Self::begin`].
    pub async fn connect(&self, limit: Duration) -> Result<PgConnection> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            if let Some(settings) = self.settings(false).filter(|_| self.pooler == Pooler::Session) {
                connection.execute(AssertSqlSafe(settings)).await?;
            }
            Ok(connection)
        };
        timeout(limit, connecting)
            .await
            .map_err(|_| timed_out::<Postgres>("connect"))?
            .map_err(|error| Postgres::classify(explained(error)))
    }

    /// Begins a transaction on a connection of [`Self::connect`].
    pub fn begin(&self) -> String {
        let settings = self.settings(true).filter(|_| self.pooler == Pooler::Transaction);
        settings.map_or_else(|| "BEGIN".to_owned(), |settings| format!("BEGIN; {settings}"))
    }

    /// A pool that connects when it is used. Each of its statements may take `limit`.
    pub fn pool(
        &self,
        config: &HistoryConfig,
        connections: u32,
        purpose: Purpose,
        limit: Duration,
    ) -> SessionPool<Postgres> {
        let options = PgPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(config.acquire_timeout)
            // replaced by our own test
            .test_before_acquire(false);
        if self.pooler == Pooler::Transaction {
            // the beginning of the transaction is the test
            let begin = format!("BEGIN; {}", self.configuration(purpose, limit, true));
            return SessionPool::of_transactions(options.connect_lazy_with(self.options.clone()), begin.into());
        }
        let configuration: Arc<str> = self.configuration(purpose, limit, false).into();
        let (test_idle_after, test_timeout) = (config.test_idle_after, config.test_timeout);
        let connections = options
            // costs no round trip on a busy connection and cannot hang
            .before_acquire(move |connection, meta| {
                Box::pin(async move {
                    let fresh = meta.idle_for < test_idle_after;
                    Ok(fresh || timeout(test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok()))
                })
            })
            .after_connect(move |connection, _| {
                let configuration = AssertSqlSafe(Arc::clone(&configuration));
                Box::pin(async move { connection.execute(configuration).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone());
        SessionPool::of_connections(connections)
    }

    /// A statement that configures a connection, or a transaction if `is_local`: poolers in between reject settings in the
    /// startup packet.
    ///
    /// Readers run small, selective queries on skewed values: a plan made for the given values beats a generic plan, and
    /// compiling code for one query costs more than it saves. With `PostgreSQL`'s own 4 MB of `work_mem`, a day of a large
    /// network that is counted by entity spills to disk. A writer that vanished in a transaction must not keep its locks.
    fn configuration(&self, purpose: Purpose, limit: Duration, is_local: bool) -> String {
        let limit = quoted(&limit.as_millis().to_string());
        let read_only = if is_local { "transaction_read_only" } else { "default_transaction_read_only" };
        let work_mem = "greatest(pg_size_bytes(current_setting('work_mem')) / 1024, 32768)::text".to_owned();
        let mut settings = self.quoted_settings();
        let mut set = |name: &str, value: String| settings.push((quoted(name), value));
        set("statement_timeout", limit.clone());
        set("idle_in_transaction_session_timeout", limit);
        if purpose == Purpose::Reading {
            set(read_only, quoted("on"));
            set("plan_cache_mode", quoted("force_custom_plan"));
            set("jit", quoted("off"));
            set("work_mem", work_mem);
        }
        set_config(&settings, is_local)
    }

    /// The statement for the settings of the URL, if there are any.
    fn settings(&self, is_local: bool) -> Option<String> {
        (!self.settings.is_empty()).then(|| set_config(&self.quoted_settings(), is_local))
    }

    fn quoted_settings(&self) -> Vec<(String, String)> {
        self.settings.iter().map(|(name, value)| (quoted(name), quoted(value))).collect()
    }
}

fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    PgConnectOptions::from_str(url).map_err(|error| {
        OpenError::Url(format!("expected postgres://<user>:<password>@<host>:<port>/<database>: {error}"))
    })
}

/// Sets expressions as values of settings.
fn set_config(settings: &[(String, String)], is_local: bool) -> String {
    let calls: Vec<String> =
        settings.iter().map(|(name, value)| format!("set_config({name}, {value}, {is_local})")).collect();
    format!("SELECT {}", calls.join(", "))
}

/// A string constant.
fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}
