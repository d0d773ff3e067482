//! TLS of the connections that this process opens: the certificate authorities of a setting's file, and errors that name the
//! setting.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Variable with the file of the system's authorities, as OpenSSL and the libraries of this process read it.
pub const SYSTEM_CA_FILE: &str = "SSL_CERT_FILE";

/// Variable with the folders of the system's authorities.
const SYSTEM_CA_FOLDERS: &str = "SSL_CERT_DIR";

/// Largest file of certificates, in bytes. The bundle of a Linux distribution has about 0.25 MiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Texts of rustls for a certificate whose authority is not trusted: none has its name, or the one of its name has another key.
const UNTRUSTED: [&str; 2] = ["UnknownIssuer", "BadSignature"];

/// A file of certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {} {problem}", .path.display())]
pub struct InvalidFile {
    /// Setting that names the file.
    pub setting: &'static str,
    /// Path of the file.
    pub path: PathBuf,
    /// Reason.
    pub problem: FileProblem,
}

/// Reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is too large.
    #[error("is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The text between two PEM markers is not base64, or a marker is missing.
    #[error("is not valid PEM: {0}")]
    Pem(pem::Error),
    /// The file has no certificate.
    #[error("has no certificate; expected PEM, beginning with -----BEGIN CERTIFICATE-----")]
    Empty,
    /// A certificate cannot be parsed.
    #[error("has an invalid certificate, number {number}: {error}")]
    Certificate {
        /// Number of the certificate in the file, from 1.
        number: usize,
        /// Error of parsing it.
        error: rustls::Error,
    },
    /// The file has something else than expected, which this describes.
    #[error("{0}")]
    Content(String),
}

/// An HTTP client that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities cannot be used.
    #[error(transparent)]
    File(#[from] InvalidFile),
    /// TLS cannot be initialised.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// The authorities of a connection, beside those of the system: a setting's name and, if it is set, its file.
#[derive(Debug, Clone, Copy)]
pub struct CaFile<'a> {
    /// Name of the setting.
    pub setting: &'static str,
    /// Path of the file; `None` if the setting is not set.
    pub path: Option<&'a Path>,
}

impl<'a> CaFile<'a> {
    /// The file that the setting names.
    #[must_use]
    pub fn new(setting: &'static str, path: Option<&'a PathBuf>) -> Self {
        Self { setting, path: path.map(PathBuf::as_path) }
    }

    /// Reads the certificates; none if the setting is not set.
    ///
    /// # Errors
    /// The file cannot be read, has no certificate, or an invalid one.
    pub fn read(self) -> Result<Vec<CertificateDer<'static>>, InvalidFile> {
        self.path.map_or_else(|| Ok(Vec::new()), |path| read_certificates(self.setting, path))
    }

    /// Lets an HTTP client trust these authorities too.
    ///
    /// # Errors
    /// See [`CaFile::read`].
    pub fn trusted_by(self, client: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, SetupError> {
        let certificates = self.read()?;
        if certificates.is_empty() {
            return Ok(client);
        }
        let certificates: reqwest::Result<Vec<_>> =
            certificates.iter().map(|certificate| reqwest::Certificate::from_der(certificate)).collect();
        Ok(client.tls_certs_merge(certificates?))
    }
}

/// Reads a bundle of certificates in PEM form.
///
/// # Errors
/// The file cannot be read, has no certificate, or an invalid one.
pub fn read_certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidFile> {
    let read = read_file(path).and_then(|bytes| parse_certificates(&bytes));
    read.map_err(|problem| InvalidFile { setting, path: path.to_owned(), problem })
}

