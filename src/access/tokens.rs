//! API tokens: random strings of which only the hashes are stored.

use std::fmt::Write;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Identity, Role};

/// Maximum number of tokens. Each request compares all of them in constant time, to prevent timing attacks.
const MAX_TOKENS: usize = 1_000;
/// Prefix of every token, by which secret scanners recognize it.
const PREFIX: &str = "lm_";
/// Random bytes of a token: 256 bits of entropy, so that a plain hash without salt is safe.
const RANDOM_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// Invalid list of tokens. Names the line without its content, which may be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// Invalid line.
    #[error("line {line}: {expected}; `living-map token` prints one")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// Expected content.
        expected: &'static str,
    },
    /// Duplicate name.
    #[error("line {0}: an earlier line has the same name")]
    Duplicate(usize),
    /// Too many tokens.
    #[error("expected at most {MAX_TOKENS} tokens")]
    TooMany,
    /// No token.
    #[error("expected at least one token; `living-map token` creates one")]
    None,
}

struct StoredToken {
    identity: Identity,
    hash: [u8; HASH_BYTES],
}

/// Accepted tokens.
pub struct Tokens(Vec<StoredToken>);

impl Tokens {
    /// Parses lines of `name:role:sha256` with a hexadecimal hash. Empty lines and lines starting with `#` are skipped.
    ///
    /// # Errors
    /// The number of the invalid line.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidTokens> {
        let mut known: Vec<StoredToken> = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            let (text, line) = (line.trim(), index + 1);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let invalid = |expected| InvalidTokens::Line { line, expected };
            let mut parts = text.rsplitn(3, ':');
            let (Some(hash), Some(role), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(invalid("expected name:role:sha256"));
            };
            let role: Role =
                role.parse().map_err(|_| invalid("expected the role viewer, publisher, operator or admin"))?;
            let hash = read_hash(hash).ok_or_else(|| invalid("expected the hash as 64 hexadecimal digits"))?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(invalid("expected a name before the first colon"));
            }
            let identity = Identity::new(name, role, None);
            if known.iter().any(|other| other.identity.name == identity.name) {
                return Err(InvalidTokens::Duplicate(line));
            }
            known.push(StoredToken { identity, hash });
        }
        match known.len() {
            0 => Err(InvalidTokens::None),
            1..=MAX_TOKENS => Ok(Self(known)),
            _ => Err(InvalidTokens::TooMany),
        }
    }

    /// Identity of a token. Takes constant time.
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

/// A new token.
pub struct NewToken {
    /// The token, for its owner.
    pub token: String,
    /// Line with its hash, for the server's configuration.
    pub line: String,
}

impl NewToken {
    /// Generates a token.
    ///
    /// # Errors
    /// The name contains characters that a line cannot have.
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
            // writing to a string cannot fail
            let _ = write!(line, "{byte:02x}");
        }
        Ok(Self { token, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_the_line_generated_with_it() {
        let (one, other) =
            (NewToken::make("grafana", Role::Viewer).unwrap(), NewToken::make("bot", Role::Admin).unwrap());
        assert_ne!(one.token, other.token);
        let tokens = Tokens::parse(["# comment", "", &format!("  {} ", one.line), &other.line]).unwrap();
        let found = tokens.find(&one.token).unwrap();
        assert_eq!((&*found.name, found.role, found.expires_at), ("grafana", Role::Viewer, None));
        assert_eq!(tokens.find(&other.token).unwrap().role, Role::Admin);
        for unknown in ["", "lm_", &one.line, &one.token[1..], &format!("{} ", one.token)] {
            assert_eq!(tokens.find(unknown), None);
        }
        assert!(!one.line.contains(&one.token), "the line does not reveal the token");
    }

    #[test]
    fn an_invalid_line_is_named_by_its_number_only() {
        let good = NewToken::make("a", Role::Viewer).unwrap().line;
        for invalid in [
            "hunter2",
            "a:b",
            "a:king:00",
            "a:viewer:00",
            &good.replace("a:", ":"),
            &format!("{good}0"),
            &good.replace(":viewer:", ":viewer:++"),
        ] {
            let error = Tokens::parse(["# first", invalid]).unwrap_err().to_string();
            assert!(error.starts_with("line 2: expected"), "{invalid}: {error}");
            assert!(!error.contains("hunter2"));
        }
        assert_eq!(Tokens::parse([&*good, &good]).unwrap_err(), InvalidTokens::Duplicate(2));
        assert_eq!(Tokens::parse(["", "# none"]).unwrap_err(), InvalidTokens::None);
        for name in ["", "a:b", "a,b", "#a", "a\nb", " a"] {
            assert!(NewToken::make(name, Role::Viewer).is_err(), "{name:?}");
        }
    }
}
