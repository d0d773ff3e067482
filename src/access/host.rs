//! Host names of requests that need no token.
//!
//! A page of any site can make its own name resolve to this server's address, and is then of the same origin to the browser
//! (DNS rebinding). It cannot choose the `Host` that the browser sends: that is the page's own name. Addresses, `localhost`
//! and names without a dot are no names that a stranger could register.

use std::str::FromStr;

use url::Host;

/// A name in `ALLOWED_HOSTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// Lowercase, without a trailing dot.
    name: String,
    /// `*.name`: the names below it instead of itself.
    below: bool,
}

/// Text that is not a name of `ALLOWED_HOSTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host name without scheme and port, such as map.example.org, or *.example.org for all names below it"
)]
pub struct InvalidHost;

impl FromStr for AllowedHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim();
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        match Host::parse(name) {
            Ok(Host::Domain(name)) if !name.contains('*') => {
                let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
                if name.is_empty() { Err(InvalidHost) } else { Ok(Self { name, below }) }
            }
            _ => Err(InvalidHost),
        }
    }
}

impl AllowedHost {
    fn matches(&self, name: &str) -> bool {
        if self.below { is_below(name, &self.name) } else { name == self.name }
    }
}

/// Returns true if a request without a token may address this host. `authority` is the value of `Host`: a name or an
/// address, with or without a port.
#[must_use]
pub fn is_allowed(authority: &str, allowed: &[AllowedHost]) -> bool {
    let Some(host) = host_of(authority) else { return false };
    let Ok(Host::Domain(name)) = host else { return host.is_ok() };
    // a name without a dot is of the local network; with a trailing one it is absolute, such as a top-level domain
    let Some(name) = name.strip_suffix('.').or_else(|| name.contains('.').then_some(&*name)) else { return true };
    name == "localhost" || is_below(name, "localhost") || allowed.iter().any(|host| host.matches(name))
}

/// The host of `host[:port]`; `None` if the port is not a number.
fn host_of(authority: &str) -> Option<Result<Host, url::ParseError>> {
    // the colons of an IPv6 address are in brackets
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| Host::parse(host))
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<AllowedHost> {
        ["map.example.org", " *.Internal.example. ", "xn--mller-kva.example"].map(|text| text.parse().unwrap()).to_vec()
    }

    #[test]
    fn addresses_and_local_names_need_no_setting() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7017",
            "192.0.2.7:80",
            "[::1]",
            "[::1]:7017",
            "[2001:db8::1]:7017",
            "localhost",
            "LocalHost:7017",
            "localhost.",
            "localhost.:7017",
            "map.localhost",
            "a.b.localhost.",
            "living-map",
            "living_map:8080",
            "0x7f000001",
        ] {
            assert!(is_allowed(host, &[]), "{host}");
        }
    }

    #[test]
    fn names_that_strangers_can_register_need_the_setting() {
        for host in [
            "evil.example",
            "evil.example:7017",
            "EVIL.example.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:7017",
            "evillocalhost.example",
            "example.",
            "a..localhost.example",
            "map.example.org.evil.example",
            "notmap.example.org",
            "sub.map.example.org",
            "internal.example",
            "evilinternal.example",
            ".internal.example",
        ] {
            assert!(!is_allowed(host, &allowed()), "{host}");
        }
        for host in [
            "map.example.org",
            "MAP.example.org.:443",
            "a.internal.example",
            "b.a.internal.example:1",
            "müller.example",
        ] {
            assert!(is_allowed(host, &allowed()), "{host}");
            assert!(!is_allowed(host, &[]), "{host}");
        }
    }

    #[test]
    fn a_malformed_host_is_not_allowed() {
        for host in [
            "",
            ":",
            ":7017",
            "[::1",
            "::1",
            "[::1]x",
            "[evil.example]",
            "localhost:x",
            "localhost:80:80",
            "a b",
            "a/b",
            "a@b",
            "a\\b",
            "a?b",
            "a#b",
            ".",
            "..",
            "localhost,evil.example",
            "256.256.256.256",
        ] {
            assert!(!is_allowed(host, &allowed()), "{host}");
        }
    }

    #[test]
    fn allowed_hosts_are_names_without_scheme_and_port() {
        for text in [
            "",
            "*",
            "*.",
            "https://map.example.org",
            "map.example.org:80",
            "127.0.0.1",
            "*.127.0.0.1",
            "a.*.b",
            "a b",
            "a/b",
            ".",
        ] {
            assert_eq!(text.parse::<AllowedHost>(), Err(InvalidHost), "{text}");
        }
    }
}
