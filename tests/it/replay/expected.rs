//! The expected frames: the test folds the log itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use living_map::bus::{self, NatsConfig, StreamDeclaration};
use living_map::history::Database;
use living_map::log::{EventLog, JetStreamConfig, JetStreamLog};
use living_map::map::State;
use living_map::model::{Cursor, Epoch, LogEntry};
use living_map::stream::Frame;
use serde_json::{Value, json};

use crate::support::wait::until;

/// A distinguishable event that changes the map.
pub fn event(number: u64) -> Value {
    let agent = format!("agent:a{}", number % 11);
    let (subject, mut payload) = match number % 6 {
        0 => {
            ("agent.event.created", json!({"agent_id": agent, "name": format!("Agent {number}"), "microdao_id": "m1"}))
        }
        1 => ("agent.event.deleted", json!({"agent_id": format!("agent:a{}", number % 5)})),
        2 => (
            "node.metrics.update",
            json!({"node_id": format!("node:{}", number % 3), "metrics": {"cpu": number % 100}}),
        ),
        3 => (
            "microdao.event.created",
            json!({"microdao_id": format!("m{}", number % 4), "name": format!("M {number}")}),
        ),
        _ => (
            "agent.event.status",
            json!({"agent_id": agent, "status": if number.is_multiple_of(2) { "online" } else { "busy" }}),
        ),
    };
    payload["n"] = json!(number);
    json!({"event_type": subject, "event_id": format!("n{number}"), "payload": payload})
}

/// The frames of a log by position.
pub struct ExpectedFrames {
    state: State,
    pub frames: BTreeMap<u64, String>,
    source: Source,
}

enum Source {
    Table(Database),
    JetStream(Arc<JetStreamLog>),
}

impl ExpectedFrames {
    /// Reads the table log in `database`.
    pub async fn of_table(database: Database) -> Self {
        let epoch = database.history.table_epoch().await.expect("the database answers");
        Self { state: State::new(epoch), frames: BTreeMap::new(), source: Source::Table(database) }
    }

    /// Reads the current JetStream stream.
    pub async fn of_jetstream(url: &str) -> Self {
        let config = NatsConfig { url: url.to_owned(), ..NatsConfig::default() };
        let connection = bus::connect(&config).await.expect("the address can be read");
        let config = JetStreamConfig {
            stream: StreamDeclaration::living_map(&[], 1),
            network: StreamDeclaration::network(1),
            manage: false,
            ..JetStreamConfig::default()
        };
        let log = Arc::new(JetStreamLog::new(config, connection));
        let bounds = until("the stream to exist", || async { log.bounds().await.ok() }).await;
        Self { state: State::new(bounds.epoch), frames: BTreeMap::new(), source: Source::JetStream(log) }
    }

    /// Begins with the map of `before`, whose log was lost.
    pub fn carried_over(mut self, before: Self) -> Self {
        self.state = before.state.carried_to(self.state.cursor());
        self
    }

    pub fn epoch(&self) -> Epoch {
        self.state.cursor().epoch
    }

    /// Position of the newest folded entry.
    pub fn at(&self) -> Cursor {
        self.state.cursor()
    }

    /// Folds the new entries of the log. Must be called before entries are deleted.
    pub async fn advance(&mut self) {
        match &self.source {
            Source::Table(database) => {
                let history = Arc::clone(&database.history);
                loop {
                    let Cursor { epoch, seq } = self.state.cursor();
                    let page = history.read_log(epoch, seq, 1_000).await.expect("the database answers");
                    if page.is_empty() {
                        return;
                    }
                    for entry in &page {
                        self.fold(entry);
                    }
                }
            }
            Source::JetStream(log) => {
                let log = Arc::clone(log);
                let Cursor { epoch, seq } = self.state.cursor();
                let bounds = until("the log to answer", || async { log.bounds().await.ok() }).await;
                assert_eq!(bounds.epoch, epoch, "another log");
                let mut entries = log.read(epoch, seq).await.expect("the log can be read");
                while self.state.cursor().seq < bounds.last {
                    let next = tokio::time::timeout(Duration::from_secs(30), entries.next());
                    let entry = next.await.expect("an entry").expect("no end").expect("an entry");
                    self.fold(&entry);
                }
            }
        }
    }

    fn fold(&mut self, entry: &LogEntry) {
        assert_eq!(entry.cursor.seq, self.state.cursor().seq + 1, "the log itself has a gap");
        let outcome = self.state.apply(entry);
        if !outcome.duplicate {
            let json = Frame::new(entry, &outcome).expect("it can be encoded").json();
            self.frames.insert(entry.cursor.seq, String::from_utf8(json.to_vec()).expect("UTF-8"));
        }
    }
}
