//! Readiness of a shard's clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};

use futures::task::AtomicWaker;

/// The clients that were woken since the shard last took the list.
#[derive(Debug, Default)]
pub struct ReadyList {
    keys: Mutex<Vec<usize>>,
    shard: AtomicWaker,
}

impl ReadyList {
    /// Adds a client and wakes the shard.
    pub fn push(&self, key: usize) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        self.shard.wake();
    }

    /// Moves the list into `keys`, which must be empty. Pending while the list is empty.
    pub fn poll_take(&self, cx: &mut Context<'_>, keys: &mut Vec<usize>) -> Poll<()> {
        debug_assert!(keys.is_empty(), "earlier keys are not served yet");
        self.shard.register(cx.waker());
        std::mem::swap(keys, &mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// The waker of one client. It adds the client's key to the list, so that the shard polls that client only.
#[derive(Debug)]
pub struct ClientWaker {
    list: Arc<ReadyList>,
    key: usize,
    queued: AtomicBool,
}

impl ClientWaker {
    /// The waker of client `key`.
    pub fn new(list: Arc<ReadyList>, key: usize) -> Arc<Self> {
        Arc::new(Self { list, key, queued: AtomicBool::new(false) })
    }

    /// Must be called before the client is polled: later wake-ups queue it again.
    pub fn reset(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for ClientWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.list.push(self.key);
        }
    }
}
