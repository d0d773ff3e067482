//! A task that owns many sockets.
//!
//! One task for each socket would cost a wake-up, a lock and a chain of futures for each delivery. A shard wakes once
//! for each batch of frames, reads the ring once, and writes the same bytes to each of its clients in a plain loop.
//! Clients that lag are served at their own pace, woken by their sockets.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use metrics::counter;
use slab::Slab;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client::{Progress, SentCounters, ShardContext, UpgradedConnection, WebSocketClient};
use super::pending::{ClientId, PendingReplays, PendingSnapshots};
use super::ready::{ClientWaker, ReadyList};
use crate::model::Cursor;
use crate::stream::close::CloseReason;
use crate::stream::context::StreamContext;
use crate::stream::frame::FrameBatch;
use crate::stream::hub::RingRead;
use crate::stream::protocol::{SNAPSHOT_SUFFIX, snapshot_head};
use crate::stream::sources::{Replay, SnapshotJson};

/// Clients served before the shard yields to other tasks of its thread: about half a millisecond of writes.
const CLIENTS_PER_ROUND: usize = 128;
/// Bytes written before the shard yields: a few snapshots are as much work as many events.
const BYTES_PER_ROUND: u64 = 4 * 1024 * 1024;
/// Maximum number of upgraded connections that wait for a shard.
pub const MAX_WAITING_CONNECTIONS: usize = 256;
/// Bytes read from a socket at a time.
const SCRATCH_BYTES: usize = 4096;

/// A client and its waker.
struct ConnectedClient {
    client: WebSocketClient,
    serial: u64,
    ready: Arc<ClientWaker>,
    waker: Waker,
}

/// A part of the clients, served by one task.
pub struct Shard {
    context: Arc<StreamContext>,
    upgraded: mpsc::Receiver<UpgradedConnection>,
    head: watch::Receiver<Cursor>,
    /// Idle clients have everything up to here.
    position: Cursor,
    clients: Slab<ConnectedClient>,
    next_serial: u64,
    ready: Arc<ReadyList>,
    /// Keys taken from `ready` that are not served yet.
    keys: Vec<usize>,
    snapshots: PendingSnapshots,
    replays: PendingReplays,
    scratch: Box<[u8]>,
    sent: SentCounters,
    stopping: bool,
}

