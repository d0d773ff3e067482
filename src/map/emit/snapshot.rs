//! Encodes the layers of a snapshot from items that are encoded already.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::map::city::CityFigures;
use crate::map::state::State;
use crate::model::change::list_of;
use crate::model::{Compatibility, Cursor, EntityType, Layer};

/// The four layers as JSON objects, encoded separately.
#[derive(Debug, Clone)]
pub struct EncodedLayers {
    /// Position of the map.
    pub cursor: Cursor,
    /// The log's time of the last entry; the unix epoch before the first.
    pub generated_at: DateTime<Utc>,
    /// JSON objects, in the order of [`Layer::ALL`].
    pub layers: [Bytes; 4],
    /// The upstreams that have contributed data, by the names that clients expect.
    pub services: Vec<&'static str>,
    /// Fields and names that the layers have.
    pub compatibility: Compatibility,
}

impl State {
    /// Encodes the layers. Takes time proportional to the size of the map.
    #[must_use]
    pub fn encode(&self) -> EncodedLayers {
        let name = |service| self.options.compatibility.upstream_name(service);
        self.encode_with(&self.city, self.services().into_iter().map(name).collect(), true)
    }

    /// Encodes the layers without items, without the figures of the city service and without the list of upstreams.
    #[must_use]
    pub fn encode_figures(&self) -> EncodedLayers {
        self.encode_with(&CityFigures::default(), Vec::new(), false)
    }

    fn encode_with(&self, figures: &CityFigures, services: Vec<&'static str>, items: bool) -> EncodedLayers {
        let shown = self.shown_totals();
        let mut city = shown.city();
        city.extend(figures.fields(self.options.compatibility));
        let alerts: Vec<_> = self.alerts.list().filter(|_| items).collect();
        city.insert("alerts".to_owned(), json!(alerts));
        let layer = |layer, kinds: &[EntityType], own: &Map<String, Value>| self.encode_layer(layer, kinds, own, items);
        EncodedLayers {
            cursor: self.cursor,
            generated_at: self.logged_at,
            layers: [
                layer(Layer::City, &[EntityType::Microdao, EntityType::Channel], &city),
                layer(Layer::Space, &[EntityType::Dao, EntityType::Node], &Map::new()),
                layer(Layer::Nodes, &[EntityType::Node], &shown.nodes()),
                layer(Layer::Agents, &[EntityType::Agent], &shown.agents()),
            ],
            services,
            compatibility: self.options.compatibility,
        }
    }

    fn encode_layer(&self, layer: Layer, kinds: &[EntityType], own: &Map<String, Value>, items: bool) -> Bytes {
        let mut json = Vec::from(*b"{");
        for (name, value) in own {
            json.push(b'"');
            json.extend_from_slice(name.as_bytes());
            json.extend_from_slice(b"\":");
            json.extend_from_slice(value.to_string().as_bytes());
            json.push(b',');
        }
        for (at, kind) in kinds.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.push(b'"');
            json.extend_from_slice(list_of(layer, *kind).as_bytes());
            json.extend_from_slice(b"\":[");
            let entities = self.of_kind(*kind, None).take(if items { usize::MAX } else { 0 });
            let items: Vec<&[u8]> = entities.filter_map(|entity| entity.published.as_ref()?.encoded(layer)).collect();
            json.reserve(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    json.push(b',');
                }
                json.extend_from_slice(item);
            }
            json.push(b']');
        }
        json.push(b'}');
        json.into()
    }
}
