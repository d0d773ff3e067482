//! The streams we declare, and how they compare with the server's.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::subjects::{covers, overlap, union};
use crate::model::subject::{MAP_SUBJECTS, Pattern};

/// The stream that is the log.
pub const LIVING_MAP: &str = "LIVING_MAP";

/// A stream as we want it. Retention is by limits, storage is on disk, the oldest message goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// Its subjects; none covers another.
    pub subjects: Vec<String>,
    /// How long it keeps a message.
    pub max_age: Duration,
    /// How many bytes it may hold; none: as many as its age allows.
    pub max_bytes: Option<u64>,
    /// How long the server recognises a message id it has seen (its own default is two minutes).
    pub duplicate_window: Duration,
    /// Copies in a cluster of servers.
    pub replicas: usize,
}

impl Declaration {
    /// The log's stream: the map's subjects and `extra` ones, for seven days.
    #[must_use]
    pub fn living_map(extra: &[Pattern]) -> Self {
        let own: Vec<String> = MAP_SUBJECTS.iter().map(|subject| (*subject).to_owned()).collect();
        let extra: Vec<String> = extra.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Self {
            name: LIVING_MAP.to_owned(),
            subjects: union(&own, &extra),
            max_age: Duration::from_hours(7 * 24),
            max_bytes: None,
            duplicate_window: Duration::from_mins(2),
            replicas: 1,
        }
    }

    fn limits(&self) -> [(&'static str, Value); 6] {
        [
            ("retention", json!("limits")),
            ("storage", json!("file")),
            ("max_age", json!(nanoseconds(self.max_age))),
            ("max_bytes", self.max_bytes.map_or(json!(-1), |bytes| json!(bytes))),
            ("duplicate_window", json!(nanoseconds(self.duplicate_window.min(self.max_age)))),
            ("num_replicas", json!(self.replicas)),
        ]
    }

    fn to_config(&self) -> Map<String, Value> {
        let unlimited = ["max_msgs", "max_msg_size", "max_msgs_per_subject", "max_consumers"];
        let mut config: Map<String, Value> = unlimited.map(|limit| (limit.to_owned(), json!(-1))).into_iter().collect();
        config.extend(self.limits().map(|(key, value)| (key.to_owned(), value)));
        config.insert("name".to_owned(), json!(self.name));
        config.insert("subjects".to_owned(), json!(self.subjects));
        config.insert("discard".to_owned(), json!("old"));
        config
    }
}

/// A stream as the server has it.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// The server's configuration, whole: what this program does not know stays in it.
    pub config: Map<String, Value>,
    /// When the stream was created, in nanoseconds. A stream that is deleted and created again has another one.
    pub created: DateTime<Utc>,
    /// What it holds.
    pub state: StreamState,
}

/// What a stream holds.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamState {
    /// Messages held.
    pub messages: u64,
    /// Sequence of the oldest message; meaningless when there is none.
    pub first_seq: u64,
    /// When the oldest message was taken.
    pub first_ts: DateTime<Utc>,
    /// Sequence of the newest message ever.
    pub last_seq: u64,
}

impl StreamInfo {
    /// The subjects it takes.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let subjects = self.config.get("subjects").and_then(Value::as_array);
        subjects.into_iter().flatten().filter_map(|subject| subject.as_str().map(str::to_owned)).collect()
    }

    /// Its description.
    #[must_use]
    pub fn description(&self) -> &str {
        self.config.get("description").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A setting that is not what we declare. It is left as it is: an operator may have had a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The setting, as the server names it; durations are in nanoseconds.
    pub setting: String,
    /// What we declare.
    pub declared: Value,
    /// What the server has.
    pub found: Value,
}

/// A subject that we want and another stream has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The subject.
    pub subject: String,
    /// The stream that has it, or a part of it.
    pub stream: String,
}

/// A declared stream, found or made.
#[derive(Debug, Clone)]
pub struct Ensured {
    /// How it is now.
    pub info: StreamInfo,
    /// Settings that are not as declared.
    pub differences: Vec<Difference>,
    /// Subjects it does not have since another stream has them.
    pub taken: Vec<Taken>,
}

/// Why a stream could not be asked about or made.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server did not answer, or `JetStream` is off.
    #[error("JetStream does not answer: {0}")]
    Unavailable(String),
    /// The server said no.
    #[error("the server refused stream '{stream}': {problem}")]
    Refused {
        /// The stream.
        stream: String,
        /// What it said, with its error code.
        problem: String,
    },
}

