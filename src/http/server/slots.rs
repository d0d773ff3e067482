//! The limit of connections: where it is reached, the longest idle one makes room.
//!
//! One address holds at most all but one of the slots (of one, that one), so that another client finds a slot whatever the
//! first one does. This holds for every peer: addresses without a limit of their number, and proxies, whose clients share what
//! the proxy has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::activity::Activity;
use crate::access::address::limit_key;
use crate::instruments::{Limit, count_rejected};

/// Evicted connections that may still be open, beyond the limit: their tasks close them as soon as they run.
const MAX_CLOSING: usize = 64;

/// Pause after a search for idle connections that found none.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// Slots for a limited number of connections.
#[derive(Debug)]
pub struct Slots {
    max: usize,
    table: Mutex<Table>,
}

/// Reason why a connection gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSlot {
    /// All connections have a request.
    Full,
    /// The address holds its share, and all its connections have a request.
    Share,
}

#[derive(Debug, Default)]
struct Table {
    open: Slab<OpenConnection>,
    /// Number of open connections of each address that has any.
    held: HashMap<IpAddr, usize>,
    /// Evicted connections that are still open.
    closing: usize,
    /// Idle connections of all addresses.
    idle: IdleConnections,
    /// Idle connections of one address, which holds its share.
    idle_of: Option<(IpAddr, IdleConnections)>,
}

/// A connection that was not evicted.
#[derive(Debug)]
struct OpenConnection {
    activity: Arc<Activity>,
    address: IpAddr,
}

/// Result of the last search for idle connections.
#[derive(Debug, Default)]
struct IdleConnections {
    /// Connections that were idle, the longest idle one last.
    found: Vec<(Instant, usize)>,
    /// Time before which a search would find nothing, most likely.
    search_after: Option<Instant>,
}

impl Slots {
    /// Slots for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default() })
    }

    /// A slot for a new connection from `peer`. If there is none, the longest idle connection is evicted; if the address
    /// holds its share, its own longest idle one.
    ///
    /// # Errors
    /// None of these connections is idle.
    pub fn acquire(self: &Arc<Self>, peer: IpAddr) -> Result<Slot, NoSlot> {
        let address = limit_key(peer);
        let mut table = self.table();
        if table.held.get(&address).is_some_and(|held| *held >= self.share()) {
            if !table.evict_of(address) {
                return Err(NoSlot::Share);
            }
        } else if table.open.len() + table.closing >= self.max && !table.evict() {
            return Err(NoSlot::Full);
        }
        let activity = Arc::new(Activity::new());
        let key = table.open.insert(OpenConnection { activity: Arc::clone(&activity), address });
        *table.held.entry(address).or_insert(0) += 1;
        drop(table);
        metrics::gauge!("living_map_http_connections").increment(1);
        Ok(Slot { slots: Arc::clone(self), key, activity })
    }

    /// Evicts the longest idle connection, if any is idle.
    pub fn evict(&self) {
        self.table().evict();
    }

    /// Connections that one address may hold.
    fn share(&self) -> usize {
        self.max.saturating_sub(1).max(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Evicts the longest idle connection; false if none is idle.
    fn evict(&mut self) -> bool {
        let mut idle = std::mem::take(&mut self.idle);
        let evicted = self.evict_one(&mut idle, None);
        self.idle = idle;
        evicted
    }

    /// Evicts the longest idle connection of an address; false if none is idle.
    fn evict_of(&mut self, address: IpAddr) -> bool {
        let mut idle = match self.idle_of.take() {
            Some((of, idle)) if of == address => idle,
            _ => IdleConnections::default(),
        };
        let evicted = self.evict_one(&mut idle, Some(address));
        self.idle_of = Some((address, idle));
        evicted
    }

    /// Evicts the longest idle connection of `address`, or of all; false if none is idle, or too many are closing.
    fn evict_one(&mut self, idle: &mut IdleConnections, address: Option<IpAddr>) -> bool {
        if self.closing >= MAX_CLOSING {
            return false;
        }
        let found = idle.next(&self.open).or_else(|| {
            idle.search(&self.open, address);
            idle.next(&self.open)
        });
        let Some(key) = found else { return false };
        self.remove(key).evict();
        self.closing += 1;
        count_rejected(Limit::ConnectionsIdle);
        true
    }

    fn remove(&mut self, key: usize) -> Arc<Activity> {
        let OpenConnection { activity, address } = self.open.remove(key);
        if let Some(held) = self.held.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&address);
            }
        }
        activity
    }
}

