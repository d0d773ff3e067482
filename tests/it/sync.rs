//! The poller, from the simulated services through the log to the map.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use living_map::adapters::{AdaptersConfig, Upstreams};
use living_map::demo::{Demo, DemoConfig, DemoHandle, Fault};
use living_map::history::{self, HistoryConfig};
use living_map::journal::Journal;
use living_map::live::{self, LiveConfig, LiveMap};
use living_map::log::EventLog;
use living_map::log::table::{TableLog, TableLogConfig};
use living_map::model::{Epoch, Service, SourceStatus};
use living_map::stream::{Hub, HubConfig};
use living_map::sync::{Poller, Refresher, SyncConfig};
use living_map::upstream_health::UpstreamHealth;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::wait::{PATIENCE, until};

/// A simulated network and a map that polls it, with a database of its own.
struct PolledMap {
    demo: DemoHandle,
    live: LiveMap,
    upstream_health: UpstreamHealth,
    refresher: Refresher,
    stop: CancellationToken,
    poller: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl PolledMap {
    async fn start(demo: DemoConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("map.db").display());
        let history = history::open(&url, &HistoryConfig::default()).await.unwrap().history;
        let log: Arc<dyn EventLog> = Arc::new(TableLog::open(TableLogConfig::default(), history, None).await.unwrap());
        let (upstream_health, stop) = (UpstreamHealth::default(), CancellationToken::new());
        let live = LiveMap::new(LiveConfig::default(), upstream_health.clone(), Journal::default());
        let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(0)));
        tokio::spawn(live::follow(live.clone(), Arc::clone(&log), hub, LiveConfig::default(), stop.clone()));
        let demo = Demo::start(&demo, Arc::clone(&log)).await.unwrap();
        let adapters = AdaptersConfig {
            endpoints: demo.endpoints().clone(),
            // longer than any test waits
            call_timeout: Duration::from_mins(1),
            max_retries: 0,
            ..AdaptersConfig::default()
        };
        let config = SyncConfig {
            // polls happen only when a test requests them
            interval: Duration::from_hours(1),
            round_timeout: Duration::from_mins(1),
            min_refresh_gap: Duration::ZERO,
            ..SyncConfig::default()
        };
        let poller = Poller::new(
            config,
            Upstreams::new(&adapters, &Journal::default()).unwrap(),
            upstream_health.clone(),
            live.clone(),
            log,
            Journal::default(),
        );
        let refresher = poller.refresher();
        let poller = tokio::spawn(poller.run(stop.clone()));
        Self { demo, live, upstream_health, refresher, stop, poller, _folder: folder }
    }

    async fn poll(&self, services: &[Service]) {
        assert!(self.refresher.refresh(services, PATIENCE).await, "polls end in time");
    }

    async fn layers(&self) -> Value {
        let snapshot = self.live.snapshot(&[]).await;
        let snapshot: Value = serde_json::from_slice(&snapshot.identity()).unwrap();
        snapshot["layers"].clone()
    }

    fn status(&self, service: Service) -> SourceStatus {
        self.upstream_health.health(Utc::now())[service as usize].status
    }
}

