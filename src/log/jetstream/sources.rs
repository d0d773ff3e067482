//! Positions in the sourced streams from which a recreated log continues: behind what an earlier log has taken.
//!
//! A log that is created again would copy its sources from their beginning, events of up to 90 days. The history has the
//! events that an earlier log took from a source, in the source's order, so the last of them is found by their ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::json;

use crate::bus::{Connection, StreamDeclaration, StreamSource, network, streams};
use crate::history::History;
use crate::log::LogError;
use crate::model::{Cursor, Epoch, envelope};

/// Header of the position in the source, which the server adds to a copy.
const SOURCE_HEADER: &str = "Nats-Stream-Source";

/// Finds where to continue in the sources of a log, by the events in the history.
pub struct SourceStarts {
    connection: Connection,
    history: Arc<dyn History>,
}

impl fmt::Debug for SourceStarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceStarts").finish_non_exhaustive()
    }
}

/// Response to `STREAM.MSG.GET`.
#[derive(Deserialize)]
struct GetResponse {
    message: StoredMessage,
}

/// A message of a source in the server's JSON.
#[derive(Deserialize)]
struct StoredMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl SourceStarts {
    pub fn new(connection: Connection, history: Arc<dyn History>) -> Self {
        Self { connection, history }
    }

    /// The positions from which the log `declaration` continues in its sources; none if it exists.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: NATS does not answer.
    pub async fn find_all(&self, declaration: &StreamDeclaration) -> Result<BTreeMap<String, u64>, LogError> {
        let mut starts = BTreeMap::new();
        let exists = streams::info(&self.connection, &declaration.name).await.map_err(|error| unavailable(&error))?;
        if exists.is_some() {
            return Ok(starts);
        }
        let sources = network::all_sources(&self.connection, declaration).await;
        for source in sources.map_err(|error| unavailable(&error))? {
            match self.find(&source).await {
                Ok(Some(start)) => {
                    tracing::info!(
                        source = source.stream,
                        start,
                        "the log continues in a source after what is recorded"
                    );
                    starts.insert(source.stream, start);
                }
                Ok(None) => {}
                // the log accepts events without the database; duplicates are recognised by their ids
                Err(error) => {
                    tracing::warn!(source = source.stream, %error, "the log copies a source from its beginning");
                }
            }
        }
        Ok(starts)
    }

    /// The position after the last message of `source` that is in the history; `None` if none is.
    async fn find(&self, source: &StreamSource) -> Result<Option<u64>, LogError> {
        let info = streams::info(&self.connection, &source.stream).await.map_err(|error| unavailable(&error))?;
        let Some(state) = info.map(|info| info.state).filter(|state| state.messages > 0) else { return Ok(None) };
        // backwards in growing steps to a message that was taken, then to the last such message
        let (mut next, mut at, mut step) = (state.last_seq.saturating_add(1), state.last_seq, 1_u64);
        let mut taken = loop {
            match self.probe(source, at).await? {
                Some((seq, true)) if seq < next => break seq,
                Some((seq, false)) => next = next.min(seq),
                _ => {}
            }
            if at <= state.first_seq {
                return Ok(None);
            }
            at = at.saturating_sub(step).max(state.first_seq);
            step = step.saturating_mul(2);
        };
        while taken + 1 < next {
            let middle = taken + (next - taken) / 2;
            match self.probe(source, middle).await? {
                Some((seq, true)) if seq < next => taken = seq,
                _ => next = middle,
            }
        }
        Ok(Some(taken + 1))
    }

    /// The first message of the source at or after `seq`, and whether it is in the history.
    async fn probe(&self, source: &StreamSource, seq: u64) -> Result<Option<(u64, bool)>, LogError> {
        let wanted = json!({"seq": seq, "next_by_subj": source.filter.as_deref().unwrap_or(">")});
        let answer = self.connection.api_request(&format!("STREAM.MSG.GET.{}", source.stream), &wanted).await;
        let message = match answer.map_err(|error| unavailable(&error))? {
            Response::Ok(GetResponse { message }) => message,
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(None),
            Response::Err { error } => return Err(unavailable(&error)),
        };
        let id = message.event_id(&source.stream)?;
        let known = self.history.positions(&[id]).await.map_err(|error| unavailable(&error))?;
        Ok(Some((message.seq, known.contains_key(&id))))
    }
}

impl StoredMessage {
    /// The id of the event that the log makes of its copy of this message.
    fn event_id(&self, stream: &str) -> Result<uuid::Uuid, LogError> {
        let decode = |base64: &str| BASE64_STANDARD.decode(base64).map_err(|error| unavailable(&error));
        let (headers, body) = (decode(&self.hdrs)?, decode(&self.data)?);
        let headers = String::from_utf8_lossy(&headers);
        let position = format!("{stream} {}", self.seq);
        let pairs = headers.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut pairs: Vec<(&str, &str)> = pairs
            .map(|(name, value)| (name, value.trim()))
            .filter(|(name, _)| !name.eq_ignore_ascii_case(SOURCE_HEADER))
            .collect();
        pairs.push((SOURCE_HEADER, &position));
        let entry = envelope::read(&envelope::Message {
            subject: &self.subject,
            headers: &pairs,
            body: &body,
            cursor: Cursor { epoch: Epoch(0), seq: self.seq },
            logged_at: DateTime::UNIX_EPOCH,
        });
        Ok(entry.event.id)
    }
}

fn unavailable(error: &dyn fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}
