//! Client addresses behind proxies, and quotas per address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ipnet::IpNet;

/// A set of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Returns true if an address is in one of the networks.
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

/// Address of the client: the peer, or, if the peer is a trusted proxy, the last address in `X-Forwarded-For` that is not a
/// trusted proxy. Addresses before it come from the client and could be forged.
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

/// Address by which limits are counted. For IPv6 that is the /64 network, since a host has all its 2^64 addresses.
#[must_use]
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A quota of permits for each address, such as connections. Holds no entry for addresses without permits.
#[derive(Debug, Clone)]
pub struct AddressQuota {
    max: u32,
    unlimited: Networks,
    taken: Arc<DashMap<IpAddr, u32>>,
}

impl AddressQuota {
    /// A quota of `max` for each address, except those in `unlimited`.
    #[must_use]
    pub fn new(max: u32, unlimited: Networks) -> Self {
        Self { max, unlimited, taken: Arc::default() }
    }

    /// A permit for this address; `None` if its quota is exhausted.
    #[must_use]
    pub fn acquire(&self, address: IpAddr) -> Option<AddressPermit> {
        if self.unlimited.contains(address.to_canonical()) {
            return Some(AddressPermit(None));
        }
        let key = limit_key(address);
        let mut taken = self.taken.entry(key).or_insert(0);
        if *taken >= self.max {
            return None;
        }
        *taken += 1;
        drop(taken);
        Some(AddressPermit(Some((Arc::clone(&self.taken), key))))
    }
}

impl Default for AddressQuota {
    /// No limit.
    fn default() -> Self {
        Self::new(u32::MAX, Networks::default())
    }
}

/// A permit, released when dropped.
#[derive(Debug)]
pub struct AddressPermit(Option<(Arc<DashMap<IpAddr, u32>>, IpAddr)>);

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some((taken, key)) = self.0.take() else { return };
        if let Entry::Occupied(mut entry) = taken.entry(key) {
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
    fn only_trusted_proxies_can_forward_an_address() {
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
    fn the_ipv6_addresses_of_a_host_have_one_key() {
        assert_eq!(limit_key(ip("2001:db8:1:2:3::4")), limit_key(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(limit_key(ip("2001:db8:1:2::4")), limit_key(ip("2001:db8:1:3::4")));
        assert_eq!(limit_key(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn each_address_has_a_quota_and_releases_permits() {
        let quota = AddressQuota::new(2, networks(&["127.0.0.0/8"]));
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let held: Vec<_> = (0..2).map(|_| quota.acquire(one).unwrap()).collect();
        assert!(quota.acquire(one).is_none());
        assert!(quota.acquire(other).is_some());
        drop(held);
        assert!(quota.acquire(one).is_some());
        assert!((0..10).all(|_| quota.acquire(ip("127.0.0.1")).is_some()));
        assert!(quota.taken.is_empty(), "no entry remains without permits");
    }
}
