//! What the handlers work with.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;

use super::config::HttpConfig;
use crate::history::History;
use crate::live::LiveMap;
use crate::log::EventLog;
use crate::model::SourceHealth;

/// The parts that the handlers work with; cloning it copies one pointer.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts, each owned by the room it comes from.
pub struct Parts {
    /// Limits.
    pub config: HttpConfig,
    /// The current map.
    pub live: LiveMap,
    /// Where published events go.
    pub log: Arc<dyn EventLog>,
    /// The record.
    pub history: Arc<dyn History>,
    /// How the upstreams are doing now.
    pub sources: Sources,
    /// Polls the upstreams now; ends when the map shows what they said. The waiting is bounded by the caller.
    pub refresh: Refresh,
    /// The WebSocket side.
    pub stream: StreamParts,
    /// Renders the metrics of the whole process.
    pub metrics: PrometheusHandle,
}

/// Reads how the upstreams are doing.
pub type Sources = Arc<dyn Fn() -> Vec<SourceHealth> + Send + Sync>;

/// Starts a poll of all upstreams, or joins one under way.
pub type Refresh = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The WebSocket side, as the routes see it.
pub struct StreamParts {
    /// Answers an upgrade request, and everything after it.
    pub upgrade: Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>,
    /// Clients connected now.
    pub clients: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("config", &self.config).finish_non_exhaustive()
    }
}
