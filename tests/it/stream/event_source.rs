//! A client of server-sent events that follows the standard.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{Client, Response};
use serde_json::Value;

use super::server::seq_of;
use crate::support::wait::PATIENCE;

/// One event, or a block with comments only.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
    pub retry: Option<u64>,
}

impl Received {
    pub fn is_comment(&self) -> bool {
        *self == Self::default()
    }

    /// The position in the `id`, which must equal that of the frame.
    pub fn seq(&self) -> u64 {
        let cursor = match self.event.as_str() {
            "snapshot" => &self.data["data"]["meta"]["cursor"],
            _ => &self.data["cursor"],
        };
        assert_eq!(cursor.as_str(), self.id.as_deref(), "{self:?}");
        seq_of(cursor)
    }
}

pub struct EventSource {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: String,
    pub head: reqwest::header::HeaderMap,
}

impl EventSource {
    /// # Errors
    /// A response with another status than 200.
    pub async fn open(url: &str, last_event_id: Option<&str>) -> Result<Self, Response> {
        let mut request = Client::new().get(url).header("accept-encoding", "gzip, zstd");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        if answer.status() != 200 {
            return Err(answer);
        }
        let head = answer.headers().clone();
        Ok(Self { body: answer.bytes_stream().boxed(), buffer: String::new(), head })
    }

    /// The next event or comment; `None` at the end.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (received, read_to) = (parse(block), self.buffer.len() - rest.len());
                self.buffer.drain(..read_to);
                return Some(received);
            }
            let bytes = tokio::time::timeout(PATIENCE, self.body.next())
                .await
                .expect("an event or a comment should have arrived");
            let Some(Ok(bytes)) = bytes else {
                assert_eq!(self.buffer, "", "the stream ended in the middle of an event");
                return None;
            };
            self.buffer.push_str(std::str::from_utf8(&bytes).expect("UTF-8, not split within a character"));
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Received {
        loop {
            let received = self.next().await.expect("the stream should continue");
            if !received.is_comment() {
                assert_eq!(received.data["kind"], received.event.as_str());
                return received;
            }
        }
    }

    /// The position of the next frame, which must be a snapshot.
    pub async fn snapshot(&mut self) -> u64 {
        let received = self.event().await;
        assert_eq!(received.event, "snapshot", "{received:?}");
        received.seq()
    }

    /// The positions of the next `n` events.
    pub async fn events(&mut self, n: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < n {
            let received = self.event().await;
            assert_eq!(received.event, "event", "{received:?}");
            seqs.push(received.seq());
        }
        seqs
    }
}

fn parse(block: &str) -> Received {
    let mut received = Received::default();
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (field, value) = line.split_once(": ").expect("field: value");
        match field {
            "event" => value.clone_into(&mut received.event),
            "id" => received.id = Some(value.to_owned()),
            "data" => {
                assert_eq!(received.data, Value::Null, "one line of data");
                received.data = serde_json::from_str(value).unwrap();
            }
            "retry" => received.retry = Some(value.parse().unwrap()),
            _ => panic!("{line}"),
        }
    }
    received
}
