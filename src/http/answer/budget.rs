//! Bound of the bytes of response bodies that are in flight: reserved, or not yet written to their sockets.
//!
//! | memory | counted |
//! |---|---|
//! | an answer that is being computed | as what is reserved for it, until its size is known |
//! | a body | as its size, once for each response; what the socket has accepted is released |
//! | a part that responses share, such as a layer of the snapshot | once in all, and once for each client that it is sent to |
//!
//! A client may hold as much as is free: a single one half of the limit, two of them a third each. Whatever they take, as
//! much as each holds remains for the next one (the dynamic threshold of Choudhury and Hahne, 1998). Its first answer needs
//! room only. Requests without room wait in queues of their clients; the client that holds the least is served first.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use metrics::{Gauge, gauge};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ledger::{Demand, Ledger};
use crate::access::shares::{Client, PoolUse, QueueConfig};

/// Bytes up to which a demand is small: it does not wait behind larger ones.
const SMALL_BYTES: usize = 1024 * 1024;

/// No room for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes of responses are in flight")]
pub struct NoRoom;

/// Bytes of response bodies in flight. Cheap to clone.
///
/// Metrics: `living_map_http_response_bytes` (bytes in flight), `living_map_http_response_waiting` (requests that wait
/// for room).
#[derive(Clone)]
pub struct ResponseBudget(Arc<Inner>);

struct Inner {
    queue: QueueConfig,
    state: Mutex<State>,
    bytes: Gauge,
    waiting: Gauge,
}

struct State {
    ledger: Ledger,
    /// Requests without room, oldest first.
    queue: Vec<Waiter>,
    next_serial: u64,
}

struct Waiter {
    serial: u64,
    client: Client,
    demand: Demand,
    granted: oneshot::Sender<Permit>,
}

impl ResponseBudget {
    /// A budget of `max_bytes`, of which nothing is used. Requests wait for room as `queue` permits.
    #[must_use]
    pub fn new(max_bytes: usize, queue: QueueConfig) -> Self {
        let state = State { ledger: Ledger::new(max_bytes), queue: Vec::new(), next_serial: 0 };
        let budget = Self(Arc::new(Inner {
            queue,
            state: Mutex::new(state),
            bytes: gauge!("living_map_http_response_bytes"),
            waiting: gauge!("living_map_http_response_waiting"),
        }));
        budget.report(&budget.lock());
        budget
    }

    /// Use of the budget.
    #[must_use]
    pub fn usage(&self) -> PoolUse {
        let state = self.lock();
        let waiting = state.queue.iter().map(|waiter| &waiter.client);
        let clients = state.ledger.clients().chain(waiting).collect::<HashSet<_>>().len();
        let (slots, in_use) = (state.ledger.limit() as u64, state.ledger.used() as u64);
        PoolUse { name: "response_bytes", slots, in_use, waiting: state.queue.len(), clients }
    }

    /// Reserves `bytes` for a response to `client`, waiting for room. Cancel safe.
    ///
    /// # Errors
    /// There is no room in time, or too many requests wait.
    pub async fn reserve(&self, client: &Client, bytes: usize) -> Result<Permit, NoRoom> {
        self.acquire(client, Demand::Own(bytes)).await
    }

    /// Admits a response to `client` of parts that other responses may share, waiting for room. Cancel safe.
    ///
    /// # Errors
    /// See [`ResponseBudget::reserve`].
    pub async fn share(&self, client: &Client, parts: &Arc<[Bytes]>) -> Result<Permit, NoRoom> {
        self.acquire(client, Demand::Shared(Arc::clone(parts))).await
    }

    async fn acquire(&self, client: &Client, demand: Demand) -> Result<Permit, NoRoom> {
        let waiting = {
            let mut state = self.lock();
            let passes = state.queue.is_empty() || state.ledger.cost(client, &demand).0 <= SMALL_BYTES;
            if passes && state.ledger.take(client, &demand) {
                self.report(&state);
                return Ok(Permit { budget: self.clone(), client: client.clone(), demand });
            }
            self.enqueue(&mut state, client, demand)?
        };
        let Waiting { granted, guard } = waiting;
        let granted = timeout(self.0.queue.wait, granted).await;
        drop(guard);
        granted.ok().and_then(Result::ok).ok_or(NoRoom)
    }

