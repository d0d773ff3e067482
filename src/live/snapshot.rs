//! Snapshots as encoded bytes: built on request, at most once in an interval, and only after a change.

use std::sync::{Arc, OnceLock};
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
use crate::model::{Compatibility, Cursor, Layer};

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

/// Size from which a part of a snapshot is not copied but shared: smaller ones are joined, since each part costs a write.
const SHARED_PART_BYTES: usize = 1024 * 1024;

/// A snapshot, encoded once for all requests of the same layers. It consists of parts: all snapshots with the same large
/// layer share its bytes.
#[derive(Debug)]
pub struct SnapshotBytes {
    /// Position of the snapshot.
    pub cursor: Cursor,
    /// Strong validator of the uncompressed bytes, with quotes; unique among all servers.
    pub etag: String,
    /// The upstreams served from fallback data, as in the response header (`agents, dao`).
    pub rescued: Option<String>,
    identity: Arc<[Bytes]>,
    gzip: OnceCell<Arc<[Bytes]>>,
    zstd: OnceCell<Arc<[Bytes]>>,
    /// The parts in one piece, for streams.
    joined: OnceLock<Bytes>,
}

impl SnapshotBytes {
    fn new(cursor: Cursor, etag: String, rescued: Option<String>, parts: Vec<Bytes>) -> Self {
        let (gzip, zstd) = (OnceCell::new(), OnceCell::new());
        Self { cursor, etag, rescued, identity: parts.into(), gzip, zstd, joined: OnceLock::new() }
    }

    /// The JSON, uncompressed and in one piece.
    #[must_use]
    pub fn identity(&self) -> Bytes {
        self.joined.get_or_init(|| joined(&self.identity)).clone()
    }

    /// The JSON in the given encoding, as parts, compressed at most once. If the compressor fails, returns
    /// [`Encoding::Identity`].
    pub async fn encoded(&self, encoding: Encoding) -> (Encoding, Arc<[Bytes]>) {
        let cell = match encoding {
            Encoding::Identity => return (encoding, Arc::clone(&self.identity)),
            Encoding::Gzip => &self.gzip,
            Encoding::Zstd => &self.zstd,
        };
        if let Some(parts) = cell.get() {
            return (encoding, Arc::clone(parts));
        }
        let plain = Arc::clone(&self.identity);
        let compressed = cell
            .get_or_try_init(|| async {
                let compress = tokio::task::spawn_blocking(move || compress(&plain, encoding));
                Ok::<_, std::io::Error>(Arc::from([compress.await.map_err(std::io::Error::other)??]))
            })
            .await;
        match compressed {
            Ok(parts) => (encoding, Arc::clone(parts)),
            Err(error) => {
                tracing::warn!(%error, encoding = encoding.as_str(), "cannot compress a snapshot");
                (Encoding::Identity, Arc::clone(&self.identity))
            }
        }
    }
}

/// Compresses with levels that cost about as much time as they save on a local network: gzip 5, zstd 3.
fn compress(plain: &[Bytes], encoding: Encoding) -> std::io::Result<Bytes> {
    fn write(plain: &[Bytes], mut encoder: impl std::io::Write) -> std::io::Result<()> {
        plain.iter().try_for_each(|part| encoder.write_all(part))
    }
    match encoding {
        Encoding::Identity => Ok(joined(plain)),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(5));
            write(plain, &mut encoder)?;
            encoder.finish().map(Bytes::from)
        }
        Encoding::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
            encoder.set_pledged_src_size(Some(plain.iter().map(|part| part.len() as u64).sum()))?;
            write(plain, &mut encoder)?;
            encoder.finish().map(Bytes::from)
        }
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
        let etag = format!("\"{run}-{}-{}-{set:x}\"", self.cursor, self.health_version);
        SnapshotBytes::new(self.cursor, etag, self.rescued.clone(), parts(&self.layers, set, &self.meta))
    }
}

impl SnapshotBytes {
    /// A snapshot of a past map with the given layers (all if empty). It has no upstream health, which is not in the
    /// log.
    #[must_use]
    pub fn of(state: &State, layers: &[Layer]) -> Self {
        // all servers of this state version and with the same fields and names produce the same bytes
        Self::without_health("at", &state.encode(), layers)
    }

    /// A snapshot of the layers' totals with empty lists, for clients that may not see entities.
    #[must_use]
    pub fn figures(state: &State, layers: &[Layer]) -> Self {
        Self::without_health("figures", &state.encode_figures(), layers)
    }

    fn without_health(kind: &str, encoded: &EncodedLayers, layers: &[Layer]) -> Self {
        let set = layer_set(layers);
        let shown = match encoded.compatibility {
            Compatibility::None => "",
            Compatibility::Prototype => "-prototype",
        };
        let etag = format!("\"{kind}-{STATE_VERSION}{shown}-{}-{set:x}\"", encoded.cursor);
        Self::new(encoded.cursor, etag, None, parts(encoded, set, &meta(encoded)))
    }
}

/// The JSON of a snapshot of all layers, as in [`SnapshotBytes::of`].
pub(super) fn json_without_health(layers: &EncodedLayers) -> Bytes {
    joined(&parts(layers, layer_set(&[]), &meta(layers)))
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

/// The JSON of a snapshot as parts.
fn parts(layers: &EncodedLayers, set: u8, meta: &[u8]) -> Vec<Bytes> {
    let (mut parts, mut json) = (Vec::new(), Vec::new());
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
        if set & bit(*layer) == 0 {
            json.extend_from_slice(b"null");
        } else if bytes.len() < SHARED_PART_BYTES {
            json.extend_from_slice(bytes);
        } else {
            parts.extend([std::mem::take(&mut json).into(), bytes.clone()]);
        }
    }
    json.extend_from_slice(b"},\"meta\":");
    json.extend_from_slice(meta);
    json.push(b'}');
    parts.push(json.into());
    parts
}

fn joined(parts: &[Bytes]) -> Bytes {
    match parts {
        [whole] => whole.clone(),
        _ => parts.concat().into(),
    }
}

const fn bit(layer: Layer) -> u8 {
    1 << layer as u8
}

fn layer_set(layers: &[Layer]) -> u8 {
    let chosen = if layers.is_empty() { Layer::ALL } else { layers };
    chosen.iter().fold(0, |set, layer| set | bit(*layer))
}
