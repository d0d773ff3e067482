//! One client: its socket, its position, and what it is owed.

mod receive;

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chrono::Utc;
use tokio::time::Instant;

use super::close::CloseReason;
use super::config::StreamConfig;
use super::decode::Decoder;
use super::filter::{LayerSet, StreamOptions};
use super::hub::{Batch, Frame, Hub, Read};
use super::io::Io;
use super::outbox::Outbox;
use super::protocol;
use super::shard::Newcomer;
use super::streams::Place;
use crate::model::Cursor;

/// Frames given to the socket in one call.
const MAX_SLICES: usize = 64;
/// Reads or writes for one client before the others have their turn.
const MAX_ROUNDS: usize = 8;
/// A client with this many pieces of answers not yet taken is not read from.
const MAX_ANSWERS: usize = 16;

/// What a client is given to act with.
pub struct Turn<'a> {
    /// The ring.
    pub hub: &'a Hub,
    /// The settings.
    pub config: &'a StreamConfig,
    /// What was read from the ring for all clients of the shard, in a pass over them.
    pub batch: Option<&'a Batch>,
    /// The time.
    pub now: Instant,
    /// What is counted.
    pub sent: &'a mut Sent,
}

/// What was written, for the metrics.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    /// Event frames.
    pub frames: u64,
    /// Those of them that were published before the client, which resumed, had come.
    pub replayed: u64,
    /// Bytes of everything.
    pub bytes: u64,
}

/// What becomes of a client after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has everything there is.
    Idle,
    /// Its socket is full; it wakes when there is room.
    Blocked,
    /// It did not come to an end, give it another turn.
    More,
    /// The ring has left it behind; it must be given what follows this position.
    NeedsReplay(Cursor),
    /// What it misses is gone.
    NeedsSnapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Gets what the ring has.
    Live,
    /// What the ring has not any more is on its way to it.
    Behind,
    /// Cannot go on without a snapshot, which is not asked for yet.
    Lagging,
    /// A snapshot is on its way to it.
    Waiting,
    /// Gets nothing more; the connection ends when the other side closes too, or at `until`.
    Closing { reason: CloseReason, until: Instant, answered: bool },
}

/// Client messages in the current window of time.
#[derive(Debug)]
struct Rate {
    since: Instant,
    frames: u32,
    bad: u32,
}

/// One client. Its waker is the shard's business.
#[derive(Debug)]
pub struct Client {
    io: Io,
    peer: Option<SocketAddr>,
    /// None wants everything.
    filter: Option<Box<StreamOptions>>,
    layers: LayerSet,
    /// Everything up to here was written or is in the outbox; none before the first snapshot.
    position: Option<Cursor>,
    /// It came with a cursor, and it is not known yet whether it can go on from there.
    resuming: bool,
    phase: Phase,
    /// Events up to here were published before the client came, if it resumed, or were given to it by a replay.
    replay_until: u64,
    outbox: Outbox,
    /// When the outbox must be empty.
    drain_by: Option<Instant>,
    decoder: Decoder,
    rate: Rate,
    ping_at: Instant,
    pong_by: Option<Instant>,
    snapshot_at: Option<Instant>,
    connected_at: Instant,
    frames_sent: u64,
    snapshots_sent: u32,
    place: Place,
}

