//! Figures of the city layer that the city service reports for the layer as a whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::layers::{CityMetrics, CityMicrodao, CityUser};
use crate::model::{Compatibility, json as normal};

use super::fields;

/// Most items of each list that is kept as the service has it.
const MAX_ITEMS: usize = 1_000;

/// Name of [`CitySections`] in poll events.
const SECTIONS: &str = "sections";

/// The latest figures of the city service. Saved by position: the order of the fields is the saved format.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CityFigures {
    metrics: CityMetrics,
    #[serde(deserialize_with = "normal::values")]
    quests: Vec<Value>,
    /// None where no event has them: they are recorded for [`Compatibility::Prototype`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sections: Option<CitySections>,
}

/// Sections of the service's snapshot that the prototype passed on to clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CitySections {
    user: Option<CityUser>,
    microdao: Option<CityMicrodao>,
    #[serde(deserialize_with = "normal::values")]
    nodes: Vec<Value>,
    #[serde(deserialize_with = "normal::values")]
    agents: Vec<Value>,
    #[serde(deserialize_with = "normal::values")]
    events: Vec<Value>,
}

/// The parts of an answer that replace parts of the figures.
#[derive(Debug, Default)]
pub(super) struct CityUpdate {
    metrics: Option<CityMetrics>,
    quests: Option<Vec<Value>>,
    /// Boxed, since most answers have none.
    sections: Option<Box<CitySections>>,
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
                ..CityMetrics::default()
            }
        });
        let sections = city.get(SECTIONS).and_then(Value::as_object);
        let sections = sections.map(|sections| Box::new(CitySections::read(sections)));
        Self { metrics, quests: objects(city, "quests"), sections }
    }

    /// Returns `true` if it replaces nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.metrics.is_none() && self.quests.is_none() && self.sections.is_none()
    }
}

/// The objects of a list.
fn objects(of: &Map<String, Value>, name: &str) -> Option<Vec<Value>> {
    let items = of.get(name).and_then(Value::as_array)?;
    Some(items.iter().filter(|item| item.is_object()).take(MAX_ITEMS).cloned().collect())
}

impl CitySections {
    /// The names are those of the service.
    fn read(sections: &Map<String, Value>) -> Self {
        let object = |name: &str| sections.get(name).and_then(Value::as_object);
        let list = |name: &str| objects(sections, name).unwrap_or_default();
        Self {
            user: object("user").map(|user| {
                let text = |name: &str| user.get(name).and_then(fields::text).map(str::to_owned);
                CityUser {
                    id: text("id"),
                    handle: text("handle"),
                    archetype: text("archetype"),
                    microdao_id: text("microdaoId"),
                }
            }),
            microdao: object("microdao").map(|microdao| {
                let text = |name: &str| microdao.get(name).and_then(fields::text).map(str::to_owned);
                let count = |name: &str| microdao.get(name).and_then(fields::count);
                let number = |name: &str| microdao.get(name).and_then(fields::number);
                CityMicrodao {
                    id: text("id"),
                    name: text("name"),
                    members: count("members"),
                    humans: count("humans"),
                    agents: count("agents"),
                    balance_dcr: number("balanceDcr"),
                    activity_24h: number("activity24h"),
                }
            }),
            nodes: list("nodes"),
            agents: list("agents"),
            events: list("events"),
        }
    }

    fn fields(&self) -> Map<String, Value> {
        Map::from_iter([
            ("user".to_owned(), json!(self.user)),
            ("microdao".to_owned(), json!(self.microdao)),
            ("nodes".to_owned(), json!(self.nodes)),
            ("agents".to_owned(), json!(self.agents)),
            ("events".to_owned(), json!(self.events)),
        ])
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
        if let Some(sections) = update.sections {
            self.sections = Some(*sections);
        }
    }

    /// The form in poll events, for [`CityUpdate::read`].
    pub(super) fn recorded(&self) -> Map<String, Value> {
        let mut recorded = self.fields(Compatibility::None);
        if let Some(sections) = &self.sections {
            recorded.insert(SECTIONS.to_owned(), Value::Object(sections.fields()));
        }
        recorded
    }

    /// The fields of the city layer that show them.
    pub(super) fn fields(&self, compatibility: Compatibility) -> Map<String, Value> {
        let mut fields = Map::new();
        let metrics = match compatibility {
            Compatibility::None => json!(self.metrics),
            Compatibility::Prototype => json!(self.metrics.with_old_names()),
        };
        fields.insert("metrics".to_owned(), metrics);
        fields.insert("quests".to_owned(), Value::Array(self.quests.clone()));
        if compatibility.is_prototype() {
            fields.append(&mut self.sections.clone().unwrap_or_default().fields());
        }
        fields
    }
}