/// Reads what takes the place of the system's authorities, if the environment names it. The libraries that use it do not name the
/// variable, or report a certificate that is not trusted.
///
/// # Errors
/// The file cannot be read or has no certificate, or none of the folders can be read.
pub fn check_system_authorities() -> Result<(), InvalidFile> {
    if let Some(path) = env::var_os(SYSTEM_CA_FILE).map(PathBuf::from) {
        let read = read_file(&path).and_then(|bytes| pem_certificates(&bytes));
        read.map_err(|problem| InvalidFile { setting: SYSTEM_CA_FILE, path, problem })?;
    }
    let folders = env::var_os(SYSTEM_CA_FOLDERS).unwrap_or_default();
    let read = |path: PathBuf| {
        let listed = fs::read_dir(&path).map(drop);
        listed.map_err(|error| InvalidFile { setting: SYSTEM_CA_FOLDERS, path, problem: error.into() })
    };
    let named = env::split_paths(&folders).filter(|path| !path.as_os_str().is_empty());
    let read: Vec<Result<(), InvalidFile>> = named.map(read).collect();
    if read.iter().any(Result::is_ok) { Ok(()) } else { read.into_iter().next().unwrap_or(Ok(())) }
}

/// Reads a private key in PEM form.
///
/// # Errors
/// The file cannot be read, or has no key.
pub fn read_key(setting: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, InvalidFile> {
    let parse = |bytes: Vec<u8>| {
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => FileProblem::Content("has no private key; expected PEM".to_owned()),
            error => FileProblem::Pem(error),
        })
    };
    read_file(path).and_then(parse).map_err(|problem| InvalidFile { setting, path: path.to_owned(), problem })
}

/// Reads a file of bounded size.
///
/// # Errors
/// The file cannot be read, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileProblem> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(FileProblem::TooLarge) } else { Ok(bytes) }
}

/// The certificates of a PEM bundle, not parsed; other sections are skipped.
fn pem_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(FileProblem::Pem)?;
    if certificates.is_empty() { Err(FileProblem::Empty) } else { Ok(certificates) }
}

/// The certificates of a PEM bundle.
fn parse_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let certificates = pem_certificates(bytes)?;
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        let number = index + 1;
        store.add(certificate.clone()).map_err(|error| FileProblem::Certificate { number, error })?;
    }
    Ok(certificates)
}

/// Adds to an error of TLS which setting names the authority that is missing. Other errors stay as they are.
#[must_use]
pub fn explained(error: String, setting: &str) -> String {
    if !UNTRUSTED.iter().any(|untrusted| error.contains(untrusted)) {
        return error;
    }
    format!(
        "{error} (the certificate is from an authority that is not trusted; {setting} names a file with further ones)"
    )
}

/// Text of a failed HTTP request with its causes and without its URL, which may contain a secret.
#[must_use]
pub fn request_error(error: reqwest::Error, setting: &str) -> String {
    explained(with_causes(&error.without_url()), setting)
}

/// Text of an error and of its causes, without those that the text before them contains already.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> String {
        let key = KeyPair::generate().unwrap();
        CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_bundle_has_all_its_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let key = KeyPair::generate().unwrap().serialize_pem();
        fs::write(&path, format!("# comment\n{}{key}{}", certificate(), certificate())).unwrap();
        assert_eq!(read_certificates("X_CA_FILE", &path).unwrap().len(), 2);
    }

    #[test]
    fn a_file_error_names_the_setting_the_path_and_the_problem() {
        let folder = tempfile::tempdir().unwrap();
        let invalid = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            (None, "cannot be read: No such file"),
            (Some(String::new()), "has no certificate"),
            (Some(KeyPair::generate().unwrap().serialize_pem()), "has no certificate"),
            (Some(invalid.replace("AAAA", "?")), "is not valid PEM"),
            (Some(format!("{}{invalid}", certificate())), "has an invalid certificate, number 2"),
            (Some(" ".repeat(5 << 20)), "is larger than 4194304 bytes"),
        ];
        for (nth, (content, problem)) in cases.into_iter().enumerate() {
            let path = folder.path().join(format!("{nth}.pem"));
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let error = read_certificates("X_CA_FILE", &path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("X_CA_FILE: {} {problem}", path.display())), "{error}");
        }
    }

    #[test]
    fn only_an_unknown_authority_is_explained() {
        let explanation = explained("invalid peer certificate: UnknownIssuer".to_owned(), "X_CA_FILE");
        assert!(explanation.contains("X_CA_FILE"), "{explanation}");
        assert_eq!(explained("connection refused".to_owned(), "X_CA_FILE"), "connection refused");
    }
}