    fn enqueue(&self, state: &mut State, client: &Client, demand: Demand) -> Result<Waiting, NoRoom> {
        let QueueConfig { per_client, clients, .. } = self.0.queue;
        let own = state.queue.iter().filter(|waiter| waiter.client == *client).count();
        if own >= per_client || state.queue.len() >= clients {
            return Err(NoRoom);
        }
        let (sender, granted) = oneshot::channel();
        let serial = state.next_serial;
        state.next_serial += 1;
        state.queue.push(Waiter { serial, client: client.clone(), demand, granted: sender });
        // it may come before those that wait
        self.serve(state);
        self.report(state);
        Ok(Waiting { granted, guard: WaitingGuard { budget: self.clone(), serial } })
    }

    /// Serves the waiting requests that have room now.
    fn serve(&self, state: &mut State) {
        loop {
            let ledger = &state.ledger;
            let next =
                state.queue.iter().enumerate().min_by_key(|(_, waiter)| (ledger.held(&waiter.client), waiter.serial));
            let Some(index) = next.map(|(index, _)| index) else { return };
            let Waiter { client, demand, .. } = &state.queue[index];
            if !state.ledger.take(client, demand) {
                return;
            }
            let Waiter { client, demand, granted, .. } = state.queue.remove(index);
            if let Err(permit) = granted.send(Permit { budget: self.clone(), client, demand }) {
                // cancelled meanwhile; the permit must not lock the state again
                let (client, demand) = permit.disarm();
                state.ledger.release(&client, &demand);
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut state = self.lock();
        change(&mut state.ledger);
        self.serve(&mut state);
        self.report(&state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn report(&self, state: &State) {
        self.0.bytes.set(state.ledger.used() as f64);
        self.0.waiting.set(state.queue.len() as f64);
    }
}

impl fmt::Debug for ResponseBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBudget").field("used", &self.lock().ledger.used()).finish_non_exhaustive()
    }
}

/// A queued request.
struct Waiting {
    granted: oneshot::Receiver<Permit>,
    guard: WaitingGuard,
}

/// Removes a queued request when dropped, and serves those that waited behind it.
struct WaitingGuard {
    budget: ResponseBudget,
    serial: u64,
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if let Some(index) = state.queue.iter().position(|waiter| waiter.serial == self.serial) {
            state.queue.remove(index);
            self.budget.serve(&mut state);
            self.budget.report(&state);
        }
    }
}

/// Bytes of a response in flight, released when dropped.
pub struct Permit {
    budget: ResponseBudget,
    client: Client,
    demand: Demand,
}

impl Permit {
    /// Changes a reservation to the size of the body, without waiting.
    ///
    /// # Errors
    /// There is no room for a body that is larger than the reservation.
    pub fn resize(mut self, bytes: usize) -> Result<Self, NoRoom> {
        let Demand::Own(reserved) = self.demand else { return Ok(self) };
        let (mut fits, wanted) = (true, Demand::Own(bytes));
        self.budget.change(|ledger| {
            if bytes <= reserved {
                ledger.release(&self.client, &Demand::Own(reserved - bytes));
                return;
            }
            // without the reservation, so that a client's first answer needs room only
            ledger.release(&self.client, &self.demand);
            fits = ledger.take(&self.client, &wanted);
        });
        self.demand = if fits { wanted } else { Demand::Own(0) };
        if fits { Ok(self) } else { Err(NoRoom) }
    }

    /// Moves the permit of a piece of the body to the piece itself, so that it is released when the socket has accepted
    /// the piece.
    #[must_use]
    pub fn attach(&mut self, piece: Bytes) -> Bytes {
        let Demand::Own(left) = &mut self.demand else { return piece };
        let bytes = piece.len().min(*left);
        *left -= bytes;
        let permit = Self { budget: self.budget.clone(), client: self.client.clone(), demand: Demand::Own(bytes) };
        Bytes::from_owner(Tracked { piece, _permit: permit })
    }

    /// The shared parts, each with its own permit.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        let budget = self.budget.clone();
        let (client, demand) = self.disarm();
        let Demand::Shared(parts) = demand else { return Vec::new() };
        let tracked = parts.iter().map(|part| {
            let demand = Demand::Part(part.clone());
            let permit = Self { budget: budget.clone(), client: client.clone(), demand };
            Bytes::from_owner(Tracked { piece: part.clone(), _permit: permit })
        });
        tracked.collect()
    }

    /// Takes the content, so that dropping the permit releases nothing.
    fn disarm(mut self) -> (Client, Demand) {
        (self.client.clone(), std::mem::replace(&mut self.demand, Demand::Own(0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.demand.is_empty() {
            self.budget.change(|ledger| ledger.release(&self.client, &self.demand));
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A piece of a body with its permit.
struct Tracked {
    piece: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

#[cfg(test)]
mod tests;
