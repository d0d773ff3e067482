//! Snapshots as encoded bytes: built on request, at most once in an interval, and only after a change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use chrono::Utc;
use dashmap::DashMap;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

use super::LiveMap;
use crate::map::{EncodedLayers, STATE_VERSION, State};
use crate::model::time;
use crate::model::{Cursor, Layer};

/// Version of the snapshot's format.
pub(super) const VERSION: &str = "1.0";

/// Content encoding of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// The name in `Content-Encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A snapshot, encoded once for all requests of the same layers.
#[derive(Debug)]
pub struct SnapshotBytes {
    /// Position of the snapshot.
    pub cursor: Cursor,
    /// Strong validator of the uncompressed bytes, with quotes; unique among all servers.
    pub etag: String,
    /// The upstreams served from fallback data, as in the response header (`agents, dao`).
    pub rescued: Option<String>,
    identity: Bytes,
    gzip: OnceCell<Bytes>,
    zstd: OnceCell<Bytes>,
}

impl SnapshotBytes {
    /// The JSON, uncompressed.
    #[must_use]
    pub fn identity(&self) -> Bytes {
        self.identity.clone()
    }

    /// The JSON in the given encoding, compressed at most once. If the compressor fails, returns
    /// [`Encoding::Identity`].
    pub async fn encoded(&self, encoding: Encoding) -> (Encoding, Bytes) {
        let cell = match encoding {
            Encoding::Identity => return (encoding, self.identity()),
            Encoding::Gzip => &self.gzip,
            Encoding::Zstd => &self.zstd,
        };
        if let Some(bytes) = cell.get() {
            return (encoding, bytes.clone());
        }
        let plain = self.identity();
        let compressed = cell
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(move || compress(&plain, encoding)).await.map_err(std::io::Error::other)?
            })
            .await;
        match compressed {
            Ok(bytes) => (encoding, bytes.clone()),
            Err(error) => {
                tracing::warn!(%error, encoding = encoding.as_str(), "cannot compress a snapshot");
                (Encoding::Identity, self.identity())
            }
        }
    }
}

/// Compresses with levels that cost about as much time as they save on a local network: gzip 5, zstd 3.
fn compress(plain: &[u8], encoding: Encoding) -> std::io::Result<Bytes> {
    use std::io::Write;
    match encoding {
        Encoding::Identity => Ok(Bytes::copy_from_slice(plain)),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(5));
            encoder.write_all(plain)?;
            encoder.finish().map(Bytes::from)
        }
        Encoding::Zstd => zstd::bulk::compress(plain, 3).map(Bytes::from),
    }
}

/// The most recently built snapshot.
pub(super) struct SnapshotCache {
    interval: Duration,
    /// Distinguishes the snapshots of this run from those of other servers and earlier runs at the same cursor.
    run: String,
    current: ArcSwapOption<Built>,
    building: Mutex<()>,
}

struct Built {
    cursor: Cursor,
    health_version: u64,
    at: Instant,
    took: Duration,
    layers: EncodedLayers,
    meta: Bytes,
    rescued: Option<String>,
    /// Assembled snapshots by layer set.
    assembled: DashMap<u8, Arc<SnapshotBytes>>,
}

impl SnapshotCache {
    pub(super) fn new(interval: Duration) -> Self {
        let run = format!("{:x}", Utc::now().timestamp_micros());
        Self { interval, run, current: ArcSwapOption::empty(), building: Mutex::new(()) }
    }

    pub(super) async fn get(&self, live: &LiveMap, layers: &[Layer]) -> Arc<SnapshotBytes> {
        let built = match self.usable(live) {
            Some(built) => built,
            None => self.rebuild(live).await,
        };
        let set = layer_set(layers);
        if let Some(snapshot) = built.assembled.get(&set) {
            return Arc::clone(&snapshot);
        }
        Arc::clone(&built.assembled.entry(set).or_insert_with(|| Arc::new(built.assemble(set, &self.run))))
    }

    fn usable(&self, live: &LiveMap) -> Option<Arc<Built>> {
        let built = self.current.load_full()?;
        let clean =
            built.cursor == live.cursor() && built.health_version == *live.inner.upstream_health.version().borrow();
        // a large map is rebuilt less often: building takes at most a tenth of the time
        let young = built.at.elapsed() < self.interval.max(built.took * 10);
        (clean || (young && built.cursor.epoch == live.cursor().epoch)).then_some(built)
    }

