//! A pool of slots, with waiting requests, metrics, and slots that return themselves.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Gauge, counter, gauge};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::queues::{QueueFull, Queues};
use super::{Client, QueueConfig};
use crate::instruments::{Instrument, register_with};

/// Reason why a client gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The client's queue is full.
    #[error("this client has too many waiting requests")]
    Queue,
    /// Too many clients wait.
    #[error("too many clients are waiting")]
    Clients,
    /// No slot became free in time.
    #[error("no slot became free in time")]
    Time,
    /// No slot is free, or the client holds its share, and the request does not wait.
    #[error("no slot is free for this client")]
    Share,
}

/// Metrics of a pool, which also have its name as a label.
const INSTRUMENTS: &[Instrument] = &[
    Instrument::gauge("living_map_pool_slots"),
    Instrument::gauge("living_map_pool_in_use"),
    Instrument::gauge("living_map_pool_waiting"),
    Instrument::gauge("living_map_pool_clients"),
    Instrument::counter("living_map_pool_refused_total").labels(&[("reason", &["queue", "clients", "time", "share"])]),
];

impl Full {
    /// Label in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Clients => "clients",
            Self::Time => "time",
            Self::Share => "share",
        }
    }
}

/// Use of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Name of the pool.
    pub name: &'static str,
    /// Slots in all; of a pool of memory, bytes.
    pub slots: u64,
    /// Slots in use.
    pub in_use: u64,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Clients that hold a slot or wait for one.
    pub clients: usize,
}

/// A pool of slots that clients share. Cheap to clone.
///
/// | metric | |
/// |---|---|
/// | `living_map_pool_slots{pool}` | gauge: slots in all; of a pool of memory, bytes |
/// | `living_map_pool_in_use{pool}` | gauge: slots in use |
/// | `living_map_pool_waiting{pool}` | gauge: requests that wait for a slot |
/// | `living_map_pool_clients{pool}` | gauge: clients that hold a slot or wait for one |
/// | `living_map_pool_refused_total{pool, reason}` | rejected requests: `queue`, `clients`, `time`, `share` ([`Full`]) |
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    name: &'static str,
    queues: Mutex<Queues<Client, oneshot::Sender<Slot>>>,
    in_use: Gauge,
    waiting: Gauge,
    clients: Gauge,
}

/// One or more slots of a pool, returned when dropped.
pub struct Slot {
    /// `None` once returned.
    pool: Option<Pool>,
    client: Client,
    units: u64,
}

impl Pool {
    /// A pool of `slots`, at least 1, each for one request.
    #[must_use]
    pub fn new(name: &'static str, slots: usize, config: QueueConfig) -> Self {
        Self::with_largest(name, slots as u64, 1, config)
    }

    /// A pool of `bytes` of memory, of which one request takes at most `largest`. A client holds at most all but `largest`.
    #[must_use]
    pub fn of_bytes(name: &'static str, bytes: usize, largest: usize, config: QueueConfig) -> Self {
        Self::with_largest(name, bytes as u64, largest as u64, config)
    }

    fn with_largest(name: &'static str, slots: u64, largest: u64, config: QueueConfig) -> Self {
        let queues = Queues::new(slots, largest, config);
        register_with(INSTRUMENTS, &[("pool", name)]);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!("living_map_pool_slots", "pool" => name).set(queues.capacity() as f64);
        Self(Arc::new(Inner {
            name,
            queues: Mutex::new(queues),
            in_use: gauge!("living_map_pool_in_use", "pool" => name),
            waiting: gauge!("living_map_pool_waiting", "pool" => name),
            clients: gauge!("living_map_pool_clients", "pool" => name),
        }))
    }

    /// Use of the pool.
    #[must_use]
    pub fn usage(&self) -> PoolUse {
        let queues = self.lock();
        let (slots, usage) = (queues.capacity(), queues.usage());
        PoolUse { name: self.0.name, slots, in_use: usage.in_use, waiting: usage.waiting, clients: usage.clients }
    }

