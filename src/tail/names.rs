//! Names of entities, as far as the frames have them.

use std::collections::HashMap;

use serde_json::Value;

/// Most names that are remembered.
const MAX_NAMES: usize = 100_000;

/// Names by canonical id, from the changes of earlier frames.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// Remembers the names in an event's changes. Removed entities keep theirs: their last event is said with it.
    pub fn learn(&mut self, frame: &Value) {
        for change in frame["changes"].as_array().into_iter().flatten() {
            let (Some(id), Some(name)) = (change["id"].as_str(), change["patch"]["name"].as_str()) else { continue };
            if self.0.len() < MAX_NAMES || self.0.contains_key(id) {
                self.0.insert(id.to_owned(), name.to_owned());
            }
        }
    }

    /// The name of an entity, if a frame had it.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}
