//! The connection to NATS: made in the background, made again whenever it is lost, with its state.
//!
//! | part | content |
//! |---|---|
//! | [`credentials`], [`nkey`] | each kind of credentials, and the answer to a server's challenge |
//! | `servers` | addresses, and the choice of a server for each attempt |
//! | [`permissions`] | permissions that the server denied, and the requests that wait in vain |

pub mod credentials;
pub mod nkey;
pub mod permissions;
mod servers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::{AuthError, Client, ConnectErrorKind, ConnectOptions, Event, ReconnectToServer, Server, jetstream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::credentials::Credentials;
use self::permissions::{PermissionError, PermissionGuard, Permissions};
use self::servers::{CA_FILE, ServerChoice, addresses};
use super::backoff;
use crate::tls::{InvalidFile, read_certificates, read_key};

/// Setting of the certificate of [`Identity`].
const CERT_FILE: &str = "NATS_CERT_FILE";
/// Setting of its key.
const KEY_FILE: &str = "NATS_KEY_FILE";

/// Prefix of the subjects of the `JetStream` API outside domains.
const API_PREFIX: &str = "$JS.API";

/// Prefix of inboxes, unless the settings have another one.
const INBOX: &str = "_INBOX";

/// Settings of the connection.
#[derive(Clone)]
pub struct NatsConfig {
    /// Address, or several of one cluster separated by commas: `nats://host:4222`, `tls://…`. Each may carry a token
    /// (`nats://token@host`) or a user and a password (`nats://user:password@host`), percent-encoded.
    pub url: String,
    /// Credentials, if the addresses have none.
    pub credentials: Option<Credentials>,
    /// File with the certificate authorities of the servers; none for those of the system. With a file, or with an identity,
    /// connections without TLS are rejected. Read at each attempt to connect.
    pub ca_file: Option<PathBuf>,
    /// Certificate of this client.
    pub identity: Option<Identity>,
    /// Start TLS before the server's first message, for servers with `handshake_first`.
    pub tls_first: bool,
    /// Prefix of the subjects on which answers arrive; none for `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// `JetStream` domain of the streams; none for that of the server.
    pub jetstream_domain: Option<String>,
    /// Name of this connection on the server.
    pub name: String,
    /// Delay before the first attempt to reconnect; doubled after each failure, with jitter.
    pub reconnect_min: Duration,
    /// Maximum delay between two attempts.
    pub reconnect_max: Duration,
    /// Timeout of one attempt to connect.
    pub connect_timeout: Duration,
    /// Timeout of a request.
    pub request_timeout: Duration,
    /// Interval of pings; the connection counts as lost after two pings without an answer.
    pub ping_interval: Duration,
}

/// Files of a client's certificate and of its key, in PEM form. Read at each attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those of intermediate authorities.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            credentials: None,
            ca_file: None,
            identity: None,
            tls_first: false,
            inbox_prefix: None,
            jetstream_domain: None,
            name: "living-map".to_owned(),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
        }
    }
}

impl NatsConfig {
    /// Validates the addresses and reads the files, without connecting.
    ///
    /// # Errors
    /// The first one that is not valid.
    pub fn check(&self) -> Result<(), NatsError> {
        let addresses = addresses(&self.url)?;
        if self.credentials.is_some() && addresses.iter().any(|address| Credentials::of_address(address).is_some()) {
            return Err(NatsError::Contradiction(
                "an address in NATS_URL has credentials, and others are set beside it".to_owned(),
            ));
        }
        if let Some(path) = &self.ca_file {
            read_certificates(CA_FILE, path)?;
        }
        if let Some(identity) = &self.identity {
            read_certificates(CERT_FILE, &identity.certificate)?;
            read_key(KEY_FILE, &identity.key)?;
        }
        if let Some(credentials) = &self.credentials {
            credentials.answer(&[])?;
        }
        Ok(())
    }

    fn inbox(&self) -> &str {
        self.inbox_prefix.as_deref().unwrap_or(INBOX)
    }

    /// Prefix of the subjects of the `JetStream` API.
    fn api_prefix(&self) -> String {
        self.jetstream_domain.as_ref().map_or_else(|| API_PREFIX.to_owned(), |domain| format!("$JS.{domain}.API"))
    }
}

