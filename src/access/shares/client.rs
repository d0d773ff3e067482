//! Identity by which resources are shared.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::access::Identity;
use crate::access::address::limit_key;

/// Identity by which resources are shared: the token of a request, else its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    /// Name of the API token, or subject of the JSON Web Token.
    Token(Arc<str>),
    /// Address; for IPv6 the /64 network.
    Address(IpAddr),
}

impl Client {
    /// Client of a request from `address`, with the identity that its token proves.
    #[must_use]
    pub fn new(identity: Option<&Identity>, address: IpAddr) -> Self {
        match identity {
            Some(identity) => Self::Token(Arc::clone(&identity.name)),
            None => Self::Address(limit_key(address)),
        }
    }
}

impl Default for Client {
    /// The client of requests without an address, which only tests make.
    fn default() -> Self {
        Self::Address(Ipv4Addr::UNSPECIFIED.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    #[test]
    fn a_client_is_its_token_else_its_network() {
        let address = |text: &str| Client::new(None, text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::2"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        let named =
            |name: &str, from: &str| Client::new(Some(&Identity::new(name, Role::Viewer, None)), from.parse().unwrap());
        assert_eq!(named("grafana", "192.0.2.1"), named("grafana", "198.51.100.1"));
        assert_ne!(named("grafana", "192.0.2.1"), named("bot", "192.0.2.1"));
    }
}
