//! Accounts of the bytes in flight: which client holds how much, and which parts are shared. No I/O, no clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;

use crate::access::shares::Client;

/// Memory that a response takes.
#[derive(Debug, Clone)]
pub enum Demand {
    /// Bytes of the response alone.
    Own(usize),
    /// Parts that responses share.
    Shared(Arc<[Bytes]>),
    /// One of these parts.
    Part(Bytes),
}

impl Demand {
    /// True if it takes nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Own(0))
    }

    fn parts(&self) -> &[Bytes] {
        match self {
            Self::Own(_) => &[],
            Self::Shared(parts) => parts,
            Self::Part(part) => std::slice::from_ref(part),
        }
    }
}

/// Address of a part. It identifies the part as long as a response holds it.
type PartAddress = usize;

/// Bytes in flight.
#[derive(Debug)]
pub struct Ledger {
    limit: usize,
    used: usize,
    /// Bytes of each client that holds any.
    clients: HashMap<Client, usize>,
    /// Number of responses that hold a part, by client.
    parts: HashMap<PartAddress, HashMap<Client, usize>>,
}

impl Ledger {
    /// Accounts for at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: 0, clients: HashMap::new(), parts: HashMap::new() }
    }

    /// Bytes that it accounts for at most.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Clients that hold any bytes.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.keys()
    }

    /// Bytes in all.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Bytes of a client.
    pub fn held(&self, client: &Client) -> usize {
        self.clients.get(client).copied().unwrap_or(0)
    }

    /// Takes a demand, if there is room for it and the client's share permits it.
    ///
    /// A demand above half of the limit needs half of the limit: a map of any size can be sent.
    pub fn take(&mut self, client: &Client, demand: &Demand) -> bool {
        let (in_all, of_client) = self.cost(client, demand);
        let (free, held) = (self.limit.saturating_sub(self.used), self.held(client));
        let is_fair = held == 0 || held.saturating_add(of_client) <= free.saturating_sub(in_all);
        let fits = is_fair && in_all.min(self.limit / 2) <= free;
        if !fits {
            return false;
        }
        for part in demand.parts() {
            *self.parts.entry(address(part)).or_default().entry(client.clone()).or_insert(0) += 1;
        }
        self.used += in_all;
        if of_client > 0 {
            *self.clients.entry(client.clone()).or_insert(0) += of_client;
        }
        true
    }

    /// Releases a demand that was taken, or a part of it.
    pub fn release(&mut self, client: &Client, demand: &Demand) {
        let (mut in_all, mut of_client) = match demand {
            Demand::Own(bytes) => (*bytes, *bytes),
            Demand::Shared(_) | Demand::Part(_) => (0, 0),
        };
        for part in demand.parts() {
            let Entry::Occupied(mut holders) = self.parts.entry(address(part)) else { continue };
            let Some(responses) = holders.get_mut().get_mut(client) else { continue };
            *responses -= 1;
            if *responses == 0 {
                holders.get_mut().remove(client);
                of_client += part.len();
            }
            if holders.get().is_empty() {
                holders.remove();
                in_all += part.len();
            }
        }
        self.used -= in_all;
        if let Entry::Occupied(mut held) = self.clients.entry(client.clone()) {
            *held.get_mut() -= of_client;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Bytes that a demand adds in all, and to those of the client.
    pub fn cost(&self, client: &Client, demand: &Demand) -> (usize, usize) {
        if let Demand::Own(bytes) = demand {
            return (*bytes, *bytes);
        }
        let (mut in_all, mut of_client) = (0, 0);
        for part in demand.parts() {
            let holders = self.parts.get(&address(part));
            if holders.is_none() {
                in_all += part.len();
            }
            if holders.is_none_or(|holders| !holders.contains_key(client)) {
                of_client += part.len();
            }
        }
        (in_all, of_client)
    }
}

fn address(part: &Bytes) -> PartAddress {
    part.as_ptr().addr()
}
