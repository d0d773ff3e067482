//! The tasks of the server: watched while they run, stopped in order, in bounded time.

use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::lease::Leadership;

/// When a task is stopped: those that bring events first, those that keep them later, and who notes what
/// went wrong last. The lease is given back when all that runs by it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Working,
    Folding,
    Saving,
    Leading,
    Writing,
    Recording,
}

/// The tasks of the server, to be stopped in order.
#[derive(Default)]
pub struct Tasks(Vec<Task>);

struct Task {
    stage: Stage,
    name: &'static str,
    stop: CancellationToken,
    abort: AbortHandle,
    watched: JoinHandle<()>,
}

impl Tasks {
    /// Runs a task until its stage is stopped. When it ends before, so does the process: better no server than half of one.
    pub fn spawn<F>(&mut self, name: &'static str, stage: Stage, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(task(stop.clone()));
        let abort = handle.abort_handle();
        let watched = {
            let stop = stop.clone();
            tokio::spawn(async move {
                match handle.await {
                    Err(error) if error.is_panic() => {
                        tracing::error!(task = name, %error, "a part of the server broke; giving up");
                        std::process::exit(70);
                    }
                    Ok(()) if !stop.is_cancelled() => {
                        tracing::error!(task = name, "a part of the server ended by itself; giving up");
                        std::process::exit(70);
                    }
                    Ok(()) | Err(_) => {}
                }
            })
        };
        self.0.push(Task { stage, name, stop, abort, watched });
    }

    /// The same for a task that one server runs for all.
    pub fn spawn_leading<F>(
        &mut self,
        name: &'static str,
        stage: Stage,
        leadership: &Leadership,
        task: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let leadership = leadership.clone();
        self.spawn(name, stage, |stop| async move { leadership.while_leading(stop, task).await });
    }

    /// Stops one after the other. What has not ended by `deadline` is broken off; those that note what went wrong have
    /// `reserve` more. The names of those that were broken off.
    pub async fn stop(mut self, deadline: Instant, reserve: Duration) -> Vec<&'static str> {
        self.0.sort_by_key(|task| task.stage);
        let mut broken_off = Vec::new();
        for Task { stage, name, stop, abort, watched } in self.0 {
            stop.cancel();
            let deadline = if stage == Stage::Recording { deadline + reserve } else { deadline };
            if timeout_at(deadline, watched).await.is_err() {
                abort.abort();
                tracing::error!(task = name, "a part of the server did not stop in time; it is broken off");
                broken_off.push(name);
            }
        }
        broken_off
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_stop_in_order_and_one_that_hangs_costs_no_more_than_the_limit() {
        let ended: Arc<Mutex<Vec<&str>>> = Arc::default();
        let orderly = |name: &'static str, takes: Duration| {
            let ended = Arc::clone(&ended);
            move |stop: CancellationToken| async move {
                stop.cancelled().await;
                tokio::time::sleep(takes).await;
                ended.lock().unwrap().push(name);
            }
        };
        let second = Duration::from_secs(1);
        let mut tasks = Tasks::default();
        tasks.spawn("journal", Stage::Recording, orderly("journal", second));
        tasks.spawn("saving", Stage::Saving, |_| std::future::pending());
        tasks.spawn("fold", Stage::Folding, orderly("fold", Duration::ZERO));
        tasks.spawn("poller", Stage::Working, orderly("poller", second));
        let began = Instant::now();
        let broken_off = tasks.stop(began + 10 * second, 2 * second).await;
        assert_eq!(broken_off, ["saving"]);
        assert_eq!(*ended.lock().unwrap(), ["poller", "fold", "journal"]);
        assert_eq!(began.elapsed(), 11 * second);
    }
}
