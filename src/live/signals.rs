//! Events that concern the server itself, broadcast to the tasks that act on them. Only new events are broadcast, not
//! those folded while catching up.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::LiveMap;
use crate::model::{Event, subject};

/// Capacity of the channel. A receiver that lags further loses the oldest events and gets `RecvError::Lagged`.
const CAPACITY: usize = 256;

/// Subject prefixes of these events.
const PREFIXES: [&str; 5] = ["config.updated.", "policy.updated.", "prompt.updated.", "ops.health.", "audit.error."];

pub(super) fn channel() -> broadcast::Sender<Arc<Event>> {
    broadcast::Sender::new(CAPACITY)
}

impl LiveMap {
    /// Subscribes to control events (`config.updated.*`, `policy.updated.*`, `prompt.updated.*`), health reports
    /// (`ops.health.*`) and error reports (`audit.error.*`). Dead letters are excluded.
    #[must_use]
    pub fn signals(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.signals.subscribe()
    }

    pub(super) fn signal(&self, event: &Event) {
        let concerns = PREFIXES.iter().any(|prefix| event.event_type.starts_with(prefix));
        if concerns && !subject::is_dead_letter(&event.event_type) && self.is_complete() {
            // fails only without receivers
            let _ = self.inner.signals.send(Arc::new(event.clone()));
        }
    }
}
