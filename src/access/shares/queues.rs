//! Order of service: which waiting request gets the next free units.
//!
//! Clients are served in the order of their last use of the pool: a client that was just served comes after all that were
//! waiting at that time, and before those that arrive later. While a client waits below its share, no other client is
//! therefore served twice before it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use super::QueueConfig;

/// Units in use by each client, and a queue of waiting requests for each.
pub struct Queues<K, T> {
    config: QueueConfig,
    capacity: u64,
    /// Units that one request takes at most.
    largest: u64,
    /// Units that one client may hold.
    share: u64,
    in_use: u64,
    waiting: usize,
    clients: HashMap<K, ClientQueue<T>>,
    /// Clients with a non-empty queue, in the order of service.
    turns: BTreeMap<Turn, K>,
    /// Number of requests served so far.
    served: u64,
    /// Last number given to a turn or a waiting request.
    serial: u64,
}

/// Position in the order of service: the earliest is served first. The second number makes it unique.
type Turn = (u64, u64);

struct ClientQueue<T> {
    held: u64,
    turn: Turn,
    queue: VecDeque<Waiting<T>>,
}

struct Waiting<T> {
    id: u64,
    units: u64,
    item: T,
}

/// Reason why a request cannot be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFull {
    /// The client's queue is full.
    Client,
    /// Too many clients wait.
    Clients,
}

/// A request that was served.
#[derive(Debug, PartialEq, Eq)]
pub struct Served<K, T> {
    /// Its client.
    pub client: K,
    /// Units that it now holds.
    pub units: u64,
    /// The queued item.
    pub item: T,
}

/// Numbers for metrics and readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Units in use.
    pub in_use: u64,
    /// Waiting requests.
    pub waiting: usize,
    /// Clients that hold units or wait.
    pub clients: usize,
}

impl<K: Clone + Eq + Hash, T> Queues<K, T> {
    /// Queues for `capacity` units, of which one request takes at most `largest`. Both are at least 1.
    pub fn new(capacity: u64, largest: u64, config: QueueConfig) -> Self {
        let capacity = capacity.max(1);
        let largest = largest.clamp(1, capacity);
        Self {
            config,
            capacity,
            largest,
            share: (capacity - largest).max(largest),
            in_use: 0,
            waiting: 0,
            clients: HashMap::new(),
            turns: BTreeMap::new(),
            served: 0,
            serial: 0,
        }
    }

    /// Numbers for metrics and readiness.
    pub fn usage(&self) -> Usage {
        Usage { in_use: self.in_use, waiting: self.waiting, clients: self.clients.len() }
    }

    /// Total number of units.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Number of units that one request takes at most.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// Takes `units` at once: true if they are free, within the client's share, and no request of a client below its share waits.
    pub fn take(&mut self, client: &K, units: u64) -> bool {
        let (held, queued) = self.clients.get(client).map_or((0, 0), |entry| (entry.held, entry.queue.len()));
        if queued > 0 || held + units > self.share || self.in_use + units > self.capacity || self.next().is_some() {
            return false;
        }
        self.served += 1;
        let turn = self.used_turn();
        let entry = self.entry(client);
        entry.held += units;
        entry.turn = turn;
        self.in_use += units;
        true
    }

    /// Queues a request for `units`, at most [`Queues::largest`]. Returns an id for [`Queues::remove`].
    ///
    /// # Errors
    /// A queue is full.
    pub fn push(&mut self, client: &K, units: u64, item: T) -> Result<u64, QueueFull> {
        let queue_len = self.clients.get(client).map_or(0, |entry| entry.queue.len());
        if queue_len >= self.config.per_client {
            return Err(QueueFull::Client);
        }
        if queue_len == 0 && self.turns.len() >= self.config.clients {
            return Err(QueueFull::Clients);
        }
        self.serial += 1;
        let id = self.serial;
        let entry = self.entry(client);
        entry.queue.push_back(Waiting { id, units, item });
        if queue_len == 0 {
            // a client that used the pool before has the turn of that use
            let turn = entry.turn;
            self.turns.insert(turn, client.clone());
        }
        self.waiting += 1;
        Ok(id)
    }

    /// Removes a waiting request. Returns false if it was served before.
    pub fn remove(&mut self, client: &K, id: u64) -> bool {
        let Some(entry) = self.clients.get_mut(client) else { return false };
        let Some(index) = entry.queue.iter().position(|waiting| waiting.id == id) else { return false };
        entry.queue.remove(index);
        self.waiting -= 1;
        if entry.queue.is_empty() {
            self.turns.remove(&entry.turn);
        }
        self.forget_if_unused(client);
        true
    }

    /// Returns units of a client.
    pub fn release(&mut self, client: &K, units: u64) {
        let turn = self.used_turn();
        let Some(entry) = self.clients.get_mut(client) else { return };
        entry.held -= units;
        self.in_use -= units;
        let before = std::mem::replace(&mut entry.turn, turn);
        if !entry.queue.is_empty() {
            self.turns.remove(&before);
            self.turns.insert(turn, client.clone());
        }
        self.forget_if_unused(client);
    }

    /// Serves the next request. `None` if none waits that may have its units now.
    pub fn serve(&mut self) -> Option<Served<K, T>> {
        let (client, units) = self.next()?;
        if self.in_use + units > self.capacity {
            // smaller requests do not overtake it, or large ones would never be served
            return None;
        }
        let client = client.clone();
        self.served += 1;
        let turn = self.used_turn();
        let entry = self.clients.get_mut(&client)?;
        let Waiting { item, .. } = entry.queue.pop_front()?;
        entry.held += units;
        let before = std::mem::replace(&mut entry.turn, turn);
        self.turns.remove(&before);
        if !entry.queue.is_empty() {
            self.turns.insert(turn, client.clone());
        }
        self.in_use += units;
        self.waiting -= 1;
        Some(Served { client, units, item })
    }

    /// The client that is served next, as soon as there is room, and its units. Clients at their share are passed over.
    fn next(&self) -> Option<(&K, u64)> {
        self.turns.values().find_map(|client| {
            let entry = self.clients.get(client)?;
            let units = entry.queue.front()?.units;
            (entry.held + units <= self.share).then_some((client, units))
        })
    }

    /// Turn of a client that uses the pool now: after those that wait, before those that arrive after the next service.
    fn used_turn(&mut self) -> Turn {
        self.serial += 1;
        (2 * self.served, self.serial)
    }

    /// Entry of a client; the turn of a new one is before that of the client served last.
    fn entry(&mut self, client: &K) -> &mut ClientQueue<T> {
        let turn = (2 * self.served).saturating_sub(1);
        match self.clients.entry(client.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.serial += 1;
                entry.insert(ClientQueue { held: 0, turn: (turn, self.serial), queue: VecDeque::new() })
            }
        }
    }

    fn forget_if_unused(&mut self, client: &K) {
        if self.clients.get(client).is_some_and(|entry| entry.held == 0 && entry.queue.is_empty()) {
            self.clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests;
