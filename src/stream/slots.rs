//! Admission: the limits on streaming clients, in all and for each address.

use metrics::gauge;
use tokio::time::Instant;

use super::options::ClientInfo;
use crate::access::address::{AddressPermit, AddressQuota};
use crate::access::shares::{Client, Pool, QueueConfig, Slot};
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
    by_address: AddressQuota,
    pool: Pool,
}

/// The slot of one client, returned when dropped.
#[derive(Debug)]
pub struct ClientSlot {
    slot: Slot,
    transport: Transport,
    _permit: Option<AddressPermit>,
    expires_at: Option<Instant>,
}

impl ClientSlots {
    /// Slots for `max_clients` clients in total, limited for each address by `by_address`.
    pub fn new(max_clients: usize, by_address: AddressQuota) -> Self {
        // a client that finds no slot does not wait for one
        Self { by_address, pool: Pool::new("streams", max_clients, QueueConfig::default()) }
    }

    /// Takes a slot; `None` if all slots, the client's share of them, or those of its address, are taken.
    pub fn acquire(&self, transport: Transport, client: &ClientInfo) -> Option<ClientSlot> {
        let permit = client.address.map(|address| self.by_address.acquire(address));
        if matches!(permit, Some(None)) {
            count_rejected(Limit::StreamsAddress);
            return None;
        }
        let Ok(slot) = self.pool.try_acquire(client.client.clone()) else {
            count_rejected(Limit::Streams);
            return None;
        };
        gauge!("living_map_stream_clients", "transport" => transport.as_str()).increment(1.0);
        Some(ClientSlot { slot, transport, _permit: permit.flatten(), expires_at: client.expires_at })
    }

    /// The number of slots in use.
    pub fn in_use(&self) -> usize {
        usize::try_from(self.pool.usage().in_use).unwrap_or(usize::MAX)
    }

    /// The pool of slots.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl ClientSlot {
    /// When the client's token expires and it must be closed.
    pub const fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// The client that holds it.
    pub const fn client(&self) -> &Client {
        self.slot.client()
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        gauge!("living_map_stream_clients", "transport" => self.transport.as_str()).decrement(1.0);
    }
}
