//! The connection to NATS: made in the background, made again whenever it is lost, with its state.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff;

/// Settings of the connection.
#[derive(Clone)]
pub struct NatsConfig {
    /// Address, or several of one cluster separated by commas: `nats://host:4222`, `tls://…`. The first may carry a
    /// token (`nats://token@host`) or a user and a password (`nats://user:password@host`), percent-encoded.
    pub url: String,
    /// Credentials file (JWT and nkey), if the address does not have the credentials.
    pub credentials_file: Option<PathBuf>,
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

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            credentials_file: None,
            name: "living-map".to_owned(),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
        }
    }
}

/// Why connecting cannot be attempted.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Invalid address. The message does not repeat it, since it may contain a password.
    #[error("the NATS address is invalid, expected nats://host:port: {0}")]
    Address(String),
    /// The credentials file cannot be read.
    #[error("the NATS credentials file {path} cannot be used: {problem}")]
    Credentials {
        /// Path of the file.
        path: PathBuf,
        /// Error of reading it.
        problem: std::io::Error,
    },
    /// Contradictory options.
    #[error("the connection to NATS cannot be set up: {0}")]
    Setup(#[from] async_nats::ConnectError),
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
    closing: CancellationToken,
}

/// The last error that NATS reported; `None` while connected.
type LastError = Arc<Mutex<Option<String>>>;

/// Starts connecting and returns at once: a server that is unavailable at the start is handled like one that becomes
/// unavailable later.
///
/// # Errors
/// The address is invalid, or the credentials cannot be read.
pub async fn connect(config: &NatsConfig) -> Result<Connection, NatsError> {
    addresses(&config.url)?;
    let (sender, state) = watch::channel(ConnectionState::default());
    let last_error = LastError::default();
    metrics::gauge!("living_map_nats_connected").set(0.0);
    let factory =
        ClientFactory { config: config.clone(), state: Arc::new(sender), last_error: Arc::clone(&last_error) };
    let (client, ended) = factory.client().await?;
    let active = Arc::new(ArcSwap::from_pointee(client));
    let closing = CancellationToken::new();
    tokio::spawn(factory.replace(Arc::downgrade(&active), ended, closing.clone()));
    Ok(Connection { active, state, last_error, closing })
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
    state: Arc<watch::Sender<ConnectionState>>,
    last_error: LastError,
}

impl ClientFactory {
    /// A client, and a token that is cancelled when the client ends.
    async fn client(&self) -> Result<(ActiveClient, CancellationToken), NatsError> {
        let config = &self.config;
        let servers = addresses(&config.url)?;
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let (state, last_error) = (Arc::clone(&self.state), Arc::clone(&self.last_error));
        let ended = CancellationToken::new();
        // the client's task owns the callback and drops it when it ends
        let alive = Arc::new(ended.clone().drop_guard());
        let mut options = ConnectOptions::new()
            .name(&config.name)
            .retry_on_initial_connect()
            .connection_timeout(config.connect_timeout)
            .request_timeout(Some(config.request_timeout))
            .ping_interval(config.ping_interval)
            .reconnect_delay_callback(move |attempt| {
                backoff::delay(u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX), min, max)
            })
            .event_callback(move |event| {
                let (state, last_error, alive) = (Arc::clone(&state), Arc::clone(&last_error), Arc::clone(&alive));
                async move {
                    note(&event, &state, &last_error);
                    drop(alive);
                }
            });
        if let Some(first) = servers.first() {
            options = match (first.username(), first.password()) {
                (Some(user), Some(password)) => options.user_and_password(decoded(user), decoded(password)),
                (Some(token), None) => options.token(decoded(token)),
                _ => options,
            };
        }
        if let Some(path) = &config.credentials_file {
            let failed = |problem| NatsError::Credentials { path: path.clone(), problem };
            options = options.credentials_file(path).await.map_err(failed)?;
        }
        let client = options.connect(servers).await?;
        Ok((ActiveClient { jetstream: jetstream::new(client.clone()), client }, ended))
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
            note(&Event::Closed, &self.state, &self.last_error);
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

    /// Sends buffered messages, and closes the connection.
    pub async fn close(&self) {
        self.closing.cancel();
        let client = self.client();
        // the flush does not end when the connection is lost; then there is nothing to wait for
        let _ = tokio::time::timeout(Duration::from_secs(5), client.flush()).await;
        let _ = client.drain().await;
    }
}

/// Validates the value of [`NatsConfig::url`] without connecting.
///
/// # Errors
/// An address is not valid; it is not repeated.
pub fn check_url(url: &str) -> Result<(), NatsError> {
    addresses(url).map(drop)
}

fn addresses(text: &str) -> Result<Vec<ServerAddr>, NatsError> {
    let read = |address: &str| {
        let server: ServerAddr = address.trim().parse().map_err(|error| NatsError::Address(format!("{error}")))?;
        // the client accepts an address without a host, and tries to resolve it for ever
        if server.host().is_empty() { Err(NatsError::Address("the host is missing".to_owned())) } else { Ok(server) }
    };
    text.split(',').map(read).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn note(event: &Event, state: &watch::Sender<ConnectionState>, last_error: &Mutex<Option<String>>) {
    let mut last_error = last_error.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Connected => {
            *last_error = None;
            state.send_modify(|state| *state = ConnectionState { connected: true, connects: state.connects + 1 });
            metrics::gauge!("living_map_nats_connected").set(1.0);
            metrics::counter!("living_map_nats_connects_total").increment(1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            state.send_modify(|state| state.connected = false);
            metrics::gauge!("living_map_nats_connected").set(0.0);
            tracing::warn!(event = %event, "disconnected from NATS");
        }
        Event::SlowConsumer(subscription) => {
            metrics::counter!("living_map_nats_slow_consumer_total").increment(1);
            tracing::warn!(
                subscription,
                "a NATS subscription was too slow and messages were dropped; its reader requests them again"
            );
        }
        Event::LameDuckMode | Event::Draining => tracing::info!(event = %event, "the NATS connection is closing"),
        Event::ServerError(_) | Event::ClientError(_) => {
            let report = event.to_string();
            // every attempt to connect fails with the same error: log it once
            if last_error.as_ref() != Some(&report) {
                tracing::warn!(event = report, "NATS reported an error");
            }
            *last_error = Some(report).filter(|_| !state.borrow().connected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_list_may_have_credentials() {
        let servers = addresses("nats://me:p%40ss@a:4222, b:4223").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(decoded(servers[0].password().unwrap()), "p@ss");
        assert_eq!(servers[1].host(), "b");
    }

    #[test]
    fn an_address_without_a_host_is_rejected() {
        for address in ["", ",", "nats://", "nats://:4222", "nats://a:4222,"] {
            assert!(matches!(addresses(address), Err(NatsError::Address(_))), "{address:?}");
        }
    }

    #[tokio::test]
    async fn an_address_error_does_not_repeat_the_password() {
        let config = NatsConfig { url: "http://me:secret@host".to_owned(), ..NatsConfig::default() };
        let error = connect(&config).await.unwrap_err().to_string();
        assert!(error.contains("nats://host:port") && !error.contains("secret"), "{error}");
    }
}
