//! One client: its position in the ring, and the chunks that it gets.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::encode;
use super::in_flight::InFlight;
use crate::model::Cursor;
use crate::stream::close::CloseReason;
use crate::stream::config::StreamConfig;
use crate::stream::context::StreamContext;
use crate::stream::frame::FrameBatch;
use crate::stream::hub::RingRead;
use crate::stream::options::StreamOptions;
use crate::stream::slots::ClientSlot;
use crate::stream::sources::{Replay, SnapshotJson};

/// Approximate bytes of frames in one chunk, which is all that a client has in flight besides a shared snapshot.
const CHUNK_BYTES: usize = 32 * 1024;

/// One client. It reads the ring when the HTTP server polls it, and has no queue of events.
pub struct SseClient {
    context: Arc<StreamContext>,
    head: watch::Receiver<Cursor>,
    options: StreamOptions,
    /// Everything up to here is sent or filtered out; `None` before a snapshot that the client needs.
    position: Option<Cursor>,
    /// Events up to here count as replayed.
    replay_until: u64,
    /// Unsent parts of a frame.
    parts: VecDeque<Bytes>,
    in_flight: Arc<InFlight>,
    heartbeat_at: Instant,
    ping_at: Instant,
    snapshot_at: Option<Instant>,
    /// Set when the stream ends by itself.
    ended: Option<CloseReason>,
    /// Set when the connection was closed from outside.
    close_reason: Arc<OnceLock<CloseReason>>,
    connected_at: Instant,
    _gone: DropGuard,
    slot: ClientSlot,
}

/// The state of a client that its watching task shares.
#[derive(Debug, Default)]
pub struct ClientMonitor {
    /// The chunk in flight.
    pub in_flight: Arc<InFlight>,
    /// Set before the connection is closed from outside, for the client to report.
    pub close_reason: Arc<OnceLock<CloseReason>>,
    /// Cancelled when the client is dropped.
    pub gone: CancellationToken,
}

impl SseClient {
    /// A client that resumes after `options.cursor`, which the caller has checked, or begins without one.
    pub fn new(context: Arc<StreamContext>, options: StreamOptions, slot: ClientSlot) -> (Self, ClientMonitor) {
        let head = context.hub.subscribe();
        let now = *head.borrow();
        let mut parts = VecDeque::new();
        let position = match options.cursor {
            Some(cursor) => Some(cursor),
            None if options.snapshot => None,
            None => {
                parts.push_back(encode::ping(now));
                Some(now)
            }
        };
        let ping_at = next_ping(&context.config);
        let monitor = ClientMonitor::default();
        let client = Self {
            heartbeat_at: Instant::now() + context.config.heartbeat_interval,
            replay_until: options.cursor.map_or(0, |_| now.seq),
            context,
            head,
            options,
            position,
            parts,
            in_flight: Arc::clone(&monitor.in_flight),
            ping_at,
            snapshot_at: None,
            ended: None,
            close_reason: Arc::clone(&monitor.close_reason),
            connected_at: Instant::now(),
            _gone: monitor.gone.clone().drop_guard(),
            slot,
        };
        (client, monitor)
    }

