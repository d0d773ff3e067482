//! Streams on the server: compared with their declarations, created and extended, never narrowed.

use std::collections::BTreeMap;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::declared::{LIVING_MAP, StreamDeclaration, StreamSource};
use super::subjects::{covers, overlap, union};
use crate::model::json::object;
use crate::model::subject::Pattern;

/// A stream on the server.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// The server's complete configuration, including settings unknown to this program.
    #[serde(deserialize_with = "object")]
    pub config: Map<String, Value>,
    /// Time of creation, with nanoseconds. Differs when a stream was deleted and created again.
    pub created: DateTime<Utc>,
    /// Stored messages.
    pub state: StreamState,
}

/// Stored messages of a stream.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamState {
    /// Number of messages.
    pub messages: u64,
    /// Sequence of the oldest message; meaningless when there is none.
    pub first_seq: u64,
    /// Time when the oldest message was stored.
    pub first_ts: DateTime<Utc>,
    /// Sequence of the newest message ever stored.
    pub last_seq: u64,
}

impl StreamInfo {
    /// Subjects of the stream.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let subjects = self.config.get("subjects").and_then(Value::as_array);
        subjects.into_iter().flatten().filter_map(|subject| subject.as_str().map(str::to_owned)).collect()
    }

    /// Streams it sources messages from, with their filters.
    #[must_use]
    pub fn sources(&self) -> Vec<StreamSource> {
        let sources = self.config.get("sources").and_then(Value::as_array);
        sources.into_iter().flatten().filter_map(StreamSource::from_config).collect()
    }

    /// Description.
    #[must_use]
    pub fn description(&self) -> &str {
        self.config.get("description").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A setting that differs from its declaration. It is left unchanged: an operator may have set it on purpose.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingDifference {
    /// Name of the setting on the server; durations are in nanoseconds.
    pub setting: String,
    /// Declared value.
    pub declared: Value,
    /// Value on the server.
    pub found: Value,
}

/// A declared subject that overlaps a subject of another stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectConflict {
    /// The declared subject.
    pub subject: String,
    /// The other stream.
    pub stream: String,
    /// Subjects of the other stream that overlap it.
    pub overlapping: Vec<String>,
    /// True if the other stream sources its messages from the log, which therefore cannot source from it.
    pub circular: bool,
}

/// Subjects that a stream sources from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcedSubjects {
    /// The other stream.
    pub stream: String,
    /// The sourced subjects.
    pub subjects: Vec<Pattern>,
}

/// State of a declared stream on the server.
#[derive(Debug, Clone)]
pub struct StreamStatus {
    /// The stream; `None` when it is missing, or not needed since other streams have all its subjects.
    pub info: Option<StreamInfo>,
    /// Settings that differ from the declaration.
    pub differences: Vec<SettingDifference>,
    /// Subjects it cannot have, since another stream has them.
    pub conflicts: Vec<SubjectConflict>,
}

/// Why a stream could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server did not answer, or `JetStream` is disabled.
    #[error("JetStream is unavailable: {0}")]
    Unavailable(String),
    /// The server rejected the request.
    #[error("the NATS server rejected a request about stream '{stream}': {problem}")]
    Rejected {
        /// The stream.
        stream: String,
        /// The server's error message, with its code.
        problem: String,
    },
}

/// Reads the stream `name`; `None` when there is none.
pub async fn info(connection: &Connection, name: &str) -> Result<Option<StreamInfo>, StreamError> {
    match request(connection, &format!("STREAM.INFO.{name}"), &json!({})).await? {
        Response::Ok(info) => Ok(Some(info)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(rejected(name, &error)),
    }
}

/// Differences between a stream and its declaration: settings, missing subjects and missing sources.
#[must_use]
pub fn compare(declaration: &StreamDeclaration, info: &StreamInfo) -> Vec<SettingDifference> {
    let found = |setting: &str| info.config.get(setting).cloned().unwrap_or(Value::Null);
    let mut differences: Vec<SettingDifference> = declaration
        .limits()
        .into_iter()
        .map(|(setting, declared)| SettingDifference { setting: setting.to_owned(), declared, found: found(setting) })
        .filter(|difference| difference.declared != difference.found)
        .collect();
    let missing = missing_subjects(&info.subjects(), &declaration.subjects);
    if !missing.is_empty() {
        let setting = "subjects".to_owned();
        differences.push(SettingDifference { setting, declared: json!(missing), found: found("subjects") });
    }
    let sources = missing_sources(info, declaration);
    if !sources.is_empty() {
        let setting = "sources".to_owned();
        let declared = sources.iter().map(StreamSource::to_config).collect();
        differences.push(SettingDifference { setting, declared, found: found("sources") });
    }
    if found("no_ack") == Value::Bool(true) {
        let setting = "no_ack".to_owned();
        differences.push(SettingDifference { setting, declared: json!(false), found: json!(true) });
    }
    differences
}

/// Creates the stream when it is missing, and adds missing subjects and sources; removes nothing. Subjects that another
/// stream has are left out and returned as conflicts.
pub async fn create_or_extend(
    connection: &Connection,
    declaration: &StreamDeclaration,
) -> Result<StreamStatus, StreamError> {
    let name = &declaration.name;
    let mut wanted = declaration.clone();
    let mut conflicts = Vec::new();
    // a second round for the subjects without conflicts, a third if another process changed the stream at the same time
    for _ in 0..3 {
        let change = match info(connection, name).await? {
            None if wanted.subjects.is_empty() && wanted.sources.is_empty() => {
                return Ok(StreamStatus { info: None, differences: Vec::new(), conflicts });
            }
            None => ("STREAM.CREATE", wanted.to_config()),
            Some(info) => {
                let subjects = info.subjects();
                let to_add = missing_sources(&info, &wanted);
                if missing_subjects(&subjects, &wanted.subjects).is_empty() && to_add.is_empty() {
                    let differences = compare(&wanted, &info);
                    return Ok(StreamStatus { info: Some(info), differences, conflicts });
                }
                let mut config = info.config;
                if !to_add.is_empty() {
                    let sources = config.entry("sources").or_insert_with(|| json!([]));
                    let to_add = to_add.iter().map(StreamSource::to_config);
                    sources.as_array_mut().into_iter().for_each(|sources| sources.extend(to_add.clone()));
                }
                config.insert("subjects".to_owned(), json!(union(&subjects, &wanted.subjects)));
                ("STREAM.UPDATE", config)
            }
        };
        match request::<StreamInfo>(connection, &format!("{}.{name}", change.0), &change.1).await? {
            Response::Ok(info) => {
                tracing::info!(stream = %name, subjects = ?info.subjects(), "created or extended a stream");
            }
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
                let found = find_conflicts(connection, &wanted).await?;
                wanted.subjects.retain(|subject| !found.iter().any(|conflict| conflict.subject == *subject));
                if found.is_empty() {
                    return Err(rejected(name, &error));
                }
                conflicts.extend(found);
            }
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
            Response::Err { error } => return Err(rejected(name, &error)),
        }
    }
    Err(StreamError::Rejected { stream: name.clone(), problem: "other processes keep changing it".to_owned() })
}

