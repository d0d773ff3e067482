//! Public keys of a token issuer (RFC 7517), read from a file or URL: periodically, and when a token names an unknown key.
//! After a failure the previous keys stay in use.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Denied, InvalidAccess};
use crate::journal::Journal;
use crate::model::json;
use crate::tls::{CaFile, request_error};

/// Setting of the file with the certificate authorities of the issuer.
const CA_FILE: &str = "JWT_JWKS_CA_FILE";

/// Maximum size of a key set, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Maximum number of keys in a set.
const MAX_KEYS: usize = 100;
/// Timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval of fetches that tokens trigger: tokens with invented key ids must not cause many requests to the issuer.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// Interval of retries after a failed fetch.
const RETRY: Duration = Duration::from_secs(15);

/// Location of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file in JWK set format.
    File(PathBuf),
    /// An HTTP URL.
    Url(Url),
}

impl KeySource {
    /// Parses a URL, if the text contains `://`, or a file path.
    ///
    /// # Errors
    /// The URL is invalid; describes what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Self::Url)
            .ok_or_else(|| "expected a file path, or a URL such as https://issuer.example/jwks.json".into())
    }

    /// Location for the log and the error journal, without the URL's credentials.
    fn redacted(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => format!("{}{}", url.host_str().unwrap_or_default(), url.path()),
        }
    }
}

/// A public key and its algorithm.
pub struct Key {
    id: Option<String>,
    /// Algorithm that tokens signed with this key must use.
    pub algorithm: Algorithm,
    /// Key for the verification of signatures.
    pub decoding: DecodingKey,
}

/// Status of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysStatus {
    /// Number of usable keys.
    pub keys: usize,
    /// Time of the last successful fetch.
    pub last_success: Option<DateTime<Utc>>,
    /// Error of the last fetch; `None` after a success.
    pub error: Option<String>,
}

/// Public keys of an issuer.
pub struct Keys {
    source: KeySource,
    refresh: Duration,
    client: reqwest::Client,
    current: ArcSwap<Vec<Arc<Key>>>,
    /// Time of the last fetch. Locked during a fetch.
    last_fetch: Mutex<Option<Instant>>,
    status: StdMutex<KeysStatus>,
    journal: Journal,
}

impl Keys {
    /// Reads the keys of a file. [`Keys::run`] fetches those of a URL, whose host may have a certificate from an authority in
    /// `ca_file`.
    ///
    /// # Errors
    /// A file cannot be read, or has no usable key or certificate.
    pub fn new(
        source: KeySource,
        refresh: Duration,
        ca_file: Option<&PathBuf>,
        journal: Journal,
    ) -> Result<Self, InvalidAccess> {
        let client = CaFile::new(CA_FILE, ca_file)
            .trusted_by(reqwest::Client::builder())
            .map_err(|error| InvalidAccess::Keys(error.to_string()))?
            .timeout(FETCH_TIMEOUT)
            // keys of another host are not the issuer's
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| InvalidAccess::Keys(error.to_string()))?;
        let status = KeysStatus { keys: 0, last_success: None, error: None };
        let keys = Self {
            source,
            refresh,
            client,
            current: ArcSwap::default(),
            last_fetch: Mutex::default(),
            status: StdMutex::new(status),
            journal,
        };
        if let KeySource::File(path) = &keys.source {
            let text = std::fs::read(path).map_err(|error| InvalidAccess::Keys(error.to_string()))?;
            keys.replace(read_keys(&text).map_err(InvalidAccess::Keys)?);
        }
        Ok(keys)
    }

    /// Status of the keys.
    pub fn status(&self) -> KeysStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key with this id and algorithm. Without an id, the key must be the only one with the algorithm. Fetches the keys
    /// if there is none.
    ///
    /// # Errors
    /// There is none after the fetch either.
    pub async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Denied> {
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        self.refresh(MIN_INTERVAL).await;
        let error = || if self.current.load().is_empty() { Denied::KeysUnavailable } else { Denied::Unknown };
        self.known(id, algorithm).ok_or_else(error)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        let keys = self.current.load();
        let mut matching =
            keys.iter().filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let first = matching.next()?;
        (id.is_some() || matching.next().is_none()).then(|| Arc::clone(first))
    }

    /// Fetches the keys periodically until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let fetches = async {
            loop {
                self.refresh(Duration::ZERO).await;
                let failed = self.status().error.is_some();
                tokio::time::sleep(if failed { RETRY.min(self.refresh) } else { self.refresh }).await;
            }
        };
        stop.run_until_cancelled(fetches).await;
    }

    /// Fetches the keys unless the last fetch was less than `min_interval` ago. Waits for a fetch in progress.
    async fn refresh(&self, min_interval: Duration) {
        let mut last = self.last_fetch.lock().await;
        if last.is_some_and(|last| last.elapsed() < min_interval) {
            return;
        }
        let read = self.fetch().await.and_then(|text| read_keys(&text));
        *last = Some(Instant::now());
        let outcome = if read.is_ok() { "ok" } else { "failed" };
        metrics::counter!("living_map_access_key_fetches_total", "outcome" => outcome).increment(1);
        match read {
            Ok(keys) => self.replace(keys),
            Err(error) => {
                let fallback = !self.current.load().is_empty();
                tracing::warn!(
                    source = self.source.redacted(),
                    error,
                    fallback,
                    "cannot fetch the keys that verify tokens"
                );
                self.journal.record("read", "access", &self.source.redacted(), &error);
                self.status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
            }
        }
    }

    fn replace(&self, keys: Vec<Arc<Key>>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) =
            KeysStatus { keys: keys.len(), last_success: Some(Utc::now()), error: None };
        self.current.store(Arc::new(keys));
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let url = match &self.source {
            KeySource::File(path) => return tokio::fs::read(path).await.map_err(|error| error.to_string()),
            KeySource::Url(url) => url.clone(),
        };
        let message = |error: reqwest::Error| request_error(error, CA_FILE);
        let mut answer = self.client.get(url).send().await.map_err(message)?;
        if !answer.status().is_success() {
            return Err(format!("the issuer responded with status {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(message)? {
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the response is larger than {MAX_BYTES} bytes"));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }
}

/// Usable keys of a set. Unusable ones are skipped.
fn read_keys(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes"));
    }
    let mut set = json::parse_strict(text).map_err(|error| format!("not a JWK set: {error}"))?;
    let Some(Value::Array(keys)) = set.get_mut("keys").map(Value::take) else {
        return Err("not a JWK set: expected {\"keys\": […]}".to_owned());
    };
    let keys: Vec<_> = keys.into_iter().take(MAX_KEYS).filter_map(|key| read_key(key).map(Arc::new)).collect();
    if keys.is_empty() {
        return Err("expected at least one key for RS256, ES256 or EdDSA".to_owned());
    }
    Ok(keys)
}

fn read_key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    // symmetric keys are skipped: anyone who can read the set could sign tokens with them
    let (algorithm, expected) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.as_ref().is_some_and(|declared| *declared != expected) {
        return None;
    }
    Some(Key { decoding: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithm })
}
