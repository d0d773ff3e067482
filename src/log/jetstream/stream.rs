//! The stream behind the log: found or made, and told apart from others of the same name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::JetStreamConfig;
use super::unreadable::Unreadable;
use crate::bus::{Connection, Declaration, Sourced, StreamError, StreamInfo, network, streams};
use crate::log::{Bounds, LogError};
use crate::model::Epoch;
use crate::model::subject::Pattern;

/// The namespace of epochs.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6570_6f63_6873);

/// What stands in the stream's description before its generation.
const GENERATION: &str = "living-map generation ";

/// The stream, its connection, and what is known about it.
#[derive(Debug)]
pub struct LogStream {
    connection: Connection,
    declaration: Declaration,
    network: Vec<Declaration>,
    manage: bool,
    /// How long callers wait for a connection.
    patience: Duration,
    /// How long a stream that was there must be gone before it is made again.
    recreate_after: Duration,
    memory: Mutex<Memory>,
    /// Held while the stream is compared with its declaration: several parts of the server look at once at the start.
    ensuring: tokio::sync::Mutex<()>,
    /// The identity seen last; none before the first look.
    epoch: watch::Sender<Option<Epoch>>,
    /// What is in the readers' way.
    unreadable: Unreadable,
}

#[derive(Debug, Default)]
struct Memory {
    /// What the server said, and at which connect it said it; none when it must be asked.
    known: Option<(u64, Arc<Known>)>,
    /// What it took from other streams when it was looked at last.
    sourced: Arc<[Sourced]>,
    /// Since when the stream is gone.
    missing_since: Option<Instant>,
}

/// What an append needs to know of the stream.
#[derive(Debug)]
pub struct Known {
    /// Its identity.
    pub epoch: Epoch,
    /// What it records.
    pub subjects: Vec<Pattern>,
    /// What it records from other streams.
    pub sourced: Arc<[Sourced]>,
    /// The largest message, headers included, that server and stream take; bytes.
    pub max_message: usize,
}

impl Known {
    /// Whether an event of this subject gets into the log.
    pub fn records(&self, subject: &str) -> bool {
        let sourced = self.sourced.iter().flat_map(|sourced| &sourced.subjects);
        self.subjects.iter().chain(sourced).any(|pattern| pattern.matches(subject))
    }

    /// Whether an event of this subject that `stream` took gets into the log from there.
    pub fn sources(&self, stream: &str, subject: &str) -> bool {
        let of_stream = self.sourced.iter().filter(|sourced| sourced.stream == stream);
        of_stream.flat_map(|sourced| &sourced.subjects).any(|pattern| pattern.matches(subject))
    }
}

/// What the server says about the stream now.
#[derive(Debug)]
pub struct Seen {
    /// What the log holds.
    pub bounds: Bounds,
    /// All it says.
    pub info: StreamInfo,
}

