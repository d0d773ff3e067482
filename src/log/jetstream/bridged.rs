//! Messages of the bridge, as they are stored in the log.
//!
//! A message received under `rag.document.parsed` is stored, with its own bytes, under `living_map.bridged.rag.document.parsed`,
//! since the log cannot have a subject of another stream. Readers get it under its own subject again. Headers of `JetStream`
//! (`Nats-…`) would be obeyed by the log's stream and are left out; what they say about the message's identity is kept in
//! headers of ours.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use uuid::Uuid;

use crate::model::subject::BRIDGED;

/// UUID namespace of contents.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6272_6964_6765);

/// Header of a message's id, by which a stream recognises it.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Header in which the server names the position of a message that it copied from another stream.
const SOURCE: &str = "Nats-Stream-Source";

/// Beginning of the headers of this module.
const OURS: &str = "Living-Map-Bridged-";

/// Header of the id that the message's publisher set.
const OWN_MESSAGE_ID: &str = "Living-Map-Bridged-Msg-Id";

/// Header of the message's position in its stream: name and sequence.
const POSITION: &str = "Living-Map-Bridged-Position";

/// Position of a message in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPosition {
    /// Name of the stream.
    pub stream: String,
    /// Sequence of the message.
    pub seq: u64,
}

/// A message that the bridge has received.
#[derive(Debug, Clone)]
pub struct BridgedMessage {
    id: Uuid,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl BridgedMessage {
    /// A message published under `subject`. With its `position` it is the same message whenever it is received again; without,
    /// the id that its publisher set (`Nats-Msg-Id`) identifies it, and without that each reception is another message.
    #[must_use]
    pub fn new(
        subject: String,
        received: Option<&HeaderMap>,
        payload: Bytes,
        position: Option<&StreamPosition>,
    ) -> Self {
        let id = Uuid::now_v7();
        let mut headers = HeaderMap::new();
        let mut own_id = None;
        for (name, values) in received.into_iter().flat_map(HeaderMap::iter) {
            let text = name.to_string();
            if text.eq_ignore_ascii_case(MESSAGE_ID) {
                own_id = values.first().map(ToString::to_string);
            } else if !begins_with(&text, "Nats-") && !begins_with(&text, OURS) {
                for value in values {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        let content = || Uuid::new_v5(&Uuid::new_v5(&NAMESPACE, subject.as_bytes()), &payload);
        let message_id = match (position, &own_id) {
            (Some(StreamPosition { stream, seq }), _) => format!("bridge:{stream}:{seq}:{}", content()),
            (None, Some(own)) => format!("bridge:message:{own}:{}", content()),
            (None, None) => format!("bridge:{id}"),
        };
        headers.insert(MESSAGE_ID, message_id.as_str());
        if let Some(own) = own_id {
            headers.insert(OWN_MESSAGE_ID, own.as_str());
        }
        if let Some(StreamPosition { stream, seq }) = position {
            headers.insert(POSITION, format!("{stream} {seq}").as_str());
        }
        Self { id, subject, headers, payload }
    }

    /// Id of this reception.
    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    /// Its own subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Subject under which the log stores it.
    pub(super) fn log_subject(&self) -> String {
        format!("{BRIDGED}{}", self.subject)
    }

    /// Size of the stored message: headers and payload, in bytes.
    #[must_use]
    pub fn log_size(&self) -> usize {
        let line = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
        let values = self.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let lines: usize = values.map(|(name, value)| line(name.as_ref(), value.as_str())).sum();
        "NATS/1.0\r\n\r\n".len() + lines + self.payload.len()
    }

    pub(super) fn to_publish(&self) -> PublishMessage {
        PublishMessage::build().headers(self.headers.clone()).payload(self.payload.clone())
    }
}

/// Subject and headers with which a message of the log was published: for one of the bridge its own subject, and the header
/// that identifies it as the message that a source would have copied.
pub fn original<'a>(subject: &'a str, mut headers: Vec<(&'a str, &'a str)>) -> (&'a str, Vec<(&'a str, &'a str)>) {
    let Some(own) = subject.strip_prefix(BRIDGED).filter(|own| !own.is_empty()) else { return (subject, headers) };
    let find = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let identity = match (find(OWN_MESSAGE_ID), find(POSITION), find(MESSAGE_ID)) {
        (Some(id), _, _) => Some((MESSAGE_ID, id)),
        (None, Some(position), _) => Some((SOURCE, position)),
        (None, None, id) => id.map(|id| (MESSAGE_ID, id)),
    };
    headers.retain(|(name, _)| !begins_with(name, OURS) && *name != MESSAGE_ID);
    headers.extend(identity);
    (own, headers)
}

fn begins_with(name: &str, beginning: &str) -> bool {
    name.get(..beginning.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.insert(*name, *value);
            map
        })
    }

    /// Subject and headers as a reader sees them.
    fn stored(message: &BridgedMessage) -> (String, Vec<(String, String)>) {
        let subject = message.log_subject();
        let pairs = message.headers.iter().map(|(name, values)| (name.as_ref(), values[0].as_str())).collect();
        let (subject, pairs) = original(&subject, pairs);
        (subject.to_owned(), pairs.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
    }

    fn message_id(message: &BridgedMessage) -> String {
        message.headers.get(MESSAGE_ID).unwrap().to_string()
    }

    #[test]
    fn headers_that_a_stream_obeys_are_not_passed_on() {
        let sent = headers(&[
            ("Nats-Rollup", "all"),
            ("nats-expected-stream", "STREAM_RAG"),
            ("Living-Map-Bridged-Position", "X 1"),
            ("ce-id", "7"),
        ]);
        let message = BridgedMessage::new("rag.x".to_owned(), Some(&sent), Bytes::from_static(b"{}"), None);
        let names: Vec<String> = message.headers.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let (subject, pairs) = stored(&message);
        assert_eq!(subject, "rag.x");
        assert!(pairs.contains(&("ce-id".to_owned(), "7".to_owned())), "{pairs:?}");
    }

    #[test]
    fn a_message_with_a_position_is_recognised_and_reads_as_sourced() {
        let receive = |seq, body: &'static [u8]| {
            let position = StreamPosition { stream: "STREAM_RAG".to_owned(), seq };
            BridgedMessage::new("rag.x".to_owned(), None, Bytes::from_static(body), Some(&position))
        };
        assert_eq!(message_id(&receive(7, b"1")), message_id(&receive(7, b"1")));
        assert_ne!(message_id(&receive(7, b"1")), message_id(&receive(8, b"1")));
        assert_ne!(message_id(&receive(7, b"1")), message_id(&receive(7, b"2")), "the stream was created again");
        let (_, pairs) = stored(&receive(7, b"1"));
        assert_eq!(pairs, [(SOURCE.to_owned(), "STREAM_RAG 7".to_owned())]);
    }

    #[test]
    fn the_publishers_own_id_identifies_a_message() {
        let receive = |id: Option<&str>| {
            let sent = id.map(|id| headers(&[(MESSAGE_ID, id)]));
            BridgedMessage::new("rag.x".to_owned(), sent.as_ref(), Bytes::from_static(b"{}"), None)
        };
        assert_eq!(message_id(&receive(Some("a"))), message_id(&receive(Some("a"))));
        assert_ne!(message_id(&receive(Some("a"))), message_id(&receive(Some("b"))));
        assert_ne!(message_id(&receive(None)), message_id(&receive(None)));
        assert_eq!(stored(&receive(Some("a"))).1, [(MESSAGE_ID.to_owned(), "a".to_owned())]);
    }

    #[test]
    fn other_messages_of_the_log_are_read_unchanged() {
        let pairs = vec![(MESSAGE_ID, "a"), (POSITION, "X 1")];
        assert_eq!(original("living_map.sync.city", pairs.clone()), ("living_map.sync.city", pairs));
    }
}
