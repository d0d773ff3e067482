//! Tickets, which replace tokens when a browser opens a stream: browsers cannot set a header there, and a token in a URL
//! would end up in logs.
//!
//! A ticket contains its identity and expiry and is signed, so that every replica with the same key can verify it. Only the
//! replica that redeems a ticket remembers that: a stolen ticket could be used once on each other replica with the same
//! key, within its 30 seconds.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::shares::{Client, Pool, PoolUse, QueueConfig, Slot};
use super::{Denied, Identity, Role};
use crate::config::defaults;

/// Validity of a ticket.
pub const LIFETIME: Duration = Duration::from_secs(30);

const ID_BYTES: usize = 16;
const SIGNATURE_BYTES: usize = 32;
/// Id, expiry, role, and expiry of the identity.
const HEAD_BYTES: usize = ID_BYTES + 8 + 1 + 8;

/// Key and number of tickets.
#[derive(Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct TicketConfig {
    /// Key of the tickets for streams, at least 32 bytes, the same on all servers behind a load balancer. Unset: a random
    /// key, and a ticket is valid only on the server that issued it.
    #[arg(id = "TICKET_KEY", env, long = "ticket-key", hide_env_values = true)]
    pub key: Option<String>,
    /// Tickets outstanding, and used tickets remembered, at one time. One token has at most all but one of them.
    ///
    /// Beyond: answered 503, counted as `tickets`.
    #[arg(id = "MAX_TICKETS", env, long = "max-tickets", help_heading = "Limits", default_value_t = 10_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max: usize,
}

impl Default for TicketConfig {
    fn default() -> Self {
        defaults()
    }
}

/// A ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Value of the `ticket` query parameter.
    pub text: String,
    /// Expiry.
    pub expires_at: DateTime<Utc>,
}

/// Issues and redeems tickets.
pub struct Tickets {
    key: hmac::Key,
    /// Tickets outstanding.
    outstanding: Pool,
    /// Used tickets remembered.
    remembered: Pool,
    state: Mutex<State>,
}

/// Tickets in use. Times are Unix seconds.
#[derive(Default)]
struct State {
    /// Expiry of issued tickets, ascending.
    issued: VecDeque<(i64, Slot)>,
    used: HashSet<[u8; ID_BYTES]>,
    /// Expiry of redeemed tickets, in the order of redemption.
    used_until: VecDeque<(i64, [u8; ID_BYTES], Slot)>,
}

impl State {
    fn remove_expired(&mut self, now: i64) {
        while self.issued.front().is_some_and(|(end, _)| *end < now) {
            self.issued.pop_front();
        }
        while let Some((_, id, _)) = self.used_until.front().filter(|(end, ..)| *end < now) {
            self.used.remove(id);
            self.used_until.pop_front();
        }
    }
}

impl Tickets {
    /// No tickets issued.
    pub fn new(config: TicketConfig) -> Self {
        let key = match config.key {
            Some(text) => hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
            None => hmac::Key::new(hmac::HMAC_SHA256, &random::<SIGNATURE_BYTES>()),
        };
        // a ticket that finds no slot does not wait for one
        let pool = |name| Pool::new(name, config.max, QueueConfig::default());
        Self { key, outstanding: pool("tickets"), remembered: pool("used_tickets"), state: Mutex::default() }
    }

