//! Figures of the city layer that the city service reports for the layer as a whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::layers::CityMetrics;

use super::fields;

/// Most quests that are kept.
const MAX_QUESTS: usize = 1_000;

/// The latest figures of the city service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CityFigures {
    metrics: CityMetrics,
    quests: Vec<Value>,
}

/// The parts of an answer that replace parts of the figures.
#[derive(Debug, Default)]
pub(super) struct CityUpdate {
    metrics: Option<CityMetrics>,
    quests: Option<Vec<Value>>,
}

impl CityUpdate {
    pub(super) fn read(city: &Map<String, Value>) -> Self {
        let metrics = city.get("metrics").and_then(Value::as_object).map(|metrics| {
            let number = |name: &str| metrics.get(name).and_then(fields::number);
            CityMetrics {
                activity_index: number("activity_index"),
                avg_agent_latency_ms: number("avg_agent_latency_ms"),
                nats_tps: number("nats_tps"),
                node_avg_load: number("node_avg_load"),
                error_rate: number("error_rate"),
                quest_engagement: number("quest_engagement"),
            }
        });
        let quests = city.get("quests").and_then(Value::as_array);
        let quests =
            quests.map(|quests| quests.iter().filter(|quest| quest.is_object()).take(MAX_QUESTS).cloned().collect());
        Self { metrics, quests }
    }

    /// Returns `true` if it replaces nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.metrics.is_none() && self.quests.is_none()
    }
}

impl CityFigures {
    pub(super) fn update(&mut self, update: CityUpdate) {
        if let Some(metrics) = update.metrics {
            self.metrics = metrics;
        }
        if let Some(quests) = update.quests {
            self.quests = quests;
        }
    }

    /// The fields of the city layer that show them.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("metrics".to_owned(), json!(self.metrics));
        fields.insert("quests".to_owned(), Value::Array(self.quests.clone()));
        fields
    }
}
