//! What one client wants to see.

use std::net::IpAddr;

use tokio::time::Instant;

use crate::model::subject::Pattern;
use crate::model::{Cursor, Layer};

use super::hub::Frame;

/// The most patterns, and the most entities, that one client may ask for.
pub const MAX_NAMES: usize = 64;
/// The longest name of an entity, in bytes.
const MAX_ENTITY_BYTES: usize = 256;

/// Some of the four layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LayerSet(u8);

impl LayerSet {
    /// No layer.
    pub const NONE: Self = Self(0);
    /// All four.
    pub const ALL: Self = Self(0b1111);

    /// This set with `layer`.
    #[must_use]
    pub const fn with(self, layer: Layer) -> Self {
        Self(self.0 | 1 << layer as u8)
    }

    /// Whether `layer` is in it.
    #[must_use]
    pub const fn contains(self, layer: Layer) -> bool {
        self.0 & 1 << layer as u8 != 0
    }

    /// Whether the two have a layer in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Its layers, in the order of [`Layer::ALL`].
    #[must_use]
    pub fn to_vec(self) -> Vec<Layer> {
        Layer::ALL.iter().copied().filter(|layer| self.contains(*layer)).collect()
    }
}

impl FromIterator<Layer> for LayerSet {
    fn from_iter<I: IntoIterator<Item = Layer>>(layers: I) -> Self {
        layers.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A connect option that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {expected}")]
pub struct InvalidOption {
    /// The query parameter.
    pub parameter: &'static str,
    /// What it should have been, for the person who wrote it.
    pub expected: String,
}

/// Who a client is, as far as the stream is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guest {
    /// Its address, for the limit of streams by address; none counts for no address.
    pub address: Option<IpAddr>,
    /// When its token expires, and its stream ends; none: never.
    pub until: Option<Instant>,
}

/// The connect options of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Go on after this position, if that is possible.
    pub cursor: Option<Cursor>,
    /// Only these layers: the snapshot has no others, and events that concern none of them are left out.
    pub layers: LayerSet,
    /// Only events whose subject matches one of these; all when empty.
    pub types: Vec<Pattern>,
    /// Only events that concern one of these entities; all when empty. Names as the client gave them: the caller
    /// resolves them to canonical ids.
    pub entities: Vec<String>,
    /// Who the client is, which the query does not say.
    pub guest: Guest,
    /// Whether to begin with a snapshot. Without one, the stream begins with a `ping` that says where it begins. A
    /// client that cannot be given all it missed gets a snapshot even so.
    pub snapshot: bool,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            cursor: None,
            layers: LayerSet::ALL,
            types: Vec::new(),
            entities: Vec::new(),
            guest: Guest::default(),
            snapshot: true,
        }
    }
}

impl StreamOptions {
    /// Reads `cursor`, `layers`, `types`, `entity` and `snapshot` from a query string (without the `?`). Lists are
    /// separated by commas, given more than once, or both. Other parameters are not looked at.
    ///
    /// # Errors
    /// The parameter that is refused, and what was expected.
    pub fn from_query(query: &str) -> Result<Self, InvalidOption> {
        let mut options = Self { layers: LayerSet::NONE, ..Self::default() };
        let mut snapshot = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "cursor" => {
                    let cursor = value.parse().map_err(|error| refuse("cursor", format!("{error}")))?;
                    once("cursor", options.cursor.replace(cursor))?;
                }
                "snapshot" => {
                    let wanted = value.parse().map_err(|_| refuse("snapshot", "expected true or false".to_owned()))?;
                    once("snapshot", snapshot.replace(wanted))?;
                }
                "layers" => {
                    for item in items("layers", &value)? {
                        let layer = item.parse().map_err(|error| refuse("layers", format!("{error}")))?;
                        options.layers = options.layers.with(layer);
                    }
                }
                "types" => {
                    for item in items("types", &value)? {
                        options.types.push(item.parse().map_err(|error| refuse("types", format!("{error}")))?);
                    }
                    at_most("types", options.types.len())?;
                }
                "entity" => {
                    for item in items("entity", &value)? {
                        if item.len() > MAX_ENTITY_BYTES {
                            return Err(refuse("entity", format!("expected at most {MAX_ENTITY_BYTES} bytes")));
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
        options.snapshot = snapshot.unwrap_or(true);
        Ok(options)
    }

    /// Whether every event is wanted.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        self.layers == LayerSet::ALL && self.types.is_empty() && self.entities.is_empty()
    }

    /// Whether this event is wanted: it must pass each of the three filters.
    #[must_use]
    pub fn wants(&self, frame: &Frame) -> bool {
        (self.layers == LayerSet::ALL || self.layers.intersects(frame.layers()))
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(frame.event_type())))
            && (self.entities.is_empty() || self.entities.iter().any(|id| frame.concerns(id)))
    }
}

fn refuse(parameter: &'static str, expected: String) -> InvalidOption {
    InvalidOption { parameter, expected }
}

fn once<T>(parameter: &'static str, before: Option<T>) -> Result<(), InvalidOption> {
    before.map_or(Ok(()), |_| Err(refuse(parameter, "expected at most once".to_owned())))
}

fn at_most(parameter: &'static str, number: usize) -> Result<(), InvalidOption> {
    if number > MAX_NAMES { Err(refuse(parameter, format!("expected at most {MAX_NAMES}"))) } else { Ok(()) }
}

/// The non-empty items of a comma-separated list; a list of nothing is refused, since it could mean all or none.
fn items<'a>(parameter: &'static str, list: &'a str) -> Result<impl Iterator<Item = &'a str>, InvalidOption> {
    let mut items = list.split(',').map(str::trim).filter(|item| !item.is_empty()).peekable();
    if items.peek().is_none() {
        return Err(refuse(parameter, "expected a name, or names separated by commas".to_owned()));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_everything() {
        assert_eq!(StreamOptions::from_query(""), Ok(StreamOptions::default()));
        assert_eq!(StreamOptions::from_query("other=1&token=x"), Ok(StreamOptions::default()));
        assert!(StreamOptions::default().wants_all());
    }

    #[test]
    fn every_option_is_read() {
        let query = "cursor=5f.12&layers=city,nodes&types=usage.%3E,dao.event.*&entity=agent%3Aa&entity=dao:b,dao:c&snapshot=false";
        let options = StreamOptions::from_query(query).unwrap();
        assert_eq!(options.cursor, "5f.12".parse().ok());
        assert_eq!(options.layers.to_vec(), [Layer::City, Layer::Nodes]);
        assert_eq!(options.types.iter().map(Pattern::as_str).collect::<Vec<_>>(), ["usage.>", "dao.event.*"]);
        assert_eq!(options.entities, ["agent:a", "dao:b", "dao:c"]);
        assert!(!options.snapshot && !options.wants_all());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let many = format!("entity={}", vec!["x"; MAX_NAMES + 1].join(","));
        let long = format!("entity={}", "x".repeat(MAX_ENTITY_BYTES + 1));
        for (query, parameter) in [
            ("cursor=latest", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=1.1&cursor=1.2", "cursor"),
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
