//! Polling: what the upstream services say, compared with the map, put into the log as `living_map.sync.<service>`
//! events. So polls are in the history like everything else, and the fold stays the only place where the map changes.
//!
//! Each service has a loop of its own: a slow one delays nobody, and none is polled twice at once.
//!
//! Metric: `living_map_sync_events_total{service}`, events that polls put into the log.

mod control;
mod poller;
mod refresh;

pub use control::ControlEventHandler;
pub use poller::{Poller, SyncConfig};
pub use refresh::Refresher;
