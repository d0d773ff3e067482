//! The reach of replay: it returns the original frames, or reports that they are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use living_map::access::shares::Client;
use living_map::history::{self, Database, HistoryConfig};
use living_map::journal::Journal;
use living_map::live::{
    self, LiveConfig, LiveMap, Replay, ReplayConfig, ReplayError, SavingConfig, TimeTravel, TimeTravelConfig,
};
use living_map::log::table::{TableLog, TableLogConfig};
use living_map::log::{Appended, Bounds, EventLog, LogError};
use living_map::model::{Cursor, Epoch, LogEntry, NewEvent};
use living_map::stream::{Hub, HubConfig};
use living_map::upstream_health::UpstreamHealth;
use sqlx::{Connection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::expected::{ExpectedFrames, event};
use crate::log_suite::of;
use crate::support::daemon::Folder;

pub const EVENTS: u64 = 120;
const SAVED: [u64; 2] = [40, 80];

/// A log without its beginning, and without one entry.
struct GappedLog {
    log: Arc<dyn EventLog>,
    first: u64,
    without: Option<u64>,
}

#[async_trait]
impl EventLog for GappedLog {
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        self.log.append(events).await
    }
    async fn bounds(&self) -> Result<Bounds, LogError> {
        Ok(Bounds { first: self.first, ..self.log.bounds().await? })
    }
    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        assert!(after + 1 >= self.first, "position {after} was dropped: only the history has the next entry");
        let without = self.without;
        let entries = self.log.read(epoch, after).await?;
        let is_present =
            move |entry: &Result<LogEntry, LogError>| entry.as_ref().map(|entry| entry.cursor.seq).ok() != without;
        Ok(entries.filter(move |entry| std::future::ready(is_present(entry))).boxed())
    }
    async fn ready(&self) -> Result<(), LogError> {
        self.log.ready().await
    }
    fn kind(&self) -> &'static str {
        "gapped"
    }
}

pub struct Fixture {
    folder: Folder,
    pub database: Database,
    pub log: Arc<dyn EventLog>,
    pub live: LiveMap,
    frames: BTreeMap<u64, String>,
}

pub async fn filled_log() -> Fixture {
    let folder = Folder::new("replay");
    let url = format!("sqlite://{}", folder.path().join("map.db").display());
    let database = history::open(&url, &HistoryConfig::default()).await.unwrap();
    let log: Arc<dyn EventLog> =
        Arc::new(TableLog::open(TableLogConfig::default(), Arc::clone(&database.history), None).await.unwrap());
    let live = LiveMap::new(LiveConfig::default(), UpstreamHealth::default(), Journal::default());
    let hub = Arc::new(Hub::new(HubConfig::default(), Epoch(0)));
    tokio::spawn(live::follow(live.clone(), Arc::clone(&log), hub, LiveConfig::default(), CancellationToken::new()));
    live.caught_up().await;
    for number in 0..EVENTS {
        let appended = log.append(vec![of(event(number))]).await.remove(0).unwrap();
        live.folded(appended.cursor.unwrap()).await;
        if SAVED.contains(&(number + 1)) {
            let stopped = CancellationToken::new();
            stopped.cancel();
            live::save(live.clone(), Arc::clone(&database.snapshots), SavingConfig::default(), stopped).await;
        }
    }
    let mut expected = ExpectedFrames::of_table(database.clone()).await;
    expected.advance().await;
    Fixture { folder, database, log, live, frames: expected.frames }
}

fn replay(fixture: &Fixture, first: u64, without: Option<u64>, config: ReplayConfig) -> Replay {
    let log = Arc::new(GappedLog { log: Arc::clone(&fixture.log), first, without });
    let (history, snapshots) = (Arc::clone(&fixture.database.history), Arc::clone(&fixture.database.snapshots));
    let time_travel = TimeTravel::new(TimeTravelConfig::default(), fixture.live.clone(), log, history, snapshots);
    Replay::new(config, fixture.live.clone(), time_travel)
}

