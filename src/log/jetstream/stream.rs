//! The stream of the log: found or created, and its identity.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::sources::SourceStarts;
use super::{JetStreamConfig, report};
use crate::bus::{
    Connection, NotSourced, SourcedSubjects, StreamDeclaration, StreamError, StreamInfo, network, streams,
};
use crate::log::{Bounds, LogError};
use crate::model::Epoch;
use crate::model::subject::Pattern;

/// UUID namespace of epochs.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6570_6f63_6873);

/// Text before the generation in the description of the stream.
const GENERATION: &str = "living-map generation ";

/// The stream, its connection, and a cache of its state.
#[derive(Debug)]
pub struct LogStream {
    connection: Connection,
    declaration: StreamDeclaration,
    network: Vec<StreamDeclaration>,
    manage: bool,
    /// Positions in the sources from which a recreated log continues; `None` for their beginning.
    source_starts: Option<SourceStarts>,
    /// Time that callers wait for a connection.
    connect_timeout: Duration,
    /// Time for which a deleted stream must be missing before it is created again.
    recreate_after: Duration,
    cache: Mutex<StreamCache>,
    /// Held while the streams are reconciled with their declarations: several tasks do so at the start.
    reconciling: tokio::sync::Mutex<()>,
    /// The last known epoch; `None` before the first answer of the server.
    epoch: watch::Sender<Option<Epoch>>,
    /// Subjects of the bridge.
    bridged: Vec<Pattern>,
    /// Number of repeated comparisons.
    checks: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct StreamCache {
    /// Context for appends, with the number of the connection it was fetched over; `None` when it must be fetched.
    append_context: Option<(u64, Arc<AppendContext>)>,
    /// Subjects sourced from other streams at the last reconciliation.
    sourced: Arc<[SourcedSubjects]>,
    /// Subjects that are not sourced, as of the last comparison.
    not_sourced: Vec<NotSourced>,
    /// Sources that take messages away from other streams, and that this process may not remove.
    destructive: Vec<NotSourced>,
    /// Time since which the stream is missing.
    missing_since: Option<Instant>,
}

/// Properties of the stream that an append depends on.
#[derive(Debug)]
pub struct AppendContext {
    /// Identity of the log.
    pub epoch: Epoch,
    /// Subjects of the stream.
    pub subjects: Vec<Pattern>,
    /// Subjects sourced from other streams.
    pub sourced: Arc<[SourcedSubjects]>,
    /// Maximum size of a message that server and stream accept, including headers, in bytes.
    pub max_message: usize,
    /// Replicas of the stream.
    pub replicas: u64,
}

impl AppendContext {
    /// Returns true if an event with this subject gets into the log.
    pub fn records(&self, subject: &str) -> bool {
        let sourced = self.sourced.iter().flat_map(|sourced| &sourced.subjects);
        self.subjects.iter().chain(sourced).any(|pattern| pattern.matches(subject))
    }

