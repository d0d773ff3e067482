//! Events that concern the server itself, for those of its parts that act on them: told as they are folded, not what was
//! in the log before.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::LiveMap;
use crate::model::{Event, subject};

/// Events that wait for who acts on them; of more, the oldest are passed over, and it is told that they were.
const WAITING: usize = 256;

/// What the subjects of such events begin with.
const PREFIXES: [&str; 5] = ["config.updated.", "policy.updated.", "prompt.updated.", "ops.health.", "audit.error."];

pub(super) fn channel() -> broadcast::Sender<Arc<Event>> {
    broadcast::Sender::new(WAITING)
}

impl LiveMap {
    /// The control events (`config.updated.*`, `policy.updated.*`, `prompt.updated.*`), reports of health (`ops.health.*`)
    /// and of errors (`audit.error.*`) that come from now on. Dead letters are none of them.
    #[must_use]
    pub fn signals(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.signals.subscribe()
    }

    pub(super) fn signal(&self, event: &Event) {
        let concerns = PREFIXES.iter().any(|prefix| event.event_type.starts_with(prefix));
        if concerns && !subject::is_dead_letter(&event.event_type) && self.is_complete() {
            // nobody may listen, and that is fine
            let _ = self.inner.signals.send(Arc::new(event.clone()));
        }
    }
}
