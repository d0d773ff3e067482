//! Background polling of the upstreams. A poll's response is compared with the map, and the differences are appended to the
//! log as `living_map.sync.<service>` events. So polls are in the history like all other changes, and only the fold changes
//! the map.
//!
//! Each service has a polling loop of its own: a slow service does not delay the others, and no service is polled twice at
//! the same time.
//!
//! Metric: `living_map_sync_events_total{service}`, events appended by polls.

mod control;
mod poller;
mod refresh;
mod upstream_sync;

pub use control::ControlEventHandler;
pub use poller::{Poller, SyncConfig};
pub use refresh::Refresher;
pub use upstream_sync::{UpstreamSync, UpstreamSyncConfig, UpstreamSyncHandles};
