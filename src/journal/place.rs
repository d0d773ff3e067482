//! Where the files are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, path};
use url::Url;

/// The value of `JOURNAL_URL` is none that can be used.
#[derive(Debug, thiserror::Error)]
#[error("expected a folder, file:///… or s3://bucket/prefix: {0}")]
pub struct InvalidPlace(String);

/// A folder or a bucket. A folder is looked at when it is first used, and again until it is there: a disk that is not
/// mounted yet is no reason not to start.
#[derive(Debug, Clone)]
pub struct Place {
    folder: Option<PathBuf>,
    store: Arc<OnceLock<Arc<dyn ObjectStore>>>,
}

impl Place {
    /// Reads a setting: a path, `file:///…`, or `s3://bucket/prefix` (with the usual `AWS_…` variables).
    ///
    /// # Errors
    /// It is none of them. The text is not repeated: it may hold a secret.
    pub fn parse(text: &str) -> Result<Self, InvalidPlace> {
        let invalid = |reason: &str| InvalidPlace(reason.to_owned());
        if !text.contains("://") {
            return Ok(Self::folder(text));
        }
        let url = Url::parse(text).map_err(|error| InvalidPlace(error.to_string()))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::folder).map_err(|()| invalid("it has a host")),
            "s3" => {
                let bucket = url.host_str().ok_or_else(|| invalid("it names no bucket"))?;
                let prefix = path::Path::from_url_path(url.path()).map_err(|error| InvalidPlace(error.to_string()))?;
                let bucket = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .build()
                    .map_err(|error| InvalidPlace(error.to_string()))?;
                Ok(Self::store(Arc::new(PrefixStore::new(bucket, prefix))))
            }
            scheme => Err(InvalidPlace(format!("not {scheme}://"))),
        }
    }

    /// A local folder; it is made when it is missing.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { folder: Some(path.into()), store: Arc::default() }
    }

    /// Any object store.
    pub fn store(store: Arc<dyn ObjectStore>) -> Self {
        Self { folder: None, store: Arc::new(OnceLock::from(store)) }
    }

    /// The store, opened if need be.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let folder = self.folder.as_deref().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .map_err(|error| object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(error) })?;
        let opened: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
        Ok(Arc::clone(self.store.get_or_init(|| opened)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_places() {
        let folder = |text| Place::parse(text).unwrap().folder.unwrap();
        assert_eq!(folder("some/where"), Path::new("some/where"));
        assert_eq!(folder("file:///some/where%20else"), Path::new("/some/where else"));
        assert!(Place::parse("s3://bucket/prefix").unwrap().folder.is_none());
    }

    #[test]
    fn another_place_is_refused_without_repeating_it() {
        for text in ["ftp://me:hush@host/x", "s3:///x", "file://hush@host/x", "s3://"] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix") && !error.contains("hush"), "{error}");
        }
    }
}
