//! The connection: it is made in the background, made again whenever it is lost, and says how it is doing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff;

/// How to reach NATS.
#[derive(Clone)]
pub struct NatsConfig {
    /// One address, or several of one cluster separated by commas: `nats://host:4222`, `tls://…`. The first may carry a
    /// token (`nats://token@host`) or a user and a password (`nats://user:password@host`), percent-encoded.
    pub url: String,
    /// A credentials file (JWT and nkey); none: the address says it all.
    pub credentials_file: Option<PathBuf>,
    /// The name under which the server lists this connection.
    pub name: String,
    /// The wait before the first attempt to reconnect; doubled after each failure, with jitter.
    pub reconnect_min: Duration,
    /// The longest wait between two attempts.
    pub reconnect_max: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long the server may take to answer a request.
    pub request_timeout: Duration,
    /// How often the server is pinged; after two pings without an answer the connection counts as lost.
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

/// Why no connection can be tried.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// An address that is none. It is not repeated here: it may hold a password.
    #[error("the address of NATS is not valid, expected nats://host:port: {0}")]
    Address(String),
    /// The credentials file cannot be read.
    #[error("the NATS credentials file {path} cannot be used: {problem}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: std::io::Error,
    },
    /// The options contradict each other.
    #[error("the connection to NATS cannot be set up: {0}")]
    Setup(#[from] async_nats::ConnectError),
}

/// How the connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether there is one now.
    pub connected: bool,
    /// How many times there was a new one. Who depends on what the server remembers looks again when this changes.
    pub connects: u64,
}

/// A connection to NATS. Cheap to clone; all clones are the same connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Another client takes its place when it broke.
    current: Arc<ArcSwap<Current>>,
    link: watch::Receiver<Link>,
    trouble: Trouble,
    closing: CancellationToken,
}

/// What NATS reported since it was connected last; none when it is.
type Trouble = Arc<Mutex<Option<String>>>;

/// Begins to connect, and returns without waiting for it: a server that is away at the start is as good as one that goes
/// away later.
///
/// # Errors
/// When the address or the credentials cannot even be tried.
pub async fn connect(config: &NatsConfig) -> Result<Connection, NatsError> {
    addresses(&config.url)?;
    let (sender, link) = watch::channel(Link::default());
    let trouble = Trouble::default();
    metrics::gauge!("living_map_nats_connected").set(0.0);
    let own = Own { config: config.clone(), link: Arc::new(sender), trouble: Arc::clone(&trouble) };
    let (client, ended) = own.client().await?;
    let current = Arc::new(ArcSwap::from_pointee(client));
    let closing = CancellationToken::new();
    tokio::spawn(own.replace(Arc::downgrade(&current), ended, closing.clone()));
    Ok(Connection { current, link, trouble, closing })
}

/// A client and its `JetStream` requests.
#[derive(Debug)]
struct Current {
    client: Client,
    jetstream: jetstream::Context,
}

/// What it takes to make a client.
struct Own {
    config: NatsConfig,
    link: Arc<watch::Sender<Link>>,
    trouble: Trouble,
}

impl Own {
    /// A client, and what ends with it.
    async fn client(&self) -> Result<(Current, CancellationToken), NatsError> {
        let config = &self.config;
        let servers = addresses(&config.url)?;
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let (link, trouble) = (Arc::clone(&self.link), Arc::clone(&self.trouble));
        let ended = CancellationToken::new();
        // the client's task owns the callback: when the one is gone, so is the other
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
                let (link, trouble, alive) = (Arc::clone(&link), Arc::clone(&trouble), Arc::clone(&alive));
                async move {
                    note(&event, &link, &trouble);
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
        Ok((Current { jetstream: jetstream::new(client.clone()), client }, ended))
    }

    /// Makes another client whenever the one there is has ended by itself: async-nats panics at some messages (0.51: a
    /// carriage return inside a header value), and the task that keeps the connection is gone with that.
    async fn replace(self, current: Weak<ArcSwap<Current>>, mut ended: CancellationToken, closing: CancellationToken) {
        for attempt in 0_u32.. {
            tokio::select! {
                () = closing.cancelled() => return,
                () = ended.cancelled() => {}
            }
            note(&Event::Closed, &self.link, &self.trouble);
            let delay = backoff::delay(attempt.min(4), self.config.reconnect_min, self.config.reconnect_max);
            if closing.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
            let Some(current) = current.upgrade() else { return };
            tracing::error!("the NATS client broke; making another one");
            match self.client().await {
                Ok((client, next)) => {
                    current.store(Arc::new(client));
                    ended = next;
                }
                Err(error) => tracing::error!(%error, "no other NATS client can be made; trying again"),
            }
        }
    }
}

impl Connection {
    /// The client as it is now; not to be kept.
    #[must_use]
    pub fn client(&self) -> Client {
        self.current.load().client.clone()
    }