/// Why connecting cannot be attempted.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Invalid address. The message does not repeat it, since it may contain a password.
    #[error("NATS_URL: invalid address, expected nats://host:port: {0}")]
    Address(String),
    /// Settings that exclude each other, or one without another that it needs.
    #[error("{0}")]
    Contradiction(String),
    /// A file with credentials, certificates or a key cannot be used.
    #[error(transparent)]
    File(#[from] InvalidFile),
    /// Contradictory options.
    #[error("the connection to NATS cannot be set up: {0}")]
    Setup(#[from] async_nats::ConnectError),
}

/// Why a request to the `JetStream` API has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The account lacks a permission.
    #[error(transparent)]
    Denied(#[from] PermissionError),
    /// Nothing answers to requests.
    #[error("JetStream is unavailable: it is not enabled on this server, in this domain or for this account")]
    Disabled,
    /// The server did not answer.
    #[error("JetStream is unavailable: {0}")]
    NoAnswer(String),
}

/// State of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// True while connected.
    pub connected: bool,
    /// Connections made so far. State that the server keeps for a connection must be set up again when this changes.
    pub connects: u64,
}

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

/// The last error that NATS reported; `None` while connected.
type LastError = Arc<Mutex<Option<String>>>;

/// Starts connecting and returns at once: a server that is unavailable at the start is handled like one that becomes
/// unavailable later.
///
/// # Errors
/// An address is invalid, or a file cannot be used.
pub async fn connect(config: &NatsConfig) -> Result<Connection, NatsError> {
    config.check()?;
    let (sender, state) = watch::channel(ConnectionState::default());
    let (last_error, permissions) = (LastError::default(), Permissions::default());
    metrics::gauge!("living_map_nats_connected").set(0.0);
    let events = EventRecorder {
        state: Arc::new(sender),
        last_error: Arc::clone(&last_error),
        permissions: permissions.clone(),
        inbox: config.inbox().into(),
    };
    let factory = ClientFactory { config: config.clone(), events };
    let (client, ended) = factory.client().await?;
    let active = Arc::new(ArcSwap::from_pointee(client));
    let closing = CancellationToken::new();
    tokio::spawn(factory.replace(Arc::downgrade(&active), ended, closing.clone()));
    let api_prefix = config.api_prefix().into();
    Ok(Connection { active, state, last_error, permissions, api_prefix, closing })
}

/// A client and its `JetStream` context.
#[derive(Debug)]
struct ActiveClient {
    client: Client,
    jetstream: jetstream::Context,
}

/// Creates clients.
struct ClientFactory {
    config: NatsConfig,
    events: EventRecorder,
}

impl ClientFactory {
    /// A client, and a token that is cancelled when the client ends.
    async fn client(&self) -> Result<(ActiveClient, CancellationToken), NatsError> {
        let config = &self.config;
        let servers = addresses(&config.url)?;
        let choice = Arc::new(ServerChoice::new(&servers, config.credentials.clone()));
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let ended = CancellationToken::new();
        // the client's task owns the callback and drops it when it ends
        let alive = Arc::new(ended.clone().drop_guard());
        let mut options = ConnectOptions::with_auth_callback(answer_challenges(Arc::clone(&choice)))
            .name(&config.name)
            .retry_on_initial_connect()
            .connection_timeout(config.connect_timeout)
            .request_timeout(Some(config.request_timeout))
            .ping_interval(config.ping_interval)
            .custom_inbox_prefix(config.inbox())
            .require_tls(config.ca_file.is_some() || config.identity.is_some())
            .reconnect_delay_callback(move |attempt| {
                backoff::delay(u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX), min, max)
            });
        if let Some(path) = &config.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        if let Some(identity) = &config.identity {
            options = options.add_client_certificate(identity.certificate.clone(), identity.key.clone());
        }
        if config.tls_first {
            options = options.tls_first();
        }
        let (events, chosen) = (self.events.clone(), Arc::clone(&choice));
        options = options.reconnect_to_server_callback(move |pool: Vec<Server>, _| {
            if let Some(failures) = chosen.failures(&pool) {
                events.failed(failures);
            }
            std::future::ready(chosen.next(&pool).map(|addr| ReconnectToServer { addr, delay: None }))
        });
        let events = self.events.clone();
        options = options.event_callback(move |event| {
            let (events, choice, alive) = (events.clone(), Arc::clone(&choice), Arc::clone(&alive));
            async move {
                events.record(&event, &choice);
                drop(alive);
            }
        });
        let client = options.connect(servers).await?;
        let jetstream = match &config.jetstream_domain {
            Some(domain) => jetstream::with_domain(client.clone(), domain),
            None => jetstream::new(client.clone()),
        };
        Ok((ActiveClient { client, jetstream }, ended))
    }

    /// Creates a new client whenever the active one has ended by itself: async-nats panics at some messages (0.51: a carriage
    /// return inside a header value), which ends its connection task.
    async fn replace(
        self,
        active: Weak<ArcSwap<ActiveClient>>,
        mut ended: CancellationToken,
        closing: CancellationToken,
    ) {
        for attempt in 0_u32.. {
            tokio::select! {
                () = closing.cancelled() => return,
                () = ended.cancelled() => {}
            }
            self.events.disconnected(&Event::Closed);
            let delay = backoff::delay(attempt.min(4), self.config.reconnect_min, self.config.reconnect_max);
            if closing.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
            let Some(active) = active.upgrade() else { return };
            tracing::error!("the NATS client failed; creating a new one");
            match self.client().await {
                Ok((client, next)) => {
                    active.store(Arc::new(client));
                    ended = next;
                }
                Err(error) => tracing::error!(%error, "a new NATS client cannot be created; retrying"),
            }
        }
    }
}

