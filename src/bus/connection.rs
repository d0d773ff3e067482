//! The connection to NATS: made in the background, made again whenever it is lost, with its state.
//!
//! | part | content |
//! |---|---|
//! | `config` | addresses, credentials, TLS and times |
//! | `client` | creating a client of async-nats, and replacing one that failed |
//! | `events` | what a client reports: state, errors, metrics and log lines |
//! | [`credentials`], [`nkey`] | each kind of credentials, and the answer to a server's challenge |
//! | `servers` | addresses, and the choice of a server for each attempt |
//! | [`permissions`] | permissions that the server denied, and the requests that wait in vain |

mod client;
mod config;
pub mod credentials;
mod error;
mod events;
pub mod nkey;
pub mod permissions;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::{Client, jetstream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::client::{ActiveClient, ClientFactory};
use self::config::API_PREFIX;
pub use self::config::{Identity, NatsConfig};
pub use self::error::{ApiError, NatsError};
pub use self::events::ConnectionState;
use self::events::{EventRecorder, LastError};
use self::permissions::{PermissionError, PermissionGuard, Permissions};

/// A connection to NATS. Cheap to clone; all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Replaced when the client fails.
    active: Arc<ArcSwap<ActiveClient>>,
    state: watch::Receiver<ConnectionState>,
    last_error: LastError,
    permissions: Permissions,
    /// Prefix of the subjects of the `JetStream` API.
    api_prefix: Arc<str>,
    closing: CancellationToken,
}

/// Starts connecting and returns at once: a server that is unavailable at the start is handled like one that becomes
/// unavailable later.
///
/// # Errors
/// An address is invalid, or a file cannot be used.
pub async fn connect(config: &NatsConfig) -> Result<Connection, NatsError> {
    config.check()?;
    let closing = CancellationToken::new();
    let (events, state) = EventRecorder::new(config.inbox(), closing.clone());
    let (last_error, permissions) = (events.last_error.clone(), events.permissions.clone());
    let factory = ClientFactory { config: config.clone(), events };
    let (client, ended) = factory.client().await?;
    let active = Arc::new(ArcSwap::from_pointee(client));
    tokio::spawn(factory.replace(Arc::downgrade(&active), ended, closing.clone()));
    let api_prefix = config.api_prefix().into();
    Ok(Connection { active, state, last_error, permissions, api_prefix, closing })
}

impl Connection {
    /// The active client; must not be kept, since it may be replaced.
    #[must_use]
    pub fn client(&self) -> Client {
        self.active.load().client.clone()
    }

    /// The `JetStream` context of the active client.
    #[must_use]
    pub fn jetstream(&self) -> jetstream::Context {
        self.active.load().jetstream.clone()
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// Waits for the connection, at most `timeout`; returns whether it is connected.
    pub async fn connected(&self, timeout: Duration) -> bool {
        let mut state = self.state();
        let connected = state.wait_for(|state| state.connected);
        matches!(tokio::time::timeout(timeout, connected).await, Ok(Ok(_)))
    }

    /// The error that keeps it from connecting, if NATS reported one: rejected credentials, an unknown host name.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.get()
    }

    /// Text for an operation that needs a connection while there is none, with the error that keeps it from connecting.
    #[must_use]
    pub fn disconnected_text(&self) -> String {
        let error = self.last_error().map_or_else(String::new, |error| format!(": {error}"));
        format!("disconnected from NATS{error}")
    }

    /// Sends a request to the `JetStream` API. `operation` is the subject without its prefix: `STREAM.INFO.LIVING_MAP`.
    ///
    /// # Errors
    /// Disconnected, no answer in time, or a permission is missing.
    pub async fn api_request<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Response<T>, ApiError> {
        let jetstream = self.jetstream();
        let answer = self.permitted(&[operation], jetstream.request(operation.to_owned(), body)).await?;
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => ApiError::Disabled,
            _ => ApiError::NoAnswer(error.to_string()),
        })
    }

    /// Runs requests to the `JetStream` API with these operations (patterns), and ends them as soon as the server reports that
    /// one of their permissions is missing.
    ///
    /// # Errors
    /// A permission is missing.
    pub fn permitted<T>(
        &self,
        operations: &[&str],
        requests: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, PermissionError>> {
        // many futures contain this one
        let requests = Box::pin(requests);
        let (guard, subjects) = (self.permissions.guard(), self.api_subjects(operations));
        async move { guard.run(&subjects, requests).await }
    }

    /// A guard for messages that are published from now on.
    #[must_use]
    pub fn permission_guard(&self) -> PermissionGuard {
        self.permissions.guard()
    }

    /// The missing permission that the server reported last about one of these operations (patterns) of the `JetStream` API, or
    /// about receiving answers.
    #[must_use]
    pub fn denied(&self, operations: &[&str]) -> Option<PermissionError> {
        self.permissions.denied(&self.api_subjects(operations))
    }

    /// The missing permission that the server reported last about acknowledging messages of a consumer.
    #[must_use]
    pub fn acks_denied(&self, stream: &str, consumer: &str) -> Option<PermissionError> {
        self.permissions.denied(&[format!("$JS.ACK.{stream}.{consumer}.>")])
    }

    /// All missing permissions that the server reported lately.
    #[must_use]
    pub fn all_denied(&self) -> Vec<PermissionError> {
        self.permissions.all_denied()
    }

    /// The subjects of operations of the `JetStream` API.
    #[must_use]
    pub fn api_subjects(&self, operations: &[&str]) -> Vec<String> {
        // a server of the domain maps the subject to its own, and reports that one
        let prefixes = [&*self.api_prefix, API_PREFIX];
        operations.iter().flat_map(|operation| prefixes.map(|prefix| format!("{prefix}.{operation}"))).collect()
    }

    /// Sends buffered messages, and closes the connection.
    pub async fn close(&self) {
        self.closing.cancel();
        let client = self.client();
        // the flush does not end when the connection is lost; then there is nothing to wait for
        let _ = tokio::time::timeout(Duration::from_secs(5), client.flush()).await;
        let _ = client.drain().await;
    }
}
