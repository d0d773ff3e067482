//! Admission: the limits on streaming clients, in all and for each address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::gauge;
use tokio::time::Instant;

use super::options::ClientInfo;
use crate::access::address::{AddressPermit, AddressQuota};
use crate::instruments::{Limit, count_rejected};

/// Transport of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket.
    WebSocket,
    /// Server-sent events.
    Sse,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// Hands out [`ClientSlot`]s.
#[derive(Debug)]
pub struct ClientSlots {
    max_clients: usize,
    by_address: AddressQuota,
    taken: Arc<AtomicUsize>,
}

/// The slot of one client, returned when dropped.
#[derive(Debug)]
pub struct ClientSlot {
    taken: Arc<AtomicUsize>,
    transport: Transport,
    _permit: Option<AddressPermit>,
    expires_at: Option<Instant>,
}

impl ClientSlots {
    /// Slots for `max_clients` clients in total, limited for each address by `by_address`.
    pub fn new(max_clients: usize, by_address: AddressQuota) -> Self {
        Self { max_clients, by_address, taken: Arc::default() }
    }

    /// Takes a slot; `None` if all slots, or those of the client's address, are taken.
    pub fn acquire(&self, transport: Transport, client: ClientInfo) -> Option<ClientSlot> {
        let permit = client.address.map(|address| self.by_address.acquire(address));
        if matches!(permit, Some(None)) {
            count_rejected(Limit::StreamsAddress);
            return None;
        }
        let more = |now: usize| (now < self.max_clients).then_some(now + 1);
        if self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            count_rejected(Limit::Streams);
            return None;
        }
        gauge!("living_map_stream_clients", "transport" => transport.as_str()).increment(1.0);
        let taken = Arc::clone(&self.taken);
        Some(ClientSlot { taken, transport, _permit: permit.flatten(), expires_at: client.expires_at })
    }

    /// The number of slots in use.
    pub fn in_use(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl ClientSlot {
    /// When the client's token expires and it must be closed.
    pub const fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        gauge!("living_map_stream_clients", "transport" => self.transport.as_str()).decrement(1.0);
    }
}
