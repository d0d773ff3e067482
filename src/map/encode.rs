//! The layers' bytes: items that are encoded already, one after the other.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::change::list_of;
use crate::model::{EntityType, Layer, Service};

use super::diff::CityFigures;
use super::{EncodedLayers, State};

impl State {
    /// The upstreams that have contributed data.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.marks.keys().copied().collect()
    }

    /// The layers, encoded. Proportional to the size of the map.
    #[must_use]
    pub fn encode(&self) -> EncodedLayers {
        self.encode_with(&self.city, self.services(), true)
    }

    /// The layers with their own figures alone, but for those of the city service: no item, and no word of where they come
    /// from.
    #[must_use]
    pub fn encode_figures(&self) -> EncodedLayers {
        self.encode_with(&CityFigures::default(), Vec::new(), false)
    }

    fn encode_with(&self, figures: &CityFigures, services: Vec<Service>, items: bool) -> EncodedLayers {
        let shown = self.shown_totals();
        let mut city = shown.city();
        city.extend(figures.fields());
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
