//! The passage of the log's time.

use crate::map::context::FoldContext;

/// Most entities with a passed deadline that one entry handles, so that no entry pays for many others.
const MAX_DEADLINES_PER_ENTRY: usize = 8;

impl FoldContext<'_> {
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
        self.state.network_usage.expire(self.hour);
        let ended = self.state.alerts.expire(self.state.logged_at);
        self.alerts_changed(ended);
    }
}
