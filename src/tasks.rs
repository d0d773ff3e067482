//! Background tasks of the process: monitored while they run, stopped in order, in bounded time.

use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Exit code when a task ended before it was stopped; `EX_SOFTWARE` of `sysexits.h`.
const EXIT_CODE: i32 = 70;

/// Stages of a stop, in order. Producers of events stop before their consumers, and the lease is released after every task
/// that depends on it has ended. The error journal stops last, so that it records the failures of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Polling, alerting, learning and other work.
    Working,
    /// Folding the log into the map.
    Folding,
    /// Saving the map.
    Saving,
    /// Holding the lease.
    Leading,
    /// Writing the history.
    Writing,
    /// Recording errors, traces and metrics.
    Recording,
}

/// All background tasks of the process.
#[derive(Default)]
pub struct Tasks(Vec<Task>);

struct Task {
    stage: Stage,
    name: &'static str,
    stop: CancellationToken,
    abort: AbortHandle,
    monitor: JoinHandle<()>,
}

impl Tasks {
    /// Runs `task` until its stage is stopped. The process exits if the task ends before: a supervisor restarts it, which is
    /// better than a server that works in part.
    pub fn spawn<F>(&mut self, name: &'static str, stage: Stage, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(task(stop.clone()));
        let abort = handle.abort_handle();
        let monitor = tokio::spawn(exit_when_ended_early(name, handle, stop.clone()));
        self.0.push(Task { stage, name, stop, abort, monitor });
    }

    /// Stops the tasks one after the other, by stage and then in the order they were spawned. Tasks that have not ended by
    /// `deadline` are aborted; those of [`Stage::Recording`] have `reserve` more. Returns the names of the aborted tasks.
    pub async fn stop(mut self, deadline: Instant, reserve: Duration) -> Vec<&'static str> {
        self.0.sort_by_key(|task| task.stage);
        let mut aborted = Vec::new();
        for Task { stage, name, stop, abort, monitor } in self.0 {
            stop.cancel();
            let deadline = if stage == Stage::Recording { deadline + reserve } else { deadline };
            if timeout_at(deadline, monitor).await.is_err() {
                abort.abort();
                tracing::error!(task = name, "task did not stop in time; aborted");
                aborted.push(name);
            }
        }
        aborted
    }
}

async fn exit_when_ended_early(name: &'static str, task: JoinHandle<()>, stop: CancellationToken) {
    match task.await {
        Err(error) if error.is_panic() => {
            tracing::error!(task = name, %error, "task panicked; exiting");
            std::process::exit(EXIT_CODE);
        }
        Ok(()) if !stop.is_cancelled() => {
            tracing::error!(task = name, "task ended unexpectedly; exiting");
            std::process::exit(EXIT_CODE);
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A task that hangs costs no more than the limit.
    #[tokio::test(start_paused = true)]
    async fn tasks_stop_in_order_and_in_bounded_time() {
        let ended: Arc<Mutex<Vec<&str>>> = Arc::default();
        let stopping = |name: &'static str, takes: Duration| {
            let ended = Arc::clone(&ended);
            move |stop: CancellationToken| async move {
                stop.cancelled().await;
                tokio::time::sleep(takes).await;
                ended.lock().unwrap().push(name);
            }
        };
        let second = Duration::from_secs(1);
        let mut tasks = Tasks::default();
        tasks.spawn("journal", Stage::Recording, stopping("journal", second));
        tasks.spawn("saving", Stage::Saving, |_| std::future::pending());
        tasks.spawn("fold", Stage::Folding, stopping("fold", Duration::ZERO));
        tasks.spawn("poller", Stage::Working, stopping("poller", second));
        let started = Instant::now();
        let aborted = tasks.stop(started + 10 * second, 2 * second).await;
        assert_eq!(aborted, ["saving"]);
        assert_eq!(*ended.lock().unwrap(), ["poller", "fold", "journal"]);
        assert_eq!(started.elapsed(), 11 * second);
    }
}