/// Changes the description of a stream.
pub async fn set_description(
    connection: &Connection,
    info: &StreamInfo,
    text: &str,
) -> Result<StreamInfo, StreamError> {
    let mut config = info.config.clone();
    config.insert("description".to_owned(), json!(text));
    let name = config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match request(connection, &format!("STREAM.UPDATE.{name}"), &config).await? {
        Response::Ok(info) => Ok(info),
        Response::Err { error } => Err(rejected(&name, &error)),
    }
}

fn missing_subjects(has: &[String], wanted: &[String]) -> Vec<String> {
    wanted.iter().filter(|subject| !has.iter().any(|kept| covers(kept, subject))).cloned().collect()
}

/// Declared sources that the stream does not have. An existing source is left unchanged, including its filter.
fn missing_sources(info: &StreamInfo, declaration: &StreamDeclaration) -> Vec<StreamSource> {
    let has = info.sources();
    declaration.sources.iter().filter(|wanted| !has.iter().any(|has| has.stream == wanted.stream)).cloned().collect()
}

/// Sources for subjects that other streams have: one for each stream, which is the limit of nats-server 2.9, with the
/// narrowest single filter that lets all those subjects through.
#[must_use]
pub fn sources_of(conflicts: &[SubjectConflict]) -> Vec<StreamSource> {
    let mut streams: BTreeMap<&str, (Vec<&String>, Vec<&String>)> = BTreeMap::new();
    for one in conflicts.iter().filter(|one| !one.circular && one.stream != LIVING_MAP) {
        let (ours, theirs) = streams.entry(&one.stream).or_default();
        ours.push(&one.subject);
        theirs.extend(one.overlapping.iter().filter(|subject| !theirs.contains(subject)).collect::<Vec<_>>());
    }
    let source = |(stream, (ours, theirs)): (&str, (Vec<&String>, Vec<&String>))| {
        let filter = match (ours.as_slice(), theirs.as_slice()) {
            ([one], _) | (_, [one]) => Some((*one).clone()),
            _ => None,
        };
        StreamSource { stream: stream.to_owned(), filter }
    };
    streams.into_iter().map(source).collect()
}

/// Subjects that the stream sources from others.
pub async fn sourced_subjects(connection: &Connection, of: &StreamInfo) -> Result<Vec<SourcedSubjects>, StreamError> {
    let mut sourced = Vec::new();
    for StreamSource { stream, filter } in of.sources() {
        let subjects = match filter {
            Some(filter) => vec![filter],
            None => info(connection, &stream).await?.map(|info| info.subjects()).unwrap_or_default(),
        };
        sourced
            .push(SourcedSubjects { stream, subjects: subjects.iter().filter_map(|text| text.parse().ok()).collect() });
    }
    Ok(sourced)
}

/// Declared subjects that other streams have.
pub async fn find_conflicts(
    connection: &Connection,
    wanted: &StreamDeclaration,
) -> Result<Vec<SubjectConflict>, StreamError> {
    let unavailable = |error: &dyn std::fmt::Display| StreamError::Unavailable(error.to_string());
    let streams: Vec<_> = connection.jetstream().streams().try_collect().await.map_err(|error| unavailable(&error))?;
    let others = streams.iter().filter(|stream| stream.config.name != wanted.name);
    Ok(others
        .flat_map(|other| {
            let from_log = |source: &stream::Source| source.name == LIVING_MAP;
            let circular = other.config.sources.iter().flatten().chain(&other.config.mirror).any(from_log);
            let overlapping = |wanted: &str| -> Vec<String> {
                other.config.subjects.iter().filter(|has| overlap(has, wanted)).cloned().collect()
            };
            let conflicts = wanted.subjects.iter().map(move |subject| (subject, overlapping(subject)));
            conflicts.filter(|(_, overlapping)| !overlapping.is_empty()).map(move |(subject, overlapping)| {
                SubjectConflict { subject: subject.clone(), stream: other.config.name.clone(), overlapping, circular }
            })
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
            StreamError::Unavailable("it is not enabled on this server or for this account".to_owned())
        }
        _ => StreamError::Unavailable(error.to_string()),
    })
}

fn rejected(stream: &str, error: &async_nats::jetstream::Error) -> StreamError {
    StreamError::Rejected { stream: stream.to_owned(), problem: error.to_string() }
}