/// The stream `name`; none when there is none.
pub async fn info(connection: &Connection, name: &str) -> Result<Option<StreamInfo>, StreamError> {
    match request(connection, &format!("STREAM.INFO.{name}"), &json!({})).await? {
        Response::Ok(info) => Ok(Some(info)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(refused(name, &error)),
    }
}

/// What of `declaration` the server's stream does not have: settings, and `subjects` when some are missing.
#[must_use]
pub fn compare(declaration: &Declaration, info: &StreamInfo) -> Vec<Difference> {
    let found = |setting: &str| info.config.get(setting).cloned().unwrap_or(Value::Null);
    let mut differences: Vec<Difference> = declaration
        .limits()
        .into_iter()
        .map(|(setting, declared)| Difference { setting: setting.to_owned(), declared, found: found(setting) })
        .filter(|difference| difference.declared != difference.found)
        .collect();
    let missing = missing(&info.subjects(), &declaration.subjects);
    if !missing.is_empty() {
        let setting = "subjects".to_owned();
        differences.push(Difference { setting, declared: json!(missing), found: found("subjects") });
    }
    if found("no_ack") == Value::Bool(true) {
        let setting = "no_ack".to_owned();
        differences.push(Difference { setting, declared: json!(false), found: json!(true) });
    }
    differences
}

/// Makes the stream when there is none, and adds the subjects it lacks; nothing is taken from it. Subjects that another
/// stream has are left out and named.
pub async fn ensure(connection: &Connection, declaration: &Declaration) -> Result<Ensured, StreamError> {
    let name = &declaration.name;
    let mut wanted = declaration.clone();
    let mut taken = Vec::new();
    // a second round for the subjects that are left, a third for another process that was faster than we
    for _ in 0..3 {
        let change = match info(connection, name).await? {
            None => ("STREAM.CREATE", wanted.to_config()),
            Some(info) => {
                let subjects = info.subjects();
                if missing(&subjects, &wanted.subjects).is_empty() {
                    let differences = compare(&wanted, &info);
                    return Ok(Ensured { info, differences, taken });
                }
                let mut config = info.config;
                config.insert("subjects".to_owned(), json!(union(&subjects, &wanted.subjects)));
                ("STREAM.UPDATE", config)
            }
        };
        match request::<StreamInfo>(connection, &format!("{}.{name}", change.0), &change.1).await? {
            Response::Ok(info) => {
                tracing::info!(stream = %name, subjects = ?info.subjects(), "stream made or extended");
            }
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
                let others = taken_by_others(connection, &wanted).await?;
                wanted.subjects.retain(|subject| !others.iter().any(|taken| taken.subject == *subject));
                if others.is_empty() || wanted.subjects.is_empty() {
                    return Err(refused(name, &error));
                }
                taken.extend(others);
            }
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
            Response::Err { error } => return Err(refused(name, &error)),
        }
    }
    Err(StreamError::Refused { stream: name.clone(), problem: "it keeps changing while it is set up".to_owned() })
}

/// Sets the description of a stream, and nothing else.
pub async fn describe(connection: &Connection, info: &StreamInfo, text: &str) -> Result<StreamInfo, StreamError> {
    let mut config = info.config.clone();
    config.insert("description".to_owned(), json!(text));
    let name = config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match request(connection, &format!("STREAM.UPDATE.{name}"), &config).await? {
        Response::Ok(info) => Ok(info),
        Response::Err { error } => Err(refused(&name, &error)),
    }
}

fn missing(has: &[String], wanted: &[String]) -> Vec<String> {
    wanted.iter().filter(|subject| !has.iter().any(|kept| covers(kept, subject))).cloned().collect()
}

async fn taken_by_others(connection: &Connection, wanted: &Declaration) -> Result<Vec<Taken>, StreamError> {
    let unavailable = |error: &dyn std::fmt::Display| StreamError::Unavailable(error.to_string());
    let streams: Vec<_> = connection.jetstream().streams().try_collect().await.map_err(|error| unavailable(&error))?;
    let others = streams.iter().filter(|stream| stream.config.name != wanted.name);
    Ok(others
        .flat_map(|other| {
            let subjects = &other.config.subjects;
            let taken = wanted.subjects.iter().filter(|wanted| subjects.iter().any(|has| overlap(has, wanted)));
            taken.map(|subject| Taken { subject: subject.clone(), stream: other.config.name.clone() })
        })
        .collect())
}

async fn request<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    subject: &str,
    body: &(impl serde::Serialize + Sync),
) -> Result<Response<T>, StreamError> {
    let answer = connection.jetstream().request(subject.to_owned(), body).await;
    answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => {
            StreamError::Unavailable("it is not switched on at this server, or not for this account".to_owned())
        }
        _ => StreamError::Unavailable(error.to_string()),
    })
}

fn refused(stream: &str, error: &async_nats::jetstream::Error) -> StreamError {
    StreamError::Refused { stream: stream.to_owned(), problem: error.to_string() }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
