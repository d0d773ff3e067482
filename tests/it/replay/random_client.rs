//! A client that disconnects at random points and resumes with its cursor, over either transport.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use living_map::model::{Cursor, Epoch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::client::{Opened, Transport, open};

/// Everything that a client received.
#[derive(Debug, Default, Clone)]
pub struct Received {
    /// The position of the first snapshot.
    pub first_snapshot: Option<Cursor>,
    /// The newest position.
    pub at: Option<Cursor>,
    /// Events and resets in the order of arrival.
    pub steps: Vec<Step>,
    pub connects: usize,
}

#[derive(Debug, Clone)]
pub enum Step {
    /// An event frame.
    Event(Cursor, String),
    /// The client could not resume and received a snapshot.
    Reset { from: Cursor, to: Cursor, when: Instant },
}

pub struct RandomClient {
    received: Arc<Mutex<Received>>,
    task: tokio::task::JoinHandle<()>,
}

impl RandomClient {
    /// Connects to the server at `address` (host and port).
    pub fn start(address: String, seed: u64) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let task = tokio::spawn(run(address, StdRng::seed_from_u64(seed), Arc::clone(&received)));
        Self { received, task }
    }

    pub fn received(&self) -> Received {
        self.received.lock().expect("no panic while it is held").clone()
    }

    pub fn at(&self) -> Option<Cursor> {
        self.received.lock().expect("no panic while it is held").at
    }

    /// Returns false if the client panicked.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for RandomClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(address: String, mut random: StdRng, received: Arc<Mutex<Received>>) {
    let lock = || received.lock().expect("no panic while it is held");
    loop {
        let at = lock().at;
        let transport = if random.random() { Transport::WebSocket } else { Transport::Sse };
        let cursor = at.map(|at| at.to_string());
        match open(&address, transport, cursor.as_deref()).await {
            Opened::Stream(mut frames) => {
                lock().connects += 1;
                let frame_count = if random.random_ratio(1, 5) { 1_000 } else { random.random_range(0..120) };
                for _ in 0..frame_count {
                    // one in a thousand: stops reading for a while
                    if random.random_ratio(1, 1_000) {
                        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
                    }
                    let next = tokio::time::timeout(Duration::from_secs(2), frames.next()).await;
                    let Ok(Some(frame)) = next else { break };
                    take(frame, &mut lock());
                }
            }
            // connects without a cursor: the first frame is a snapshot
            Opened::Refused(410, document) => {
                assert!(document["oldest_cursor"].is_string(), "{document}");
                begin_again(&address, transport, &received).await;
            }
            Opened::Refused(0 | 503, _) => {}
            Opened::Refused(status, document) => panic!("{status} {document}"),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
    }
}

async fn begin_again(address: &str, transport: Transport, received: &Mutex<Received>) {
    let Opened::Stream(mut frames) = open(address, transport, None).await else { return };
    if let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(10), frames.next()).await {
        take(frame, &mut received.lock().expect("no panic while it is held"));
    }
}

fn take(frame: String, received: &mut Received) {
    let json: Value = serde_json::from_str(&frame).expect("a frame is JSON");
    let cursor = |value: &Value| value.as_str().expect("a cursor").parse::<Cursor>().expect("a cursor");
    let at = match json["kind"].as_str() {
        Some("snapshot") => {
            let to = cursor(&json["data"]["meta"]["cursor"]);
            match received.at {
                Some(from) => received.steps.push(Step::Reset { from, to, when: Instant::now() }),
                None => received.first_snapshot = Some(to),
            }
            to
        }
        Some("event") => {
            let at = cursor(&json["cursor"]);
            received.steps.push(Step::Event(at, frame));
            at
        }
        Some("ping") => cursor(&json["cursor"]),
        Some("reconnect") => return,
        _ => panic!("{frame}"),
    };
    received.at = Some(at);
}

/// The frames of each log, by position.
pub type Logs<'a> = [(Epoch, &'a BTreeMap<u64, String>)];

impl Received {
    pub fn resets(&self) -> Vec<(Cursor, Cursor, Instant)> {
        let reset = |step: &Step| match step {
            Step::Reset { from, to, when } => Some((*from, *to, *when)),
            Step::Event(..) => None,
        };
        self.steps.iter().filter_map(reset).collect()
    }

    /// Asserts that the client received every frame of the logs since its first snapshot, except those skipped by a
    /// reset.
    pub fn assert_complete(&self, logs: &Logs<'_>) {
        let mut at = self.first_snapshot.expect("a first snapshot");
        for step in &self.steps {
            match step {
                Step::Event(cursor, frame) => {
                    assert!(cursor.epoch == at.epoch && cursor.seq > at.seq, "{cursor} arrived after {at}");
                    assert_nothing_between(at, cursor.seq - 1, logs);
                    assert_eq!(Some(frame), frames_of(*cursor, logs).get(&cursor.seq), "the frame at {cursor} differs");
                    at = *cursor;
                }
                Step::Reset { from, to, .. } => {
                    assert_nothing_between(at, from.seq, logs);
                    at = *to;
                }
            }
        }
        assert_nothing_between(at, self.at.expect("a position").seq, logs);
    }
}

/// Asserts that there is no frame after `at` up to `upto`.
fn assert_nothing_between(at: Cursor, upto: u64, logs: &Logs<'_>) {
    if upto > at.seq {
        let missed: Vec<u64> = frames_of(at, logs).range(at.seq + 1..=upto).map(|(seq, _)| *seq).collect();
        assert!(missed.is_empty(), "{missed:?} are missing after {at}");
    }
}

fn frames_of<'a>(cursor: Cursor, logs: &Logs<'a>) -> &'a BTreeMap<u64, String> {
    logs.iter().find(|(epoch, _)| *epoch == cursor.epoch).map(|(_, frames)| *frames).expect("a known log")
}
