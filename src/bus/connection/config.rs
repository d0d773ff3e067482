//! Configuration of a connection.

use std::path::PathBuf;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;

use super::credentials::Credentials;
use super::error::NatsError;
use super::servers::{CA_FILE, CERT_FILE, KEY_FILE, addresses};
use crate::tls::{read_certificates, read_key};

/// Prefix of the subjects of the `JetStream` API outside domains.
pub(super) const API_PREFIX: &str = "$JS.API";

/// Prefix of inboxes, unless the settings have another one.
const INBOX: &str = "_INBOX";

/// Settings of the connection.
#[derive(Clone)]
pub struct NatsConfig {
    /// Address, or several of one cluster separated by commas: `nats://host:4222`, `tls://…`. Each may carry a token
    /// (`nats://token@host`) or a user and a password (`nats://user:password@host`), percent-encoded.
    pub url: String,
    /// Credentials, if the addresses have none.
    pub credentials: Option<Credentials>,
    /// File with the certificate authorities of the servers; none for those of the system. With a file, or with an identity,
    /// connections without TLS are rejected. Read at each attempt to connect.
    pub ca_file: Option<PathBuf>,
    /// Certificate of this client.
    pub identity: Option<Identity>,
    /// Start TLS before the server's first message, for servers with `handshake_first`.
    pub tls_first: bool,
    /// Prefix of the subjects on which answers arrive; none for `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// `JetStream` domain of the streams; none for that of the server.
    pub jetstream_domain: Option<String>,
    /// Name of this connection on the server.
    pub name: String,
    /// Delay before the first attempt to reconnect; doubled after each failure, with jitter.
    pub reconnect_min: Duration,
    /// Maximum delay between two attempts.
    pub reconnect_max: Duration,
    /// Timeout of one attempt to connect.
    pub connect_timeout: Duration,
    /// Timeout of a request.
    pub request_timeout: Duration,
    /// Interval of pings; the connection counts as lost after two pings without an answer.
    pub ping_interval: Duration,
}

/// Files of a client's certificate and of its key, in PEM form. Read at each attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those of intermediate authorities.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://localhost:4222".to_owned(),
            credentials: None,
            ca_file: None,
            identity: None,
            tls_first: false,
            inbox_prefix: None,
            jetstream_domain: None,
            name: "living-map".to_owned(),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
        }
    }
}

impl NatsConfig {
    /// Validates the addresses and reads the files, without connecting.
    ///
    /// # Errors
    /// The first one that is not valid.
    pub fn check(&self) -> Result<(), NatsError> {
        let addresses = addresses(&self.url)?;
        if self.credentials.is_some() && addresses.iter().any(|address| Credentials::of_address(address).is_some()) {
            return Err(NatsError::Contradiction(
                "an address in NATS_URL has credentials, and others are set beside it".to_owned(),
            ));
        }
        if let Some(path) = &self.ca_file {
            read_certificates(CA_FILE, path)?;
        }
        if let Some(identity) = &self.identity {
            let certificates = read_certificates(CERT_FILE, &identity.certificate)?;
            let key = read_key(KEY_FILE, &identity.key)?;
            CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider()).map_err(|error| {
                NatsError::Contradiction(format!("{KEY_FILE} does not belong to {CERT_FILE}: {error}"))
            })?;
        }
        if let Some(credentials) = &self.credentials {
            credentials.answer(&[])?;
        }
        Ok(())
    }

    /// Prefix of inboxes.
    pub(super) fn inbox(&self) -> &str {
        self.inbox_prefix.as_deref().unwrap_or(INBOX)
    }

    /// Prefix of the subjects of the `JetStream` API.
    pub(super) fn api_prefix(&self) -> String {
        self.jetstream_domain.as_ref().map_or_else(|| API_PREFIX.to_owned(), |domain| format!("$JS.{domain}.API"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_error_does_not_repeat_the_password() {
        let config = NatsConfig { url: "http://me:secret@host".to_owned(), ..NatsConfig::default() };
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("nats://host:port") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_rejected_with_both_settings() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&key).unwrap();
        let certificate = write("client.pem", certificate.pem());
        let check = |key: &rcgen::KeyPair| {
            let identity = Identity { certificate: certificate.clone(), key: write("client.key", key.serialize_pem()) };
            NatsConfig { identity: Some(identity), ..NatsConfig::default() }.check()
        };
        assert!(check(&key).is_ok());
        let error = check(&other).unwrap_err().to_string();
        assert!(error.contains("NATS_KEY_FILE") && error.contains("NATS_CERT_FILE"), "{error}");
    }

    #[test]
    fn credentials_in_an_address_exclude_others() {
        let credentials = Some(Credentials::Token("hush".to_owned()));
        let config =
            |url: &str| NatsConfig { url: url.to_owned(), credentials: credentials.clone(), ..Default::default() };
        assert!(config("nats://a,nats://b").check().is_ok());
        let error = config("nats://a,nats://me:secret@b").check().unwrap_err().to_string();
        assert!(error.contains("NATS_URL") && !error.contains("secret") && !error.contains("hush"), "{error}");
    }
}
