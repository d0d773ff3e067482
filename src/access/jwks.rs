//! An issuer's public keys (RFC 7517): a file or an address, read anew from time to time, and when a token names a key that
//! is not there. What could not be read anew stays as it was.

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

/// The most bytes of a set of keys.
const MAX_BYTES: usize = 256 * 1024;
/// The most keys of a set.
const MAX_KEYS: usize = 100;
/// How long one fetch may take in all.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest time from one fetch to the next: tokens with made-up key names must not become requests to the issuer.
const MIN_GAP: Duration = Duration::from_secs(10);
/// How soon keys that could not be had are asked for again.
const RETRY: Duration = Duration::from_secs(15);

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An address.
    Url(Url),
}

impl KeySource {
    /// An address if it begins like one, else a file's path.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(Self::Url)
            .ok_or_else(|| "expected a file, or an address such as https://issuer.example/jwks.json".into())
    }

    /// For the journal and the log: an address may have a password.
    fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => format!("{}{}", url.host_str().unwrap_or_default(), url.path()),
        }
    }
}

/// A public key and the one algorithm it is for.
pub struct Key {
    id: Option<String>,
    /// What tokens signed with it must say.
    pub algorithm: Algorithm,
    /// What checks the signature.
    pub decoding: DecodingKey,
}

/// How the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysStatus {
    /// Keys that can be used.
    pub keys: usize,
    /// When they were read last.
    pub last_success: Option<DateTime<Utc>>,
    /// Why they could not be read anew.
    pub error: Option<String>,
}

/// An issuer's keys.
pub struct Keys {
    source: KeySource,
    refresh: Duration,
    client: reqwest::Client,
    current: ArcSwap<Vec<Arc<Key>>>,
    /// Held while they are read; when that was last.
    reading: Mutex<Option<Instant>>,
    status: StdMutex<KeysStatus>,
    journal: Journal,
}

impl Keys {
    /// Reads a file's keys; those of an address are read by [`Keys::keep`].
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(source: KeySource, refresh: Duration, journal: Journal) -> Result<Self, InvalidAccess> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            // somebody else's answer is not the issuer's
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| InvalidAccess::Keys(error.to_string()))?;
        let status = KeysStatus { keys: 0, last_success: None, error: None };
        let keys = Self {
            source,
            refresh,
            client,
            current: ArcSwap::default(),
            reading: Mutex::default(),
            status: StdMutex::new(status),
            journal,
        };
        if let KeySource::File(path) = &keys.source {
            let text = std::fs::read(path).map_err(|error| InvalidAccess::Keys(error.to_string()))?;
            keys.take(read_keys(&text).map_err(InvalidAccess::Keys)?);
        }
        Ok(keys)
    }

    /// How they are.
    pub fn status(&self) -> KeysStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that a token names and that is for the token's algorithm. A token that names none is one of the only key
    /// of its algorithm.
    ///
    /// # Errors
    /// There is none, also after the keys were read anew.
    pub async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Denied> {
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        self.read_anew(MIN_GAP).await;
        let away = || if self.current.load().is_empty() { Denied::KeysUnavailable } else { Denied::Unknown };
        self.known(id, algorithm).ok_or_else(away)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        let keys = self.current.load();
        let mut fitting =
            keys.iter().filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then(|| Arc::clone(first))
    }

    /// Reads them anew from time to time.
    pub async fn keep(&self, stop: CancellationToken) {
        let rounds = async {
            loop {
                self.read_anew(Duration::ZERO).await;
                let failed = self.status().error.is_some();
                tokio::time::sleep(if failed { RETRY.min(self.refresh) } else { self.refresh }).await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Reads them, unless that was done less than `gap` ago. Who comes while they are read waits for that.
    async fn read_anew(&self, gap: Duration) {
        let mut last = self.reading.lock().await;
        if last.is_some_and(|last| last.elapsed() < gap) {
            return;
        }
        let read = self.fetch().await.and_then(|text| read_keys(&text));
        *last = Some(Instant::now());
        let outcome = if read.is_ok() { "ok" } else { "failed" };
        metrics::counter!("living_map_access_key_fetches_total", "outcome" => outcome).increment(1);
        match read {
            Ok(keys) => self.take(keys),
            Err(error) => {
                let rescued = !self.current.load().is_empty();
                tracing::warn!(
                    source = self.source.shown(),
                    error,
                    rescued,
                    "the keys that tokens are checked with cannot be read"
                );
                self.journal.record("read", "access", &self.source.shown(), &error);
                self.status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
            }
        }
    }

    fn take(&self, keys: Vec<Arc<Key>>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) =
            KeysStatus { keys: keys.len(), last_success: Some(Utc::now()), error: None };
        self.current.store(Arc::new(keys));
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let url = match &self.source {
            KeySource::File(path) => return tokio::fs::read(path).await.map_err(|error| error.to_string()),
            KeySource::Url(url) => url.clone(),
        };
        // without the address, which may have a password
        let in_words = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.client.get(url).send().await.map_err(in_words)?;
        if !answer.status().is_success() {
            return Err(format!("the issuer answers {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(in_words)? {
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer has more than {MAX_BYTES} bytes"));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }
}

/// The keys of a set that can be used. One that cannot does not spoil the others.
fn read_keys(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes"));
    }
    let mut set: Value = serde_json::from_slice(text).map_err(|error| format!("no set of keys: {error}"))?;
    let Some(Value::Array(keys)) = set.get_mut("keys").map(Value::take) else {
        return Err("no set of keys: expected {\"keys\": […]}".to_owned());
    };
    let keys: Vec<_> = keys.into_iter().take(MAX_KEYS).filter_map(|key| read_key(key).map(Arc::new)).collect();
    if keys.is_empty() {
        return Err("expected a key for RS256, ES256 or EdDSA".to_owned());
    }
    Ok(keys)
}

fn read_key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    // a secret in a set of public keys is none of ours: whoever can read the set could sign
    let (algorithm, said) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.as_ref().is_some_and(|meant| *meant != said) {
        return None;
    }
    Some(Key { decoding: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithm })
}
