//! The server's streams: compared with what is declared, made and extended, never narrowed.

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
use super::declared::{Declaration, LIVING_MAP, Source};
use super::subjects::{covers, overlap, union};
use crate::model::subject::Pattern;

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

    /// The streams it takes messages from, and what it takes of them; no filter: everything.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let sources = self.config.get("sources").and_then(Value::as_array);
        sources.into_iter().flatten().filter_map(Source::read).collect()
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
    /// The subjects of that stream which overlap it.
    pub theirs: Vec<String>,
    /// Whether that stream is made from the log itself: to take messages from it would be a circle.
    pub circular: bool,
}

/// What a stream takes from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced {
    /// The other stream.
    pub stream: String,
    /// The subjects that are taken from it.
    pub subjects: Vec<Pattern>,
}

/// A declared stream, found or made.
#[derive(Debug, Clone)]
pub struct Ensured {
    /// How it is now; none when there is nothing left for it to hold, since others have all its subjects.
    pub info: Option<StreamInfo>,
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
    let lacking = lacking(info, declaration);
    if !lacking.is_empty() {
        let setting = "sources".to_owned();
        let declared = lacking.iter().map(Source::to_config).collect();
        differences.push(Difference { setting, declared, found: found("sources") });
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
            None if wanted.subjects.is_empty() && wanted.sources.is_empty() => {
                return Ok(Ensured { info: None, differences: Vec::new(), taken });
            }
            None => ("STREAM.CREATE", wanted.to_config()),
            Some(info) => {
                let subjects = info.subjects();
                let lacking = lacking(&info, &wanted);
                if missing(&subjects, &wanted.subjects).is_empty() && lacking.is_empty() {
                    let differences = compare(&wanted, &info);
                    return Ok(Ensured { info: Some(info), differences, taken });
                }
                let mut config = info.config;
                if !lacking.is_empty() {
                    let sources = config.entry("sources").or_insert_with(|| json!([]));
                    let lacking = lacking.iter().map(Source::to_config);
                    sources.as_array_mut().into_iter().for_each(|sources| sources.extend(lacking.clone()));
                }
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
                if others.is_empty() {
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

/// The declared sources that the stream has not. A source that is there is left as it is, filter and all.
fn lacking(info: &StreamInfo, declaration: &Declaration) -> Vec<Source> {
    let has = info.sources();
    declaration.sources.iter().filter(|wanted| !has.iter().any(|has| has.stream == wanted.stream)).cloned().collect()
}

/// The sources that bring what others have: one for each stream, since nats-server 2.9 knows no more, with the narrowest
/// single filter that lets all of it through.
#[must_use]
pub fn sources_of(taken: &[Taken]) -> Vec<Source> {
    let mut streams: BTreeMap<&str, (Vec<&String>, Vec<&String>)> = BTreeMap::new();
    for one in taken.iter().filter(|one| !one.circular && one.stream != LIVING_MAP) {
        let (ours, theirs) = streams.entry(&one.stream).or_default();
        ours.push(&one.subject);
        theirs.extend(one.theirs.iter().filter(|subject| !theirs.contains(subject)).collect::<Vec<_>>());
    }
    let source = |(stream, (ours, theirs)): (&str, (Vec<&String>, Vec<&String>))| {
        let filter = match (ours.as_slice(), theirs.as_slice()) {
            ([one], _) | (_, [one]) => Some((*one).clone()),
            _ => None,
        };
        Source { stream: stream.to_owned(), filter }
    };
    streams.into_iter().map(source).collect()
}

/// What the stream takes from others, by subject.
pub async fn sourced(connection: &Connection, of: &StreamInfo) -> Result<Vec<Sourced>, StreamError> {
    let mut sourced = Vec::new();
    for Source { stream, filter } in of.sources() {
        let subjects = match filter {
            Some(filter) => vec![filter],
            None => info(connection, &stream).await?.map(|info| info.subjects()).unwrap_or_default(),
        };
        sourced.push(Sourced { stream, subjects: subjects.iter().filter_map(|text| text.parse().ok()).collect() });
    }
    Ok(sourced)
}

/// The declared subjects that other streams have.
pub async fn taken_by_others(connection: &Connection, wanted: &Declaration) -> Result<Vec<Taken>, StreamError> {
    let unavailable = |error: &dyn std::fmt::Display| StreamError::Unavailable(error.to_string());
    let streams: Vec<_> = connection.jetstream().streams().try_collect().await.map_err(|error| unavailable(&error))?;
    let others = streams.iter().filter(|stream| stream.config.name != wanted.name);
    Ok(others
        .flat_map(|other| {
            let from_log = |source: &stream::Source| source.name == LIVING_MAP;
            let circular = other.config.sources.iter().flatten().chain(&other.config.mirror).any(from_log);
            let theirs = |wanted: &str| -> Vec<String> {
                other.config.subjects.iter().filter(|has| overlap(has, wanted)).cloned().collect()
            };
            let taken = wanted.subjects.iter().map(move |subject| (subject, theirs(subject)));
            taken.filter(|(_, theirs)| !theirs.is_empty()).map(move |(subject, theirs)| Taken {
                subject: subject.clone(),
                stream: other.config.name.clone(),
                theirs,
                circular,
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
            StreamError::Unavailable("it is not switched on at this server, or not for this account".to_owned())
        }
        _ => StreamError::Unavailable(error.to_string()),
    })
}

fn refused(stream: &str, error: &async_nats::jetstream::Error) -> StreamError {
    StreamError::Refused { stream: stream.to_owned(), problem: error.to_string() }
}
