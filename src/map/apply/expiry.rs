//! The passage of the log's time.

use crate::map::context::FoldContext;
use crate::map::state::slab::EntityKey;
use crate::map::usage::CallSource;

/// Most entities with a passed deadline that one entry handles, so that no entry pays for many others.
const MAX_DEADLINES_PER_ENTRY: usize = 8;

impl FoldContext<'_> {
    /// Updates the agents whose calls are counted from events, if the origin of calls was another one `before`: at the usage
    /// service's first answer, and after a day without any.
    pub(super) fn call_source_changed(&mut self, before: CallSource) {
        if self.state.call_source() == before {
            return;
        }
        let agents = self.state.entities.iter().filter(|(_, entity)| entity.counter.depends_on_source());
        let keys: Vec<EntityKey> = agents.map(|(key, _)| key).collect();
        for key in keys {
            self.live_fields_changed(key);
        }
    }

    /// Expires what has reached its deadline.
    pub(in crate::map) fn expire(&mut self) {
        for _ in 0..MAX_DEADLINES_PER_ENTRY {
            let Some((hour, key)) = self.state.index.deadlines.first().copied() else { break };
            if hour > self.hour {
                break;
            }
            self.state.index.deadlines.pop_first();
            let now = self.hour;
            let Some(entity) = self.state.entities.get_mut(key) else { continue };
            entity.deadline = None;
            if entity.expire(now) {
                self.forget(key);
            } else {
                self.item_changed(key);
            }
        }
        let calls = self.state.call_source();
        self.state.network_usage.expire(self.hour);
        self.call_source_changed(calls);
        let ended = self.state.alerts.expire(self.state.logged_at);
        self.alerts_changed(ended);
    }
}
