//! A client of the stream that resumes with its cursor after each disconnect, and records what it receives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::wait::until;

/// Everything that a follower has received so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The cursor of the first snapshot.
    pub began_at: Option<String>,
    /// The last cursor.
    pub cursor: Option<String>,
    /// `payload` of every event, in the order of arrival.
    pub payloads: Vec<Value>,
    /// Cursors of every event, in the order of arrival.
    pub cursors: Vec<String>,
    /// Number of `reconnect` frames.
    pub reconnect_frames: usize,
    /// Number of reconnects.
    pub reconnects: usize,
    /// Number of snapshots received instead of missed events.
    pub resyncs: usize,
}

/// Follows a stream in the background until it is dropped.
pub struct Follower {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    /// Connects to `url` (`ws://…/living-map/stream`) and waits for the first snapshot.
    pub async fn start(url: String) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(follow(url, Arc::clone(&seen)));
        let follower = Self { seen, task };
        until("the first snapshot", || async { follower.seen().began_at }).await;
        follower
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while it is held").clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(url: String, seen: Arc<Mutex<Seen>>) {
    loop {
        let cursor = seen.lock().expect("no panic while it is held").cursor.clone();
        let resume = cursor.as_ref().map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        if let Ok((mut stream, _)) = tokio_tungstenite::connect_async(format!("{url}{resume}")).await {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message {
                    take(&serde_json::from_str(&text).expect("a frame is JSON"), &seen);
                }
            }
        }
        {
            let mut seen = seen.lock().expect("no panic while it is held");
            seen.reconnects += usize::from(seen.began_at.is_some());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn take(frame: &Value, seen: &Mutex<Seen>) {
    let mut seen = seen.lock().expect("no panic while it is held");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match frame["kind"].as_str() {
        Some("snapshot") => {
            let cursor = text(&frame["data"]["meta"]["cursor"]);
            seen.resyncs += usize::from(seen.began_at.is_some());
            seen.began_at = seen.began_at.take().or_else(|| cursor.clone());
            seen.cursor = cursor;
        }
        Some("event") => {
            seen.payloads.push(frame["payload"].clone());
            seen.cursors.extend(text(&frame["cursor"]));
            seen.cursor = text(&frame["cursor"]);
        }
        Some("ping") => seen.cursor = text(&frame["cursor"]),
        Some("reconnect") => seen.reconnect_frames += 1,
        _ => {}
    }
}
