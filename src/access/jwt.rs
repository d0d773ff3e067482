//! JSON Web Tokens (RFC 7519), verified with a shared secret or an issuer's public keys.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::jwks::{KeySource, Keys};
use super::{Denied, Identity, InvalidAccess, Role};
use crate::journal::Journal;
use crate::model::json;

/// Minimum length of a secret, in bytes (RFC 7518, section 3.2); a shorter one is open to brute force.
const MIN_SECRET_BYTES: usize = 32;

/// Keys that verify tokens.
#[derive(Clone)]
pub enum Verification {
    /// HS256 with this secret.
    Secret(String),
    /// RS256, ES256, or `EdDSA`, as each of the issuer's keys specifies.
    Keys {
        /// Location of the keys.
        source: KeySource,
        /// Interval of fetches.
        refresh: Duration,
        /// File with further certificate authorities of the issuer.
        ca_file: Option<PathBuf>,
    },
}

/// Validation of tokens.
#[derive(Clone)]
pub struct JwtConfig {
    /// Secret or public keys.
    pub verification: Verification,
    /// Accepted audiences; empty: any.
    pub audience: Vec<String>,
    /// Accepted issuer; none: any.
    pub issuer: Option<String>,
    /// Accepted difference of clocks.
    pub leeway: Duration,
    /// Claim with the role, or a list with one; dots separate the names of nested objects.
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

/// Verifies tokens.
pub struct Jwt {
    verifier: Verifier,
    /// Validation of the claims, without the algorithm.
    rules: Validation,
    leeway: Duration,
    role_claim: String,
}

enum Verifier {
    Secret(DecodingKey),
    Keys(Keys),
}

impl Jwt {
    /// Reads the keys if they are in a file.
    ///
    /// # Errors
    /// The secret is too short, or the file of keys cannot be used.
    pub fn new(config: JwtConfig, journal: Journal) -> Result<Self, InvalidAccess> {
        let verifier = match config.verification {
            Verification::Secret(secret) if secret.len() < MIN_SECRET_BYTES => return Err(InvalidAccess::ShortSecret),
            Verification::Secret(secret) => Verifier::Secret(DecodingKey::from_secret(secret.as_bytes())),
            Verification::Keys { source, refresh, ca_file } => {
                Verifier::Keys(Keys::new(source, refresh, ca_file.as_ref(), journal)?)
            }
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
        Ok(Self { verifier, rules, leeway: config.leeway, role_claim: config.role_claim })
    }

    /// The issuer's keys; `None` with a shared secret.
    pub const fn keys(&self) -> Option<&Keys> {
        match &self.verifier {
            Verifier::Secret(_) => None,
            Verifier::Keys(keys) => Some(keys),
        }
    }

    /// Verifies a token and returns its identity.
    ///
    /// # Errors
    /// The reason for the rejection.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Malformed)?;
        // RFC 7515, section 4.1.11: parameters that a recipient must understand. There are none that this one does.
        if has_crit(token) {
            return Err(Denied::Critical);
        }
        let claims = match &self.verifier {
            Verifier::Secret(key) => self.claims(token, key, Algorithm::HS256)?,
            Verifier::Keys(keys) => {
                let key = keys.find(header.kid.as_deref(), header.alg).await?;
                // the key's algorithm, not the one that the token claims
                self.claims(token, &key.decoding, key.algorithm)?
            }
        };
        let role = role(&claims, &self.role_claim).ok_or(Denied::NoRole)?;
        let end = claims.get("exp").and_then(Value::as_f64).ok_or(Denied::Malformed)?;
        #[expect(clippy::cast_possible_truncation, reason = "a time out of range becomes the latest date")]
        let end = DateTime::from_timestamp(end as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let expires_at = end.checked_add_signed(chrono::TimeDelta::from_std(self.leeway).unwrap_or_default());
        // the library accepts a token until the end of its last second (RFC 7519, 4.1.4); its stream would end at once
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
            ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => Denied::WrongIssuerOrAudience,
            ErrorKind::MissingRequiredClaim(claim) if claim != "exp" => Denied::WrongIssuerOrAudience,
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Denied::Unknown,
            _ => Denied::Malformed,
        })
    }
}

/// Returns true if the token's header has `crit` with any value: null is invalid too, and not the same as none.
fn has_crit(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|header| json::parse_strict(&header).ok());
    header.is_some_and(|header| header.get("crit").is_some())
}

/// Highest role in a claim: a string, strings separated by spaces, or a list of strings. Other values are skipped, since an
/// issuer may have roles for other services.
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
