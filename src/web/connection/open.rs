//! The open connections of a site. Their number is limited, so that descriptors do not run out. Near the limit,
//! the connection that has waited longest for its client (for a request, or for the rest of a body) is closed
//! for each new one, and every response closes its connection. So clients that send nothing cannot keep others
//! out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// An idle connection takes some 20 KiB of memory.
const MAX_CONNECTIONS: u64 = 20_000;
/// The connection does not wait.
const NOT_WAITING: u64 = u64::MAX;

/// All connections of a site.
pub struct OpenConnections {
    slots: Mutex<HashMap<u64, Arc<Slot>>>,
    count: AtomicUsize,
    next_id: AtomicU64,
    is_draining: AtomicBool,
    began: Instant,
    capacity: usize,
}

/// One connection.
pub(super) struct Slot {
    id: u64,
    began: Instant,
    /// When it began to wait for a request: milliseconds after `began`, or [`NOT_WAITING`].
    idle_since: AtomicU64,
    /// When it began to wait for the body of its request. Not later for each part that arrives: otherwise a
    /// client that sends a byte now and then would never have waited long.
    body_wait_since: AtomicU64,
    is_closing: AtomicBool,
    /// The rest of the body is given up.
    is_body_aborted: AtomicBool,
    waker: AtomicWaker,
}

impl OpenConnections {
    /// At most `capacity` connections.
    pub fn with_capacity(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            count: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
            began: Instant::now(),
            capacity,
        })
    }

    /// As many connections as there are descriptors (`RLIMIT_NOFILE`), without those in use and `reserved` ones,
    /// which other parts of the process will open. At least a quarter of all descriptors.
    pub fn within_descriptor_limit(reserved: u64) -> Arc<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let capacity = limit.map_or(MAX_CONNECTIONS, |limit| {
            let in_use = std::fs::read_dir("/proc/self/fd").map_or(32, |open| open.count() as u64);
            limit.saturating_sub(in_use + reserved).max(limit / 4)
        });
        Self::with_capacity(capacity.min(MAX_CONNECTIONS) as usize)
    }

    /// The maximum number of connections.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the limit is near.
    pub(super) fn is_crowded(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.capacity - self.capacity / 4
    }

    /// From now on, every response closes its connection.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Closes the connections that have been without a request for `age`. Returns how many are without a request
    /// and still open. A connection whose next request has already arrived answers it first.
    pub fn close_idle(&self, age: Duration) -> usize {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = 0;
        for slot in slots.values() {
            let Some(idle) = slot.idle_for() else { continue };
            open += 1;
            if idle >= age {
                slot.close();
            }
        }
        open
    }

    pub(super) fn add(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            began: self.began,
            idle_since: AtomicU64::new(0),
            body_wait_since: AtomicU64::new(NOT_WAITING),
            is_closing: AtomicBool::new(false),
            is_body_aborted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        slot.set_idle();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_crowded() {
            let waiting = slots.values().filter(|slot| !slot.is_closing());
            let waiting = waiting.filter_map(|slot| Some((slot.waits_since()?, slot)));
            if let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) {
                tracing::debug!("closed a waiting connection to make room for another");
                longest.abort();
            }
        }
        slots.insert(slot.id, Arc::clone(&slot));
        self.count.store(slots.len(), Ordering::Relaxed);
        slot
    }

    pub(super) fn remove(&self, slot: &Slot) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&slot.id);
        self.count.store(slots.len(), Ordering::Relaxed);
    }
}

impl Slot {
    pub(super) fn set_busy(&self) {
        self.idle_since.store(NOT_WAITING, Ordering::Relaxed);
    }

    pub(super) fn set_idle(&self) {
        self.idle_since.store(self.now(), Ordering::Relaxed);
    }

    /// The waker is called when the body is to be given up.
    pub(super) fn begin_body_wait(&self, waker: &Waker) {
        self.register(waker);
        if self.body_wait_since.load(Ordering::Relaxed) == NOT_WAITING {
            self.body_wait_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Must be called when no more of the body is read.
    pub(super) fn end_body_wait(&self) {
        self.body_wait_since.store(NOT_WAITING, Ordering::Relaxed);
    }

    pub(super) fn is_body_aborted(&self) -> bool {
        self.is_body_aborted.load(Ordering::Acquire)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// The waker is called when the connection is to be closed.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// `None`: it has a request.
    fn idle_for(&self) -> Option<Duration> {
        match self.idle_since.load(Ordering::Relaxed) {
            NOT_WAITING => None,
            since => Some(self.began.elapsed().saturating_sub(Duration::from_millis(since))),
        }
    }

    /// `None`: it does not wait for its client.
    fn waits_since(&self) -> Option<u64> {
        let idle = self.idle_since.load(Ordering::Relaxed);
        let since = idle.min(self.body_wait_since.load(Ordering::Relaxed));
        (since != NOT_WAITING).then_some(since)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Closes it, also while it waits for a body.
    fn abort(&self) {
        if self.body_wait_since.load(Ordering::Relaxed) != NOT_WAITING {
            self.is_body_aborted.store(true, Ordering::Release);
        }
        self.close();
    }

    fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.waker.wake();
    }
}