    async fn rebuild(&self, live: &LiveMap) -> Arc<Built> {
        let _one_at_a_time = self.building.lock().await;
        if let Some(built) = self.usable(live) {
            return built;
        }
        let map = live.clone();
        let built = match tokio::task::spawn_blocking(move || Built::new(&map)).await {
            Ok(built) => Arc::new(built),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        metrics::histogram!("living_map_snapshot_build_seconds").record(built.took);
        self.current.store(Some(Arc::clone(&built)));
        built
    }
}

impl Built {
    fn new(live: &LiveMap) -> Self {
        let at = Instant::now();
        let upstream_health = &live.inner.upstream_health;
        let health_version = *upstream_health.version().borrow();
        let layers = live.with(State::encode);
        let generated_at = time::text(layers.generated_at);
        let meta = json!({
            "source_services": layers.services,
            "generated_at": generated_at,
            "version": VERSION,
            "cursor": layers.cursor,
            "sources": upstream_health.health(Utc::now()),
        });
        Self {
            cursor: layers.cursor,
            health_version,
            at,
            took: at.elapsed(),
            layers,
            meta: meta.to_string().into(),
            rescued: upstream_health.fallbacks(),
            assembled: DashMap::new(),
        }
    }

    fn assemble(&self, set: u8, run: &str) -> SnapshotBytes {
        SnapshotBytes {
            cursor: self.cursor,
            etag: format!("\"{run}-{}-{}-{set:x}\"", self.cursor, self.health_version),
            rescued: self.rescued.clone(),
            identity: join(&self.layers, set, &self.meta),
            gzip: OnceCell::new(),
            zstd: OnceCell::new(),
        }
    }
}

impl SnapshotBytes {
    /// A snapshot of a past map with the given layers (all if empty). It has no upstream health, which is not in the
    /// log.
    #[must_use]
    pub fn of(state: &State, layers: &[Layer]) -> Self {
        let (encoded, set) = (state.encode(), layer_set(layers));
        Self {
            cursor: encoded.cursor,
            // all servers of this state version produce the same bytes
            etag: format!("\"at-{STATE_VERSION}-{}-{set:x}\"", encoded.cursor),
            rescued: None,
            identity: join(&encoded, set, &meta(&encoded)),
            gzip: OnceCell::new(),
            zstd: OnceCell::new(),
        }
    }
}

impl SnapshotBytes {
    /// A snapshot of the layers' totals with empty lists, for clients that may not see entities.
    #[must_use]
    pub fn figures(state: &State, layers: &[Layer]) -> Self {
        let (encoded, set) = (state.encode_figures(), layer_set(layers));
        Self {
            cursor: encoded.cursor,
            etag: format!("\"figures-{STATE_VERSION}-{}-{set:x}\"", encoded.cursor),
            rescued: None,
            identity: join(&encoded, set, &meta(&encoded)),
            gzip: OnceCell::new(),
            zstd: OnceCell::new(),
        }
    }
}

/// The JSON of a snapshot of all layers, as in [`SnapshotBytes::of`].
pub(super) fn json_without_health(layers: &EncodedLayers) -> Bytes {
    join(layers, layer_set(&[]), &meta(layers))
}

fn meta(layers: &EncodedLayers) -> Vec<u8> {
    let meta = json!({
        "source_services": layers.services,
        "generated_at": time::text(layers.generated_at),
        "version": VERSION,
        "cursor": layers.cursor,
        "sources": [],
    });
    meta.to_string().into_bytes()
}

fn join(layers: &EncodedLayers, set: u8, meta: &[u8]) -> Bytes {
    let size: usize = layers.layers.iter().map(Bytes::len).sum();
    let mut json = Vec::with_capacity(size + meta.len() + 128);
    json.extend_from_slice(b"{\"generated_at\":\"");
    json.extend_from_slice(time::text(layers.generated_at).as_bytes());
    json.extend_from_slice(b"\",\"layers\":{");
    for (index, (layer, bytes)) in Layer::ALL.iter().zip(&layers.layers).enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.push(b'"');
        json.extend_from_slice(layer.as_str().as_bytes());
        json.extend_from_slice(b"\":");
        json.extend_from_slice(if set & bit(*layer) == 0 { b"null" } else { bytes });
    }
    json.extend_from_slice(b"},\"meta\":");
    json.extend_from_slice(meta);
    json.push(b'}');
    json.into()
}

const fn bit(layer: Layer) -> u8 {
    1 << layer as u8
}

fn layer_set(layers: &[Layer]) -> u8 {
    let chosen = if layers.is_empty() { Layer::ALL } else { layers };
    chosen.iter().fold(0, |set, layer| set | bit(*layer))
}