    /// Returns true if the log sources an event with this subject from `stream`.
    pub fn sources(&self, stream: &str, subject: &str) -> bool {
        let of_stream = self.sourced.iter().filter(|sourced| sourced.stream == stream);
        of_stream.flat_map(|sourced| &sourced.subjects).any(|pattern| pattern.matches(subject))
    }
}

/// State of the stream, as answered by the server.
#[derive(Debug)]
pub struct LogState {
    /// First and last position.
    pub bounds: Bounds,
    /// The complete answer.
    pub info: StreamInfo,
}

impl LogStream {
    pub fn new(config: &JetStreamConfig, connection: Connection, source_starts: Option<SourceStarts>) -> Self {
        Self {
            connection,
            source_starts,
            declaration: config.stream.clone(),
            network: config.network.clone(),
            manage: config.manage,
            connect_timeout: config.append_timeout,
            recreate_after: config.recreate_after,
            cache: Mutex::new(StreamCache::default()),
            reconciling: tokio::sync::Mutex::new(()),
            epoch: watch::Sender::new(None),
            bridged: config.bridged.clone(),
            checks: watch::Sender::new(0),
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The last known epoch, and its changes.
    pub fn epoch(&self) -> watch::Receiver<Option<Epoch>> {
        self.epoch.subscribe()
    }

    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// The context for appends; fetched once for each connection.
    pub async fn append_context(&self) -> Result<Arc<AppendContext>, LogError> {
        self.connected().await?;
        let connects = self.connects();
        let cached = self.cache().append_context.clone();
        match cached {
            Some((at, context)) if at == connects => Ok(context),
            _ => {
                let state = self.fetch_state().await?;
                Ok(self.append_context_of(connects, &state))
            }
        }
    }

    /// Fetches the state from the server. A missing stream is created; after each connect, all streams are reconciled with
    /// their declarations.
    pub async fn fetch_state(&self) -> Result<LogState, LogError> {
        self.connected().await?;
        let connects = self.connects();
        if self.epoch.borrow().is_some() {
            let info = streams::info(&self.connection, self.name()).await.map_err(|error| unavailable(&error))?;
            match info {
                Some(info) if self.cache().append_context.as_ref().is_some_and(|(at, _)| *at == connects) => {
                    let state = self.state_of(info);
                    // another process may have recreated or changed the stream on the same connection
                    self.append_context_of(connects, &state);
                    return Ok(state);
                }
                Some(_) => {}
                None => self.check_recreate_delay()?,
            }
        }
        let _guard = self.reconciling.lock().await;
        let already_reconciled = self.cache().append_context.as_ref().is_some_and(|(at, _)| *at == connects);
        if already_reconciled
            && let Some(info) =
                streams::info(&self.connection, self.name()).await.map_err(|error| unavailable(&error))?
        {
            return Ok(self.state_of(info));
        }
        let info = Box::pin(self.reconcile()).await?;
        self.remember(connects, info).await
    }

    /// Updates the cached context of appends from the reconciled stream.
    async fn remember(&self, connects: u64, info: StreamInfo) -> Result<LogState, LogError> {
        let sourced = streams::sourced_subjects(&self.connection, &info).await.map_err(|error| unavailable(&error))?;
        self.cache().sourced = sourced.into();
        let state = self.state_of(info);
        self.append_context_of(connects, &state);
        Ok(state)
    }

    /// Subjects of the log that it does not source from the streams that have them, as of the last comparison.
    pub fn unsourced(&self) -> Vec<NotSourced> {
        self.cache().not_sourced.clone()
    }

    /// Number of completed calls of [`Self::check_again`], and its changes.
    pub fn checks(&self) -> watch::Receiver<u64> {
        self.checks.subscribe()
    }

    /// Compares all declared streams with the server's, creates and extends them if allowed, and logs differences.
    async fn reconcile(&self) -> Result<StreamInfo, LogError> {
        let (mut reports, mut declaration) =
            network::reconcile_network(&self.connection, &self.declaration, &self.network, self.manage).await;
        if let Some(starts) = self.source_starts.as_ref().filter(|_| self.manage) {
            declaration.source_starts = starts.find_all(&declaration).await?;
        }
        reports.push(network::reconcile_log(&self.connection, declaration, self.manage).await);
        for (report, declaration) in reports.iter().zip(&self.network) {
            report::differences(report);
            report::missing(report, declaration);
        }
        reports.last().into_iter().for_each(report::differences);
        self.finish(reports)
    }

    /// Compares the log's stream with the server's once more, since others may have created, changed or deleted streams.
    /// Removes its sources from the streams `deleted`, whose names other streams may get. Missing streams are not created:
    /// that is left to [`Self::fetch_state`].
    pub async fn check_again(&self, deleted: &BTreeSet<String>) -> Result<(), LogError> {
        self.connected().await?;
        let connects = self.connects();
        let _guard = self.reconciling.lock().await;
        let found = streams::info(&self.connection, self.name()).await.map_err(|error| unavailable(&error))?;
        let Some(info) = found else { return Ok(()) };
        let sources = info.sources();
        let gone: Vec<&str> =
            sources.iter().map(|source| source.stream.as_str()).filter(|name| deleted.contains(*name)).collect();
        if self.manage && !gone.is_empty() {
            streams::remove_sources(&self.connection, &info, &gone).await.map_err(|error| unavailable(&error))?;
            tracing::info!(streams = ?gone, "streams that the log sourced were deleted; removed the sources");
        }
        let (mut reports, declaration) =
            network::reconcile_network(&self.connection, &self.declaration, &self.network, false).await;
        reports.push(network::reconcile_log(&self.connection, declaration, self.manage).await);
        let info = self.finish(reports)?;
        self.remember(connects, info).await?;
        self.checks.send_modify(|checks| *checks += 1);
        Ok(())
    }

    /// Notes the subjects that are not sourced; returns the stream of the log. Its report is the last.
    fn finish(&self, mut reports: Vec<network::StreamReport>) -> Result<StreamInfo, LogError> {
        let mut declared = self.network.clone();
        declared.push(self.declaration.clone());
        let found = network::not_sourced(&reports, &declared);
        report::not_sourced(self.name(), &self.unsourced(), &found, &self.bridged);
        self.cache().not_sourced = found;
        let Some(log) = reports.pop() else { return Err(LogError::Unavailable("no stream is declared".to_owned())) };
        let destructive = log.status.as_ref().map_or(&[][..], |status| &status.destructive_sources).to_vec();
        report::destructive_sources(self.name(), &self.cache().destructive, &destructive, self.manage);
        self.cache().destructive = if self.manage { Vec::new() } else { destructive };
        let info = log.status.map_err(|error| unavailable(&error))?.info;
        info.ok_or_else(|| {
            LogError::Unavailable(format!("stream {} is missing; `living-map streams apply` creates it", self.name()))
        })
    }

    /// Time when the message at `seq` was stored; `None` when there is no such message.
    pub async fn logged_at(&self, seq: u64) -> Result<Option<DateTime<Utc>>, LogError> {
        let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
        let stream = self.connection.jetstream().get_stream_no_info(self.name()).await;
        let stream = stream.map_err(|error| failed(&error))?;
        let operation = format!("STREAM.MSG.GET.{}", self.name());
        let message = self.connection.permitted(&[&operation], stream.get_raw_message(seq)).await;
        match message.map_err(|error| failed(&error))? {
            Ok(message) => Ok(Some(message.time)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Limitations of a log that works: missing permissions, sources that take messages away from other streams, and what the
    /// NATS server cannot promise.
    pub fn warning(&self) -> Option<String> {
        let denied = self.connection.all_denied().into_iter().map(|error| error.to_string());
        let own = self.destructive_warning().or_else(|| self.version_warning());
        let warnings: Vec<String> = denied.chain(own).collect();
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// Sources that take messages away from other streams.
    fn destructive_warning(&self) -> Option<String> {
        let destructive: Vec<String> = self.cache().destructive.iter().map(|source| source.stream.clone()).collect();
        (!destructive.is_empty()).then(|| {
            format!(
                "the log takes messages away from {}, which do not keep them; `living-map streams apply` removes these sources",
                destructive.join(", ")
            )
        })
    }

    /// Limitation of the NATS server: a version before 2.10 cannot sync before it acknowledges, so a power failure takes
    /// what was acknowledged since the last sync, unless another replica of the stream has it.
    fn version_warning(&self) -> Option<String> {
        let replicas = self.cache().append_context.as_ref().map(|(_, context)| context.replicas)?;
        let client = self.connection.client();
        let version = client.server_info().version;
        let syncs = version.is_empty() || client.is_server_compatible(2, 10, 0);
        (replicas == 1 && !syncs).then(|| {
            format!(
                "nats-server {version} cannot sync before it acknowledges: a power failure may lose the events of up to two \
                 minutes; use 2.10 or newer, or three replicas, see docs/operating.md#nats"
            )
        })
    }

    /// Drops the cached context, so that the next use fetches it.
    pub fn invalidate(&self) {
        self.cache().append_context = None;
    }

    /// Fails until the stream has been missing for `recreate_after`. It is not created again at once, since whoever deleted it
    /// may be about to create another one, and nats-server 2.9 loses messages of a stream that is created while one of the
    /// same name is still being deleted.
    fn check_recreate_delay(&self) -> Result<(), LogError> {
        let mut cache = self.cache();
        cache.append_context = None;
        let since = *cache.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.recreate_after {
            return Err(LogError::Unavailable("the stream was deleted".to_owned()));
        }
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, StreamCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the stream a new generation, because it lost entries that had been read: a NATS server that lost power may lose
    /// messages not yet written to disk, and gives their positions to other events. `state` is the state that showed the
    /// loss; processes that detect it at the same time set the same generation.
    pub async fn new_generation(&self, state: &LogState) -> Result<Epoch, LogError> {
        let next = generation(&state.info) + 1;
        let text = state.info.description();
        let operator_text = text.find(GENERATION).map_or(text, |at| &text[..at]).trim_end();
        let text = if operator_text.is_empty() {
            format!("{GENERATION}{next}")
        } else {
            format!("{operator_text} {GENERATION}{next}")
        };
        let info = streams::set_description(&self.connection, &state.info, &text)
            .await
            .map_err(|error| unavailable(&error))?;
        self.invalidate();
        tracing::error!(stream = self.name(), generation = next, "the stream lost entries; its log has a new epoch");
        Ok(self.state_of(info).bounds.epoch)
    }

    fn state_of(&self, info: StreamInfo) -> LogState {
        let bounds = bounds(&info);
        self.cache().missing_since = None;
        self.epoch.send_if_modified(|epoch| epoch.replace(bounds.epoch) != Some(bounds.epoch));
        LogState { bounds, info }
    }

    async fn connected(&self) -> Result<(), LogError> {
        if self.connection.connected(self.connect_timeout).await {
            return Ok(());
        }
        Err(LogError::Unavailable(self.connection.disconnected_text()))
    }

    fn connects(&self) -> u64 {
        self.connection.state().borrow().connects
    }

    fn append_context_of(&self, connects: u64, state: &LogState) -> Arc<AppendContext> {
        let subjects = state.info.subjects().iter().filter_map(|subject| subject.parse().ok()).collect();
        let stream_limit = state.info.config.get("max_msg_size").and_then(serde_json::Value::as_u64);
        let stream_limit = stream_limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let server_limit = self.connection.client().max_payload();
        let max_message = stream_limit.map_or(server_limit, |limit| limit.min(server_limit));
        let sourced = Arc::clone(&self.cache().sourced);
        let replicas = state.info.config.get("num_replicas").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let context = Arc::new(AppendContext { epoch: state.bounds.epoch, subjects, sourced, max_message, replicas });
        self.cache().append_context = Some((connects, Arc::clone(&context)));
        context
    }
}

fn bounds(info: &StreamInfo) -> Bounds {
    let state = &info.state;
    let (last, empty) = (state.last_seq, state.messages == 0);
    let first = if empty { last + 1 } else { state.first_seq };
    let first_at = (!empty).then_some(state.first_ts);
    Bounds { epoch: epoch(info), first, last, first_at }
}

/// The identity, derived from the name, the time of creation and the generation of the stream.
fn epoch(info: &StreamInfo) -> Epoch {
    let name = info.config.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
    let text = format!("{name}:{}:{}", info.created.to_rfc3339(), generation(info));
    Epoch(Uuid::new_v5(&NAMESPACE, text.as_bytes()).as_u64_pair().0.max(1))
}

/// Number of times that the stream lost entries.
fn generation(info: &StreamInfo) -> u64 {
    let text = info.description();
    let number = text.find(GENERATION).map(|at| &text[at + GENERATION.len()..]);
    number.and_then(|number| number.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn unavailable(error: &StreamError) -> LogError {
    LogError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(created: &str, description: &str) -> StreamInfo {
        serde_json::from_value(json!({
            "config": {"name": "LIVING_MAP", "description": description},
            "created": created,
            "state": {"messages": 0, "first_seq": 0, "first_ts": "0001-01-01T00:00:00Z", "last_seq": 7},
        }))
        .unwrap()
    }

    #[test]
    fn the_epoch_depends_on_creation_and_generation() {
        let one = info("2026-11-21T00:00:00.000000001Z", "");
        assert_eq!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000001Z", "of the operator")));
        assert_ne!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000002Z", "")));
        assert_ne!(epoch(&one), epoch(&info("2026-11-21T00:00:00.000000001Z", "living-map generation 1")));
        assert_eq!(generation(&info("2026-11-21T00:00:00Z", "text living-map generation 12")), 12);
    }

    #[test]
    fn an_empty_stream_begins_after_its_last_position() {
        let bounds = bounds(&info("2026-11-21T00:00:00Z", ""));
        assert_eq!((bounds.first, bounds.last, bounds.first_at), (8, 7, None));
    }
}