impl IdleConnections {
    /// The longest idle connection that is still idle.
    fn next(&mut self, open: &Slab<OpenConnection>) -> Option<usize> {
        while let Some((since, key)) = self.found.pop() {
            // it may have become active since the search, or its key may be another connection's
            if open.get(key).is_some_and(|connection| connection.activity.idle_since() == Some(since)) {
                return Some(key);
            }
        }
        None
    }

    /// Finds the quarter of the idle connections of `address`, or of all, that has been idle for the longest time, so that
    /// one search serves many evictions.
    fn search(&mut self, open: &Slab<OpenConnection>, address: Option<IpAddr>) {
        let now = Instant::now();
        if self.search_after.is_some_and(|after| now < after) {
            return;
        }
        let of_address = open.iter().filter(|(_, open)| address.is_none_or(|address| open.address == address));
        self.found.extend(of_address.filter_map(|(key, open)| open.activity.idle_since().map(|since| (since, key))));
        self.found.sort_unstable();
        self.found.truncate(self.found.len().div_ceil(4));
        self.found.reverse();
        self.search_after = self.found.is_empty().then(|| now + SEARCH_PAUSE);
    }
}

/// Slot of an open connection, released when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    key: usize,
    /// Activity of the connection.
    pub activity: Arc<Activity>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::gauge!("living_map_http_connections").decrement(1);
        let mut table = self.slots.table();
        if self.activity.is_evicted() {
            table.closing -= 1;
        } else {
            table.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

    fn evicted(held: &[Slot]) -> Vec<bool> {
        held.iter().map(|slot| slot.activity.is_evicted()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_makes_room() {
        let slots = Slots::new(3);
        let mut held = Vec::new();
        for peer in [A, B, A] {
            held.push(slots.acquire(peer).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        held[0].activity.begin_response();
        held[1].activity.received();
        tokio::time::advance(Duration::from_secs(1)).await;
        held.push(slots.acquire(B).unwrap());
        assert_eq!(evicted(&held), [false, false, true, false], "the head arrived after the third was accepted");
        held.push(slots.acquire(B).unwrap());
        assert_eq!(evicted(&held), [false, true, true, false, false]);
        for slot in &held {
            slot.activity.begin_response();
        }
        assert_eq!(slots.acquire(C).unwrap_err(), NoSlot::Full, "requests in progress are not interrupted");
        held.drain(1..3);
        assert_eq!(slots.acquire(C).unwrap_err(), NoSlot::Full, "evicted connections were beyond the limit");
        held.pop();
        assert!(slots.acquire(B).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_a_slot_to_others() {
        let slots = Slots::new(3);
        let mut held = vec![slots.acquire(A).unwrap(), slots.acquire(A).unwrap()];
        for slot in &held {
            slot.activity.begin_response();
        }
        assert_eq!(slots.acquire(A).unwrap_err(), NoSlot::Share, "one slot is left to others");
        tokio::time::advance(SEARCH_PAUSE).await;
        held.push(slots.acquire(B).unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
        held[1].activity.end_response();
        held[1].activity.flushed();
        held.push(slots.acquire(A).unwrap());
        assert_eq!(
            evicted(&held),
            [false, true, false, false],
            "its own idle connection makes room, not the older one"
        );
        let neighbour: IpAddr = "2001:db8::1".parse().unwrap();
        let same_network: IpAddr = "2001:db8::2".parse().unwrap();
        let slots = Slots::new(2);
        let first = slots.acquire(neighbour).unwrap();
        first.activity.begin_response();
        assert_eq!(slots.acquire(same_network).unwrap_err(), NoSlot::Share, "a /64 network is one address");
        drop(first);
        assert!(slots.acquire(same_network).is_ok());
        assert_eq!(Slots::new(1).share(), 1, "of one slot, that one");
    }
}