    /// The next chunk of the body, after the previous one is delivered.
    pub async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.in_flight.delivered().await;
        let chunk = self.chunk().await?;
        counter!("living_map_stream_bytes_total").increment(chunk.len() as u64);
        let config = &self.context.config;
        let now = Instant::now();
        self.heartbeat_at = now + config.heartbeat_interval;
        let transfer = Duration::from_secs((chunk.len() / config.min_bytes_per_second.max(1)) as u64);
        let chunk = self.in_flight.track(chunk, now + config.stall_timeout + transfer);
        Some((Ok(chunk), self))
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Some(part);
            }
            if self.ended.is_some() {
                return None;
            }
            if self.context.shutdown.is_cancelled() {
                self.ended = Some(CloseReason::Shutdown);
                return Some(encode::reconnect(self.context.config.reconnect_after_ms(), self.position));
            }
            if self.slot.expires_at().is_some_and(|expires_at| expires_at <= Instant::now()) {
                self.ended = Some(CloseReason::Expired);
                return Some(encode::error("token_expired", "the token has expired, come back with a fresh one"));
            }
            let Some(position) = self.position else {
                self.fetch_snapshot().await;
                continue;
            };
            self.head.mark_unchanged();
            match self.context.hub.read(position, CHUNK_BYTES) {
                RingRead::Lagged { oldest } if oldest.epoch == position.epoch => {
                    if let Some(chunk) = self.replay(position).await {
                        return Some(chunk);
                    }
                }
                RingRead::Lagged { .. } => self.lag(),
                RingRead::Frames(batch) if batch.upto == position => {
                    if let Some(chunk) = self.wait(position).await {
                        return Some(chunk);
                    }
                }
                RingRead::Frames(batch) => {
                    if let Some(chunk) = self.encode(&batch, position) {
                        return Some(chunk);
                    }
                    // A filter may exclude everything in a long ring; let other tasks run in the meantime.
                    tokio::task::consume_budget().await;
                }
            }
        }
    }

    /// A chunk of frames that the ring has evicted. The batch itself is not held while the client reads the chunk.
    async fn replay(&mut self, position: Cursor) -> Option<Bytes> {
        // in a separate task, so that a panic of the source does not end the stream; the source has a timeout
        let (source, client) = (Arc::clone(&self.context.sources.replay), self.slot.client().clone());
        let replay = tokio::spawn(async move { source(client, position).await });
        let replay = self.context.shutdown.run_until_cancelled(replay).await?;
        match replay.ok() {
            Some(Replay::Frames(batch)) if batch.continues_from(position) => {
                self.replay_until = self.replay_until.max(batch.upto.seq);
                self.encode(&batch, position)
            }
            Some(_) | None => {
                self.lag();
                None
            }
        }
    }

    /// Makes the client request a snapshot.
    fn lag(&mut self) {
        counter!("living_map_stream_lagged_total").increment(1);
        self.position = None;
    }

    /// Encodes about one chunk of the frames that pass the filter; `None` if no frame passes.
    fn encode(&mut self, batch: &FrameBatch, position: Cursor) -> Option<Bytes> {
        let mut chunk = Vec::new();
        let (mut frames, mut replayed) = (0, 0);
        let mut upto = batch.upto;
        for frame in batch.frames_after(position).iter().filter(|frame| self.options.wants(frame)) {
            if chunk.len() >= CHUNK_BYTES {
                upto.seq = frame.seq() - 1;
                break;
            }
            encode::event(&mut chunk, batch.after, frame);
            frames += 1;
            replayed += u64::from(frame.seq() <= self.replay_until);
        }
        self.position = Some(upto);
        if frames == 0 {
            return None;
        }
        counter!("living_map_stream_frames_total").increment(frames);
        if replayed > 0 {
            counter!("sse_replay_events_total").increment(replayed);
        }
        Some(chunk.into())
    }

    /// Waits for a new position, the shutdown or a deadline. Returns a `ping` or a heartbeat if one is due.
    async fn wait(&mut self, position: Cursor) -> Option<Bytes> {
        tokio::select! {
            // The client keeps the hub alive, so this does not fail.
            _ = self.head.changed() => None,
            () = self.context.shutdown.cancelled() => None,
            () = expiry(self.slot.expires_at()) => None,
            () = sleep_until(self.ping_at) => {
                self.ping_at = next_ping(&self.context.config);
                Some(encode::ping(position))
            }
            () = sleep_until(self.heartbeat_at) => Some(Bytes::from_static(encode::HEARTBEAT)),
        }
    }

    /// Queues a snapshot as parts. Ends the stream with an error if no snapshot is available.
    async fn fetch_snapshot(&mut self) {
        let context = Arc::clone(&self.context);
        let StreamConfig { resync_interval, stall_timeout, .. } = context.config;
        let not_before = self.snapshot_at.map(|last| last + resync_interval);
        // in a separate task, so that a panic of the source ends this stream with an error frame
        let (source, layers) = (Arc::clone(&context.sources.snapshot), self.options.layers);
        let fetch = async {
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            let snapshot = tokio::spawn(async move { source(layers).await });
            timeout(stall_timeout, snapshot).await.ok().and_then(Result::ok)
        };
        let Some(snapshot) = context.shutdown.run_until_cancelled(fetch).await else { return };
        let Some(SnapshotJson { cursor, json }) = snapshot else {
            tracing::error!("no snapshot for a server-sent events client: the source failed or timed out");
            self.ended = Some(CloseReason::Internal);
            self.parts.push_back(encode::error("unavailable", "the map is not available, reconnect"));
            return;
        };
        self.parts.extend(encode::snapshot(cursor, json));
        self.position = Some(cursor);
        self.replay_until = 0;
        self.snapshot_at = Some(Instant::now());
    }
}

impl Drop for SseClient {
    fn drop(&mut self) {
        let reason = self.close_reason.get().copied().or(self.ended).unwrap_or(CloseReason::Left);
        counter!("living_map_stream_closed_total", "reason" => reason.as_str()).increment(1);
        let seconds = self.connected_at.elapsed().as_secs();
        match reason {
            CloseReason::Left | CloseReason::Shutdown | CloseReason::Expired => {
                tracing::debug!(reason = reason.as_str(), seconds, position = ?self.position, "event stream ended");
            }
            _ => {
                tracing::warn!(
                    reason = reason.as_str(),
                    seconds,
                    position = ?self.position,
                    "event stream closed by the server"
                );
            }
        }
    }
}

/// Completes at the given time, or never.
async fn expiry(expires_at: Option<Instant>) {
    match expires_at {
        Some(expires_at) => sleep_until(expires_at).await,
        None => std::future::pending().await,
    }
}

/// When the next `ping` is due: after the interval minus a random part, so that clients that connected together spread
/// out.
fn next_ping(config: &StreamConfig) -> Instant {
    Instant::now() + config.ping_interval.mul_f64(1.0 - 0.1 * rand::random::<f64>())
}