    /// Issues a ticket for `identity`.
    ///
    /// # Errors
    /// The maximum, or the client's share of it, is reached; returns the time until the next one expires.
    pub fn issue(&self, identity: &Identity, now: DateTime<Utc>) -> Result<Ticket, Duration> {
        let expires_at = now + LIFETIME;
        let end = expires_at.timestamp();
        {
            let mut state = self.lock();
            state.remove_expired(now.timestamp());
            let client = Client::Token(Arc::clone(&identity.name));
            let Ok(slot) = self.outstanding.try_acquire(client.clone()) else {
                // the client's own next expiry, or the first of all if it has none
                let own = state.issued.iter().find(|(_, slot)| *slot.client() == client);
                let wait = own.or(state.issued.front()).map_or(1, |(first, _)| first + 1 - now.timestamp());
                return Err(Duration::from_secs(u64::try_from(wait).unwrap_or(1).max(1)));
            };
            state.issued.push_back((end, slot));
        }
        let mut bytes = Vec::with_capacity(HEAD_BYTES + identity.name.len() + SIGNATURE_BYTES);
        bytes.extend(random::<ID_BYTES>());
        bytes.extend(end.to_be_bytes());
        bytes.push(identity.role as u8);
        bytes.extend(identity.expires_at.map_or(0, |end| end.timestamp()).to_be_bytes());
        bytes.extend(identity.name.bytes());
        let signature = hmac::sign(&self.key, &bytes);
        bytes.extend(signature.as_ref());
        Ok(Ticket { text: BASE64_URL_SAFE_NO_PAD.encode(bytes), expires_at })
    }

    /// Verifies a ticket and returns its identity. The ticket stays unused.
    ///
    /// # Errors
    /// The ticket is invalid, used, or expired.
    pub fn verify(&self, ticket: &str, now: DateTime<Utc>) -> Result<Identity, Denied> {
        let content = self.read(ticket, now)?;
        if self.lock().used.contains(&content.id) { Err(Denied::Ticket) } else { Ok(content.identity) }
    }

    /// Verifies a ticket and marks it as used. Of concurrent calls with one ticket exactly one succeeds.
    ///
    /// # Errors
    /// The ticket is invalid, used, or expired.
    pub fn redeem(&self, ticket: &str, now: DateTime<Utc>) -> Result<(), Denied> {
        let content = self.read(ticket, now)?;
        let mut state = self.lock();
        state.remove_expired(now.timestamp());
        if state.used.contains(&content.id) {
            return Err(Denied::Ticket);
        }
        let client = Client::Token(Arc::clone(&content.identity.name));
        let slot = self.remembered.try_acquire(client).map_err(|_| Denied::Ticket)?;
        state.used.insert(content.id);
        state.used_until.push_back((content.end, content.id, slot));
        drop(state);
        Ok(())
    }

