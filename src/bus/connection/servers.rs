//! The servers of a connection: their addresses, and the choice of one for each attempt.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::{Server, ServerAddr};
use rand::seq::IndexedRandom;

use super::credentials::Credentials;
use super::error::NatsError;
use crate::tls;

/// Setting of the file with the authorities of the servers' certificates.
pub(super) const CA_FILE: &str = "NATS_CA_FILE";
/// Setting of the client's certificate.
pub(super) const CERT_FILE: &str = "NATS_CERT_FILE";
/// Setting of its key.
pub(super) const KEY_FILE: &str = "NATS_KEY_FILE";

/// Parses addresses separated by commas.
///
/// # Errors
/// An address is not valid; it is not repeated, since it may contain a password.
pub fn addresses(text: &str) -> Result<Vec<ServerAddr>, NatsError> {
    let read = |address: &str| {
        let server: ServerAddr = address.trim().parse().map_err(|error| NatsError::Address(format!("{error}")))?;
        // the client accepts an address without a host, and tries to resolve it for ever
        if server.host().is_empty() {
            return Err(NatsError::Address("the host is missing".to_owned()));
        }
        // it is built without WebSockets, and would connect to `wss` by TCP without TLS
        if !matches!(server.scheme(), "nats" | "tls") {
            return Err(NatsError::Address(format!(
                "{}:// is not supported, only nats:// and tls://",
                server.scheme()
            )));
        }
        Ok(server)
    };
    text.split(',').map(read).collect()
}

/// Host and port of an address, without its credentials.
pub fn name(address: &ServerAddr) -> String {
    format!("{}:{}", address.host(), address.port())
}

/// Chooses the server of each attempt to connect, and knows the credentials for it. (async-nats would connect with the same
/// credentials to every server, and does not report which one it chose.)
#[derive(Debug)]
pub struct ServerChoice {
    /// Credentials for servers whose address has none: those of the settings, else those of the first address that has some.
    /// Servers that the cluster reports come without credentials.
    fallback: Option<Credentials>,
    attempts: Mutex<Attempts>,
}

/// Attempts since the last connection.
#[derive(Debug, Default)]
struct Attempts {
    made: Vec<(ServerAddr, u32)>,
    current: Option<ServerAddr>,
}

impl ServerChoice {
    /// The choice among `addresses` and the servers that their cluster reports.
    pub fn new(addresses: &[ServerAddr], configured: Option<Credentials>) -> Self {
        let fallback = configured.or_else(|| addresses.iter().find_map(Credentials::of_address));
        Self { fallback, attempts: Mutex::default() }
    }

    /// Chooses a server: one with the fewest attempts since the last connection, an address of the settings before one that
    /// the cluster reported, otherwise at random.
    pub fn next(&self, pool: &[Server]) -> Option<ServerAddr> {
        let mut attempts = self.attempts();
        let rank = |server: &Server| {
            let made = attempts.made.iter().find(|(address, _)| *address == server.addr);
            (made.map_or(0, |(_, made)| *made), server.is_discovered)
        };
        let least = pool.iter().map(rank).min()?;
        let candidates: Vec<&Server> = pool.iter().filter(|server| rank(server) == least).collect();
        let chosen = candidates.choose(&mut rand::rng())?.addr.clone();
        match attempts.made.iter_mut().find(|(address, _)| *address == chosen) {
            Some((_, made)) => *made = made.saturating_add(1),
            None => attempts.made.push((chosen.clone(), 1)),
        }
        attempts.current = Some(chosen.clone());
        Some(chosen)
    }