    /// Waits for a slot, until `deadline` at the latest. Cancel safe: a dropped call leaves its queue.
    ///
    /// # Errors
    /// A queue is full, or no slot became free in time.
    pub async fn acquire(&self, client: Client, deadline: Instant) -> Result<Slot, Full> {
        self.acquire_many(client, 1, deadline).await
    }

    /// Like [`Pool::acquire`], for `units` slots at once; at least one, and at most the largest number of one request.
    ///
    /// # Errors
    /// See [`Pool::acquire`].
    pub async fn acquire_many(&self, client: Client, units: usize, deadline: Instant) -> Result<Slot, Full> {
        let granted = match self.request(client, units as u64) {
            Ok(Requested::Granted(slot)) => return Ok(slot),
            Ok(Requested::Waiting(mut waiting)) => timeout_at(deadline, &mut waiting.slot).await,
            Err(full) => return Err(self.refuse(full)),
        };
        match granted {
            Ok(Ok(slot)) => Ok(slot),
            // the sender is dropped only with the pool, which `self` keeps
            Ok(Err(_)) | Err(_) => Err(self.refuse(Full::Time)),
        }
    }

    /// A slot that is free now.
    ///
    /// # Errors
    /// None is free, or the client holds its share.
    pub fn try_acquire(&self, client: Client) -> Result<Slot, Full> {
        let mut queues = self.lock();
        if !queues.take(&client, 1) {
            drop(queues);
            return Err(self.refuse(Full::Share));
        }
        self.report(&queues);
        drop(queues);
        Ok(self.slot(client, 1))
    }

    /// Takes the units, or queues a request for them.
    fn request(&self, client: Client, units: u64) -> Result<Requested, Full> {
        let mut queues = self.lock();
        let units = units.clamp(1, queues.largest());
        if queues.take(&client, units) {
            self.report(&queues);
            drop(queues);
            return Ok(Requested::Granted(self.slot(client, units)));
        }
        let (sender, slot) = oneshot::channel();
        let id = queues.push(&client, units, sender).map_err(|full| match full {
            QueueFull::Client => Full::Queue,
            QueueFull::Clients => Full::Clients,
        })?;
        self.report(&queues);
        drop(queues);
        Ok(Requested::Waiting(Waiting { pool: self.clone(), client, id, slot }))
    }

    /// Serves the waiting requests that may have slots now.
    fn serve(&self) {
        loop {
            let mut queues = self.lock();
            let served = queues.serve();
            self.report(&queues);
            drop(queues);
            let Some(served) = served else { return };
            // a request that was cancelled in between leaves its slot to the next one
            if let Err(mut slot) = served.item.send(self.slot(served.client, served.units)) {
                slot.give_back();
            }
        }
    }

    fn slot(&self, client: Client, units: u64) -> Slot {
        Slot { pool: Some(self.clone()), client, units }
    }

    fn refuse(&self, full: Full) -> Full {
        counter!("living_map_pool_refused_total", "pool" => self.0.name, "reason" => full.as_str()).increment(1);
        full
    }

    fn lock(&self) -> MutexGuard<'_, Queues<Client, oneshot::Sender<Slot>>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn report(&self, queues: &Queues<Client, oneshot::Sender<Slot>>) {
        let usage = queues.usage();
        self.0.in_use.set(usage.in_use as f64);
        self.0.waiting.set(usage.waiting as f64);
        self.0.clients.set(usage.clients as f64);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

enum Requested {
    Granted(Slot),
    Waiting(Waiting),
}

/// A queued request, removed when dropped.
struct Waiting {
    pool: Pool,
    client: Client,
    id: u64,
    slot: oneshot::Receiver<Slot>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queues = self.pool.lock();
        // a smaller request behind it may fit
        if queues.remove(&self.client, self.id) {
            self.pool.report(&queues);
            drop(queues);
            self.pool.serve();
        }
    }
}

impl Slot {
    /// The client that holds it.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the slot without serving others.
    fn give_back(&mut self) -> Option<Pool> {
        let pool = self.pool.take()?;
        let mut queues = pool.lock();
        queues.release(&self.client, self.units);
        pool.report(&queues);
        drop(queues);
        Some(pool)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.give_back() {
            pool.serve();
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("client", &self.client).field("units", &self.units).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
