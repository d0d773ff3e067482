//! Replays are shared between clients.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use living_map::access::shares::Client;
use living_map::live::{Replay, ReplayConfig, TimeTravel, TimeTravelConfig};
use living_map::log::{Appended, Bounds, EventLog, LogError};
use living_map::model::{Cursor, Epoch, LogEntry, NewEvent};
use tokio::sync::watch;

use super::gaps::filled_log;
use crate::support::wait::until;

/// A log whose entries cannot be read until it is opened.
struct ClosedLog {
    log: Arc<dyn EventLog>,
    is_open: watch::Receiver<bool>,
}

#[async_trait]
impl EventLog for ClosedLog {
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        self.log.append(events).await
    }
    async fn bounds(&self) -> Result<Bounds, LogError> {
        self.log.bounds().await
    }
    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let (entries, mut is_open) = (self.log.read(epoch, after).await?, self.is_open.clone());
        let opened = async move {
            let _ = is_open.wait_for(|is_open| *is_open).await;
            entries
        };
        Ok(futures::stream::once(opened).flatten().boxed())
    }
    async fn ready(&self) -> Result<(), LogError> {
        self.log.ready().await
    }
    fn kind(&self) -> &'static str {
        "closed"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clients_replays_do_not_delay_another() {
    let fixture = filled_log().await;
    let epoch = fixture.live.cursor().epoch;
    let (open, is_open) = watch::channel(false);
    let log = Arc::new(ClosedLog { log: Arc::clone(&fixture.log), is_open });
    let (history, snapshots) = (Arc::clone(&fixture.database.history), Arc::clone(&fixture.database.snapshots));
    let time_travel = TimeTravel::new(TimeTravelConfig::default(), fixture.live.clone(), log, history, snapshots);
    let replay = Replay::new(ReplayConfig { concurrency: 2, ..ReplayConfig::default() }, fixture.live, time_travel);
    let request = |name: &str, seq: u64| {
        let (replay, client) = (replay.clone(), Client::Token(name.into()));
        tokio::spawn(async move { replay.batch_after(client, Cursor { epoch, seq }).await })
    };
    let usage = async |in_use: u64, waiting: usize| {
        until(&format!("{in_use} folds and {waiting} waiting requests"), async || {
            let usage = replay.pool().usage();
            ((usage.in_use, usage.waiting) == (in_use, waiting)).then_some(())
        })
        .await;
    };
    // each begins at another saved snapshot, and is not covered by those that run before it
    let first = request("greedy", 90);
    usage(1, 0).await;
    let second = request("greedy", 5);
    usage(1, 1).await;
    let other = request("modest", 50);
    usage(2, 1).await;
    open.send_replace(true);
    for replayed in [first, second, other] {
        replayed.await.unwrap().unwrap();
    }
    usage(0, 0).await;
    fixture.database.history.close().await;
}
