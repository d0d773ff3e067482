//! One WebSocket client: its socket, its position in the ring, and its state.

mod receive;
mod send;

use std::net::SocketAddr;

use bytes::Bytes;
use chrono::Utc;
use tokio::time::Instant;

use super::decode::Decoder;
use super::io::Io;
use super::write_buffer::WriteBuffer;
use crate::access::shares::Client;
use crate::model::Cursor;
use crate::stream::close::CloseReason;
use crate::stream::config::StreamConfig;
use crate::stream::frame::FrameBatch;
use crate::stream::hub::Hub;
use crate::stream::layers::LayerSet;
use crate::stream::options::StreamOptions;
use crate::stream::protocol;
use crate::stream::slots::ClientSlot;

pub use send::Progress;

/// Maximum number of reads or writes for one client before the next client is served.
const MAX_ROUNDS: usize = 8;
/// A client with this many parts in its write buffer is not read from.
const MAX_BUFFERED_PARTS: usize = 16;

/// A connection after its upgrade.
pub struct UpgradedConnection {
    /// The socket.
    pub io: Io,
    /// Bytes that the client sent right after its request.
    pub leftover: Bytes,
    /// The connect options.
    pub options: StreamOptions,
    /// The client's slot.
    pub slot: ClientSlot,
}

/// The shard's state that a client works with.
pub struct ShardContext<'a> {
    /// The ring buffer.
    pub hub: &'a Hub,
    /// The settings.
    pub config: &'a StreamConfig,
    /// The batch read from the ring for all clients of the current pass.
    pub batch: Option<&'a FrameBatch>,
    /// The current time.
    pub now: Instant,
    /// Counters for the metrics.
    pub sent: &'a mut SentCounters,
}

/// Counters of written data, for the metrics.
#[derive(Debug, Default, Clone, Copy)]
pub struct SentCounters {
    /// Event frames.
    pub frames: u64,
    /// Event frames that were published before a resuming client connected, or that came from a replay.
    pub replayed: u64,
    /// Bytes of all frames.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    /// Reads frames from the ring.
    Live,
    /// Waits for a replay of frames that the ring has evicted.
    AwaitingReplay,
    /// Needs a snapshot that is not requested yet.
    NeedsSnapshot,
    /// Waits for a requested snapshot.
    AwaitingSnapshot,
    /// A close frame was queued. The connection ends when the client has closed too, or at `until`.
    Closing { reason: CloseReason, until: Instant, answered: bool },
}

/// Client messages counted in the current rate window.
#[derive(Debug)]
struct MessageRate {
    since: Instant,
    frames: u32,
    bad: u32,
}

/// One client. The shard keeps its waker.
#[derive(Debug)]
pub struct WebSocketClient {
    io: Io,
    peer: Option<SocketAddr>,
    /// `None`: every event passes.
    filter: Option<Box<StreamOptions>>,
    layers: LayerSet,
    /// Everything up to here is written or in the write buffer; `None` before the first snapshot.
    position: Option<Cursor>,
    /// The client sent a cursor, and it is not known yet if the stream can resume after it.
    resuming: bool,
    state: ClientState,
    /// Events up to here count as replayed.
    replay_until: u64,
    buffer: WriteBuffer,
    /// Deadline for emptying the write buffer.
    drain_by: Option<Instant>,
    decoder: Decoder,
    rate: MessageRate,
    ping_at: Instant,
    pong_by: Option<Instant>,
    snapshot_at: Option<Instant>,
    connected_at: Instant,
    frames_sent: u64,
    snapshots_sent: u32,
    slot: ClientSlot,
}

impl WebSocketClient {
    /// Begins at the client's cursor if it can be resumed from; otherwise with a snapshot, unless the options exclude
    /// it.
    pub fn new(connection: UpgradedConnection, shard: &ShardContext<'_>) -> Self {
        let UpgradedConnection { io, leftover, options, slot } = connection;
        let mut buffer = WriteBuffer::default();
        let position = match options.cursor {
            Some(cursor) => shard.hub.has_published(cursor).then_some(cursor),
            None if options.snapshot => None,
            None => {
                let head = shard.hub.head();
                buffer.push(protocol::ping(Utc::now(), head).wire().clone());
                Some(head)
            }
        };
        let resuming = options.cursor.is_some();
        let replay_until = if resuming && position.is_some() { shard.hub.head().seq } else { 0 };
        let mut decoder = Decoder::default();
        decoder.feed(&leftover);
        Self {
            peer: io.peer(),
            io,
            layers: options.layers,
            filter: (!options.wants_all()).then(|| Box::new(options)),
            position,
            resuming,
            replay_until,
            state: if position.is_some() { ClientState::Live } else { ClientState::NeedsSnapshot },
            buffer,
            drain_by: None,
            decoder,
            rate: MessageRate { since: shard.now, frames: 0, bad: 0 },
            ping_at: next_ping(shard),
            pong_by: None,
            snapshot_at: None,
            connected_at: shard.now,
            frames_sent: 0,
            snapshots_sent: 0,
            slot,
        }
    }

    /// The layers of its snapshots.
    pub const fn layers(&self) -> LayerSet {
        self.layers
    }

    /// Client by which replays are shared.
    pub const fn owner(&self) -> &Client {
        self.slot.client()
    }

    /// Returns true if the client only waits for new frames.
    pub fn is_idle(&self) -> bool {
        self.state == ClientState::Live && self.buffer.is_empty()
    }

    /// Returns, once, if the stream resumed after the client's cursor; `None` while that is not decided, and
    /// afterwards.
    pub fn take_resumed(&mut self) -> Option<bool> {
        if !self.resuming || matches!(self.state, ClientState::AwaitingReplay | ClientState::Closing { .. }) {
            return None;
        }
        self.resuming = false;
        Some(self.state == ClientState::Live)
    }

