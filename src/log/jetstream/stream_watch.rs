//! Comparing the log's stream with those of others while the server runs.
//!
//! The server sources by name: a work queue that gets the name of a deleted stream would be emptied by the log's source. So the
//! streams are compared whenever one was created, changed or deleted, which NATS announces, and otherwise from time to time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::stream::LogStream;

/// Subjects of announcements about streams: action, name of the stream.
const ADVISORIES: &str = "$JS.EVENT.ADVISORY.STREAM.*.*";

/// Time in which further announcements are awaited: streams are often created several at a time.
const GATHERING: Duration = Duration::from_millis(100);

/// Delay before announcements are subscribed to again.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// Compares the streams after each change that NATS announces, and every `interval`, until `stop`.
pub async fn run(stream: Arc<LogStream>, interval: Duration, stop: CancellationToken) {
    let watching = async {
        loop {
            match stream.connection().client().subscribe(ADVISORIES).await {
                Ok(advisories) => compare_until_ended(&stream, interval, advisories).await,
                Err(error) => tracing::debug!(%error, "cannot subscribe to announcements about streams"),
            }
            tokio::time::sleep(RESUBSCRIBE).await;
        }
    };
    stop.run_until_cancelled(watching).await;
}

/// Returns when the subscription has ended.
async fn compare_until_ended(stream: &LogStream, interval: Duration, mut advisories: Subscriber) {
    loop {
        let mut changes = StreamChanges::default();
        match tokio::time::timeout(interval, advisories.next()).await {
            Ok(Some(message)) => changes.add(&message),
            Ok(None) => return,
            Err(_) => changes.any = true,
        }
        tokio::time::sleep(GATHERING).await;
        while let Some(Some(message)) = advisories.next().now_or_never() {
            changes.add(&message);
        }
        if changes.any
            && let Err(error) = stream.check_again(&changes.deleted).await
        {
            // the same error is in the readiness report; the next comparison follows
            tracing::debug!(%error, "the streams cannot be compared");
        }
    }
}

#[derive(Debug, Default)]
struct StreamChanges {
    /// True if the streams must be compared.
    any: bool,
    /// Names of deleted streams.
    deleted: BTreeSet<String>,
}

impl StreamChanges {
    fn add(&mut self, message: &Message) {
        let mut tokens = message.subject.as_str().rsplit('.');
        let (Some(name), Some(action)) = (tokens.next(), tokens.next()) else { return };
        self.any |= matches!(action, "CREATED" | "UPDATED" | "DELETED");
        if action == "DELETED" {
            self.deleted.insert(name.to_owned());
        }
    }
}
