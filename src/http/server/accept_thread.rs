//! A thread that accepts connections and answers probes.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A thread with its own tokio runtime, which accepts connections and answers probes while the tasks of the main runtime
/// keep all its threads busy. Ends when dropped, with the tasks on it.
#[derive(Debug)]
pub struct AcceptThread {
    handle: Handle,
    _stop: DropGuard,
}

impl AcceptThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread or its runtime cannot be created.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        thread::Builder::new().name("accept".to_owned()).spawn(move || {
            runtime.block_on(stopped.cancelled());
            // without waiting for blocking tasks
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop.drop_guard() })
    }

    /// The runtime of the thread.
    pub(super) const fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// Runs a task on the thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(task)
    }
}