impl Drop for PolledMap {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn without_events() -> DemoConfig {
    DemoConfig { events_per_second: 0.0, ..DemoConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_fill_every_layer() {
    let map = PolledMap::start(without_events()).await;
    // the second poll of the usage service knows the agents
    map.poll(Service::ALL).await;
    map.poll(Service::ALL).await;
    assert!(Service::ALL.iter().all(|service| map.status(*service) == SourceStatus::Ok));
    let layers = until("a snapshot with agents", async || {
        let layers = map.layers().await;
        (layers["agents"]["total_agents"] == 60).then_some(layers)
    })
    .await;
    let list = |layer: &str, name: &str| layers[layer][name].as_array().unwrap().clone();
    assert_eq!(layers["city"]["microdaos_total"], 6);
    assert!(list("city", "items").iter().all(|item| item["members"].as_u64() > Some(1)));
    assert_eq!(
        (list("space", "planets").len(), list("space", "nodes").len(), list("nodes", "items").len()),
        (4, 12, 12)
    );
    for planet in list("space", "planets") {
        assert!(planet["id"].as_str().unwrap().starts_with("dao:") && planet["slug"].is_string(), "joined: {planet}");
        assert_eq!((&planet["active_proposals"], planet["orbits"].as_array().unwrap().len()), (&1.into(), 3));
        assert!(planet["treasury_value"].as_f64() > Some(0.0));
    }
    assert!(list("nodes", "items").iter().all(|node| node["metrics"]["cpu"].is_number()));
    let calls = |agent: &Value| agent["usage"]["llm_calls_24h"].as_u64().expect("every agent was asked for");
    let agents = list("agents", "items");
    assert_eq!(layers["agents"]["total_llm_calls_24h"], agents.iter().map(calls).sum::<u64>());
    assert!(agents.iter().filter(|agent| calls(agent) > 0).count() > 20, "agents beyond the top list have usage too");
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_an_unchanged_network_append_no_events() {
    let map = PolledMap::start(without_events()).await;
    for _ in 0..3 {
        map.poll(Service::ALL).await;
    }
    let before = map.live.cursor();
    for _ in 0..3 {
        map.poll(Service::ALL).await;
    }
    assert_eq!(map.live.cursor(), before, "upstreams do not contradict each other endlessly");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_failing_service_stays_and_is_reported_as_stale() {
    let map = PolledMap::start(without_events()).await;
    map.poll(Service::ALL).await;
    map.poll(Service::ALL).await;
    let (before, cursor) = (map.layers().await, map.live.cursor());
    for fault in [Fault::Down, Fault::Garbage] {
        map.demo.faults().set(Service::Agents, Some(fault));
        map.demo.faults().set(Service::Space, Some(fault));
        map.poll(Service::ALL).await;
        assert_eq!(map.upstream_health.fallbacks().as_deref(), Some("agents, space"));
        assert_eq!((map.live.cursor(), map.layers().await), (cursor, before.clone()));
    }
    assert_eq!(map.status(Service::City), SourceStatus::Ok);
    map.demo.faults().set(Service::Agents, None);
    map.poll(&[Service::Agents]).await;
    assert_eq!(map.upstream_health.fallbacks().as_deref(), Some("space"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_service_delays_neither_the_others_nor_the_stop() {
    let faults = vec!["dao=slow".parse().unwrap()];
    let mut map = PolledMap::start(DemoConfig { faults, ..without_events() }).await;
    let others: Vec<_> = Service::ALL.iter().copied().filter(|service| *service != Service::Dao).collect();
    map.poll(&others).await;
    assert_eq!((map.status(Service::City), map.status(Service::Dao)), (SourceStatus::Ok, SourceStatus::Unknown));
    map.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), &mut map.poller).await.expect("the poller stops at once").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_agree_with_the_events_between_them() {
    let map = PolledMap::start(DemoConfig { events_per_second: 500.0, ..DemoConfig::default() }).await;
    for _ in 0..6 {
        map.poll(Service::ALL).await;
    }
    let counts = until("a map with traffic", async || {
        let layers = map.layers().await;
        let total = layers["agents"]["total_llm_calls_24h"].as_u64()?;
        let items = layers["agents"]["items"].as_array()?;
        let sum: u64 = items.iter().filter_map(|agent| agent["usage"]["llm_calls_24h"].as_u64()).sum();
        (total > 0).then_some((total, sum))
    })
    .await;
    let (total, sum) = counts;
    // unfinished runs are in one of the numbers only, and deleted agents only in the total
    let difference = total.abs_diff(sum);
    assert!(difference * 5 < total, "total {total}, by agent {sum}");
}