/// Answers the challenge of a server with the credentials for it. Their file is read on a thread for blocking operations.
fn answer_challenges(choice: Arc<ServerChoice>) -> impl Fn(Vec<u8>) -> ChallengeAnswer + Send + Sync + 'static {
    move |challenge| {
        let credentials = choice.credentials();
        Box::pin(async move {
            let Some(credentials) = credentials else { return Ok(async_nats::Auth::new()) };
            let answer = tokio::task::spawn_blocking(move || credentials.answer(&challenge));
            answer.await.map_err(AuthError::new)?.map_err(AuthError::new)
        })
    }
}

/// The future answer to a challenge.
type ChallengeAnswer = std::pin::Pin<Box<dyn Future<Output = Result<async_nats::Auth, AuthError>> + Send + Sync>>;

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
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// Records the events of a client: state, errors, metrics, log lines. Cheap to clone; all clones are the same.
#[derive(Clone)]
struct EventRecorder {
    state: Arc<watch::Sender<ConnectionState>>,
    last_error: LastError,
    permissions: Permissions,
    /// Prefix of inboxes.
    inbox: Arc<str>,
}

impl EventRecorder {
    fn record(&self, event: &Event, choice: &ServerChoice) {
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
                    "a NATS subscription was too slow and messages were dropped; its reader requests them again"
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
        *self.last_error() = None;
        self.permissions.clear();
        self.state.send_modify(|state| *state = ConnectionState { connected: true, connects: state.connects + 1 });
        metrics::gauge!("living_map_nats_connected").set(1.0);
        metrics::counter!("living_map_nats_connects_total").increment(1);
        tracing::info!(server, "connected to NATS");
    }

    fn disconnected(&self, event: &Event) {
        self.state.send_modify(|state| state.connected = false);
        metrics::gauge!("living_map_nats_connected").set(0.0);
        tracing::warn!(event = %event, "disconnected from NATS");
    }

    fn failed(&self, report: String) {
        let mut last_error = self.last_error();
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

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_error_does_not_repeat_the_password() {
        let config = NatsConfig { url: "http://me:secret@host".to_owned(), ..NatsConfig::default() };
        let error = connect(&config).await.unwrap_err().to_string();
        assert!(error.contains("nats://host:port") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn credentials_in_an_address_exclude_others() {
        let credentials = Some(Credentials::Token("hush".to_owned()));
        let config =
            |url: &str| NatsConfig { url: url.to_owned(), credentials: credentials.clone(), ..Default::default() };
        assert!(config("nats://a,nats://b").check().is_ok());
        let error = config("nats://a,nats://me:secret@b").check().unwrap_err().to_string();
        assert!(error.contains("NATS_URL") && !error.contains("secret") && !error.contains("hush"), "{error}");
    }
}