impl Client {
    /// Begins to serve a client: from its cursor if that can be, else with a snapshot unless it wants none.
    pub fn new(newcomer: Newcomer, turn: &Turn<'_>) -> Self {
        let Newcomer { io, leftover, options, place } = newcomer;
        let mut outbox = Outbox::default();
        let position = match options.cursor {
            Some(cursor) => turn.hub.has_passed(cursor).then_some(cursor),
            None if options.snapshot => None,
            None => {
                let head = turn.hub.head();
                outbox.push(protocol::ping(Utc::now(), head).wire().clone());
                Some(head)
            }
        };
        let resuming = options.cursor.is_some();
        let replay_until = if resuming && position.is_some() { turn.hub.head().seq } else { 0 };
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
            phase: if position.is_some() { Phase::Live } else { Phase::Lagging },
            outbox,
            drain_by: None,
            decoder,
            rate: Rate { since: turn.now, frames: 0, bad: 0 },
            ping_at: ping_time(turn),
            pong_by: None,
            snapshot_at: None,
            connected_at: turn.now,
            frames_sent: 0,
            snapshots_sent: 0,
            place,
        }
    }

    /// The layers its snapshots have.
    pub const fn layers(&self) -> LayerSet {
        self.layers
    }

    /// Whether it waits for nothing but new frames.
    pub fn is_listening(&self) -> bool {
        self.phase == Phase::Live && self.outbox.is_empty()
    }

    /// What has become of the cursor that it came with, once that is known, and only once: whether it goes on from there.
    pub fn resumed(&mut self) -> Option<bool> {
        if !self.resuming || matches!(self.phase, Phase::Behind | Phase::Closing { .. }) {
            return None;
        }
        self.resuming = false;
        Some(self.phase == Phase::Live)
    }

    /// Whether it was ever given a position: by its own cursor, or with a snapshot.
    pub const fn has_position(&self) -> bool {
        self.position.is_some()
    }

    /// Whether a snapshot is to be asked for now; if so, it counts as asked for.
    pub fn ask_for_snapshot(&mut self, turn: &Turn<'_>) -> bool {
        let interval = turn.config.resync_interval;
        let due = self.phase == Phase::Lagging && self.snapshot_at.is_none_or(|last| turn.now >= last + interval);
        if due {
            self.phase = Phase::Waiting;
        }
        due
    }

    /// The replay it was waiting for: whether it goes on with `batch`. Otherwise it needs a snapshot.
    pub fn give_replay(&mut self, batch: Option<&Batch>) -> bool {
        if self.phase != Phase::Behind {
            return false;
        }
        let batch = batch.filter(|batch| self.position.is_some_and(|position| batch.goes_on_from(position)));
        let Some(batch) = batch else {
            self.phase = Phase::Lagging;
            if self.resuming {
                // a cursor that leads nowhere is none
                self.position = None;
            }
            return false;
        };
        self.replay_until = self.replay_until.max(batch.upto.seq);
        self.phase = Phase::Live;
        true
    }

    /// The snapshot it was waiting for: head, JSON and tail of one frame.
    pub fn give_snapshot(&mut self, cursor: Cursor, parts: [Bytes; 3], turn: &Turn<'_>) {
        if self.phase == Phase::Waiting {
            self.outbox.push_parts(parts);
            self.position = Some(cursor);
            self.replay_until = 0;
            self.phase = Phase::Live;
            self.snapshot_at = Some(turn.now);
            self.snapshots_sent += 1;
        }
    }

    /// Says goodbye: of what is queued, only the frame under way is finished.
    pub fn close(&mut self, reason: CloseReason, text: &str, turn: &Turn<'_>) {
        if matches!(self.phase, Phase::Closing { .. }) {
            return;
        }
        self.outbox.keep_frame_under_way();
        self.outbox.push(protocol::protocol_close(reason.code(), text));
        self.phase = Phase::Closing { reason, until: turn.now + turn.config.close_timeout, answered: false };
    }

    /// The server stops: when to come back, and goodbye.
    pub fn stop(&mut self, after_ms: u64, turn: &Turn<'_>) {
        if !matches!(self.phase, Phase::Closing { .. }) {
            self.outbox.keep_frame_under_way();
            self.outbox.push(protocol::reconnect(after_ms).wire().clone());
            let goodbye = protocol::protocol_close(CloseReason::Shutdown.code(), "the server is stopping");
            self.outbox.push(goodbye);
            let until = turn.now + turn.config.close_timeout;
            self.phase = Phase::Closing { reason: CloseReason::Shutdown, until, answered: false };
        }
    }

    /// Writes what it is owed, as far as its socket takes it.
    pub fn advance(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> Result<Next, CloseReason> {
        for _ in 0..MAX_ROUNDS {
            if !self.drain(cx, turn)? {
                return Ok(Next::Blocked);
            }
            match self.phase {
                Phase::Live => {}
                Phase::Lagging => return Ok(Next::NeedsSnapshot),
                Phase::Closing { reason, answered: true, .. } => return Err(reason),
                Phase::Behind | Phase::Waiting | Phase::Closing { .. } => return Ok(Next::Idle),
            }
            let Some(position) = self.position else { return Ok(Next::Idle) };
            match turn.batch.filter(|batch| batch.after.epoch == position.epoch) {
                Some(batch) if position.seq >= batch.upto.seq => return Ok(Next::Idle),
                Some(batch) if position.seq >= batch.after.seq => self.write(cx, batch, position, turn.sent)?,
                _ => match turn.hub.read(position, turn.config.batch_bytes) {
                    Read::Frames(batch) if batch.upto.seq <= position.seq => return Ok(Next::Idle),
                    Read::Frames(batch) => self.write(cx, &batch, position, turn.sent)?,
                    Read::Lagged { oldest } if oldest.epoch == position.epoch => {
                        self.phase = Phase::Behind;
                        return Ok(Next::NeedsReplay(position));
                    }
                    Read::Lagged { .. } => {
                        self.phase = Phase::Lagging;
                        return Ok(Next::NeedsSnapshot);
                    }
                },
            }
        }
        Ok(Next::More)
    }

    /// Empties the outbox; false when the socket is full first.
    fn drain(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> Result<bool, CloseReason> {
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_ANSWERS];
            let filled = self.outbox.fill(&mut slices);
            match self.io.poll_write(cx, &slices[..filled]) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    turn.sent.bytes += written as u64;
                    self.outbox.advance(written);
                }
                Poll::Ready(_) => return Err(CloseReason::Broken),
                Poll::Pending => {
                    let patience = self.outbox.bytes() / turn.config.min_bytes_per_second.max(1);
                    let patience = turn.config.stall_timeout + std::time::Duration::from_secs(patience as u64);
                    self.drain_by.get_or_insert(turn.now + patience);
                    return Ok(false);
                }
            }
        }
        self.drain_by = None;
        match self.io.poll_flush(cx) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(CloseReason::Broken),
            Poll::Pending => Ok(false),
        }
    }

    /// Writes the wanted frames of `batch` behind `position`. When the socket is full first, the frame that it did not
    /// take, or not all of, goes to the outbox, and what follows it is read again later.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &Batch,
        position: Cursor,
        sent: &mut Sent,
    ) -> Result<(), CloseReason> {
        let mut frames = batch.behind(position).iter().peekable();
        let mut chunk: [Option<&Arc<Frame>>; MAX_SLICES] = [None; MAX_SLICES];
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        while frames.peek().is_some() {
            let mut filled = 0;
            let filter = self.filter.as_deref();
            for frame in
                frames.by_ref().filter(|frame| filter.is_none_or(|options| options.wants(frame))).take(MAX_SLICES)
            {
                slices[filled] = IoSlice::new(frame.wire());
                chunk[filled] = Some(frame);
                filled += 1;
            }
            if filled == 0 {
                break;
            }
            let mut written = match self.io.poll_write(cx, &slices[..filled]) {
                Poll::Ready(Ok(written)) if written > 0 => written,
                Poll::Ready(_) => return Err(CloseReason::Broken),
                Poll::Pending => 0,
            };
            sent.bytes += written as u64;
            for frame in chunk[..filled].iter().flatten() {
                self.position = Some(Cursor { seq: frame.seq(), ..position });
                self.frames_sent += 1;
                sent.frames += 1;
                sent.replayed += u64::from(frame.seq() <= self.replay_until);
                if written < frame.wire().len() {
                    self.outbox.push_rest(frame.wire(), written);
                    return Ok(());
                }
                written -= frame.wire().len();
            }
        }
        self.position = Some(Cursor { seq: batch.upto.seq, ..position });
        Ok(())
    }

    /// Looks at its deadlines. True when there is something to write now.
    pub fn tick(&mut self, turn: &Turn<'_>) -> Result<bool, CloseReason> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| turn.now >= deadline);
        match self.phase {
            Phase::Closing { reason, until, .. } if passed(Some(until)) => return Err(reason),
            Phase::Closing { .. } => return Ok(false),
            Phase::Live | Phase::Behind | Phase::Waiting | Phase::Lagging => {}
        }
        if passed(self.place.until()) {
            self.close(CloseReason::Expired, "the token has expired, reconnect with a fresh one and your cursor", turn);
            return Ok(true);
        }
        if self.phase == Phase::Lagging {
            return Ok(self.outbox.is_empty());
        }
        if passed(self.drain_by) {
            self.close(CloseReason::Slow, "too slow, reconnect with your cursor", turn);
        } else if passed(self.pong_by) {
            self.close(CloseReason::NoPong, "no answer to a ping", turn);
        } else if let (Some(position), true) = (self.position, passed(Some(self.ping_at)) && self.is_listening()) {
            self.ping_at = ping_time(turn);
            self.pong_by.get_or_insert(turn.now + turn.config.pong_timeout);
            self.outbox.push(protocol::protocol_ping());
            self.outbox.push(protocol::ping(Utc::now(), position).wire().clone());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Says how it ended.
    pub fn log_end(&self, reason: CloseReason, turn: &Turn<'_>) {
        let peer = self.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        let seconds = turn.now.duration_since(self.connected_at).as_secs();
        let (frames, snapshots, reason_text) = (self.frames_sent, self.snapshots_sent, reason.as_str());
        match reason {
            CloseReason::Left | CloseReason::Broken | CloseReason::Shutdown | CloseReason::Expired => {
                tracing::debug!(peer, reason = reason_text, seconds, frames, snapshots, "a stream ended");
            }
            _ => tracing::warn!(
                peer,
                reason = reason_text,
                seconds,
                frames,
                snapshots,
                unsent_bytes = self.outbox.bytes(),
                "a streaming client was closed"
            ),
        }
    }
}

/// When the next `ping` is due: the interval, less a random part so that clients that came together part.
fn ping_time(turn: &Turn<'_>) -> Instant {
    turn.now + turn.config.ping_interval.mul_f64(1.0 - 0.1 * rand::random::<f64>())
}
