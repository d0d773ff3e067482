//! JSON Web Tokens (RFC 7519): whose they are, checked with one secret or with an issuer's public keys.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::jwks::{KeySource, Keys};
use super::{Denied, Identity, InvalidAccess, Role};
use crate::journal::Journal;

/// A shorter secret can be found by trying (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// What tokens are checked with.
#[derive(Clone)]
pub enum Verification {
    /// HS256 with this secret, and nothing else.
    Secret(String),
    /// RS256, ES256 or `EdDSA`, as each of the issuer's keys is made for.
    Keys {
        /// Where they are.
        source: KeySource,
        /// How often they are read anew.
        refresh: Duration,
    },
}

/// How tokens are checked.
#[derive(Clone)]
pub struct JwtConfig {
    /// With what.
    pub verification: Verification,
    /// One of these must be among the token's audiences; none: any will do.
    pub audience: Vec<String>,
    /// The token's issuer; none: any will do.
    pub issuer: Option<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The claim with the role, or a list with one; with dots, the way to it through objects.
    pub role_claim: String,
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtConfig")
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Checks tokens.
pub struct Jwt {
    with: With,
    /// All but the algorithm.
    rules: Validation,
    leeway: Duration,
    role_claim: String,
}

enum With {
    Secret(DecodingKey),
    Keys(Keys),
}

impl Jwt {
    /// Gets ready.
    ///
    /// # Errors
    /// A secret that can be guessed, a file of keys that cannot be read.
    pub fn new(config: JwtConfig, journal: Journal) -> Result<Self, InvalidAccess> {
        let with = match config.verification {
            Verification::Secret(secret) if secret.len() < MIN_SECRET_BYTES => return Err(InvalidAccess::ShortSecret),
            Verification::Secret(secret) => With::Secret(DecodingKey::from_secret(secret.as_bytes())),
            Verification::Keys { source, refresh } => With::Keys(Keys::new(source, refresh, journal)?),
        };
        let mut required = vec!["exp"];
        let mut rules = Validation {
            leeway: config.leeway.as_secs(),
            validate_nbf: true,
            validate_aud: !config.audience.is_empty(),
            ..Validation::default()
        };
        if rules.validate_aud {
            rules.set_audience(&config.audience);
            required.push("aud");
        }
        if let Some(issuer) = config.issuer {
            rules.iss = Some(HashSet::from([issuer]));
            required.push("iss");
        }
        rules.set_required_spec_claims(&required);
        Ok(Self { with, rules, leeway: config.leeway, role_claim: config.role_claim })
    }

    /// The issuer's keys, if that is what tokens are checked with.
    pub const fn keys(&self) -> Option<&Keys> {
        match &self.with {
            With::Secret(_) => None,
            With::Keys(keys) => Some(keys),
        }
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Malformed)?;
        let claims = match &self.with {
            With::Secret(key) => self.claims(token, key, Algorithm::HS256)?,
            With::Keys(keys) => {
                let key = keys.find(header.kid.as_deref(), header.alg).await?;
                // the key's algorithm, not the token's: what a key is made for is not up to whoever made the token
                self.claims(token, &key.decoding, key.algorithm)?
            }
        };
        let role = role(&claims, &self.role_claim).ok_or(Denied::NoRole)?;
        let end = claims.get("exp").and_then(Value::as_f64).ok_or(Denied::Malformed)?;
        #[expect(clippy::cast_possible_truncation, reason = "a time beyond what a date holds has none")]
        let end = DateTime::from_timestamp(end as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let expires_at = end.checked_add_signed(chrono::TimeDelta::from_std(self.leeway).unwrap_or_default());
        // the library takes it until the second is over; a stream that it opens would end at once (RFC 7519, 4.1.4)
        if expires_at.is_some_and(|end| end <= Utc::now()) {
            return Err(Denied::Expired);
        }
        let name = claims.get("sub").and_then(Value::as_str).unwrap_or("without subject");
        Ok(Identity::new(name, role, expires_at))
    }

    fn claims(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>, Denied> {
        let mut rules = self.rules.clone();
        rules.algorithms = vec![algorithm];
        decode::<Map<String, Value>>(token, key, &rules).map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Denied::Expired,
            ErrorKind::ImmatureSignature => Denied::NotYet,
            ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => Denied::WrongRecipient,
            ErrorKind::MissingRequiredClaim(claim) if claim != "exp" => Denied::WrongRecipient,
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Denied::Unknown,
            _ => Denied::Malformed,
        })
    }
}

/// The highest role that a claim gives: a text, texts separated by blanks, or a list of texts. What is no role of ours is
/// passed over: an issuer has roles for others too.
fn role(claims: &Map<String, Value>, claim: &str) -> Option<Role> {
    let value = claims.get(claim).or_else(|| {
        let (first, rest) = claim.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
    })?;
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    texts.into_iter().filter_map(|text| text.parse().ok()).max()
}

#[cfg(test)]
mod tests;
