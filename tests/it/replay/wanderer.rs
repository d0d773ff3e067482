//! A client that leaves at arbitrary points and comes back by its cursor, over either transport.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use living_map::model::{Cursor, Epoch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::client::{Opened, Transport, open};

/// What one has got.
#[derive(Debug, Default, Clone)]
pub struct Got {
    /// The position of the first snapshot.
    pub began: Option<Cursor>,
    /// Its position.
    pub at: Option<Cursor>,
    /// What came, in the order of arrival.
    pub steps: Vec<Step>,
    pub connects: usize,
}

#[derive(Debug, Clone)]
pub enum Step {
    /// An event frame.
    Event(Cursor, String),
    /// It was told that it could not go on, and began anew.
    Reset { from: Cursor, to: Cursor, when: Instant },
}

pub struct Wanderer {
    got: Arc<Mutex<Got>>,
    task: tokio::task::JoinHandle<()>,
}

impl Wanderer {
    /// `address` is the server's, as host and port.
    pub fn start(address: String, seed: u64) -> Self {
        let got = Arc::new(Mutex::new(Got::default()));
        let task = tokio::spawn(wander(address, StdRng::seed_from_u64(seed), Arc::clone(&got)));
        Self { got, task }
    }

    pub fn got(&self) -> Got {
        self.got.lock().expect("no panic while it is held").clone()
    }

    pub fn at(&self) -> Option<Cursor> {
        self.got.lock().expect("no panic while it is held").at
    }

    /// Whether its task runs; it ends by a panic only.
    pub fn lives(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Wanderer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wander(address: String, mut random: StdRng, got: Arc<Mutex<Got>>) {
    let lock = || got.lock().expect("no panic while it is held");
    loop {
        let at = lock().at;
        let transport = if random.random() { Transport::WebSocket } else { Transport::Sse };
        let cursor = at.map(|at| at.to_string());
        match open(&address, transport, cursor.as_deref()).await {
            Opened::Stream(mut frames) => {
                lock().connects += 1;
                let life = if random.random_ratio(1, 5) { 1_000 } else { random.random_range(0..120) };
                for _ in 0..life {
                    // one in a thousand: it stays away for a while with the socket open
                    if random.random_ratio(1, 1_000) {
                        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
                    }
                    let next = tokio::time::timeout(Duration::from_secs(2), frames.next()).await;
                    let Ok(Some(frame)) = next else { break };
                    take(frame, &mut lock());
                }
            }
            // begin anew: what comes is a snapshot
            Opened::Refused(410, document) => {
                assert!(document["oldest_cursor"].is_string(), "{document}");
                anew(&address, transport, &got).await;
            }
            Opened::Refused(0 | 503, _) => {}
            Opened::Refused(status, document) => panic!("{status} {document}"),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
    }
}

async fn anew(address: &str, transport: Transport, got: &Mutex<Got>) {
    let Opened::Stream(mut frames) = open(address, transport, None).await else { return };
    if let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(10), frames.next()).await {
        take(frame, &mut got.lock().expect("no panic while it is held"));
    }
}

fn take(frame: String, got: &mut Got) {
    let json: Value = serde_json::from_str(&frame).expect("a frame is JSON");
    let cursor = |value: &Value| value.as_str().expect("a cursor").parse::<Cursor>().expect("a cursor");
    let at = match json["kind"].as_str() {
        Some("snapshot") => {
            let to = cursor(&json["data"]["meta"]["cursor"]);
            match got.at {
                Some(from) => got.steps.push(Step::Reset { from, to, when: Instant::now() }),
                None => got.began = Some(to),
            }
            to
        }
        Some("event") => {
            let at = cursor(&json["cursor"]);
            got.steps.push(Step::Event(at, frame));
            at
        }
        Some("ping") => cursor(&json["cursor"]),
        Some("reconnect") => return,
        _ => panic!("{frame}"),
    };
    got.at = Some(at);
}

/// The frames of each log, by position.
pub type Logs<'a> = [(Epoch, &'a BTreeMap<u64, String>)];

impl Got {
    pub fn resets(&self) -> Vec<(Cursor, Cursor, Instant)> {
        let reset = |step: &Step| match step {
            Step::Reset { from, to, when } => Some((*from, *to, *when)),
            Step::Event(..) => None,
        };
        self.steps.iter().filter_map(reset).collect()
    }

    /// The union of what it got is the log, from where it began on, but for what it was told that it would not get.
    pub fn is_the_log(&self, logs: &Logs<'_>) {
        let mut at = self.began.expect("a first snapshot");
        for step in &self.steps {
            match step {
                Step::Event(cursor, frame) => {
                    assert!(cursor.epoch == at.epoch && cursor.seq > at.seq, "{cursor} comes after {at}");
                    nothing_between(at, cursor.seq - 1, logs);
                    assert_eq!(Some(frame), frames_of(*cursor, logs).get(&cursor.seq), "{cursor} is not as it was");
                    at = *cursor;
                }
                Step::Reset { from, to, .. } => {
                    nothing_between(at, from.seq, logs);
                    at = *to;
                }
            }
        }
        nothing_between(at, self.at.expect("a position").seq, logs);
    }
}

/// Nothing that a client would have been shown lies behind `at`, up to `upto`.
fn nothing_between(at: Cursor, upto: u64, logs: &Logs<'_>) {
    if upto > at.seq {
        let missed: Vec<u64> = frames_of(at, logs).range(at.seq + 1..=upto).map(|(seq, _)| *seq).collect();
        assert!(missed.is_empty(), "{missed:?} are missing behind {at}");
    }
}

fn frames_of<'a>(cursor: Cursor, logs: &Logs<'a>) -> &'a BTreeMap<u64, String> {
    logs.iter().find(|(epoch, _)| *epoch == cursor.epoch).map(|(_, frames)| *frames).expect("a known log")
}
