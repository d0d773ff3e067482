//! Connect options of a client: where its stream begins, and which events it gets.

use std::net::IpAddr;
use std::str::FromStr;

use tokio::time::Instant;

use super::frame::Frame;
use super::layers::LayerSet;
use crate::access::shares::Client;
use crate::model::Cursor;
use crate::model::cursor::InvalidCursor;
use crate::model::subject::Pattern;

/// Maximum number of patterns, and of entities, in the options of one client.
pub const MAX_NAMES: usize = 64;
/// Maximum length of an entity name, in bytes.
const MAX_ENTITY_BYTES: usize = 256;

/// Query parameters that replace the header `Last-Event-ID`, and take precedence over `cursor` as that does: those of
/// common clients that replace a browser's `EventSource`.
const LAST_EVENT_IDS: [&str; 3] = ["lastEventId", "lastEventID", "Last-Event-ID"];

/// Value of a last event id before the oldest event that is kept.
const EARLIEST: &str = "earliest";

/// Last event id of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEventId {
    /// A position.
    At(Cursor),
    /// `earliest`: the oldest position that can be resumed from.
    Earliest,
}

impl FromStr for LastEventId {
    type Err = InvalidLastEventId;

    fn from_str(text: &str) -> Result<Self, InvalidLastEventId> {
        match text {
            EARLIEST => Ok(Self::Earliest),
            text => text.parse().map(Self::At).map_err(InvalidLastEventId),
        }
    }
}

/// Text that is not a last event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or '{EARLIEST}'")]
pub struct InvalidLastEventId(InvalidCursor);

/// A rejected connect option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {expected}")]
pub struct InvalidOption {
    /// The query parameter.
    pub parameter: &'static str,
    /// A human-readable description of valid values.
    pub expected: String,
}

/// Properties of a client that its query does not contain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientInfo {
    /// Address for the per-address limit; `None`: not limited by address.
    pub address: Option<IpAddr>,
    /// Client by which slots and replays are shared.
    pub client: Client,
    /// When its token expires and its stream ends; `None`: never.
    pub expires_at: Option<Instant>,
}

/// Connect options of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Resume after this position, if possible.
    pub cursor: Option<Cursor>,
    /// Resume after the oldest position that can be resumed from; the caller must replace `cursor` by it.
    pub earliest: bool,
    /// Layers of the snapshot; events that concern none of them are not sent.
    pub layers: LayerSet,
    /// Only events whose subject matches one of these patterns; all if empty.
    pub types: Vec<Pattern>,
    /// Only events that concern one of these entities; all if empty. The caller must resolve the names that the client
    /// sent to canonical ids.
    pub entities: Vec<String>,
    /// Set by the caller, not by the query.
    pub client: ClientInfo,
    /// Begin with a snapshot. If false, the stream begins with a `ping` that contains its start position; a client for
    /// which missed events are gone gets a snapshot nevertheless.
    pub snapshot: bool,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            cursor: None,
            earliest: false,
            layers: LayerSet::ALL,
            types: Vec::new(),
            entities: Vec::new(),
            client: ClientInfo::default(),
            snapshot: true,
        }
    }
}

impl StreamOptions {
    /// Parses `cursor`, `lastEventId` and its other spellings, `layers`, `types`, `entity` and `snapshot` from a query string (without the `?`).
    /// Lists are comma-separated, repeated parameters, or both. The caller checks the other parameters.
    ///
    /// # Errors
    /// The rejected parameter with a description of valid values.
    pub fn from_query(query: &str) -> Result<Self, InvalidOption> {
        let mut options = Self { layers: LayerSet::NONE, ..Self::default() };
        let (mut snapshot, mut last_event_ids) = (None, Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if let Some(name) = LAST_EVENT_IDS.into_iter().find(|known| *known == name) {
                let last = last_event_id(name, &value)?;
                let previous = last_event_ids.iter().find(|(known, _)| *known == name);
                once(name, previous.filter(|_| last.is_some()))?;
                last_event_ids.extend(last.map(|last| (name, last)));
                continue;
            }
            match name.as_ref() {
                "cursor" => {
                    let cursor = value.parse().map_err(|error| reject("cursor", format!("{error}")))?;
                    once("cursor", options.cursor.replace(cursor))?;
                }
                "snapshot" => {
                    let wanted = value.parse().map_err(|_| reject("snapshot", "expected true or false".to_owned()))?;
                    once("snapshot", snapshot.replace(wanted))?;
                }
                "layers" => {
                    for item in items("layers", &value)? {
                        let layer = item.parse().map_err(|error| reject("layers", format!("{error}")))?;
                        options.layers = options.layers.with(layer);
                    }
                }
                "types" => {
                    for item in items("types", &value)? {
                        options.types.push(item.parse().map_err(|error| reject("types", format!("{error}")))?);
                    }
                    at_most("types", options.types.len())?;
                }
                "entity" => {
                    for item in items("entity", &value)? {
                        if item.len() > MAX_ENTITY_BYTES {
                            return Err(reject("entity", format!("expected at most {MAX_ENTITY_BYTES} bytes")));
                        }
                        options.entities.push(item.to_owned());
                    }
                    at_most("entity", options.entities.len())?;
                }
                _ => {}
            }
        }
        if options.layers == LayerSet::NONE {
            options.layers = LayerSet::ALL;
        }
        // a client that replaces `EventSource` appends its own to the address with which it began
        if let Some((_, last)) = last_event_ids.pop() {
            options.resume(last);
        }
        options.snapshot = snapshot.unwrap_or(true);
        Ok(options)
    }

