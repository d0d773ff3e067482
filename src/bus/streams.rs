//! Streams on the server: compared with their declarations, created and extended, never narrowed. Only a source that would
//! remove messages from another stream is removed.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RetentionPolicy;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conflicts::{NotSourced, NotSourcedReason, SubjectConflict, find_conflicts};
use super::connection::Connection;
use super::declared::{StreamDeclaration, StreamSource};
use super::error::StreamError;
use super::subjects::{covers, union};
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

    /// Why its messages must not be sourced, by its retention; `None` if they may be.
    #[must_use]
    pub fn not_sourced_reason(&self) -> Option<NotSourcedReason> {
        let retention = RetentionPolicy::deserialize(self.config.get("retention")?).ok()?;
        NotSourcedReason::of_retention(retention)
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
    /// Sources that remove messages from their streams. They were removed, or are still there if streams are not changed.
    pub destructive_sources: Vec<NotSourced>,
}

impl StreamStatus {
    pub(super) const fn new(
        info: Option<StreamInfo>,
        differences: Vec<SettingDifference>,
        conflicts: Vec<SubjectConflict>,
    ) -> Self {
        Self { info, differences, conflicts, destructive_sources: Vec::new() }
    }
}

/// Reads the stream `name`; `None` when there is none.
pub async fn info(connection: &Connection, name: &str) -> Result<Option<StreamInfo>, StreamError> {
    match connection.api_request(&format!("STREAM.INFO.{name}"), &json!({})).await? {
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
                return Ok(StreamStatus::new(None, Vec::new(), conflicts));
            }
            None => ("STREAM.CREATE", wanted.to_config()),
            Some(info) => {
                let subjects = info.subjects();
                let to_add = missing_sources(&info, &wanted);
                if missing_subjects(&subjects, &wanted.subjects).is_empty() && to_add.is_empty() {
                    let differences = compare(&wanted, &info);
                    return Ok(StreamStatus::new(Some(info), differences, conflicts));
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
        match connection.api_request::<StreamInfo>(&format!("{}.{name}", change.0), &change.1).await? {
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

/// The stream's sources that remove messages from other streams, since those have another retention than by limits. A source
/// in another account or domain cannot be examined.
///
/// # Errors
/// [`StreamError::Unavailable`].
pub async fn destructive_sources(connection: &Connection, of: &StreamInfo) -> Result<Vec<NotSourced>, StreamError> {
    let mut found = Vec::new();
    for source in of.sources().into_iter().filter(|source| !source.external) {
        let Some(other) = info(connection, &source.stream).await? else { continue };
        if let Some(reason) = other.not_sourced_reason() {
            let subjects = source.filter.map_or_else(|| other.subjects(), |filter| vec![filter]);
            found.push(NotSourced { stream: source.stream, reason, subjects });
        }
    }
    Ok(found)
}

/// Removes the sources from the streams `names`.
///
/// # Errors
/// The server does not answer, or rejects the update.
pub async fn remove_sources(connection: &Connection, from: &StreamInfo, names: &[&str]) -> Result<(), StreamError> {
    let mut config = from.config.clone();
    let named = |source: &Value| source.get("name").and_then(Value::as_str).is_some_and(|name| names.contains(&name));
    if let Some(sources) = config.get_mut("sources").and_then(Value::as_array_mut) {
        sources.retain(|source| !named(source));
    }
    update(connection, &config).await.map(drop)
}

/// Changes the description of a stream.
pub async fn set_description(
    connection: &Connection,
    info: &StreamInfo,
    text: &str,
) -> Result<StreamInfo, StreamError> {
    let mut config = info.config.clone();
    config.insert("description".to_owned(), json!(text));
    update(connection, &config).await
}

async fn update(connection: &Connection, config: &Map<String, Value>) -> Result<StreamInfo, StreamError> {
    let name = config.get("name").and_then(Value::as_str).unwrap_or_default();
    match connection.api_request(&format!("STREAM.UPDATE.{name}"), config).await? {
        Response::Ok(info) => Ok(info),
        Response::Err { error } => Err(rejected(name, &error)),
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

/// Subjects that the stream sources from others.
pub async fn sourced_subjects(connection: &Connection, of: &StreamInfo) -> Result<Vec<SourcedSubjects>, StreamError> {
    let mut sourced = Vec::new();
    for StreamSource { stream, filter, .. } in of.sources() {
        let subjects = match filter {
            Some(filter) => vec![filter],
            None => info(connection, &stream).await?.map(|info| info.subjects()).unwrap_or_default(),
        };
        sourced
            .push(SourcedSubjects { stream, subjects: subjects.iter().filter_map(|text| text.parse().ok()).collect() });
    }
    Ok(sourced)
}

fn rejected(stream: &str, error: &async_nats::jetstream::Error) -> StreamError {
    StreamError::Rejected { stream: stream.to_owned(), problem: error.to_string() }
}