/// All frames after a position, and the position at which replay ended before the end of the log.
async fn all(replay: &Replay, from: Cursor) -> (BTreeMap<u64, String>, Option<u64>) {
    let (mut frames, mut at) = (BTreeMap::new(), from);
    while at.seq < EVENTS {
        match replay.batch_after(Client::default(), at).await {
            Ok(batch) => {
                assert!(batch.continues_from(at), "{:?} to {:?} for {at}", batch.after, batch.upto);
                let text = |frame: &living_map::stream::Frame| String::from_utf8(frame.json().to_vec()).unwrap();
                frames.extend(batch.frames_after(at).iter().map(|frame| (frame.seq(), text(frame))));
                at = batch.upto;
            }
            Err(ReplayError::Gone) => return (frames, Some(at.seq)),
            Err(error) => panic!("{error}"),
        }
    }
    (frames, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_position_is_replayed_with_the_original_frames() {
    let fixture = filled_log().await;
    let epoch = fixture.live.cursor().epoch;
    for first in [1, 50, EVENTS + 1] {
        // ascending, so that paused folds are resumed, and descending, so that they are not
        let mut order: Vec<u64> = (0..EVENTS).collect();
        for _ in 0..2 {
            let replay = replay(&fixture, first, None, ReplayConfig::default());
            for seq in &order {
                let expected = fixture.frames.range(seq + 1..).map(|(seq, frame)| (*seq, frame.clone())).collect();
                assert_eq!(
                    all(&replay, Cursor { epoch, seq: *seq }).await,
                    (expected, None),
                    "from {seq}, the log from {first}"
                );
            }
            assert_eq!(replay.oldest().await, Some(Cursor { epoch, seq: 0 }));
            order.reverse();
        }
    }
    let replay = replay(&fixture, 1, None, ReplayConfig { max_events: 30, ..ReplayConfig::default() });
    for (cursor, available) in
        [((epoch, 89), false), ((epoch, 90), true), ((epoch, EVENTS), false), ((Epoch(1), 100), false)]
    {
        let cursor = Cursor { epoch: cursor.0, seq: cursor.1 };
        assert_eq!(
            replay.batch_after(Client::default(), cursor).await.map(drop),
            if available { Ok(()) } else { Err(ReplayError::Gone) },
            "{cursor}"
        );
    }
    assert_eq!(replay.oldest().await, Some(Cursor { epoch, seq: 90 }));
    fixture.database.history.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_log_is_never_skipped_silently() {
    let fixture = filled_log().await;
    let epoch = fixture.live.cursor().epoch;
    // a gap in the log, or in the history where the log has dropped the entry
    for (first, without) in [(1, 60_u64), (90, 30), (90, 100)] {
        let in_history = without < first;
        if in_history {
            let file = format!("sqlite://{}", fixture.folder.path().join("map.db").display());
            let mut connection = SqliteConnection::connect(&file).await.unwrap();
            let deleted = sqlx::query("DELETE FROM living_map_history WHERE seq = ?1").bind(without.cast_signed());
            assert_eq!(deleted.execute(&mut connection).await.unwrap().rows_affected(), 1);
            connection.close().await.unwrap();
        }
        let replay = replay(&fixture, first, (!in_history).then_some(without), ReplayConfig::default());
        for seq in 0..EVENTS {
            let (frames, ended) = all(&replay, Cursor { epoch, seq }).await;
            let base = [0, SAVED[0], SAVED[1]].into_iter().filter(|saved| *saved <= seq).max().unwrap();
            assert_eq!(ended.is_some(), base < without, "from {seq}, without {without}: {ended:?}");
            let upto = ended.unwrap_or(EVENTS);
            assert!(upto >= seq && (ended.is_none() || upto < without || base < without), "from {seq} to {upto}");
            let given = fixture.frames.iter().filter(|(at, _)| (seq + 1..=upto).contains(*at));
            let expected: BTreeMap<u64, String> = given.map(|(at, frame)| (*at, frame.clone())).collect();
            assert_eq!(frames, expected, "from {seq}, without {without}");
        }
        // the reported oldest position can be resumed from
        let oldest = replay.oldest().await.filter(|oldest| oldest.seq < EVENTS);
        assert_eq!(oldest.map(|oldest| oldest.seq), SAVED.into_iter().find(|saved| *saved >= without), "{without}");
        if let Some(oldest) = oldest {
            assert_eq!(all(&replay, oldest).await.1, None);
        }
    }
    fixture.database.history.close().await;
}
