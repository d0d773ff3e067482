//! Appends that are written together, and their answers.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Appended, LogError};
use crate::model::NewEvent;

type Results = Vec<Result<Appended, LogError>>;

/// Events to be appended together.
pub struct Append {
    pub events: Vec<NewEvent>,
    /// Of each event, in bytes.
    pub sizes: Vec<usize>,
    /// Where the results go, one for each event.
    pub answer: oneshot::Sender<Results>,
    /// Given back when it is answered.
    pub room: OwnedSemaphorePermit,
}

/// The events of some appends, one after the other.
#[derive(Default)]
pub struct Batch {
    pub events: Vec<NewEvent>,
    pub sizes: Vec<usize>,
    /// What became of each event.
    pub results: Vec<Option<Result<Appended, LogError>>>,
    /// Who waits for how many of them, in order.
    waiting: Vec<(usize, oneshot::Sender<Results>, OwnedSemaphorePermit)>,
}

impl Batch {
    /// Takes `first` and what else is there already, until there are `events` events or `bytes` bytes.
    pub fn collect(&mut self, first: Append, queue: &mut mpsc::Receiver<Append>, events: usize, bytes: usize) {
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

    /// Takes everything that is there already.
    pub fn collect_all(&mut self, queue: &mut mpsc::Receiver<Append>) {
        while let Ok(append) = queue.try_recv() {
            self.push(append);
        }
    }

    fn push(&mut self, append: Append) {
        let Append { events, sizes, answer, room } = append;
        self.waiting.push((events.len(), answer, room));
        self.events.extend(events);
        self.sizes.extend(sizes);
        self.results.resize_with(self.sizes.len(), || None);
    }

    /// Nothing was written.
    pub fn fail(&mut self, error: &LogError) {
        self.results.fill(Some(Err(error.clone())));
    }

    /// Tells everybody. What has no result yet was not reached when the log became unavailable.
    pub fn answer(self, interrupted: &LogError) {
        let mut results = self.results.into_iter().map(|result| result.unwrap_or_else(|| Err(interrupted.clone())));
        for (count, answer, room) in self.waiting {
            let results: Results = results.by_ref().take(count).collect();
            results.iter().for_each(count_result);
            // who does not wait any more does not want to know
            let _ = answer.send(results);
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