impl Shard {
    /// A shard without clients, which takes the connections that arrive through `upgraded`.
    pub fn new(context: Arc<StreamContext>, upgraded: mpsc::Receiver<UpgradedConnection>) -> Self {
        let head = context.hub.subscribe();
        let position = *head.borrow();
        Self {
            context,
            upgraded,
            head,
            position,
            clients: Slab::new(),
            next_serial: 0,
            ready: Arc::default(),
            keys: Vec::new(),
            snapshots: PendingSnapshots::default(),
            replays: PendingReplays::default(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            sent: SentCounters::default(),
            stopping: false,
        }
    }

    /// Serves clients until the shutdown.
    pub async fn run(mut self) {
        let shutdown = self.context.shutdown.clone();
        let ready = Arc::clone(&self.ready);
        let mut tick = interval(self.context.config.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_pass = Instant::now();
        let mut upgraded = Vec::new();
        while !(self.stopping && self.clients.is_empty()) {
            let paused = next_pass > Instant::now();
            tokio::select! {
                // The shard keeps the hub alive, so this does not fail.
                _ = self.head.changed(), if !paused => {
                    next_pass = Instant::now() + self.context.config.coalesce;
                    self.pass().await;
                }
                () = sleep_until(next_pass), if paused => {}
                () = poll_fn(|cx| ready.poll_take(cx, &mut self.keys)), if self.keys.is_empty() => {}
                () = std::future::ready(()), if !self.keys.is_empty() => self.serve_ready(),
                Some((clients, snapshot)) = self.snapshots.next() => self.send_snapshot(clients, snapshot),
                Some((client, replay)) = self.replays.next() => self.send_replay(client, replay),
                1.. = self.upgraded.recv_many(&mut upgraded, MAX_WAITING_CONNECTIONS) => {
                    for connection in upgraded.drain(..) {
                        self.add(connection);
                    }
                }
                _ = tick.tick() => self.tick(),
                () = shutdown.cancelled(), if !self.stopping => self.shut_down(),
            }
            self.report_sent();
            // The shard has no tokio budget, so it must yield to the other tasks of its thread.
            tokio::task::yield_now().await;
        }
    }

    /// Brings all idle clients to the head of the ring.
    async fn pass(&mut self) {
        let head = *self.head.borrow_and_update();
        while self.position != head {
            let batch = match self.context.hub.read(self.position, self.context.config.batch_bytes) {
                RingRead::Frames(batch) => Some(batch),
                // Clients with a newer position than the shard read the ring by themselves.
                RingRead::Lagged { .. } => None,
            };
            self.position = batch.as_ref().map_or(head, |batch| batch.upto);
            let mut served = 0;
            for key in 0..self.clients.capacity() {
                if self.clients.get(key).is_some_and(|connected| connected.client.is_idle()) {
                    self.send(key, batch.as_ref());
                    served += 1;
                    if served % CLIENTS_PER_ROUND == 0 {
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
        for _ in 0..CLIENTS_PER_ROUND {
            let Some(key) = self.keys.pop() else { return };
            self.serve(key);
            if self.sent.bytes >= BYTES_PER_ROUND {
                return;
            }
        }
    }

    /// Writes to and reads from one client.
    fn serve(&mut self, key: usize) {
        let Some(connected) = self.clients.get(key) else { return };
        connected.ready.reset();
        if !self.send(key, None) {
            return;
        }
        match self.clients.get_mut(key).and_then(|connected| connected.client.take_resumed()) {
            Some(true) => counter!("living_map_stream_resumed_total").increment(1),
            Some(false) => counter!("ws_cursor_resync_total").increment(1),
            None => {}
        }
        match self.with_client(key, None, |client, cx, scratch, shard| client.receive(cx, scratch, shard)) {
            Some(Ok(true)) => self.wake(key),
            Some(Ok(false)) => {}
            Some(Err(reason)) => return self.remove(key, reason),
            None => return,
        }
        self.send(key, None);
    }

    /// Writes to one client. Returns false if the client is gone.
    fn send(&mut self, key: usize, batch: Option<&FrameBatch>) -> bool {
        match self.with_client(key, batch, |client, cx, _, shard| client.send(cx, shard)) {
            Some(Ok(Progress::UpToDate | Progress::Blocked)) => true,
            Some(Ok(Progress::More)) => {
                self.wake(key);
                true
            }
            Some(Ok(Progress::NeedsReplay(position))) => {
                if let Some(connected) = self.clients.get(key) {
                    let id = ClientId { key, serial: connected.serial };
                    self.replays.enqueue(connected.client.owner(), id, position);
                    self.request_replays();
                }
                true
            }
            Some(Ok(Progress::NeedsSnapshot)) => {
                self.request_snapshot(key);
                true
            }
            Some(Err(reason)) => {
                self.remove(key, reason);
                false
            }
            None => false,
        }
    }

    /// Calls `act` with a client and what it works with; `None` if there is no client with this key.
    fn with_client<R>(
        &mut self,
        key: usize,
        batch: Option<&FrameBatch>,
        act: impl FnOnce(&mut WebSocketClient, &mut Context<'_>, &mut [u8], &mut ShardContext<'_>) -> R,
    ) -> Option<R> {
        let connected = self.clients.get_mut(key)?;
        let StreamContext { hub, config, .. } = &*self.context;
        let mut shard = ShardContext { hub, config, batch, now: Instant::now(), sent: &mut self.sent };
        Some(act(&mut connected.client, &mut Context::from_waker(&connected.waker), &mut self.scratch, &mut shard))
    }

    fn wake(&self, key: usize) {
        if let Some(connected) = self.clients.get(key) {
            connected.waker.wake_by_ref();
        }
    }

    fn add(&mut self, connection: UpgradedConnection) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let StreamContext { hub, config, .. } = &*self.context;
        let shard = ShardContext { hub, config, batch: None, now: Instant::now(), sent: &mut self.sent };
        let mut client = WebSocketClient::new(connection, &shard);
        if self.stopping {
            client.shut_down(config.reconnect_after_ms(), &shard);
        }
        let entry = self.clients.vacant_entry();
        let ready = ClientWaker::new(Arc::clone(&self.ready), entry.key());
        let waker = Waker::from(Arc::clone(&ready));
        waker.wake_by_ref();
        entry.insert(ConnectedClient { client, serial, ready, waker });
    }

    fn request_replays(&mut self) {
        self.replays.request_queued(&self.context, |client| is_connected(&self.clients, client));
    }

    fn send_replay(&mut self, client: ClientId, replay: Option<Replay>) {
        self.request_replays();
        if !is_connected(&self.clients, client) {
            return;
        }
        let batch = match replay {
            Some(Replay::Frames(batch)) => Some(batch),
            Some(Replay::Gone { .. } | Replay::Unavailable) | None => None,
        };
        let key = client.key;
        if self.with_client(key, None, |client, _, _, _| client.accept_replay(batch.as_deref())) == Some(true) {
            self.send(key, batch.as_deref());
        }
        // the frames after the batch, from the ring or another request, follow in a later round
        self.wake(key);
    }

    fn request_snapshot(&mut self, key: usize) {
        let Some(true) = self.with_client(key, None, |client, _, _, shard| client.request_snapshot(shard)) else {
            return;
        };
        let Some(connected) = self.clients.get(key) else { return };
        if connected.client.has_position() {
            counter!("living_map_stream_lagged_total").increment(1);
        }
        let client = ClientId { key, serial: connected.serial };
        self.snapshots.request(client, connected.client.layers(), &self.context);
    }

    fn send_snapshot(&mut self, clients: Vec<ClientId>, snapshot: Option<SnapshotJson>) {
        let frame = snapshot.map(|SnapshotJson { cursor, json }| {
            (cursor, [snapshot_head(json.len()), json, Bytes::from_static(SNAPSHOT_SUFFIX)])
        });
        if frame.is_none() {
            tracing::error!(
                clients = clients.len(),
                "no snapshot for WebSocket clients: the source failed or timed out"
            );
        }
        for client in clients {
            if !is_connected(&self.clients, client) {
                continue;
            }
            self.with_client(client.key, None, |client, _, _, shard| match &frame {
                Some((cursor, parts)) => client.accept_snapshot(*cursor, parts.clone(), shard),
                None => client.close(CloseReason::Internal, "the map is not available", shard),
            });
            // Written in a later round: thousands of snapshots must not delay the events of all other clients.
            self.wake(client.key);
        }
    }

    fn tick(&mut self) {
        for key in 0..self.clients.capacity() {
            match self.with_client(key, None, |client, _, _, shard| client.tick(shard)) {
                Some(Ok(true)) => self.wake(key),
                Some(Err(reason)) => self.remove(key, reason),
                Some(Ok(false)) | None => {}
            }
        }
    }

    fn shut_down(&mut self) {
        self.stopping = true;
        for key in 0..self.clients.capacity() {
            let after_ms = self.context.config.reconnect_after_ms();
            self.with_client(key, None, |client, _, _, shard| client.shut_down(after_ms, shard));
            self.wake(key);
        }
    }

    fn remove(&mut self, key: usize, reason: CloseReason) {
        self.with_client(key, None, |client, _, _, shard| client.log_end(reason, shard));
        self.clients.remove(key);
        if self.clients.is_empty() {
            self.clients.shrink_to_fit();
        }
        counter!("living_map_stream_closed_total", "reason" => reason.as_str()).increment(1);
    }

    fn report_sent(&mut self) {
        let SentCounters { frames, replayed, bytes } = std::mem::take(&mut self.sent);
        if bytes > 0 {
            counter!("living_map_stream_frames_total").increment(frames);
            counter!("living_map_stream_bytes_total").increment(bytes);
        }
        if replayed > 0 {
            counter!("ws_replay_events_total").increment(replayed);
        }
    }
}

fn is_connected(clients: &Slab<ConnectedClient>, ClientId { key, serial }: ClientId) -> bool {
    clients.get(key).is_some_and(|connected| connected.serial == serial)
}
