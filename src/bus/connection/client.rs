//! The clients of a connection: one after the other, since a client that failed is replaced.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use async_nats::{AuthError, Client, ConnectOptions, Event, ReconnectToServer, Server, jetstream};
use tokio_util::sync::CancellationToken;

use super::config::NatsConfig;
use super::error::NatsError;
use super::events::EventRecorder;
use super::servers::{ServerChoice, addresses};
use crate::bus::backoff;

/// A client and its `JetStream` context.
#[derive(Debug)]
pub struct ActiveClient {
    pub client: Client,
    pub jetstream: jetstream::Context,
}

/// Creates clients.
pub struct ClientFactory {
    pub config: NatsConfig,
    pub events: EventRecorder,
}

impl ClientFactory {
    /// A client, and a token that is cancelled when the client ends.
    pub async fn client(&self) -> Result<(ActiveClient, CancellationToken), NatsError> {
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
    pub async fn replace(
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
type ChallengeAnswer = Pin<Box<dyn Future<Output = Result<async_nats::Auth, AuthError>> + Send + Sync>>;
