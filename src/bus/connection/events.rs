//! Events of a client: the state of the connection, its errors, metrics and log lines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ConnectErrorKind, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::permissions::{PermissionError, Permissions};
use super::servers::ServerChoice;

/// State of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// True while connected.
    pub connected: bool,
    /// Connections made so far. State that the server keeps for a connection must be set up again when this changes.
    pub connects: u64,
}

/// The last error that NATS reported; `None` while connected. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    /// The error.
    pub fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the events of a client: state, errors, metrics, log lines. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct EventRecorder {
    state: Arc<watch::Sender<ConnectionState>>,
    pub last_error: LastError,
    pub permissions: Permissions,
    /// Prefix of inboxes.
    inbox: Arc<str>,
    /// Cancelled when this process closes the connection.
    closing: CancellationToken,
}

impl EventRecorder {
    /// A recorder of a connection that is not connected yet, and its state.
    pub fn new(inbox: &str, closing: CancellationToken) -> (Self, watch::Receiver<ConnectionState>) {
        let (sender, state) = watch::channel(ConnectionState::default());
        metrics::gauge!("living_map_nats_connected").set(0.0);
        let (last_error, permissions) = (LastError::default(), Permissions::default());
        (Self { state: Arc::new(sender), last_error, permissions, inbox: inbox.into(), closing }, state)
    }

    /// Records an event of a client that connected to `choice`.
    pub fn record(&self, event: &Event, choice: &ServerChoice) {
        match event {
            Event::Connected => {
                choice.connected();
                self.connected(choice.current().as_deref());
            }
            Event::Disconnected | Event::Closed => self.disconnected(event),
            Event::SlowConsumer(subscription) => {
                metrics::counter!("living_map_nats_slow_consumer_total").increment(1);
                tracing::warn!(
                    subscription,
                    "a NATS subscription was too slow and messages were dropped; readers of a stream request them again, and \
                     the bridge does not record them"
                );
            }
            Event::LameDuckMode | Event::Draining => tracing::info!(event = %event, "the NATS connection is closing"),
            Event::ServerError(error) => match PermissionError::parse(&error.to_string(), &self.inbox) {
                Some(error) => self.denied(&error),
                None => self.failed(event.to_string()),
            },
            Event::ClientError(error) if error.to_string().ends_with(&ConnectErrorKind::Dns.to_string()) => {
                let server = choice.current().unwrap_or_default();
                self.failed(format!("{server}: its name cannot be resolved"));
            }
            // failures to connect are known with their causes at the next attempt
            Event::ClientError(error) => tracing::debug!(%error, "the NATS client reported an error"),
        }
    }

    fn connected(&self, server: Option<&str>) {
        *self.last_error.lock() = None;
        self.permissions.clear();
        self.state.send_modify(|state| *state = ConnectionState { connected: true, connects: state.connects + 1 });
        metrics::gauge!("living_map_nats_connected").set(1.0);
        metrics::counter!("living_map_nats_connects_total").increment(1);
        tracing::info!(server, "connected to NATS");
    }

    /// Records that the connection was lost, or closed.
    pub fn disconnected(&self, event: &Event) {
        self.state.send_modify(|state| state.connected = false);
        metrics::gauge!("living_map_nats_connected").set(0.0);
        if self.closing.is_cancelled() {
            tracing::debug!(event = %event, "disconnected from NATS");
        } else {
            tracing::warn!(event = %event, "disconnected from NATS");
        }
    }

    /// Records an error.
    pub fn failed(&self, report: String) {
        let mut last_error = self.last_error.lock();
        // every attempt to connect fails with the same error: log it once
        if last_error.as_ref() != Some(&report) {
            tracing::warn!(error = report, "NATS reported an error");
        }
        *last_error = Some(report).filter(|_| !self.state.borrow().connected);
    }

    fn denied(&self, error: &PermissionError) {
        metrics::counter!("living_map_nats_denied_total").increment(1);
        if self.permissions.report(error.clone()) {
            tracing::error!(%error, "NATS denied a permission; see docs/operating.md#permissions");
        }
    }
}
