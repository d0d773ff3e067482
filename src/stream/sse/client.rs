//! One client: a position in the ring, and what it is owed next.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use metrics::counter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::encode;
use super::flight::Flight;
use crate::model::Cursor;
use crate::stream::close::CloseReason;
use crate::stream::config::StreamConfig;
use crate::stream::filter::StreamOptions;
use crate::stream::hub::{Batch, Hub, Read};
use crate::stream::replay::Replay;
use crate::stream::streams::{Place, SnapshotJson, Sources};

/// Bytes of frames in one chunk, about: all that a client has under way beside a shared snapshot.
const CHUNK_BYTES: usize = 32 * 1024;

/// What all clients share.
#[derive(Clone)]
pub struct Shared {
    /// The settings.
    pub config: Arc<StreamConfig>,
    /// The ring.
    pub hub: Arc<Hub>,
    /// Where what the ring has not comes from.
    pub sources: Sources,
    /// When clients are to go.
    pub shutdown: CancellationToken,
}

/// One client. It reads the ring when the HTTP server asks for more, and has no queue of events.
pub struct Client {
    shared: Shared,
    head: watch::Receiver<Cursor>,
    options: StreamOptions,
    /// Everything up to here was sent, or is not wanted; none before a snapshot that it needs.
    position: Option<Cursor>,
    /// Events up to here were published before a client came that resumed, or were given to it by a replay.
    replay_until: u64,
    /// What is left of a frame that is in parts.
    parts: VecDeque<Bytes>,
    flight: Arc<Flight>,
    heartbeat_at: Instant,
    ping_at: Instant,
    snapshot_at: Option<Instant>,
    ended: Option<CloseReason>,
    cut: Arc<OnceLock<CloseReason>>,
    connected_at: Instant,
    _gone: DropGuard,
    place: Place,
}

/// What is seen of a client from outside.
#[derive(Debug, Default)]
pub struct Watched {
    /// What is under way.
    pub flight: Arc<Flight>,
    /// Why it was ended, for the client to say.
    pub cut: Arc<OnceLock<CloseReason>>,
    /// Cancelled when the client is gone.
    pub gone: CancellationToken,
}

impl Client {
    /// A client that has everything up to `options.cursor`, which can be resumed from, or that begins anew.
    pub fn new(shared: Shared, options: StreamOptions, place: Place) -> (Self, Watched) {
        let head = shared.hub.subscribe();
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
        let ping_at = ping_time(&shared.config);
        let watched = Watched::default();
        let client = Self {
            heartbeat_at: Instant::now() + shared.config.heartbeat_interval,
            replay_until: options.cursor.map_or(0, |_| now.seq),
            shared,
            head,
            options,
            position,
            parts,
            flight: Arc::clone(&watched.flight),
            ping_at,
            snapshot_at: None,
            ended: None,
            cut: Arc::clone(&watched.cut),
            connected_at: Instant::now(),
            _gone: watched.gone.clone().drop_guard(),
            place,
        };
        (client, watched)
    }

