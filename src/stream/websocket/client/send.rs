//! Writing frames to a client.

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{ClientState, MAX_BUFFERED_PARTS, MAX_ROUNDS, SentCounters, ShardContext, WebSocketClient};
use crate::model::Cursor;
use crate::stream::close::CloseReason;
use crate::stream::frame::{Frame, FrameBatch};
use crate::stream::hub::RingRead;

/// Maximum number of frames in one vectored write.
const MAX_SLICES: usize = 64;

/// Result of [`WebSocketClient::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything available is written.
    UpToDate,
    /// The socket is full; the client is woken when it can be written to.
    Blocked,
    /// There is more to write, in a later round.
    More,
    /// The ring has evicted the frames after this position; the client needs a replay.
    NeedsReplay(Cursor),
    /// The client needs a snapshot.
    NeedsSnapshot,
}

impl WebSocketClient {
    /// Writes what the client is to get, as far as its socket accepts it.
    pub fn send(&mut self, cx: &mut Context<'_>, shard: &mut ShardContext<'_>) -> Result<Progress, CloseReason> {
        for _ in 0..MAX_ROUNDS {
            if !self.drain(cx, shard)? {
                return Ok(Progress::Blocked);
            }
            match self.state {
                ClientState::Live => {}
                ClientState::NeedsSnapshot => return Ok(Progress::NeedsSnapshot),
                ClientState::Closing { reason, answered: true, .. } => return Err(reason),
                ClientState::AwaitingReplay | ClientState::AwaitingSnapshot | ClientState::Closing { .. } => {
                    return Ok(Progress::UpToDate);
                }
            }
            let Some(position) = self.position else { return Ok(Progress::UpToDate) };
            match shard.batch.filter(|batch| batch.after.epoch == position.epoch) {
                Some(batch) if position.seq >= batch.upto.seq => return Ok(Progress::UpToDate),
                Some(batch) if position.seq >= batch.after.seq => self.write(cx, batch, position, shard.sent)?,
                _ => match shard.hub.read(position, shard.config.batch_bytes) {
                    RingRead::Frames(batch) if batch.upto.seq <= position.seq => return Ok(Progress::UpToDate),
                    RingRead::Frames(batch) => self.write(cx, &batch, position, shard.sent)?,
                    RingRead::Lagged { oldest } if oldest.epoch == position.epoch => {
                        self.state = ClientState::AwaitingReplay;
                        return Ok(Progress::NeedsReplay(position));
                    }
                    RingRead::Lagged { .. } => {
                        self.state = ClientState::NeedsSnapshot;
                        return Ok(Progress::NeedsSnapshot);
                    }
                },
            }
        }
        Ok(Progress::More)
    }

    /// Empties the write buffer. Returns false if the socket is full first.
    fn drain(&mut self, cx: &mut Context<'_>, shard: &mut ShardContext<'_>) -> Result<bool, CloseReason> {
        while !self.buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_BUFFERED_PARTS];
            let filled = self.buffer.fill(&mut slices);
            match self.io.poll_write(cx, &slices[..filled]) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    shard.sent.bytes += written as u64;
                    self.buffer.advance(written);
                }
                Poll::Ready(_) => return Err(CloseReason::Broken),
                Poll::Pending => {
                    let transfer_seconds = self.buffer.bytes() / shard.config.min_bytes_per_second.max(1);
                    let timeout = shard.config.stall_timeout + Duration::from_secs(transfer_seconds as u64);
                    self.drain_by.get_or_insert(shard.now + timeout);
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

    /// Writes the frames of `batch` after `position` that pass the filter. If the socket is full first, the frame that
    /// it did not take completely goes to the write buffer; the frames after it are read again later.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &FrameBatch,
        position: Cursor,
        sent: &mut SentCounters,
    ) -> Result<(), CloseReason> {
        let mut frames = batch.frames_after(position).iter().peekable();
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
                    self.buffer.push_rest(frame.wire(), written);
                    return Ok(());
                }
                written -= frame.wire().len();
            }
        }
        self.position = Some(Cursor { seq: batch.upto.seq, ..position });
        Ok(())
    }
}
