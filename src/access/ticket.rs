//! Tickets: what a browser gives in place of a token when it opens a stream, since it cannot set a header there and a
//! token in an address ends in logs.
//!
//! A ticket says itself whose it is, until when, and is signed, so that any server with the same key knows it. That it was
//! used is remembered by the server that took it: on several servers with one key, somebody who steals a ticket could
//! use it once on each of the others, within its 30 seconds.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::{Denied, Identity, Role};

/// How long a ticket is good for.
pub const LIFETIME: Duration = Duration::from_secs(30);

const ID_BYTES: usize = 16;
const SIGNATURE_BYTES: usize = 32;
/// Id, end, role, the identity's end.
const HEAD_BYTES: usize = ID_BYTES + 8 + 1 + 8;

/// How tickets are made.
#[derive(Clone)]
pub struct TicketConfig {
    /// The key of all servers that take each other's tickets; none: a random one, for this server alone.
    pub key: Option<String>,
    /// Tickets outstanding, and tickets remembered as used, at a time. Default 10,000.
    pub max: usize,
}

impl Default for TicketConfig {
    fn default() -> Self {
        Self { key: None, max: 10_000 }
    }
}

/// A ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What goes into `?ticket=`.
    pub text: String,
    /// Until when it can be used.
    pub expires_at: DateTime<Utc>,
}

/// Makes and takes tickets.
pub struct Tickets {
    key: hmac::Key,
    max: usize,
    state: Mutex<State>,
}

/// Times are unix seconds.
#[derive(Default)]
struct State {
    /// When those that were issued end, in order.
    issued: VecDeque<i64>,
    used: HashSet<[u8; ID_BYTES]>,
    /// When those that were used can be forgotten, in order of their use.
    used_until: VecDeque<(i64, [u8; ID_BYTES])>,
}

impl State {
    fn forget_until(&mut self, now: i64) {
        while self.issued.front().is_some_and(|end| *end < now) {
            self.issued.pop_front();
        }
        while let Some((_, id)) = self.used_until.front().filter(|(end, _)| *end < now) {
            self.used.remove(id);
            self.used_until.pop_front();
        }
    }
}

impl Tickets {
    /// None outstanding.
    pub fn new(config: TicketConfig) -> Self {
        let key = match config.key {
            Some(text) => hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
            None => hmac::Key::new(hmac::HMAC_SHA256, &random::<SIGNATURE_BYTES>()),
        };
        Self { key, max: config.max, state: Mutex::default() }
    }

    /// A ticket for `identity`.
    ///
    /// # Errors
    /// When there is room for the next one.
    pub fn issue(&self, identity: &Identity, now: DateTime<Utc>) -> Result<Ticket, Duration> {
        let expires_at = now + LIFETIME;
        let end = expires_at.timestamp();
        {
            let mut state = self.lock();
            state.forget_until(now.timestamp());
            if state.issued.len() >= self.max {
                let wait = state.issued.front().map_or(1, |first| first + 1 - now.timestamp());
                return Err(Duration::from_secs(u64::try_from(wait).unwrap_or(1).max(1)));
            }
            state.issued.push_back(end);
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

    /// Whose ticket it is. From then on it is used.
    ///
    /// # Errors
    /// It is none, or not any more.
    pub fn redeem(&self, ticket: &str, now: DateTime<Utc>) -> Result<Identity, Denied> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(ticket).map_err(|_| Denied::Ticket)?;
        let content = bytes.len().checked_sub(SIGNATURE_BYTES).filter(|content| *content > HEAD_BYTES);
        let (content, signature) = bytes.split_at(content.ok_or(Denied::Ticket)?);
        hmac::verify(&self.key, content, signature).map_err(|_| Denied::Ticket)?;
        let read = Content::read(content).ok_or(Denied::Ticket)?;
        let seconds = now.timestamp();
        // a server whose clock is ahead of this one's made it; one from further in the future is not good for longer
        if read.end < seconds || read.identity.expires_at.is_some_and(|end| end <= now) {
            return Err(Denied::Ticket);
        }
        let mut state = self.lock();
        state.forget_until(seconds);
        if state.used.len() >= self.max || !state.used.insert(read.id) {
            return Err(Denied::Ticket);
        }
        state.used_until.push_back((read.end, read.id));
        drop(state);
        Ok(read.identity)
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
        Tickets::new(TicketConfig { key: Some("one key for all".into()), max })
    }

    #[test]
    fn a_ticket_is_good_once_and_for_30_seconds() {
        let tickets = Tickets::new(TicketConfig::default());
        let ticket = tickets.issue(&sofia(), now()).unwrap();
        assert_eq!(tickets.redeem(&ticket.text, now() + LIFETIME), Ok(sofia()));
        assert_eq!(tickets.redeem(&ticket.text, now()), Err(Denied::Ticket));
        let late = tickets.issue(&sofia(), now()).unwrap();
        assert_eq!(tickets.redeem(&late.text, now() + LIFETIME + Duration::from_secs(1)), Err(Denied::Ticket));
    }

    #[test]
    fn a_ticket_does_not_outlive_the_token_it_was_got_with() {
        let tickets = shared(10);
        let ticket = tickets.issue(&Identity { expires_at: Some(now() + Duration::from_secs(5)), ..sofia() }, now());
        assert_eq!(tickets.redeem(&ticket.unwrap().text, now() + Duration::from_secs(6)), Err(Denied::Ticket));
    }

    #[test]
    fn servers_with_one_key_take_each_others_tickets_and_no_others() {
        let (one, other, stranger) = (shared(10), shared(10), Tickets::new(TicketConfig::default()));
        let ticket = one.issue(&sofia(), now()).unwrap().text;
        assert_eq!(stranger.redeem(&ticket, now()), Err(Denied::Ticket));
        assert_eq!(other.redeem(&ticket, now()), Ok(sofia()));
        assert_eq!(other.redeem(&ticket, now()), Err(Denied::Ticket));
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let tickets = shared(10);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(tickets.issue(&sofia(), now()).unwrap().text).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let text = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(tickets.redeem(&text, now()), Err(Denied::Ticket), "byte {place}");
        }
        for text in ["", "x", "ticket", &"A".repeat(80)] {
            assert_eq!(tickets.redeem(text, now()), Err(Denied::Ticket));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_passes() {
        let tickets = shared(2);
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
