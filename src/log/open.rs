//! Opening the event log of a process.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use super::{
    EventLog, HistoryProcessor, HistoryWriter, JetStreamConfig, JetStreamLog, LogProcessor, TableLog, TableLogConfig,
    UnreadableProcessor, WriterConfig, WriterStatus,
};
use crate::bus::{self, Connection, NatsConfig};
use crate::dead_letters::{DeadLetterQueue, Processor};
use crate::history::Storage;
use crate::journal::Journal;
use crate::tasks::{Stage, Tasks};

/// Kind of the event log, and its settings.
#[derive(Clone)]
pub enum LogConfig {
    /// The table of the history is the log.
    Table(TableLogConfig),
    /// A stream of NATS `JetStream` is the log.
    JetStream(Box<NatsLogConfig>),
}

/// Settings of a log on NATS `JetStream`.
#[derive(Clone)]
pub struct NatsLogConfig {
    /// Connection to NATS.
    pub nats: NatsConfig,
    /// The stream.
    pub stream: JetStreamConfig,
    /// The history writer; none in a process that does not write the history.
    pub writer: Option<WriterConfig>,
}

/// Services that the log uses.
#[derive(Clone, Copy)]
pub struct LogHandles<'a> {
    /// The databases.
    pub storage: &'a Storage,
    /// Accepts events that the database rejects.
    pub dead_letters: &'a DeadLetterQueue,
    /// Records failures of the database.
    pub journal: &'a Journal,
}

/// The open event log.
pub struct OpenLog {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The log, if it is in NATS.
    pub jetstream: Option<JetStreamLog>,
    /// Connection to NATS; none with the table log.
    pub connection: Option<Connection>,
    /// Status of the history writer, where one runs.
    pub writer: Option<watch::Receiver<WriterStatus>>,
}

impl OpenLog {
    /// Opens the log. With `JetStream`, starts the history writer as a task.
    ///
    /// # Errors
    /// The database of the table log is unavailable or used by another process; the settings of NATS are invalid.
    pub async fn start(config: LogConfig, handles: LogHandles<'_>, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let LogHandles { storage, dead_letters, journal } = handles;
        let history = Arc::clone(&storage.history);
        match config {
            LogConfig::Table(config) => {
                let opened = TableLog::open(config, history, Some(dead_letters.clone())).await;
                let log = opened.context("the log of DATABASE_URL cannot be used")?;
                Ok(Self { log: Arc::new(log), jetstream: None, connection: None, writer: None })
            }
            LogConfig::JetStream(config) => {
                let NatsLogConfig { nats, stream, writer } = *config;
                let connection = bus::connect(&nats).await.context("NATS cannot be used")?;
                let log = JetStreamLog::recorded_in(stream, connection.clone(), Arc::clone(&history));
                tasks.spawn("stream watch", Stage::Writing, |stop| log.clone().watch_streams(stop));
                let writer = writer.map(|config| {
                    let writer = HistoryWriter::new(config, &log, history, journal.clone(), Some(dead_letters.clone()));
                    let status = writer.status();
                    tasks.spawn("history writer", Stage::Writing, |stop| writer.run(stop));
                    status
                });
                let jetstream = Some(log.clone());
                Ok(Self { log: Arc::new(log), jetstream, connection: Some(connection), writer })
            }
        }
    }

    /// Processors that retry the dead letters of the log and of the history writer.
    #[must_use]
    pub fn processors(&self, storage: &Storage) -> Vec<Arc<dyn Processor>> {
        let history = HistoryProcessor::new(Arc::clone(&storage.history));
        let unreadable = UnreadableProcessor::new(Arc::clone(&self.log));
        vec![Arc::new(history), Arc::new(LogProcessor::new(Arc::clone(&self.log))), Arc::new(unreadable)]
    }
}
