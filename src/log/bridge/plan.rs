//! Where the messages of the bridge's subjects are received.

use async_nats::{HeaderMap, Message};

use crate::bus::subjects::union;
use crate::bus::{Connection, Republisher, StreamError, republish};
use crate::log::jetstream::{BridgedMessage, StreamPosition};
use crate::model::subject::Pattern;

/// Subscriptions to the bridge's subjects: to the subject under which its stream publishes a message again, since that names the
/// message's position, otherwise to the subject itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    subjects: Vec<Pattern>,
    republishers: Vec<Republisher>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its subjects.
    pub subjects: Pattern,
    /// Stream that publishes its messages again under these subjects.
    pub stream: Option<String>,
}

impl Plan {
    /// The plan for `subjects` beside the streams that exist now.
    pub async fn make(connection: &Connection, subjects: &[Pattern]) -> Result<Self, StreamError> {
        let republishers = republish::republishers(connection, subjects).await?;
        Ok(Self::new(subjects, republishers))
    }

    fn new(subjects: &[Pattern], republishers: Vec<Republisher>) -> Self {
        // overlapping subscriptions would receive a message twice
        let texts: Vec<String> = subjects.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let subjects = union(&[], &texts).iter().filter_map(|text| text.parse().ok()).collect();
        Self { subjects, republishers }
    }

    /// The subscriptions.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let direct = self.subjects.iter().filter(|pattern| !self.republishers.iter().any(|one| one.covers(pattern)));
        let direct = direct.map(|pattern| Subscription { subjects: pattern.clone(), stream: None });
        let again = self.republishers.iter().map(|republisher| Subscription {
            subjects: republisher.destination.clone(),
            stream: Some(republisher.stream.clone()),
        });
        direct.chain(again).collect()
    }

    /// The message, if it is to be recorded from this subscription.
    pub fn accept(&self, subscription: &Subscription, message: Message) -> Option<BridgedMessage> {
        let headers = message.headers.as_ref();
        if let Some(stream) = &subscription.stream {
            let header = |name: &str| headers?.get(name).map(ToString::to_string);
            let (subject, from) = (header("Nats-Subject")?, header("Nats-Stream")?);
            if from != *stream || !self.subjects.iter().any(|pattern| pattern.matches(&subject)) {
                return None;
            }
            let position = header("Nats-Sequence").and_then(|seq| seq.parse().ok());
            let position = position.map(|seq| StreamPosition { stream: from, seq });
            Some(BridgedMessage::new(subject, headers, message.payload, position.as_ref()))
        } else {
            let subject = message.subject.as_str();
            // of two overlapping patterns the first one counts
            let first = self.subjects.iter().find(|pattern| pattern.matches(subject));
            let is_republished = |one: &Republisher| one.republishes(subject) || is_copy(one, subject, headers);
            let again = self.republishers.iter().any(is_republished);
            let accepted = first == Some(&subscription.subjects) && !again;
            accepted.then(|| BridgedMessage::new(subject.to_owned(), headers, message.payload.clone(), None))
        }
    }
}

/// Returns true for a message that the stream has published again.
fn is_copy(republisher: &Republisher, subject: &str, headers: Option<&HeaderMap>) -> bool {
    let from = headers.and_then(|headers| headers.get("Nats-Stream"));
    republisher.destination.matches(subject) && from.is_some_and(|from| from.as_str() == republisher.stream)
}
