//! A task that owns many sockets.
//!
//! One task for each socket would cost a wake-up, a lock and a stack of futures for each delivery. A shard wakes once
//! for each batch of frames, reads the ring once, and writes the same bytes to each of its clients in a plain loop.
//! Clients that are behind go at their own pace, woken by their sockets.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use metrics::counter;
use slab::Slab;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Next, Sent, Turn};
use super::close::CloseReason;
use super::config::StreamConfig;
use super::filter::{LayerSet, StreamOptions};
use super::hub::{Batch, Hub, Read};
use super::io::Io;
use super::protocol::{SNAPSHOT_SUFFIX, snapshot_head};
use super::ready::{ReadyList, Signal};
use super::replay::Replay;
use super::streams::{Place, SnapshotJson, Sources};
use crate::model::Cursor;

/// Clients served before other tasks of the thread have their turn: about half a millisecond of writes.
const CLIENTS_PER_TURN: usize = 128;
/// Bytes written before the same: of snapshots, a few are as much work as many events.
const BYTES_PER_TURN: u64 = 4 * 1024 * 1024;
/// Clients that wait for their upgrade to be taken note of.
pub const NEWCOMERS_AT_ONCE: usize = 256;
/// Replays asked for at one time: whatever the number of clients that are behind, so many stretches are held for them.
const REPLAYS_AT_ONCE: usize = 16;
/// Bytes read from a socket at a time.
const SCRATCH_BYTES: usize = 4096;

/// A client fresh from the upgrade.
pub struct Newcomer {
    /// Its socket.
    pub io: Io,
    /// What it sent right behind its request.
    pub leftover: Bytes,
    /// What it wants.
    pub options: StreamOptions,
    /// Its place among the clients.
    pub place: Place,
}

/// A client and how it is woken.
struct Slot {
    client: Client,
    /// Tells this client from a later one with the same key.
    id: u64,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Some of the clients.
pub struct Shard {
    config: Arc<StreamConfig>,
    hub: Arc<Hub>,
    sources: Sources,
    newcomers: mpsc::Receiver<Newcomer>,
    shutdown: CancellationToken,
    head: watch::Receiver<Cursor>,
    /// Clients that listen have everything up to here.
    position: Cursor,
    clients: Slab<Slot>,
    next_id: u64,
    ready: Arc<ReadyList>,
    /// Taken from `ready`, not served yet.
    keys: Vec<usize>,
    /// Who waits for a snapshot of which layers. One is asked for at a time, however many wait.
    waiting: HashMap<LayerSet, Vec<(usize, u64)>>,
    snapshots: FuturesUnordered<BoxFuture<'static, (LayerSet, Option<SnapshotJson>)>>,
    /// Who is behind the ring and has its turn later, and from where it goes on.
    behind: VecDeque<(usize, u64, Cursor)>,
    replays: FuturesUnordered<BoxFuture<'static, (usize, u64, Option<Replay>)>>,
    scratch: Box<[u8]>,
    sent: Sent,
    stopping: bool,
}

impl Shard {
    /// A shard without clients.
    pub fn new(
        config: Arc<StreamConfig>,
        hub: Arc<Hub>,
        sources: Sources,
        newcomers: mpsc::Receiver<Newcomer>,
        shutdown: CancellationToken,
    ) -> Self {
        let head = hub.subscribe();
        let position = *head.borrow();
        Self {
            config,
            hub,
            sources,
            newcomers,
            shutdown,
            head,
            position,
            clients: Slab::new(),
            next_id: 0,
            ready: Arc::default(),
            keys: Vec::new(),
            waiting: HashMap::new(),
            snapshots: FuturesUnordered::new(),
            behind: VecDeque::new(),
            replays: FuturesUnordered::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            sent: Sent::default(),
            stopping: false,
        }
    }

    /// Serves clients until the shutdown.
    pub async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        let ready = Arc::clone(&self.ready);
        let mut tick = interval(self.config.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_pass = Instant::now();
        let mut newcomers = Vec::new();
        while !(self.stopping && self.clients.is_empty()) {
            let paused = next_pass > Instant::now();
            tokio::select! {
                // The hub is kept alive by this shard, so this does not fail.
                _ = self.head.changed(), if !paused => {
                    next_pass = Instant::now() + self.config.coalesce;
                    self.pass().await;
                }
                () = sleep_until(next_pass), if paused => {}
                () = poll_fn(|cx| ready.poll_take(cx, &mut self.keys)), if self.keys.is_empty() => {}
                () = std::future::ready(()), if !self.keys.is_empty() => self.serve_ready(),
                Some((layers, snapshot)) = self.snapshots.next() => self.hand_out(layers, snapshot),
                Some((key, id, replay)) = self.replays.next() => self.hand_over(key, id, replay),
                1.. = self.newcomers.recv_many(&mut newcomers, NEWCOMERS_AT_ONCE) => {
                    for newcomer in newcomers.drain(..) {
                        self.admit(newcomer);
                    }
                }
                _ = tick.tick() => self.tick(),
                () = shutdown.cancelled(), if !self.stopping => self.stop(),
            }
            self.count();
            // Whoever shares the thread has a turn too; a shard is not bound by tokio's budget.
            tokio::task::yield_now().await;
        }
    }