impl LogStream {
    pub fn new(connection: Connection, config: &JetStreamConfig) -> Self {
        Self {
            connection,
            declaration: config.stream.clone(),
            network: config.network.clone(),
            manage: config.manage,
            patience: config.append_timeout,
            recreate_after: config.recreate_after,
            memory: Mutex::new(Memory::default()),
            ensuring: tokio::sync::Mutex::new(()),
            epoch: watch::Sender::new(None),
            unreadable: Unreadable::default(),
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The identity seen last, and every change of it.
    pub fn epoch(&self) -> watch::Receiver<Option<Epoch>> {
        self.epoch.subscribe()
    }

    pub fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// What was found out at this connect; asks only once for each.
    pub async fn known(&self) -> Result<Arc<Known>, LogError> {
        self.connected().await?;
        let connects = self.connects();
        let known = self.memory().known.clone();
        match known {
            Some((at, known)) if at == connects => Ok(known),
            _ => {
                let seen = self.look().await?;
                Ok(self.learn(connects, &seen))
            }
        }
    }

    /// Asks the server. The stream is made when it is missing; after each connect it is compared with its declaration.
    pub async fn look(&self) -> Result<Seen, LogError> {
        self.connected().await?;
        let connects = self.connects();
        if self.epoch.borrow().is_some() {
            let info = streams::info(&self.connection, self.name()).await.map_err(|error| unavailable(&error))?;
            match info {
                Some(info) if self.memory().known.as_ref().is_some_and(|(at, _)| *at == connects) => {
                    let seen = self.seen(info);
                    // it may have been made anew, or given other subjects, while the connection stood
                    self.learn(connects, &seen);
                    return Ok(seen);
                }
                Some(_) => {}
                None => self.mourn()?,
            }
        }
        let _alone = self.ensuring.lock().await;
        let done_meanwhile = self.memory().known.as_ref().is_some_and(|(at, _)| *at == connects);
        if done_meanwhile
            && let Some(info) =
                streams::info(&self.connection, self.name()).await.map_err(|error| unavailable(&error))?
        {
            return Ok(self.seen(info));
        }
        let info = self.survey().await?;
        let sourced = streams::sourced(&self.connection, &info).await.map_err(|error| unavailable(&error))?;
        self.memory().sourced = sourced.into();
        let seen = self.seen(info);
        self.learn(connects, &seen);
        Ok(seen)
    }

    /// Compares all declared streams with the server's, makes and extends what it may, and says what differs.
    async fn survey(&self) -> Result<StreamInfo, LogError> {
        let mut reports =
            network::survey(&self.connection, &self.declaration, &self.network, self.manage).await.into_iter();
        let Some(log) = reports.next_back() else { return Err(LogError::Unavailable("no stream".to_owned())) };
        for (report, declaration) in reports.zip(&self.network) {
            tell(&report);
            if report.missing(declaration) {
                tracing::warn!(stream = report.stream, "a declared stream is missing: `living-map streams apply`");
            }
        }
        tell(&log);
        let info = log.state.map_err(|error| unavailable(&error))?.info;
        info.ok_or_else(|| {
            LogError::Unavailable(format!("stream {} is missing: `living-map streams apply`", self.name()))
        })
    }

    /// When the log took the message at `seq`; none when there is no such message.
    pub async fn logged_at(&self, seq: u64) -> Result<Option<DateTime<Utc>>, LogError> {
        let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
        let stream = self.connection.jetstream().get_stream_no_info(self.name()).await;
        match stream.map_err(|error| failed(&error))?.get_raw_message(seq).await {
            Ok(message) => Ok(Some(message.time)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Asks the server anew at the next use.
    pub fn forget(&self) {
        self.memory().known = None;
    }

    /// A stream that was there and is gone is not made again at once: whoever deleted it may be about to make another
    /// one, and nats-server 2.9 loses what a stream takes that is made while its namesake is still being deleted.
    fn mourn(&self) -> Result<(), LogError> {
        let mut memory = self.memory();
        memory.known = None;
        let since = *memory.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.recreate_after {
            return Err(LogError::Unavailable("the stream is gone".to_owned()));
        }
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the stream as another one, because it lost entries that were read before: a server that lost power may lose
    /// what it had not yet written to disk, and will give the same positions to other events. `seen` is what showed it.
    /// Processes that find out at the same time make the same mark.
    pub async fn new_generation(&self, seen: &Seen) -> Result<Epoch, LogError> {
        let next = generation(&seen.info) + 1;
        let text = seen.info.description();
        let own = text.find(GENERATION).map_or(text, |at| &text[..at]).trim_end();
        let text = if own.is_empty() { format!("{GENERATION}{next}") } else { format!("{own} {GENERATION}{next}") };
        let info = streams::describe(&self.connection, &seen.info, &text).await.map_err(|error| unavailable(&error))?;
        self.forget();
        tracing::error!(stream = self.name(), generation = next, "the stream counts as a new log");
        Ok(self.seen(info).bounds.epoch)
    }

    fn seen(&self, info: StreamInfo) -> Seen {
        let bounds = bounds(&info);
        self.memory().missing_since = None;
        self.epoch.send_if_modified(|epoch| epoch.replace(bounds.epoch) != Some(bounds.epoch));
        Seen { bounds, info }
    }

    async fn connected(&self) -> Result<(), LogError> {
        if self.connection.connected(self.patience).await {
            return Ok(());
        }
        let trouble = self.connection.trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
        Err(LogError::Unavailable(format!("no connection to NATS{trouble}")))
    }

    fn connects(&self) -> u64 {
        self.connection.link().borrow().connects
    }

    fn learn(&self, connects: u64, seen: &Seen) -> Arc<Known> {
        let subjects = seen.info.subjects().iter().filter_map(|subject| subject.parse().ok()).collect();
        let own_limit = seen.info.config.get("max_msg_size").and_then(serde_json::Value::as_u64);
        let own_limit = own_limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let server_limit = self.connection.client().max_payload();
        let max_message = own_limit.map_or(server_limit, |limit| limit.min(server_limit));
        let sourced = Arc::clone(&self.memory().sourced);
        let known = Arc::new(Known { epoch: seen.bounds.epoch, subjects, sourced, max_message });
        self.memory().known = Some((connects, Arc::clone(&known)));
        known
    }
}

fn bounds(info: &StreamInfo) -> Bounds {
    let state = &info.state;
    let (last, empty) = (state.last_seq, state.messages == 0);
    let first = if empty { last + 1 } else { state.first_seq };
    let first_at = (!empty).then_some(state.first_ts);
    Bounds { epoch: epoch(info), first, last, first_at }
}

/// The stream's identity: made of its name, of when it was created and of its generation.
fn epoch(info: &StreamInfo) -> Epoch {
    let name = info.config.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
    let text = format!("{name}:{}:{}", info.created.to_rfc3339(), generation(info));
    Epoch(Uuid::new_v5(&NAMESPACE, text.as_bytes()).as_u64_pair().0.max(1))
}

/// How often the stream lost entries; 0 when it never did.
fn generation(info: &StreamInfo) -> u64 {
    let text = info.description();
    let number = text.find(GENERATION).map(|at| &text[at + GENERATION.len()..]);
    number.and_then(|number| number.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Says what is not as declared.
fn tell(report: &network::Report) {
    let stream = report.stream.as_str();
    for taken in report.taken() {
        let (subject, owner) = (taken.subject.as_str(), taken.stream.as_str());
        if taken.circular {
            tracing::error!(stream, subject, owner, "events do not reach the map: a stream made from the log has them");
        } else {
            tracing::warn!(stream, subject, owner, "another stream has the subject; its events come from there");
        }
    }
    for difference in report.differences() {
        tracing::warn!(
            stream, setting = %difference.setting, declared = %difference.declared, found = %difference.found,
            "the stream is not as declared; it is left as it is",
        );
    }
    if let Err(error) = &report.state {
        tracing::error!(stream, %error, "a declared stream cannot be had");
    }
}

fn unavailable(error: &StreamError) -> LogError {
    LogError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(created: &str, description: &str) -> StreamInfo {
        serde_json::from_value(json!({
            "config": {"name": "LIVING_MAP", "description": description},
            "created": created,
            "state": {"messages": 0, "first_seq": 0, "first_ts": "0001-01-01T00:00:00Z", "last_seq": 7},
        }))
        .unwrap()
    }

    #[test]
    fn an_epoch_is_of_one_stream_and_one_generation() {
        let one = info("2026-11-21T00:00:00.000000001Z", "");
        assert_eq!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000001Z", "of the operator")));
        assert_ne!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000002Z", "")));
        assert_ne!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000001Z", "living-map generation 1")));
        assert_eq!(generation(&info("2026-11-21T00:00:00Z", "text living-map generation 12")), 12);
    }

    #[test]
    fn an_empty_stream_begins_behind_its_last_position() {
        let bounds = bounds(&info("2026-11-21T00:00:00Z", ""));
        assert_eq!((bounds.first, bounds.last, bounds.first_at), (8, 7, None));
    }
}
