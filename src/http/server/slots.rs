//! The limit of connections: where it is reached, the longest idle one makes room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::activity::Activity;
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

#[derive(Debug, Default)]
struct Table {
    open: Slab<Arc<Activity>>,
    /// Evicted connections that are still open.
    closing: usize,
    /// Connections that were idle at the last search, the longest idle one last.
    idle: Vec<(Instant, usize)>,
    /// Time before which a search would find nothing, most likely.
    search_after: Option<Instant>,
}

impl Slots {
    /// Slots for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default() })
    }

    /// A slot for a new connection. If there is none, the longest idle connection is evicted; `None` if none is idle.
    pub fn acquire(self: &Arc<Self>) -> Option<Slot> {
        let mut table = self.table();
        if table.open.len() + table.closing >= self.max && (table.closing >= MAX_CLOSING || !table.evict()) {
            return None;
        }
        let activity = Arc::new(Activity::new());
        let key = table.open.insert(Arc::clone(&activity));
        drop(table);
        metrics::gauge!("living_map_http_connections").increment(1);
        Some(Slot { slots: Arc::clone(self), key, activity })
    }

    /// Evicts the longest idle connection, if any is idle.
    pub fn evict(&self) {
        let mut table = self.table();
        if table.closing < MAX_CLOSING {
            table.evict();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Evicts the longest idle connection; false if none is idle.
    fn evict(&mut self) -> bool {
        self.evict_known() || {
            self.search();
            self.evict_known()
        }
    }

    fn evict_known(&mut self) -> bool {
        while let Some((since, key)) = self.idle.pop() {
            // it may have become active since the search, or its key may be another connection's
            if self.open.get(key).is_some_and(|activity| activity.idle_since() == Some(since)) {
                self.open.remove(key).evict();
                self.closing += 1;
                count_rejected(Limit::ConnectionsIdle);
                return true;
            }
        }
        false
    }

    /// Finds the quarter of the idle connections that has been idle for the longest time, so that one search serves
    /// many evictions.
    fn search(&mut self) {
        let now = Instant::now();
        if self.search_after.is_some_and(|after| now < after) {
            return;
        }
        let idle_since = |(key, activity): (usize, &Arc<Activity>)| activity.idle_since().map(|since| (since, key));
        self.idle.extend(self.open.iter().filter_map(idle_since));
        self.idle.sort_unstable();
        self.idle.truncate(self.idle.len().div_ceil(4));
        self.idle.reverse();
        self.search_after = self.idle.is_empty().then(|| now + SEARCH_PAUSE);
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
            table.open.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_makes_room() {
        let slots = Slots::new(3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(slots.acquire().unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        held[0].activity.begin_response();
        held[1].activity.received();
        tokio::time::advance(Duration::from_secs(1)).await;
        held.push(slots.acquire().unwrap());
        let evicted = |held: &[Slot]| held.iter().map(|slot| slot.activity.is_evicted()).collect::<Vec<_>>();
        assert_eq!(evicted(&held), [false, false, true, false], "the head arrived after the third was accepted");
        held.push(slots.acquire().unwrap());
        assert_eq!(evicted(&held), [false, true, true, false, false]);
        for slot in &held {
            slot.activity.begin_response();
        }
        assert!(slots.acquire().is_none(), "requests in progress are not interrupted");
        held.drain(1..3);
        assert!(slots.acquire().is_none(), "evicted connections were beyond the limit");
        held.pop();
        assert!(slots.acquire().is_some());
    }
}