    /// Content of a ticket whose signature and expiry are valid.
    fn read(&self, ticket: &str, now: DateTime<Utc>) -> Result<Content, Denied> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(ticket).map_err(|_| Denied::Ticket)?;
        let content = bytes.len().checked_sub(SIGNATURE_BYTES).filter(|content| *content > HEAD_BYTES);
        let (content, signature) = bytes.split_at(content.ok_or(Denied::Ticket)?);
        hmac::verify(&self.key, content, signature).map_err(|_| Denied::Ticket)?;
        let read = Content::read(content).ok_or(Denied::Ticket)?;
        let seconds = now.timestamp();
        // an expiry beyond now + LIFETIME is accepted: the clock of the issuing replica may be ahead
        if read.end < seconds || read.identity.expires_at.is_some_and(|end| end <= now) {
            return Err(Denied::Ticket);
        }
        Ok(read)
    }

    /// Use of the pools: tickets outstanding, and used tickets remembered.
    pub fn pool_usage(&self) -> [PoolUse; 2] {
        self.lock().remove_expired(Utc::now().timestamp());
        [self.outstanding.usage(), self.remembered.usage()]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Content {
    id: [u8; ID_BYTES],
    end: i64,
    identity: Identity,
}

impl Content {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let (role, rest) = rest.split_first()?;
        let (until, name) = rest.split_first_chunk::<8>()?;
        let role = Role::ALL.into_iter().find(|known| *known as u8 == *role)?;
        let expires_at = match i64::from_be_bytes(*until) {
            0 => None,
            seconds => Some(DateTime::from_timestamp(seconds, 0)?),
        };
        let identity = Identity::new(std::str::from_utf8(name).ok()?, role, expires_at);
        Some(Self { id: *id, end: i64::from_be_bytes(*end), identity })
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_768_824_000, 0).unwrap()
    }

    fn sofia() -> Identity {
        Identity::new("agent:sofia", Role::Publisher, Some(now() + Duration::from_mins(5)))
    }

    fn shared(max: usize) -> Tickets {
        Tickets::new(TicketConfig { key: Some("a key of all replicas".into()), max })
    }

    #[test]
    fn a_ticket_is_valid_once_and_for_30_seconds() {
        let tickets = Tickets::new(TicketConfig::default());
        let ticket = tickets.issue(&sofia(), now()).unwrap();
        for _ in 0..2 {
            assert_eq!(tickets.verify(&ticket.text, now() + LIFETIME), Ok(sofia()), "not used by being verified");
        }
        assert_eq!(tickets.redeem(&ticket.text, now() + LIFETIME), Ok(()));
        assert_eq!(tickets.redeem(&ticket.text, now()), Err(Denied::Ticket));
        assert_eq!(tickets.verify(&ticket.text, now()), Err(Denied::Ticket));
        let late = tickets.issue(&sofia(), now()).unwrap();
        assert_eq!(tickets.redeem(&late.text, now() + LIFETIME + Duration::from_secs(1)), Err(Denied::Ticket));
    }

    #[test]
    fn a_ticket_does_not_outlive_its_token() {
        let tickets = shared(10);
        let ticket = tickets.issue(&Identity { expires_at: Some(now() + Duration::from_secs(5)), ..sofia() }, now());
        assert_eq!(tickets.redeem(&ticket.unwrap().text, now() + Duration::from_secs(6)), Err(Denied::Ticket));
    }

    #[test]
    fn replicas_with_one_key_redeem_each_others_tickets() {
        let (one, other, other_key) = (shared(10), shared(10), Tickets::new(TicketConfig::default()));
        let ticket = one.issue(&sofia(), now()).unwrap().text;
        assert_eq!(other_key.redeem(&ticket, now()), Err(Denied::Ticket));
        assert_eq!(other.verify(&ticket, now()), Ok(sofia()));
        assert_eq!(other.redeem(&ticket, now()), Ok(()));
        assert_eq!(other.redeem(&ticket, now()), Err(Denied::Ticket));
    }

    #[test]
    fn a_modified_ticket_is_rejected() {
        let tickets = shared(10);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(tickets.issue(&sofia(), now()).unwrap().text).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let text = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(tickets.verify(&text, now()), Err(Denied::Ticket), "byte {index}");
            assert_eq!(tickets.redeem(&text, now()), Err(Denied::Ticket), "byte {index}");
        }
        for text in ["", "x", "ticket", &"A".repeat(80)] {
            assert_eq!(tickets.redeem(text, now()), Err(Denied::Ticket));
        }
    }

    #[test]
    fn one_viewer_cannot_take_all_tickets() {
        let tickets = shared(10);
        let taken = (0..20).filter(|_| tickets.issue(&sofia(), now()).is_ok()).count();
        assert_eq!(taken, 9);
        let other = Identity::new("agent:helion", Role::Viewer, None);
        let ticket = tickets.issue(&other, now()).unwrap();
        assert_eq!(tickets.verify(&ticket.text, now()), Ok(other));
        assert_eq!(tickets.redeem(&ticket.text, now()), Ok(()));
    }

    #[test]
    fn remembered_tickets_are_bounded_and_expire() {
        let tickets = shared(3);
        let first = tickets.issue(&sofia(), now()).unwrap();
        tickets.issue(&sofia(), now()).unwrap();
        assert_eq!(tickets.issue(&sofia(), now()).err(), Some(LIFETIME + Duration::from_secs(1)));
        tickets.redeem(&first.text, now()).unwrap();
        let later = now() + Duration::from_secs(31);
        for _ in 0..2 {
            let ticket = tickets.issue(&sofia(), later).unwrap();
            tickets.redeem(&ticket.text, later).unwrap();
        }
        let state = tickets.lock();
        assert_eq!((state.issued.len(), state.used.len(), state.used_until.len()), (2, 2, 2));
    }
}
