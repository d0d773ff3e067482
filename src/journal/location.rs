//! Location of an object store.

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig, path};
use rustls::pki_types::CertificateDer;
use url::Url;

/// Time for which the client of a bucket retries an operation. Shorter than the timeouts of this module's users, so that they
/// get the error, and not only the information that time is up.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the server of a bucket, with these certificate authorities beside those of the system. (Options of the builder
/// would replace those that it reads from `AWS_…` variables.)
#[derive(Debug)]
struct TrustingConnector(Vec<CertificateDer<'static>>);

impl HttpConnector for TrustingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut options = options.clone();
        for authority in &self.0 {
            options = options.with_root_certificate(Certificate::from_der(authority)?);
        }
        ReqwestConnector::default().connect(&options)
    }
}

/// An invalid location.
#[derive(Debug, thiserror::Error)]
#[error("expected a folder, file:///… or s3://bucket/prefix: {0}")]
pub struct InvalidLocation(String);

/// A local folder or an S3 bucket. A folder is opened at the first use, and retried until that succeeds: a disk that is
/// not mounted yet does not prevent the start.
#[derive(Debug, Clone)]
pub struct StoreLocation {
    folder: Option<PathBuf>,
    /// If true, the folders above a missing one are created too.
    with_parents: bool,
    store: Arc<OnceLock<Arc<dyn ObjectStore>>>,
}

impl StoreLocation {
    /// Parses a path, `file:///…`, or `s3://bucket/prefix` (credentials from the standard `AWS_…` variables), whose server may
    /// have a certificate from one of `authorities`.
    ///
    /// # Errors
    /// Any other text. The error does not quote it, since it may contain a secret.
    pub fn parse(text: &str, authorities: &[CertificateDer<'static>]) -> Result<Self, InvalidLocation> {
        let invalid = |reason: &str| InvalidLocation(reason.to_owned());
        if !text.contains("://") {
            return Ok(Self::folder(text));
        }
        let url = Url::parse(text).map_err(|error| InvalidLocation(error.to_string()))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::folder).map_err(|()| invalid("a file URL must not have a host")),
            "s3" => {
                let bucket = url.host_str().ok_or_else(|| invalid("no bucket"))?;
                let prefix =
                    path::Path::from_url_path(url.path()).map_err(|error| InvalidLocation(error.to_string()))?;
                let bucket = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() })
                    .with_http_connector(TrustingConnector(authorities.to_vec()))
                    .build()
                    .map_err(|error| InvalidLocation(error.to_string()))?;
                Ok(Self::store(Arc::new(PrefixStore::new(bucket, prefix))))
            }
            scheme => Err(InvalidLocation(format!("unsupported scheme {scheme}://"))),
        }
    }

    /// A local folder, created with the folders above it if they are missing.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { folder: Some(path.into()), with_parents: true, store: Arc::default() }
    }

    /// A folder in one that belongs to something else. It is created if it is missing; the folder above it never is.
    pub fn folder_beside(path: impl Into<PathBuf>) -> Self {
        Self { with_parents: false, ..Self::folder(path) }
    }

    /// Any object store.
    pub fn store(store: Arc<dyn ObjectStore>) -> Self {
        Self { folder: None, with_parents: false, store: Arc::new(OnceLock::from(store)) }
    }

    /// The store, opened at the first call.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    pub fn open(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let folder = self.folder.as_deref().unwrap_or(Path::new("."));
        match DirBuilder::new().recursive(self.with_parents).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(error) });
            }
            _ => {}
        }
        let opened: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
        Ok(Arc::clone(self.store.get_or_init(|| opened)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_parsed() {
        let folder = |text| StoreLocation::parse(text, &[]).unwrap().folder.unwrap();
        assert_eq!(folder("some/where"), Path::new("some/where"));
        assert_eq!(folder("file:///some/where%20else"), Path::new("/some/where else"));
        assert!(StoreLocation::parse("s3://bucket/prefix", &[]).unwrap().folder.is_none());
    }

    #[test]
    fn the_journal_created_the_missing_folder_of_the_database() {
        let folder = std::env::temp_dir().join(format!("living-map-location-{}", std::process::id()));
        let journal = folder.join("journal");
        assert!(StoreLocation::folder_beside(&journal).open().is_err());
        assert!(!folder.exists());
        std::fs::create_dir(&folder).unwrap();
        for _ in 0..2 {
            StoreLocation::folder_beside(&journal).open().unwrap();
        }
        assert!(journal.is_dir());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn other_locations_are_rejected_without_being_quoted() {
        for text in ["ftp://me:hush@host/x", "s3:///x", "file://hush@host/x", "s3://"] {
            let error = StoreLocation::parse(text, &[]).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix") && !error.contains("hush"), "{error}");
        }
    }
}