    /// Returns true if the client ever had a position, by its cursor or a snapshot.
    pub const fn has_position(&self) -> bool {
        self.position.is_some()
    }

    /// Returns true if a snapshot must be requested now; the client then waits for it.
    pub fn request_snapshot(&mut self, shard: &ShardContext<'_>) -> bool {
        let interval = shard.config.resync_interval;
        let due = self.state == ClientState::NeedsSnapshot
            && self.snapshot_at.is_none_or(|last| shard.now >= last + interval);
        if due {
            self.state = ClientState::AwaitingSnapshot;
        }
        due
    }

    /// Accepts the result of a replay. Returns true if the client can send `batch`; otherwise it needs a snapshot.
    pub fn accept_replay(&mut self, batch: Option<&FrameBatch>) -> bool {
        if self.state != ClientState::AwaitingReplay {
            return false;
        }
        let batch = batch.filter(|batch| self.position.is_some_and(|position| batch.continues_from(position)));
        let Some(batch) = batch else {
            self.state = ClientState::NeedsSnapshot;
            if self.resuming {
                // a cursor that cannot be resumed from counts as no position
                self.position = None;
            }
            return false;
        };
        self.replay_until = self.replay_until.max(batch.upto.seq);
        self.state = ClientState::Live;
        true
    }

    /// Queues the requested snapshot: header, JSON and end of one frame.
    pub fn accept_snapshot(&mut self, cursor: Cursor, parts: [Bytes; 3], shard: &ShardContext<'_>) {
        if self.state == ClientState::AwaitingSnapshot {
            self.buffer.push_parts(parts);
            self.position = Some(cursor);
            self.replay_until = 0;
            self.state = ClientState::Live;
            self.snapshot_at = Some(shard.now);
            self.snapshots_sent += 1;
        }
    }

    /// Queues a close frame. Of the write buffer, only a partly written frame is kept.
    pub fn close(&mut self, reason: CloseReason, text: &str, shard: &ShardContext<'_>) {
        if matches!(self.state, ClientState::Closing { .. }) {
            return;
        }
        self.buffer.discard_unstarted_frames();
        self.buffer.push(protocol::protocol_close(reason.code(), text));
        self.state = ClientState::Closing { reason, until: shard.now + shard.config.close_timeout, answered: false };
    }

    /// Queues a `reconnect` frame and a close frame: the server is stopping.
    pub fn shut_down(&mut self, after_ms: u64, shard: &ShardContext<'_>) {
        if !matches!(self.state, ClientState::Closing { .. }) {
            self.buffer.discard_unstarted_frames();
            self.buffer.push(protocol::reconnect(after_ms).wire().clone());
            let close = protocol::protocol_close(CloseReason::Shutdown.code(), "the server is stopping");
            self.buffer.push(close);
            let until = shard.now + shard.config.close_timeout;
            self.state = ClientState::Closing { reason: CloseReason::Shutdown, until, answered: false };
        }
    }

    /// Checks the client's deadlines. Returns true if there is something to write now.
    pub fn tick(&mut self, shard: &ShardContext<'_>) -> Result<bool, CloseReason> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| shard.now >= deadline);
        match self.state {
            ClientState::Closing { reason, until, .. } if passed(Some(until)) => return Err(reason),
            ClientState::Closing { .. } => return Ok(false),
            ClientState::Live
            | ClientState::AwaitingReplay
            | ClientState::AwaitingSnapshot
            | ClientState::NeedsSnapshot => {}
        }
        if passed(self.slot.expires_at()) {
            let text = "the token has expired, reconnect with a fresh one and your cursor";
            self.close(CloseReason::Expired, text, shard);
            return Ok(true);
        }
        if self.state == ClientState::NeedsSnapshot {
            return Ok(self.buffer.is_empty());
        }
        if passed(self.drain_by) {
            self.close(CloseReason::Slow, "too slow, reconnect with your cursor", shard);
        } else if passed(self.pong_by) {
            self.close(CloseReason::NoPong, "no answer to a ping", shard);
        } else if let (Some(position), true) = (self.position, passed(Some(self.ping_at)) && self.is_idle()) {
            self.ping_at = next_ping(shard);
            self.pong_by.get_or_insert(shard.now + shard.config.pong_timeout);
            self.buffer.push(protocol::protocol_ping());
            self.buffer.push(protocol::ping(Utc::now(), position).wire().clone());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Logs the end of the connection.
    pub fn log_end(&self, reason: CloseReason, shard: &ShardContext<'_>) {
        let peer = self.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        let seconds = shard.now.duration_since(self.connected_at).as_secs();
        let (frames, snapshots, reason_text) = (self.frames_sent, self.snapshots_sent, reason.as_str());
        match reason {
            CloseReason::Left | CloseReason::Broken | CloseReason::Shutdown | CloseReason::Expired => {
                tracing::debug!(
                    peer,
                    reason = reason_text,
                    seconds,
                    frames,
                    snapshots,
                    "WebSocket client disconnected"
                );
            }
            _ => tracing::warn!(
                peer,
                reason = reason_text,
                seconds,
                frames,
                snapshots,
                unsent_bytes = self.buffer.bytes(),
                "WebSocket client closed by the server"
            ),
        }
    }
}

/// When the next `ping` is due: after the interval minus a random part, so that clients that connected together spread
/// out.
fn next_ping(shard: &ShardContext<'_>) -> Instant {
    shard.now + shard.config.ping_interval.mul_f64(1.0 - 0.1 * rand::random::<f64>())
}