    /// Resumes after the last event id instead of any other position.
    pub fn resume(&mut self, last: LastEventId) {
        self.earliest = last == LastEventId::Earliest;
        self.cursor = match last {
            LastEventId::At(cursor) => Some(cursor),
            LastEventId::Earliest => None,
        };
    }

    /// Returns true if no filter is set.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        self.layers == LayerSet::ALL && self.types.is_empty() && self.entities.is_empty()
    }

    /// Returns true if the event passes all three filters.
    #[must_use]
    pub fn wants(&self, frame: &Frame) -> bool {
        (self.layers == LayerSet::ALL || self.layers.intersects(frame.layers()))
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(frame.event_type())))
            && (self.entities.is_empty() || self.entities.iter().any(|id| frame.concerns(id)))
    }
}

/// The value of a last event id; none if it is empty, as it is in the header before the first event.
fn last_event_id(parameter: &'static str, value: &str) -> Result<Option<LastEventId>, InvalidOption> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|error: InvalidLastEventId| reject(parameter, error.to_string()))
}

fn reject(parameter: &'static str, expected: String) -> InvalidOption {
    InvalidOption { parameter, expected }
}

fn once<T>(parameter: &'static str, previous: Option<T>) -> Result<(), InvalidOption> {
    previous.map_or(Ok(()), |_| Err(reject(parameter, "expected at most once".to_owned())))
}

fn at_most(parameter: &'static str, number: usize) -> Result<(), InvalidOption> {
    if number > MAX_NAMES { Err(reject(parameter, format!("expected at most {MAX_NAMES}"))) } else { Ok(()) }
}

/// The non-empty items of a comma-separated list. An empty list is rejected, since it could mean all or none.
fn items<'a>(parameter: &'static str, list: &'a str) -> Result<impl Iterator<Item = &'a str>, InvalidOption> {
    let mut items = list.split(',').map(str::trim).filter(|item| !item.is_empty()).peekable();
    if items.peek().is_none() {
        return Err(reject(parameter, "expected a name, or names separated by commas".to_owned()));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Layer;

    #[test]
    fn no_options_mean_every_event() {
        assert_eq!(StreamOptions::from_query(""), Ok(StreamOptions::default()));
        assert_eq!(StreamOptions::from_query("utm_source=x&ticket=x"), Ok(StreamOptions::default()));
        assert!(StreamOptions::default().wants_all());
    }

    #[test]
    fn every_option_is_parsed() {
        let query = "cursor=5f.12&layers=city,nodes&types=usage.%3E,dao.event.*&entity=agent%3Aa&entity=dao:b,dao:c&snapshot=false";
        let options = StreamOptions::from_query(query).unwrap();
        assert_eq!(options.cursor, "5f.12".parse().ok());
        assert_eq!(options.layers.to_vec(), [Layer::City, Layer::Nodes]);
        assert_eq!(options.types.iter().map(Pattern::as_str).collect::<Vec<_>>(), ["usage.>", "dao.event.*"]);
        assert_eq!(options.entities, ["agent:a", "dao:b", "dao:c"]);
        assert!(!options.snapshot && !options.wants_all());
    }

    #[test]
    fn last_event_id_takes_precedence_over_cursor() {
        let cursor = |query| StreamOptions::from_query(query).unwrap().cursor.map(|cursor| cursor.to_string());
        for query in ["lastEventId=5f.13", "lastEventId=5f.13&cursor=5f.12", "cursor=5f.12&lastEventId=5f.13"] {
            assert_eq!(cursor(query).as_deref(), Some("5f.13"), "{query}");
        }
        assert_eq!(cursor("cursor=5f.12&lastEventId=").as_deref(), Some("5f.12"));
    }

    #[test]
    fn the_last_of_the_last_event_ids_counts() {
        let begin = |query: &str| {
            let options = StreamOptions::from_query(query).unwrap();
            (options.cursor, options.earliest)
        };
        for name in LAST_EVENT_IDS {
            assert_eq!(begin(&format!("{name}=5f.13&cursor=5f.12")), ("5f.13".parse().ok(), false), "{name}");
            assert_eq!(begin(&format!("cursor=5f.12&{name}=earliest")), (None, true), "{name}");
        }
        let appended = "lastEventID=earliest&Last-Event-ID=5f.2&lastEventId=5f.13&lastEventID=";
        assert_eq!(begin(appended), ("5f.13".parse().ok(), false));
    }

    #[test]
    fn an_invalid_option_is_rejected_by_name() {
        let many = format!("entity={}", vec!["x"; MAX_NAMES + 1].join(","));
        let long = format!("entity={}", "x".repeat(MAX_ENTITY_BYTES + 1));
        for (query, parameter) in [
            ("cursor=latest", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=1.1&cursor=1.2", "cursor"),
            ("lastEventId=latest", "lastEventId"),
            ("lastEventID=latest", "lastEventID"),
            ("Last-Event-ID=1", "Last-Event-ID"),
            ("cursor=earliest", "cursor"),
            ("lastEventId=1.1&lastEventId=1.1", "lastEventId"),
            ("layers=towns", "layers"),
            ("layers=", "layers"),
            ("layers=,", "layers"),
            ("types=a..b", "types"),
            ("types=a*", "types"),
            ("snapshot=no", "snapshot"),
            ("snapshot=true&snapshot=true", "snapshot"),
            (&many, "entity"),
            (&long, "entity"),
        ] {
            let error = StreamOptions::from_query(query).unwrap_err();
            assert_eq!(error.parameter, parameter, "{query}");
            assert!(error.expected.contains("expected") || error.expected.contains("subject"), "{error}");
        }
    }
}
