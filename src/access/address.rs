//! Where a request comes from, and how many of something one address may have.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ipnet::IpNet;

/// A set of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// The client's address: the peer's, or, when that is a proxy that is trusted, the last one of `X-Forwarded-For` that is
/// not. What stands before it was said by the client, and is not believed.
#[must_use]
pub fn client_address(peer: IpAddr, forwarded: Option<&str>, proxies: &Networks) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in forwarded.unwrap_or_default().rsplit(',') {
        if !proxies.contains(client) {
            break;
        }
        let hop = hop.trim();
        // some proxies add the port
        let address = hop.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
        let Some(address) = address else { break };
        client = IpAddr::to_canonical(&address);
    }
    client
}

/// Whom an address stands for where limits are counted: a host with IPv6 has 2^64 addresses, which are one.
#[must_use]
pub fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How many of something each address has. As many entries as there are things, at most.
#[derive(Debug, Clone)]
pub struct AddressQuota {
    max: u32,
    unlimited: Networks,
    taken: Arc<DashMap<IpAddr, u32>>,
}

impl AddressQuota {
    /// At most `max` for each address that is not in `unlimited`.
    #[must_use]
    pub fn new(max: u32, unlimited: Networks) -> Self {
        Self { max, unlimited, taken: Arc::default() }
    }

    /// One more for this address; none if it has as many as it may.
    #[must_use]
    pub fn acquire(&self, address: IpAddr) -> Option<AddressPermit> {
        if self.unlimited.contains(address.to_canonical()) {
            return Some(AddressPermit(None));
        }
        let party = party(address);
        let mut taken = self.taken.entry(party).or_insert(0);
        if *taken >= self.max {
            return None;
        }
        *taken += 1;
        drop(taken);
        Some(AddressPermit(Some((Arc::clone(&self.taken), party))))
    }
}

impl Default for AddressQuota {
    /// Without a limit.
    fn default() -> Self {
        Self::new(u32::MAX, Networks::default())
    }
}

/// One of something, given back when dropped.
#[derive(Debug)]
pub struct AddressPermit(Option<(Arc<DashMap<IpAddr, u32>>, IpAddr)>);

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some((taken, party)) = self.0.take() else { return };
        if let Entry::Occupied(mut entry) = taken.entry(party) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_trusted_proxies_say_where_a_request_comes_from() {
        let proxies = networks(&["10.0.0.0/8", "::1/128"]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", Some("198.51.100.7"), "192.0.2.1"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("198.51.100.7"), "198.51.100.7"),
            ("10.0.0.1", Some("203.0.113.9, 198.51.100.7"), "198.51.100.7"),
            ("10.0.0.1", Some("203.0.113.9, 198.51.100.7, 10.0.0.2"), "198.51.100.7"),
            ("10.0.0.1", Some("198.51.100.7:4711"), "198.51.100.7"),
            ("::1", Some("2001:db8::7"), "2001:db8::7"),
            ("::ffff:10.0.0.1", Some("198.51.100.7"), "198.51.100.7"),
            ("10.0.0.1", Some("unknown"), "10.0.0.1"),
            ("10.0.0.1", Some("198.51.100.7, unknown, 10.0.0.3"), "10.0.0.3"),
        ] {
            assert_eq!(client_address(ip(peer), forwarded, &proxies), ip(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_hosts_many_addresses_of_ipv6_are_one_party() {
        assert_eq!(party(ip("2001:db8:1:2:3::4")), party(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(party(ip("2001:db8:1:2::4")), party(ip("2001:db8:1:3::4")));
        assert_eq!(party(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn each_address_has_its_share_and_gives_it_back() {
        let quota = AddressQuota::new(2, networks(&["127.0.0.0/8"]));
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let held: Vec<_> = (0..2).map(|_| quota.acquire(one).unwrap()).collect();
        assert!(quota.acquire(one).is_none());
        assert!(quota.acquire(other).is_some());
        drop(held);
        assert!(quota.acquire(one).is_some());
        assert!((0..10).all(|_| quota.acquire(ip("127.0.0.1")).is_some()));
        assert!(quota.taken.is_empty(), "nothing is remembered of those who left");
    }
}