    /// The errors of the attempts since the last connection; `None` if there are none.
    pub fn failures(&self, pool: &[Server]) -> Option<String> {
        let attempts = self.attempts();
        let tried = |server: &&Server| attempts.made.iter().any(|(address, _)| *address == server.addr);
        let failed =
            pool.iter().filter(tried).filter_map(|server| Some((name(&server.addr), server.last_error.clone()?)));
        let mut lines: Vec<String> = failed.map(|(name, error)| format!("{name}: {}", described(error))).collect();
        lines.sort_unstable();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Forgets the attempts once one has succeeded.
    pub fn connected(&self) {
        self.attempts().made.clear();
    }

    /// The credentials for the chosen server.
    pub fn credentials(&self) -> Option<Credentials> {
        self.attempts().current.as_ref().and_then(Credentials::of_address).or_else(|| self.fallback.clone())
    }

    /// Host and port of the chosen server.
    pub fn current(&self) -> Option<String> {
        self.attempts().current.as_ref().map(name)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn described(error: String) -> String {
    if error.contains("authorization violation") {
        return "the server rejected the credentials (authorization violation)".to_owned();
    }
    // Go's servers report a missing certificate so with TLS 1.3 and with TLS 1.2
    if error.contains("CertificateRequired") || error.contains("BadCertificate") {
        return format!("{error} (the server requires a client certificate, or another one: {CERT_FILE}, {KEY_FILE})");
    }
    // the answer of a server that does not use TLS, or not yet
    if error.contains("InvalidContentType") {
        return format!(
            "{error} (the server does not begin with TLS, which tls:// in NATS_URL, {CA_FILE}, {CERT_FILE} and \
             NATS_TLS_FIRST demand)"
        );
    }
    tls::explained(error, CA_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str, discovered: usize) -> Vec<Server> {
        let addresses = addresses(text).unwrap();
        let configured = addresses.len() - discovered;
        let server = |(nth, addr): (usize, &ServerAddr)| Server {
            addr: addr.clone(),
            failed_attempts: 0,
            did_connect: false,
            is_discovered: nth >= configured,
            last_error: None,
        };
        addresses.iter().enumerate().map(server).collect()
    }

    #[test]
    fn an_address_list_may_have_credentials() {
        let servers = addresses("nats://me:p%40ss@a:4222, hush@b:4223,c").unwrap();
        let expected = [
            Some(Credentials::User { name: "me".to_owned(), password: "p@ss".to_owned() }),
            Some(Credentials::Token("hush".to_owned())),
            None,
        ];
        assert!(servers.iter().map(Credentials::of_address).eq(expected));
        assert_eq!(name(&servers[0]), "a:4222");
    }

    #[test]
    fn credentials_of_a_websocket_address_were_sent_without_tls() {
        for address in ["wss://secret@host:443", "ws://host", "nats://a,wss://b"] {
            let error = addresses(address).unwrap_err().to_string();
            assert!(error.contains("only nats:// and tls://") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_address_without_a_host_is_rejected() {
        for address in ["", ",", "nats://", "nats://:4222", "nats://a:4222,"] {
            assert!(matches!(addresses(address), Err(NatsError::Address(_))), "{address:?}");
        }
    }

    /// A name that cannot be resolved is not counted by async-nats, and must not be tried for ever.
    #[test]
    fn every_server_is_tried_before_one_is_tried_again() {
        let (choice, pool) = (ServerChoice::new(&[], None), pool("a,b,c,d", 1));
        for _ in 0..3 {
            let mut round: Vec<String> = (0..4).map(|_| name(&choice.next(&pool).unwrap())).collect();
            assert_eq!(round.last().map(String::as_str), Some("d:4222"), "a reported server comes last");
            round.sort_unstable();
            assert_eq!(round, ["a:4222", "b:4222", "c:4222", "d:4222"]);
        }
        choice.connected();
        assert_ne!(choice.next(&pool).as_ref().map(name).as_deref(), Some("d:4222"));
    }

    #[test]
    fn each_address_has_its_own_credentials() {
        let pool = pool("one@a,two@b,c", 1);
        let configured: Vec<ServerAddr> = pool.iter().map(|server| server.addr.clone()).collect();
        let choice = ServerChoice::new(&configured, None);
        for _ in 0..3 {
            let expected = match choice.next(&pool).unwrap().host() {
                "b" => "two",
                _ => "one",
            };
            assert_eq!(choice.credentials(), Some(Credentials::Token(expected.to_owned())));
        }
    }
}