    /// The client's `JetStream` requests.
    #[must_use]
    pub fn jetstream(&self) -> jetstream::Context {
        self.current.load().jetstream.clone()
    }

    /// How the connection is doing, and every change of that.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Waits for a connection, at most `patience`; whether there is one.
    pub async fn connected(&self, patience: Duration) -> bool {
        let mut link = self.link();
        let connected = link.wait_for(|link| link.connected);
        matches!(tokio::time::timeout(patience, connected).await, Ok(Ok(_)))
    }

    /// Why there is no connection, as far as NATS said: credentials it refuses, a name nobody knows.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends what is waiting to be sent, and ends the connection.
    pub async fn close(&self) {
        self.closing.cancel();
        let client = self.client();
        // a flush that never comes back is a connection that is gone: nothing left to do
        let _ = tokio::time::timeout(Duration::from_secs(5), client.flush()).await;
        let _ = client.drain().await;
    }
}

fn addresses(text: &str) -> Result<Vec<ServerAddr>, NatsError> {
    let read = |address: &str| {
        let server: ServerAddr = address.trim().parse().map_err(|error| NatsError::Address(format!("{error}")))?;
        // the client takes an address without a host, and looks it up in vain for ever
        if server.host().is_empty() { Err(NatsError::Address("it names no host".to_owned())) } else { Ok(server) }
    };
    text.split(',').map(read).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn note(event: &Event, link: &watch::Sender<Link>, trouble: &Mutex<Option<String>>) {
    let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Connected => {
            *trouble = None;
            link.send_modify(|link| *link = Link { connected: true, connects: link.connects + 1 });
            metrics::gauge!("living_map_nats_connected").set(1.0);
            metrics::counter!("living_map_nats_connects_total").increment(1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            link.send_modify(|link| link.connected = false);
            metrics::gauge!("living_map_nats_connected").set(0.0);
            tracing::warn!(event = %event, "no connection to NATS");
        }
        Event::SlowConsumer(subscription) => {
            metrics::counter!("living_map_nats_slow_consumer_total").increment(1);
            tracing::warn!(subscription, "messages of a NATS subscription were dropped; its reader will ask again");
        }
        Event::LameDuckMode | Event::Draining => tracing::info!(event = %event, "the NATS connection is ending"),
        Event::ServerError(_) | Event::ClientError(_) => {
            let report = event.to_string();
            // each attempt to connect fails alike: once says it
            if trouble.as_ref() != Some(&report) {
                tracing::warn!(event = report, "NATS reported an error");
            }
            *trouble = Some(report).filter(|_| !link.borrow().connected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_several_and_carry_secrets() {
        let servers = addresses("nats://me:p%40ss@a:4222, b:4223").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(decoded(servers[0].password().unwrap()), "p@ss");
        assert_eq!(servers[1].host(), "b");
    }

    #[test]
    fn an_address_without_a_host_is_refused() {
        for nowhere in ["", ",", "nats://", "nats://:4222", "nats://a:4222,"] {
            assert!(matches!(addresses(nowhere), Err(NatsError::Address(_))), "{nowhere:?}");
        }
    }

    #[tokio::test]
    async fn a_wrong_address_is_refused_without_repeating_its_password() {
        let config = NatsConfig { url: "http://me:secret@host".to_owned(), ..NatsConfig::default() };
        let error = connect(&config).await.unwrap_err().to_string();
        assert!(error.contains("nats://host:port") && !error.contains("secret"), "{error}");
    }
}
