//! Appends written in one transaction, and their results.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Appended, LogError};
use crate::model::NewEvent;

type Results = Vec<Result<Appended, LogError>>;

/// Events to be appended together.
pub struct AppendRequest {
    pub events: Vec<NewEvent>,
    /// Memory of each event, bytes.
    pub sizes: Vec<usize>,
    /// Receives one result for each event.
    pub reply: oneshot::Sender<Results>,
    /// Released when the results are sent.
    pub room: OwnedSemaphorePermit,
}

/// The events of several appends.
#[derive(Default)]
pub struct AppendBatch {
    pub events: Vec<NewEvent>,
    pub sizes: Vec<usize>,
    /// Result of each event; `None` while it has none.
    pub results: Vec<Option<Result<Appended, LogError>>>,
    /// The appends in order: number of events, receiver of the results, permit.
    waiting: Vec<(usize, oneshot::Sender<Results>, OwnedSemaphorePermit)>,
}

impl AppendBatch {
    /// Adds `first` and queued appends, up to `events` events or `bytes` bytes.
    pub fn collect(
        &mut self,
        first: AppendRequest,
        queue: &mut mpsc::Receiver<AppendRequest>,
        events: usize,
        bytes: usize,
    ) {
        let mut collected: usize = first.sizes.iter().sum();
        self.push(first);
        while self.events.len() < events
            && collected < bytes
            && let Ok(append) = queue.try_recv()
        {
            collected += append.sizes.iter().sum::<usize>();
            self.push(append);
        }
    }

    /// Adds all queued appends.
    pub fn collect_all(&mut self, queue: &mut mpsc::Receiver<AppendRequest>) {
        while let Ok(append) = queue.try_recv() {
            self.push(append);
        }
    }

    fn push(&mut self, append: AppendRequest) {
        let AppendRequest { events, sizes, reply, room } = append;
        self.waiting.push((events.len(), reply, room));
        self.events.extend(events);
        self.sizes.extend(sizes);
        self.results.resize_with(self.sizes.len(), || None);
    }

    /// Sets all results to `error`.
    pub fn fail(&mut self, error: &LogError) {
        self.results.fill(Some(Err(error.clone())));
    }

    /// Sends the results; events without one get the error `interrupted`.
    pub fn reply(self, interrupted: &LogError) {
        let mut results = self.results.into_iter().map(|result| result.unwrap_or_else(|| Err(interrupted.clone())));
        for (count, reply, room) in self.waiting {
            let results: Results = results.by_ref().take(count).collect();
            results.iter().for_each(count_result);
            // the caller may have stopped waiting
            let _ = reply.send(results);
            drop(room);
        }
    }
}

fn count_result(result: &Result<Appended, LogError>) {
    let result = match result {
        Ok(Appended { duplicate: false, .. }) => "appended",
        Ok(_) => "duplicate",
        Err(LogError::Refused(_)) => "refused",
        Err(_) => "unavailable",
    };
    metrics::counter!("living_map_log_appends_total", "result" => result).increment(1);
}