    /// Brings all listening clients to the ring's end.
    async fn pass(&mut self) {
        let head = *self.head.borrow_and_update();
        while self.position != head {
            let batch = match self.hub.read(self.position, self.config.batch_bytes) {
                Read::Frames(batch) => Some(batch),
                // Clients that fare better than the shard are found by their own positions.
                Read::Lagged { .. } => None,
            };
            self.position = batch.as_ref().map_or(head, |batch| batch.upto);
            let mut served = 0;
            for key in 0..self.clients.capacity() {
                if self.clients.get(key).is_some_and(|slot| slot.client.is_listening()) {
                    self.advance(key, batch.as_ref());
                    served += 1;
                    if served % CLIENTS_PER_TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            if self.position.epoch != head.epoch || self.position.seq >= head.seq {
                break;
            }
        }
    }

    /// Serves some of the clients whose sockets are ready.
    fn serve_ready(&mut self) {
        for _ in 0..CLIENTS_PER_TURN {
            let Some(key) = self.keys.pop() else { return };
            self.serve(key);
            if self.sent.bytes >= BYTES_PER_TURN {
                return;
            }
        }
    }

    /// Writes to and reads from one client.
    fn serve(&mut self, key: usize) {
        let Some(slot) = self.clients.get(key) else { return };
        slot.signal.taken();
        if !self.advance(key, None) {
            return;
        }
        match self.clients.get_mut(key).and_then(|slot| slot.client.resumed()) {
            Some(true) => counter!("living_map_stream_resumed_total").increment(1),
            Some(false) => counter!("ws_cursor_resync_total").increment(1),
            None => {}
        }
        match self.with(key, None, |client, cx, scratch, turn| client.receive(cx, scratch, turn)) {
            Some(Ok(true)) => self.wake(key),
            Some(Ok(false)) => {}
            Some(Err(reason)) => return self.remove(key, reason),
            None => return,
        }
        self.advance(key, None);
    }

    /// Writes to one client; false when it is gone.
    fn advance(&mut self, key: usize, batch: Option<&Batch>) -> bool {
        match self.with(key, batch, |client, cx, _, turn| client.advance(cx, turn)) {
            Some(Ok(Next::Idle | Next::Blocked)) => true,
            Some(Ok(Next::More)) => {
                self.wake(key);
                true
            }
            Some(Ok(Next::NeedsReplay(position))) => {
                if let Some(slot) = self.clients.get(key) {
                    self.behind.push_back((key, slot.id, position));
                    self.ask_for_replays();
                }
                true
            }
            Some(Ok(Next::NeedsSnapshot)) => {
                self.ask_for_snapshot(key);
                true
            }
            Some(Err(reason)) => {
                self.remove(key, reason);
                false
            }
            None => false,
        }
    }

    fn with<R>(
        &mut self,
        key: usize,
        batch: Option<&Batch>,
        act: impl FnOnce(&mut Client, &mut Context<'_>, &mut [u8], &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let slot = self.clients.get_mut(key)?;
        let mut turn = Turn { hub: &self.hub, config: &self.config, batch, now: Instant::now(), sent: &mut self.sent };
        Some(act(&mut slot.client, &mut Context::from_waker(&slot.waker), &mut self.scratch, &mut turn))
    }

    fn wake(&self, key: usize) {
        if let Some(slot) = self.clients.get(key) {
            slot.waker.wake_by_ref();
        }
    }

    fn admit(&mut self, newcomer: Newcomer) {
        let id = self.next_id;
        self.next_id += 1;
        let turn =
            Turn { hub: &self.hub, config: &self.config, batch: None, now: Instant::now(), sent: &mut self.sent };
        let mut client = Client::new(newcomer, &turn);
        if self.stopping {
            client.stop(self.config.reconnect_after_ms(), &turn);
        }
        let entry = self.clients.vacant_entry();
        let signal = Signal::new(Arc::clone(&self.ready), entry.key());
        let waker = Waker::from(Arc::clone(&signal));
        waker.wake_by_ref();
        entry.insert(Slot { client, id, signal, waker });
    }

    /// Asks for as many replays as may be under way.
    fn ask_for_replays(&mut self) {
        while self.replays.len() < REPLAYS_AT_ONCE
            && let Some((key, id, position)) = self.behind.pop_front()
        {
            if self.clients.get(key).is_none_or(|slot| slot.id != id) {
                continue;
            }
            // in a task of its own, as a snapshot; it has a patience of its own
            let source = Arc::clone(&self.sources.replay);
            let replay = tokio::spawn(async move { source(position).await });
            self.replays.push(async move { (key, id, replay.await.ok()) }.boxed());
        }
    }

    fn hand_over(&mut self, key: usize, id: u64, replay: Option<Replay>) {
        self.ask_for_replays();
        if self.clients.get(key).is_none_or(|slot| slot.id != id) {
            return;
        }
        let batch = match replay {
            Some(Replay::Frames(batch)) => Some(batch),
            Some(Replay::Gone { .. } | Replay::Unavailable) | None => None,
        };
        if self.with(key, None, |client, _, _, _| client.give_replay(batch.as_deref())) == Some(true) {
            self.advance(key, batch.as_deref());
        }
        // what comes next, of the ring or of another replay or snapshot, when its turn comes
        self.wake(key);
    }

    fn ask_for_snapshot(&mut self, key: usize) {
        let Some(true) = self.with(key, None, |client, _, _, turn| client.ask_for_snapshot(turn)) else { return };
        let Some(slot) = self.clients.get(key) else { return };
        if slot.client.has_position() {
            counter!("living_map_stream_lagged_total").increment(1);
        }
        let layers = slot.client.layers();
        let waiting = self.waiting.entry(layers).or_default();
        waiting.push((key, slot.id));
        if waiting.len() == 1 {
            // In a task of its own: a source that computes, panics or hangs costs those who wait for it, not the shard.
            let source = Arc::clone(&self.sources.snapshot);
            let snapshot = tokio::spawn(async move { source(layers).await });
            let snapshot = tokio::time::timeout(self.config.stall_timeout, snapshot);
            let answer = async move { (layers, snapshot.await.ok().and_then(Result::ok)) };
            self.snapshots.push(answer.boxed());
        }
    }

    fn hand_out(&mut self, layers: LayerSet, snapshot: Option<SnapshotJson>) {
        let waiting = self.waiting.remove(&layers).unwrap_or_default();
        let frame = snapshot.map(|SnapshotJson { cursor, json }| {
            (cursor, [snapshot_head(json.len()), json, Bytes::from_static(SNAPSHOT_SUFFIX)])
        });
        if frame.is_none() {
            tracing::error!(clients = waiting.len(), "no snapshot could be had for streaming clients");
        }
        for (key, id) in waiting {
            if self.clients.get(key).is_none_or(|slot| slot.id != id) {
                continue;
            }
            self.with(key, None, |client, _, _, turn| match &frame {
                Some((cursor, parts)) => client.give_snapshot(*cursor, parts.clone(), turn),
                None => client.close(CloseReason::Internal, "the map is not available", turn),
            });
            // Written when its turn comes: thousands of snapshots must not hold up the events of everybody else.
            self.wake(key);
        }
    }

    fn tick(&mut self) {
        for key in 0..self.clients.capacity() {
            match self.with(key, None, |client, _, _, turn| client.tick(turn)) {
                Some(Ok(true)) => self.wake(key),
                Some(Err(reason)) => self.remove(key, reason),
                Some(Ok(false)) | None => {}
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for key in 0..self.clients.capacity() {
            let after_ms = self.config.reconnect_after_ms();
            self.with(key, None, |client, _, _, turn| client.stop(after_ms, turn));
            self.wake(key);
        }
    }

    fn remove(&mut self, key: usize, reason: CloseReason) {
        self.with(key, None, |client, _, _, turn| client.log_end(reason, turn));
        self.clients.remove(key);
        if self.clients.is_empty() {
            self.clients.shrink_to_fit();
        }
        counter!("living_map_stream_closed_total", "reason" => reason.as_str()).increment(1);
    }

    fn count(&mut self) {
        let Sent { frames, replayed, bytes } = std::mem::take(&mut self.sent);
        if bytes > 0 {
            counter!("living_map_stream_frames_total").increment(frames);
            counter!("living_map_stream_bytes_total").increment(bytes);
        }
        if replayed > 0 {
            counter!("ws_replay_events_total").increment(replayed);
        }
    }
}
