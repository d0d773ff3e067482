//! Publishing dead letter events through the log.

use std::sync::Arc;

use futures::FutureExt;

use super::{EventLog, LogError};
use crate::dead_letters::{PublishError, Publisher};
use crate::model::NewEvent;

/// A publisher that appends to `log`.
pub fn dead_letter_publisher(log: Arc<dyn EventLog>) -> Publisher {
    Arc::new(move |event| {
        let log = Arc::clone(&log);
        async move {
            let result = log.append(vec![NewEvent::from(event)]).await.pop();
            let result = result.unwrap_or_else(|| Err(LogError::Unavailable("the log gave no answer".to_owned())));
            result.map(|_| ()).map_err(PublishError::from)
        }
        .boxed()
    })
}

impl From<LogError> for PublishError {
    fn from(error: LogError) -> Self {
        let text = error.to_string();
        match error {
            LogError::Unavailable(_) | LogError::Denied(_) => Self::Unavailable(text),
            LogError::NotRecorded(_) => Self::NotRecorded(text),
            LogError::TooLarge { .. } => Self::TooLarge(text),
            LogError::Refused(_) | LogError::Truncated { .. } | LogError::EpochChanged(_) => Self::Rejected(text),
        }
    }
}
