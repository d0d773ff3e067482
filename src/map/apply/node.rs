//! Metrics of nodes.

use serde_json::Value;

use crate::map::context::FoldContext;
use crate::map::decode::assertion::Metrics;
use crate::map::fields::Field;
use crate::map::state::slab::EntityKey;
use crate::map::state::status;

impl FoldContext<'_> {
    pub(super) fn metrics(&mut self, key: EntityKey, metrics: Metrics) {
        let time = self.time;
        let Some(node) = self.entity(key) else { return };
        if node.last_active.is_some_and(|last| last > time) {
            return;
        }
        let implies_online = status::metrics_imply_online(node);
        for (field, value) in metrics.fields {
            self.set(key, field, value);
        }
        match metrics.status {
            Some(status) => self.set(key, Field::Status, Value::from(status.as_str())),
            None if implies_online => self.set(key, Field::Status, Value::from("online")),
            None => {}
        }
        self.activity(key);
    }
}
