//! The open connections of a site. Their number is limited, so that descriptors do not run out. Near the limit,
//! the connection that was idle longest is closed for each new one, and every response closes its connection,
//! so that idle connections cannot keep other clients out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// An idle connection takes some 20 KiB of memory.
const MAX_CONNECTIONS: u64 = 20_000;
/// `idle_since` of a connection with a request.
const BUSY: u64 = u64::MAX;

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
    /// Milliseconds after `began`, or [`BUSY`].
    idle_since: AtomicU64,
    is_closing: AtomicBool,
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
            is_closing: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        slot.set_idle();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_crowded() {
            let idle = slots.values().filter(|slot| !slot.is_closing());
            let idle = idle.filter_map(|slot| Some((slot.idle_for()?, slot)));
            if let Some((_, oldest)) = idle.max_by_key(|(idle, _)| *idle) {
                tracing::debug!("closed an idle connection to make room for another");
                oldest.close();
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
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    pub(super) fn set_idle(&self) {
        let since = self.began.elapsed().as_millis() as u64;
        self.idle_since.store(since, Ordering::Relaxed);
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
            BUSY => None,
            since => Some(self.began.elapsed().saturating_sub(Duration::from_millis(since))),
        }
    }

    fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.waker.wake();
    }
}
