//! Which of a shard's sockets have something to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};

use futures::task::AtomicWaker;

/// The clients whose sockets became ready since the shard last looked.
#[derive(Debug, Default)]
pub struct ReadyList {
    keys: Mutex<Vec<usize>>,
    shard: AtomicWaker,
}

impl ReadyList {
    /// Asks the shard to look at a client.
    pub fn push(&self, key: usize) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        self.shard.wake();
    }

    /// Moves what is there into `keys`, which must be empty; pending while there is nothing.
    pub fn poll_take(&self, cx: &mut Context<'_>, keys: &mut Vec<usize>) -> Poll<()> {
        debug_assert!(keys.is_empty(), "keys that were taken before are still there");
        self.shard.register(cx.waker());
        std::mem::swap(keys, &mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// One client's waker: it says which client is meant, so that the shard polls that one and no other.
#[derive(Debug)]
pub struct Signal {
    list: Arc<ReadyList>,
    key: usize,
    queued: AtomicBool,
}

impl Signal {
    /// The waker of client `key`.
    pub fn new(list: Arc<ReadyList>, key: usize) -> Arc<Self> {
        Arc::new(Self { list, key, queued: AtomicBool::new(false) })
    }

    /// To be called before the client is polled: from now on it is queued again when it wakes.
    pub fn taken(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.list.push(self.key);
        }
    }
}
