//! Starting the webhook dispatcher.

use std::sync::Arc;

use anyhow::Context;

use super::{WebhookDispatcher, WebhookDispatcherConfig};
use crate::alerts::Alerting;
use crate::dead_letters::{DeadLetterQueue, Processor};
use crate::history::Storage;
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::live::LiveMap;
use crate::log::OpenLog;
use crate::tasks::{Stage, Tasks};

/// Services that the webhook dispatcher uses.
#[derive(Clone, Copy)]
pub struct WebhookHandles<'a> {
    /// The alert rules, with the webhooks of their file.
    pub alerting: &'a Alerting,
    /// The databases.
    pub storage: &'a Storage,
    /// Accepts messages that failed all their retries.
    pub dead_letters: &'a DeadLetterQueue,
    /// The event log, which the dispatcher follows.
    pub log: &'a OpenLog,
    /// The current map.
    pub live: &'a LiveMap,
    /// Records failures.
    pub journal: &'a Journal,
    /// Decides on which replica the dispatcher runs.
    pub leadership: &'a Leadership,
}

/// Handles of the webhook dispatcher.
pub struct Webhooks {
    /// Sends dead letters of webhooks again; none without alert rules.
    pub processor: Option<Arc<dyn Processor>>,
}

impl Webhooks {
    /// Starts the dispatcher as a task, if there are alert rules.
    ///
    /// # Errors
    /// The file of authorities cannot be used, or TLS cannot be set up.
    pub fn start(
        config: WebhookDispatcherConfig,
        handles: WebhookHandles<'_>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        let WebhookHandles { alerting, storage, dead_letters, log, live, journal, leadership } = handles;
        let Some(rules) = &alerting.rules else { return Ok(Self { processor: None }) };
        let dispatcher = WebhookDispatcher::new(
            config,
            rules.clone(),
            Arc::clone(&storage.outbox),
            dead_letters.clone(),
            Arc::clone(&log.log),
            live.clone(),
            journal.clone(),
        )
        .context("webhooks cannot be sent")?;
        dispatcher.destinations().iter().for_each(super::register);
        let processor: Arc<dyn Processor> = Arc::new(dispatcher.processor());
        leadership.spawn(tasks, "webhooks", Stage::Working, move |stop| dispatcher.clone().run(stop));
        Ok(Self { processor: Some(processor) })
    }
}