    /// The next chunk of the body, once the one before it is written.
    pub async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.flight.landed().await;
        let chunk = self.chunk().await?;
        counter!("living_map_stream_bytes_total").increment(chunk.len() as u64);
        let config = &self.shared.config;
        let now = Instant::now();
        self.heartbeat_at = now + config.heartbeat_interval;
        let patience = std::time::Duration::from_secs((chunk.len() / config.min_bytes_per_second.max(1)) as u64);
        let chunk = self.flight.launch(chunk, now + config.stall_timeout + patience);
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
            if self.shared.shutdown.is_cancelled() {
                self.ended = Some(CloseReason::Shutdown);
                return Some(encode::reconnect(self.shared.config.reconnect_after_ms(), self.position));
            }
            if self.place.until().is_some_and(|until| until <= Instant::now()) {
                self.ended = Some(CloseReason::Expired);
                return Some(encode::error("token_expired", "the token has expired, come back with a fresh one"));
            }
            let Some(position) = self.position else {
                self.fetch_snapshot().await;
                continue;
            };
            self.head.mark_unchanged();
            match self.shared.hub.read(position, CHUNK_BYTES) {
                Read::Lagged { oldest } if oldest.epoch == position.epoch => {
                    if let Some(chunk) = self.replay(position).await {
                        return Some(chunk);
                    }
                }
                Read::Lagged { .. } => self.lag(),
                Read::Frames(batch) if batch.upto == position => {
                    if let Some(chunk) = self.wait(position).await {
                        return Some(chunk);
                    }
                }
                Read::Frames(batch) => {
                    if let Some(chunk) = self.take(&batch, position) {
                        return Some(chunk);
                    }
                    // A filter may leave out all that a long ring holds; others have their turn meanwhile.
                    tokio::task::consume_budget().await;
                }
            }
        }
    }

    /// What the ring has not any more, a chunk at a time: nothing of the stretch is held while the client takes it.
    async fn replay(&mut self, position: Cursor) -> Option<Bytes> {
        // in a task of its own, as a snapshot; it has a patience of its own
        let source = Arc::clone(&self.shared.sources.replay);
        let replay = tokio::spawn(async move { source(position).await });
        let replay = self.shared.shutdown.run_until_cancelled(replay).await?;
        match replay.ok() {
            Some(Replay::Frames(batch)) if batch.goes_on_from(position) => {
                self.replay_until = self.replay_until.max(batch.upto.seq);
                self.take(&batch, position)
            }
            Some(_) | None => {
                self.lag();
                None
            }
        }
    }

    /// It needs a snapshot.
    fn lag(&mut self) {
        counter!("living_map_stream_lagged_total").increment(1);
        self.position = None;
    }

    /// About a chunk of the wanted frames of a batch; none when none is.
    fn take(&mut self, batch: &Batch, position: Cursor) -> Option<Bytes> {
        let mut chunk = Vec::new();
        let (mut frames, mut replayed) = (0, 0);
        let mut upto = batch.upto;
        for frame in batch.behind(position).iter().filter(|frame| self.options.wants(frame)) {
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

    /// Waits for something to happen; a chunk when it is a sign of life that is due.
    async fn wait(&mut self, position: Cursor) -> Option<Bytes> {
        tokio::select! {
            // The hub is kept alive by this client, so this does not fail.
            _ = self.head.changed() => None,
            () = self.shared.shutdown.cancelled() => None,
            () = expiry(self.place.until()) => None,
            () = sleep_until(self.ping_at) => {
                self.ping_at = ping_time(&self.shared.config);
                Some(encode::ping(position))
            }
            () = sleep_until(self.heartbeat_at) => Some(Bytes::from_static(encode::HEARTBEAT)),
        }
    }

    /// Puts a snapshot into the parts; ends the stream when there is none to be had.
    async fn fetch_snapshot(&mut self) {
        let shared = self.shared.clone();
        let StreamConfig { resync_interval, stall_timeout, .. } = *shared.config;
        let not_before = self.snapshot_at.map(|last| last + resync_interval);
        // In a task of its own: a source that panics ends this stream in words.
        let (source, layers) = (Arc::clone(&shared.sources.snapshot), self.options.layers);
        let fetch = async {
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            let snapshot = tokio::spawn(async move { source(layers).await });
            timeout(stall_timeout, snapshot).await.ok().and_then(Result::ok)
        };
        let Some(snapshot) = shared.shutdown.run_until_cancelled(fetch).await else { return };
        let Some(SnapshotJson { cursor, json }) = snapshot else {
            tracing::error!("no snapshot could be had for a client of server-sent events");
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

impl Drop for Client {
    fn drop(&mut self) {
        let reason = self.cut.get().copied().or(self.ended).unwrap_or(CloseReason::Left);
        counter!("living_map_stream_closed_total", "reason" => reason.as_str()).increment(1);
        let seconds = self.connected_at.elapsed().as_secs();
        match reason {
            CloseReason::Left | CloseReason::Shutdown | CloseReason::Expired => {
                tracing::debug!(reason = reason.as_str(), seconds, position = ?self.position, "an event stream ended");
            }
            _ => {
                tracing::warn!(reason = reason.as_str(), seconds, position = ?self.position, "an event stream was closed");
            }
        }
    }
}

/// Returns at this time, or never.
async fn expiry(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// When the next `ping` is due: the interval, less a random part so that clients that came together part.
fn ping_time(config: &StreamConfig) -> Instant {
    Instant::now() + config.ping_interval.mul_f64(1.0 - 0.1 * rand::random::<f64>())
}
