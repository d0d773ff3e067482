//! Starting the dead-letter service.

use std::sync::Arc;

use super::{Archive, DeadLetterAlert, DeadLetterConfig, DeadLetterQueue, DeadLetterService, Processor, Publisher};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::tasks::{Stage, Tasks};

/// Services that the dead-letter service uses.
pub struct DeadLetterHandles<'a> {
    /// The queue.
    pub queue: &'a DeadLetterQueue,
    /// Retry the messages of their name.
    pub processors: Vec<Arc<dyn Processor>>,
    /// Publishes dead letter events and alert events.
    pub publisher: Publisher,
    /// The built-in alert.
    pub alert: DeadLetterAlert,
    /// Stores old dead letters.
    pub archive: Archive,
    /// Records failures.
    pub journal: &'a Journal,
    /// Decides on which replica the service runs.
    pub leadership: &'a Leadership,
}

impl DeadLetterService {
    /// Starts retrying, publishing and archiving as tasks.
    #[must_use]
    pub fn start(config: DeadLetterConfig, handles: DeadLetterHandles<'_>, tasks: &mut Tasks) -> Self {
        let DeadLetterHandles { queue, processors, publisher, alert, archive, journal, leadership } = handles;
        let service = Self::new(config, queue.clone(), processors, publisher, alert, journal.clone());
        leadership.spawn(tasks, "dead letters", Stage::Working, {
            let service = service.clone();
            move |stop| service.clone().run(stop)
        });
        leadership.spawn(tasks, "dead letters' archive", Stage::Working, {
            let service = service.clone();
            move |stop| service.clone().archive(archive.clone(), stop)
        });
        service
    }
}
