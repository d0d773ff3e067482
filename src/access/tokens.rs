//! API tokens: random texts, of which only the hash is kept.

use std::fmt::Write;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Identity, Role};

/// The most tokens: each is compared with each that comes, so that the time tells nothing.
const MAX_TOKENS: usize = 1_000;
/// What a token begins with, so that scanners of repositories and logs know it.
const PREFIX: &str = "lm_";
/// Random bytes of a token: as hard to guess as an AES key, which is why a plain hash will do.
const RANDOM_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// A list of tokens that cannot be used. It names the line, never what is in it: that may be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// A line that is none.
    #[error("line {line}: {expected}; `living-map token` prints one")]
    Line {
        /// From 1.
        line: usize,
        /// What it should have been.
        expected: &'static str,
    },
    /// More than one.
    #[error("line {0}: the name is there already")]
    Twice(usize),
    /// More than can be compared with each request.
    #[error("expected at most {MAX_TOKENS} tokens")]
    TooMany,
    /// Nobody could come in.
    #[error("expected at least one token; `living-map token` makes one")]
    None,
}

struct Known {
    identity: Identity,
    hash: [u8; HASH_BYTES],
}

/// The tokens that are known.
pub struct Tokens(Vec<Known>);

impl Tokens {
    /// Reads lines of `name:role:sha256`, the hash in hexadecimal. Empty ones and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The line that is wrong.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidTokens> {
        let mut known: Vec<Known> = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            let (text, line) = (line.trim(), index + 1);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |expected| InvalidTokens::Line { line, expected };
            let mut parts = text.rsplitn(3, ':');
            let (Some(hash), Some(role), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(wrong("expected name:role:sha256"));
            };
            let role: Role =
                role.parse().map_err(|_| wrong("expected the role viewer, publisher, operator or admin"))?;
            let hash = read_hash(hash).ok_or_else(|| wrong("expected the hash as 64 hexadecimal digits"))?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(wrong("expected a name before the first colon"));
            }
            let identity = Identity::new(name, role, None);
            if known.iter().any(|other| other.identity.name == identity.name) {
                return Err(InvalidTokens::Twice(line));
            }
            known.push(Known { identity, hash });
        }
        match known.len() {
            0 => Err(InvalidTokens::None),
            1..=MAX_TOKENS => Ok(Self(known)),
            _ => Err(InvalidTokens::TooMany),
        }
    }

    /// Whose token it is. Takes as long for any that is not known.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Identity> {
        let hash = digest(&SHA256, token.as_bytes());
        let mut found = None;
        for known in &self.0 {
            if verify_slices_are_equal(&known.hash, hash.as_ref()).is_ok() {
                found = Some(&known.identity);
            }
        }
        found.cloned()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

fn read_hash(text: &str) -> Option<[u8; HASH_BYTES]> {
    if text.len() != 2 * HASH_BYTES || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; HASH_BYTES];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.contains('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

/// A token that was just made.
pub struct NewToken {
    /// What its owner sends.
    pub token: String,
    /// What the server is told.
    pub line: String,
}

impl NewToken {
    /// Makes one.
    ///
    /// # Errors
    /// The name cannot be in a line.
    pub fn make(name: &str, role: Role) -> Result<Self, &'static str> {
        if name.is_empty()
            || name.chars().any(|c| c.is_control() || matches!(c, ':' | ',' | '#'))
            || name != name.trim()
        {
            return Err("expected a name without colons, commas and #");
        }
        let mut random = [0; RANDOM_BYTES];
        rand::fill(&mut random);
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let hash = digest(&SHA256, token.as_bytes());
        let mut line = format!("{name}:{role}:");
        for byte in hash.as_ref() {
            // writing to a text does not fail
            let _ = write!(line, "{byte:02x}");
        }
        Ok(Self { token, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_the_line_that_was_made_with_it() {
        let (one, other) =
            (NewToken::make("grafana", Role::Viewer).unwrap(), NewToken::make("bot", Role::Admin).unwrap());
        assert_ne!(one.token, other.token);
        let tokens = Tokens::parse(["# who may come", "", &format!("  {} ", one.line), &other.line]).unwrap();
        let found = tokens.find(&one.token).unwrap();
        assert_eq!((&*found.name, found.role, found.expires_at), ("grafana", Role::Viewer, None));
        assert_eq!(tokens.find(&other.token).unwrap().role, Role::Admin);
        for stranger in ["", "lm_", &one.line, &one.token[1..], &format!("{} ", one.token)] {
            assert_eq!(tokens.find(stranger), None);
        }
        assert!(!one.line.contains(&one.token), "the line can be shown");
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_alone() {
        let good = NewToken::make("a", Role::Viewer).unwrap().line;
        for wrong in [
            "hunter2",
            "a:b",
            "a:king:00",
            "a:viewer:00",
            &good.replace("a:", ":"),
            &format!("{good}0"),
            &good.replace(":viewer:", ":viewer:++"),
        ] {
            let error = Tokens::parse(["# first", wrong]).unwrap_err().to_string();
            assert!(error.starts_with("line 2: expected"), "{wrong}: {error}");
            assert!(!error.contains("hunter2"));
        }
        assert_eq!(Tokens::parse([&*good, &good]).unwrap_err(), InvalidTokens::Twice(2));
        assert_eq!(Tokens::parse(["", "# none"]).unwrap_err(), InvalidTokens::None);
        for name in ["", "a:b", "a,b", "#a", "a\nb", " a"] {
            assert!(NewToken::make(name, Role::Viewer).is_err(), "{name:?}");
        }
    }
}
