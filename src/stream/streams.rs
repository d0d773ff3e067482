//! The handle on all streaming clients.

use std::sync::Arc;

use axum::body::Body;
use http::Response;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::config::StreamConfig;
use super::connection::Connection;
use super::context::StreamContext;
use super::hub::Hub;
use super::options::StreamOptions;
use super::sources::StreamSources;
use super::sse::{self, OpenError};
use super::websocket::{Shards, UpgradeError};
use crate::access::shares::Pool;

/// All streaming clients. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<StreamContext>,
    shards: Shards,
}

impl Streams {
    /// Starts the shards on the current tokio runtime. When `shutdown` is cancelled, clients get a `reconnect` frame
    /// and are closed; [`Streams::closed`] waits for that.
    #[must_use]
    pub fn start(config: StreamConfig, hub: &Arc<Hub>, sources: &StreamSources, shutdown: CancellationToken) -> Self {
        let context = Arc::new(StreamContext::new(config, Arc::clone(hub), sources.clone(), shutdown));
        let shards = Shards::start(&context);
        Self { inner: Arc::new(Inner { context, shards }) }
    }

    /// Checks a request to `/living-map/stream` and accepts its upgrade to WebSocket; the client is served from then
    /// on. The request body is ignored. `admit` is the last check: it runs when all others have succeeded.
    ///
    /// # Errors
    /// The reason for the rejection, or the error of `admit`; no state is left behind.
    pub fn upgrade<E: From<UpgradeError>>(
        &self,
        request: &mut Parts,
        options: StreamOptions,
        admit: impl FnOnce() -> Result<(), E>,
    ) -> Result<Response<Body>, E> {
        self.inner.shards.upgrade(&self.inner.context, request, options, admit)
    }

    /// The response to `GET /living-map/events/stream`, sent over `connection`. `admit` is the last check: it runs when all
    /// others have succeeded.
    ///
    /// # Errors
    /// The reason for the rejection, or the error of `admit`; no state is left behind.
    pub async fn open<E: From<OpenError>>(
        &self,
        options: StreamOptions,
        connection: Connection,
        admit: impl FnOnce() -> Result<(), E>,
    ) -> Result<Response<Body>, E> {
        sse::open(&self.inner.context, options, connection, admit).await
    }

    /// Replaces `earliest` in the options by the oldest position that can be resumed from.
    ///
    /// # Errors
    /// The ring has evicted older events, and replay is unavailable.
    pub async fn find_earliest(&self, options: &mut StreamOptions) -> Result<(), OpenError> {
        if std::mem::take(&mut options.earliest) {
            options.cursor = Some(sse::oldest(&self.inner.context, &options.client.client).await?);
        }
        Ok(())
    }

    /// The number of clients, including those that are being upgraded.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.inner.context.slots.in_use()
    }

    /// The slots of clients.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        self.inner.context.slots.pool()
    }

    /// Waits until all clients are gone after the shutdown.
    pub async fn closed(&self) {
        self.inner.context.tasks.close();
        self.inner.context.tasks.wait().await;
    }
}
